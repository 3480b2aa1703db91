package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
	"github.com/belfry-io/belfry/bench/internal/result"
)

// A duel is one measurement of a side: its processes, and what they have used.
type duel struct {
	ctx    context.Context
	trial  *trial
	side   *side
	broker *broker // nil without one
	cert   string  // folder of a certificate; empty without TLS
	nodes  []*contender
	crowd  *process
	run    result.Run
}

// measureSide does one run of a scenario.
func measureSide(ctx context.Context, sc *trial, s *side, duration, rest time.Duration) (run result.Run, err error) {
	d := &duel{ctx: ctx, trial: sc, side: s, run: result.Run{Values: map[string]float64{}}}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(); err != nil {
		return d.run, err
	}
	switch {
	case sc.connect:
		err = d.connects(rest)
	case sc.join:
		err = d.joins()
	default:
		err = d.traffic(duration)
	}
	return d.run, err
}

// start starts everything, with nobody connected.
func (d *duel) start() (err error) {
	if d.side.broker != "" {
		servers := 1
		if d.trial.outage {
			servers = d.trial.nodes
		}
		if d.broker, err = startBroker(d.ctx, d.side.broker, servers); err != nil {
			return err
		}
	}
	if d.trial.variant == secure {
		if d.cert, err = makeCertificate(); err != nil {
			return err
		}
	}
	for i := range d.trial.nodes {
		url := ""
		if d.broker != nil {
			url = d.broker.urls[i%len(d.broker.urls)]
		}
		command, err := d.side.command(d.ctx, url, d.trial.variant.flags(d.cert)...)
		if err != nil {
			return err
		}
		c, err := startContender(command)
		if err != nil {
			return err
		}
		d.nodes = append(d.nodes, c)
	}
	if d.crowd, err = startProcess(d.ctx, cmp.Or(d.side.clients, "crowd")); err != nil {
		return err
	}
	cfg := crowd.Config{
		URLs: d.urls(d.trial.from), Dialect: d.side.dialect, Transport: d.trial.transport,
		Deflate: d.trial.variant == deflate, Insecure: d.trial.variant == secure,
	}
	if d.trial.variant == packed {
		cfg.Codec = crowd.MessagePack
	}
	return d.crowd.call("start", cfg, nil, 0)
}

// urls are those of the nodes from one of them on.
func (d *duel) urls(from int) (all []string) {
	scheme := "http://"
	if d.cert != "" {
		scheme = "https://"
	}
	for _, n := range d.nodes[from:] {
		all = append(all, scheme+n.address)
	}
	return all
}

// stop ends everything.
func (d *duel) stop() error {
	var errs []error
	if d.crowd != nil {
		d.crowd.cancel()
		errs = append(errs, d.crowd.wait())
	}
	for _, n := range d.nodes {
		if err := n.stop(); err != nil && d.ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("it has not ended well: %w", err))
		}
	}
	if d.broker != nil {
		errs = append(errs, d.broker.stop())
	}
	if d.cert != "" {
		errs = append(errs, os.RemoveAll(d.cert))
	}
	return errors.Join(errs...)
}

// connect has clients connect; each must.
func (d *duel) connect(sockets int) (made crowd.Connects, err error) {
	if err := d.crowd.call("connect", sockets, &made, 5*time.Minute); err != nil {
		return made, err
	}
	if d.trial.variant == deflate && made.Deflated < made.Sockets {
		return made, fmt.Errorf("the server has agreed to permessage-deflate with %d of %d clients", made.Deflated, made.Sockets)
	}
	return made, failed("connect", made)
}

// failed says that clients could not do what all must.
func failed(what string, made crowd.Connects) error {
	if made.Failures == 0 {
		return nil
	}
	var why []string
	for reason, n := range made.Why {
		why = append(why, fmt.Sprintf("%d: %s", n, reason))
	}
	return fmt.Errorf("%d clients did not %s: %s", made.Failures, what, strings.Join(why, "; "))
}

// pause waits, but not beyond the end of ctx.
func (d *duel) pause(t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-d.ctx.Done():
		return context.Cause(d.ctx)
	}
}

const firstSockets = 50 // so that what the first ones bring about is not counted

// connects measures a storm of connects, and what the sockets occupy afterwards.
func (d *duel) connects(rest time.Duration) error {
	if _, err := d.connect(firstSockets); err != nil {
		return err
	}
	if err := d.pause(min(time.Second, rest)); err != nil {
		return err
	}
	before, err := d.memory()
	if err != nil {
		return err
	}
	var made crowd.Connects
	used, err := d.used(func() error {
		made, err = d.connect(d.trial.sockets)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.pause(rest); err != nil {
		return err
	}
	after, err := d.memory()
	if err != nil {
		return err
	}
	var alive int
	if err := d.crowd.call("alive", none{}, &alive, 0); err != nil {
		return err
	}
	if want := firstSockets + d.trial.sockets; alive != want {
		return fmt.Errorf("%d of %d clients are connected still", alive, want)
	}
	n := float64(made.Sockets)
	d.run.Values["connects_s"] = n / made.Elapsed.Seconds()
	d.run.Values["connect_cpu_us"] = micros(used.servers) / n
	d.run.Values["connect_p99_ms"] = milliseconds(made.P99)
	d.run.Values["socket_bytes"] = float64(after-before) / n
	d.run.Values["load_busy"] = used.crowd.Seconds() / made.Elapsed.Seconds()
	return nil
}

// joins measures joins.
func (d *duel) joins() error {
	if _, err := d.connect(d.trial.sockets); err != nil {
		return err
	}
	joins, elapsed, p99 := 0, time.Duration(0), time.Duration(0)
	used, err := d.used(func() error {
		for range joinTurns {
			var made crowd.Joins
			if err := d.crowd.call("join", crowd.Join{Rooms: d.trial.rooms}, &made, 5*time.Minute); err != nil {
				return err
			}
			if err := failed("join", made); err != nil {
				return err
			}
			joins, elapsed, p99 = joins+made.Sockets, elapsed+made.Elapsed, max(p99, made.P99)
		}
		return nil
	})
	d.run.Values["joins_s"] = float64(joins) / elapsed.Seconds()
	d.run.Values["join_cpu_us"] = micros(used.servers) / float64(joins)
	d.run.Values["join_p99_ms"] = milliseconds(p99)
	return err
}

// traffic measures a flow.
func (d *duel) traffic(duration time.Duration) error {
	sc, flow, rooms := d.trial, d.trial.flow, d.trial.rooms
	if _, err := d.connect(sc.sockets); err != nil {
		return err
	}
	if d.side.dialect == crowd.Centrifuge && flow.Kind == crowd.Private {
		rooms = sc.sockets // a channel for each, since an id is none
	}
	if rooms > 0 {
		var made crowd.Joins
		if err := d.crowd.call("join", crowd.Join{Rooms: rooms}, &made, 5*time.Minute); err != nil {
			return err
		}
		if err := failed("join", made); err != nil {
			return err
		}
	}
	if sc.from > 0 { // those who publish are elsewhere
		if err := d.crowd.call("use", d.urls(0)[:1], nil, 0); err != nil {
			return err
		}
		if _, err := d.connect(flow.Senders); err != nil {
			return err
		}
		flow.From = sc.sockets
	}
	if d.side.broker != "" {
		// Peers do not say when a join is known on all nodes: what is published in the first moments may be lost.
		if err := d.pause(min(time.Second, 2*duration)); err != nil {
			return err
		}
	}
	var got crowd.Result
	flow.Duration = min(warmup, duration)
	if err := d.crowd.call("run", flow, &got, flow.Duration); err != nil {
		return err
	}
	flow.Duration = duration
	measure := func() error { return d.crowd.call("run", flow, &got, flow.Duration) }
	if sc.outage {
		flow.Duration, flow.Stall = outageParts*duration, max(2*duration, shortStall)
		measure = func() error { return d.outage(duration, flow, &got) }
	}
	used, err := d.used(measure)
	if err != nil {
		return err
	}
	var wrong crowd.Faults
	if err := d.crowd.call("check", none{}, &wrong, 0); err != nil {
		return err
	}
	d.judge(got, used)
	d.run.Faults = map[string]int{"missing": wrong.Missing, "doubled": wrong.Doubled, "reordered": wrong.Reordered, "malformed": wrong.Malformed}
	if sc.outage { // what is missing is what is measured
		delete(d.run.Faults, "missing")
		v := d.run.Values
		v["outage_s"], v["lost"] = got.Silence.Seconds(), float64(wrong.Missing)
		v["doubled"], v["reordered"] = float64(wrong.Doubled), float64(wrong.Reordered)
	} else if got.Stalled {
		d.note("nothing came any more, and the run was given up")
	}
	if got.Lost > 0 {
		d.note("%d clients lost their connection", got.Lost)
	}
	return nil
}

const (
	outageParts = 4               // of a flow: the broker is killed after the first, and is back after the second
	shortStall  = 3 * time.Second // what has not come then is lost
)

// outage measures a flow while the broker is killed, and started again.
func (d *duel) outage(part time.Duration, flow crowd.Flow, got *crowd.Result) error {
	ended := make(chan error, 1)
	go func() { ended <- d.crowd.call("run", flow, got, flow.Duration) }()
	err := d.pause(part)
	if err == nil {
		err = d.broker.kill()
	}
	if err == nil {
		err = d.pause(part)
	}
	if err == nil {
		err = d.broker.revive()
	}
	return errors.Join(<-ended, err)
}

// judge takes the figures of a flow.
func (d *duel) judge(got crowd.Result, used use) {
	v, n := d.run.Values, float64(max(got.Deliveries, 1))
	v["deliveries_s"] = n / got.Elapsed.Seconds()
	v["cpu_us"] = micros(used.servers) / n
	v["p50_ms"], v["p90_ms"], v["p99_ms"] = milliseconds(got.P50), milliseconds(got.P90), milliseconds(got.P99)
	v["p999_ms"], v["max_ms"] = milliseconds(got.P999), milliseconds(got.Max)
	v["last50_ms"], v["last99_ms"] = milliseconds(got.Last50), milliseconds(got.Last99)
	v["load_cpu_us"] = micros(used.crowd) / n
	v["load_busy"] = got.Busy
	if d.broker != nil {
		v["broker_cpu_us"] = micros(used.broker) / n
	}
	if from := d.trial.from; from > 1 {
		v["publisher_us"] = micros(used.nodes[0]) / n
		v["bystander_us"] = micros(sum(used.nodes[1:from])) / n
		v["member_us"] = micros(sum(used.nodes[from:])) / n
	}
	if got.Late > got.Publishes/100 {
		d.note("%d of %d publishes were written late: the load was the limit, or the machine was busy", got.Late, got.Publishes)
	}
	if used.others > noise {
		d.note("other programs took %.0f %% of the processors: too noisy to tell small differences", used.others*100)
	}
}

func (d *duel) note(format string, args ...any) {
	d.run.Notes = append(d.run.Notes, fmt.Sprintf(format, args...))
}

// noise is the share of the processors that other programs may take.
const noise = 0.1
