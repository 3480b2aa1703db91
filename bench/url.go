package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// A urlReport is what a load test has found out.
type urlReport struct {
	Date        time.Time `json:"date"`
	Machine     string    `json:"machine"` // that the load came from
	Scenario    scenario  `json:"scenario"`
	Interrupted bool      `json:"interrupted"` // what follows is until then

	Connects crowd.Connects `json:"connects"`
	Joins    *crowd.Joins   `json:"joins"` // nil if nobody joined
	Run      *crowd.Result  `json:"run"`   // nil if it has not come to that
	Faults   crowd.Faults   `json:"faults"`
}

// loadTest puts load on a server.
func loadTest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseURL(args)
	if err != nil {
		return explain(err, urlHelp, stdout)
	}
	r := &urlReport{
		Date: time.Now().UTC().Truncate(time.Second), Scenario: cfg.scenario,
		Machine: fmt.Sprintf("%s, %d cores, %s/%s",
			processorModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
	}
	if err := r.measure(ctx, stderr); err != nil {
		return err
	}
	return finish(r, cfg.json, stdout)
}

// errNobody says that there is nothing to report.
var errNobody = errors.New("no socket has connected")

// measure does the test. That it was interrupted is no error, but part of the report.
func (r *urlReport) measure(ctx context.Context, progress io.Writer) (err error) {
	c, err := crowd.New(r.Scenario.config())
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := r.connect(ctx, c, progress); err != nil || r.Interrupted {
		return err
	}
	if j := r.Scenario.Join; j != nil {
		joins, err := c.Join(ctx, j.joins())
		if r.Joins = &joins; r.interrupted(ctx, err) || err != nil {
			return r.mine(err)
		}
		fmt.Fprintf(progress, "%d of %d sockets have joined, in %.1f s\n",
			joins.Sockets, joins.Sockets+joins.Failures, joins.Elapsed.Seconds())
	}
	f := r.Scenario.flow()
	f.Every = func(p crowd.Progress) {
		what := ""
		if p.WarmingUp {
			what = " of warm-up"
		}
		fmt.Fprintf(progress, "%3.0f s%s: %d sockets, %d sends/s, %d deliveries/s, p99 %.2f ms\n",
			p.Elapsed.Seconds(), what, p.Alive, p.Publishes, p.Deliveries, milliseconds(p.P99))
	}
	run, err := c.Run(ctx, f)
	if r.interrupted(ctx, err) {
		err = nil
	}
	if err == nil {
		r.Run, r.Faults = &run, c.Check()
		if r.Interrupted { // what was on its way is no fault of the server
			r.Faults.Missing = 0
		}
	}
	return err
}

// interrupted notes whether an error is that of ctx.
func (r *urlReport) interrupted(ctx context.Context, err error) bool {
	r.Interrupted = r.Interrupted || err != nil && ctx.Err() != nil
	return r.Interrupted
}

// mine is an error if it is not that of an interruption.
func (r *urlReport) mine(err error) error {
	if r.Interrupted {
		return nil
	}
	return err
}

// connect connects the sockets, and says each second how many there are.
func (r *urlReport) connect(ctx context.Context, c *crowd.Crowd, progress io.Writer) error {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				fmt.Fprintf(progress, "connecting: %d of %d sockets\n", c.Alive(), r.Scenario.Sockets)
			case <-stop:
				return
			}
		}
	}()
	var err error
	r.Connects, err = c.Connect(ctx, r.Scenario.Sockets)
	close(stop)
	<-stopped
	if r.interrupted(ctx, err) || err != nil {
		return r.mine(err)
	}
	if r.Connects.Sockets == 0 {
		return fmt.Errorf("%w: %s", errNobody, advise(r.Connects.Why))
	}
	fmt.Fprintf(progress, "%d of %d sockets have connected, in %.1f s\n",
		r.Connects.Sockets, r.Scenario.Sockets, r.Connects.Elapsed.Seconds())
	return nil
}
