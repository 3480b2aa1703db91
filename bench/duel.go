package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
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
	url := ""
	if d.side.broker != "" {
		if d.broker, err = startBroker(d.ctx, d.side.broker); err != nil {
			return err
		}
		url = d.broker.url
	}
	for range d.trial.nodes {
		command, err := d.side.command(d.ctx, url, d.trial.variant)
		if err != nil {
			return err
		}
		c, err := startContender(command)
		if err != nil {
			return err
		}
		d.nodes = append(d.nodes, c)
	}
	if d.crowd, err = startProcess(d.ctx, "crowd"); err != nil {
		return err
	}
	cfg := crowd.Config{
		URLs: d.urls(d.trial.from), Dialect: d.side.dialect, Transport: d.trial.transport, Deflate: d.trial.variant == deflate,
	}
	return d.crowd.call("start", cfg, nil, 0)
}

// urls are those of the nodes from one of them on.
func (d *duel) urls(from int) (all []string) {
	for _, n := range d.nodes[from:] {
		all = append(all, "http://"+n.address)
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
	return errors.Join(errs...)
}

// connect has clients connect; each must.
func (d *duel) connect(sockets int) (made crowd.Connects, err error) {
	if err := d.crowd.call("connect", sockets, &made, 5*time.Minute); err != nil {
		return made, err
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
	if err := d.pause(time.Second); err != nil {
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
	sc, flow := d.trial, d.trial.flow
	if _, err := d.connect(sc.sockets); err != nil {
		return err
	}
	if sc.rooms > 0 {
		var made crowd.Joins
		if err := d.crowd.call("join", crowd.Join{Rooms: sc.rooms}, &made, 5*time.Minute); err != nil {
			return err
		}
		if err := failed("join", made); err != nil {
			return err
		}
	}
	if sc.from > 0 { // those who publish are elsewhere
		if err := d.crowd.call("use", d.urls(0)[:sc.from], nil, 0); err != nil {
			return err
		}
		if _, err := d.connect(flow.Senders); err != nil {
			return err
		}
		flow.From = sc.sockets
	}
	if d.side.broker != "" {
		// Peers do not say when a join is known on all nodes: what is published in the first moments may be lost.
		if err := d.pause(time.Second); err != nil {
			return err
		}
	}
	var got crowd.Result
	flow.Duration = min(warmup, duration)
	if err := d.crowd.call("run", flow, &got, flow.Duration); err != nil {
		return err
	}
	flow.Duration = duration
	used, err := d.used(func() error { return d.crowd.call("run", flow, &got, flow.Duration) })
	if err != nil {
		return err
	}
	var wrong crowd.Faults
	if err := d.crowd.call("check", none{}, &wrong, 0); err != nil {
		return err
	}
	d.judge(got, used)
	d.run.Faults = map[string]int{"missing": wrong.Missing, "doubled": wrong.Doubled, "reordered": wrong.Reordered, "malformed": wrong.Malformed}
	if got.Stalled {
		d.note("nothing came any more, and the run was given up")
	}
	if got.Lost > 0 {
		d.note("%d clients lost their connection", got.Lost)
	}
	return nil
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

// use is what was used by whom.
type use struct {
	servers, broker, crowd time.Duration
	others                 float64 // share of all processors
}

// used measures what is used while something is done.
func (d *duel) used(do func() error) (u use, err error) {
	read := func() (u use, busy time.Duration, err error) {
		for _, n := range d.nodes {
			c, err := n.cpu()
			if err != nil {
				return u, 0, err
			}
			u.servers += c.total()
		}
		if d.broker != nil {
			c, err := processCPU(d.broker.pid)
			if err != nil {
				return u, 0, err
			}
			u.broker = c.total()
		}
		c, err := processCPU(d.crowd.cmd.Process.Pid)
		if err != nil {
			return u, 0, err
		}
		u.crowd = c.total()
		own, err := processCPU(os.Getpid())
		if err != nil {
			return u, 0, err
		}
		all, err := machineCPU()
		return u, all - own.total(), err
	}
	before, busyBefore, err := read()
	if err != nil {
		return u, err
	}
	begun := time.Now()
	if err := do(); err != nil {
		return u, err
	}
	elapsed := time.Since(begun)
	after, busyAfter, err := read()
	u = use{servers: after.servers - before.servers, broker: after.broker - before.broker, crowd: after.crowd - before.crowd}
	others := busyAfter - busyBefore - u.servers - u.broker - u.crowd
	u.others = others.Seconds() / elapsed.Seconds() / float64(runtime.NumCPU())
	return u, err
}

// memory is what the nodes occupy, in bytes.
func (d *duel) memory() (bytes int64, err error) {
	for _, n := range d.nodes {
		m, err := n.memory()
		if err != nil {
			return 0, err
		}
		bytes += m.Anonymous
	}
	return bytes, nil
}

func micros(t time.Duration) float64 { return float64(t) / float64(time.Microsecond) }
