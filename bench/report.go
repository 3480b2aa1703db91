package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/belfry-io/belfry/bench/internal/page"
	"github.com/belfry-io/belfry/bench/internal/result"
)

// A report is everything that was measured.
type report struct {
	Origin  result.Origin `json:"origin"`
	Config  config        `json:"config"`
	Fanouts []*fanout     `json:"fanouts"`
	Idles   []*idle       `json:"idles"`
}

// spreadOver is the spread of a figure over those of all that belong together.
func spreadOver[T any](all []T, belongs func(T) bool, figure func(T) float64) result.Spread {
	var values []float64
	for _, one := range all {
		if belongs(one) {
			values = append(values, figure(one))
		}
	}
	return result.SpreadOf(values)
}

// over is the spread of a figure over the runs of a setup.
func (r *report) over(s setup, figure func(f *fanout) float64) result.Spread {
	return spreadOver(r.Fanouts, func(f *fanout) bool { return f.Setup == s }, figure)
}

// find returns the measurement of a setup in a run; nil if there is none.
func (r *report) find(s setup, run int) *fanout {
	for _, f := range r.Fanouts {
		if f.Setup == s && f.Run == run {
			return f
		}
	}
	return nil
}

// ratio is the spread, over the runs, of the server's CPU for each delivery against that of another setup in the same run.
func (r *report) ratio(s, to setup) result.Spread {
	return r.over(s, func(f *fanout) float64 {
		if base := r.find(to, f.Run); base != nil && base.Server.total() > 0 {
			return f.perDelivery(f.Server) / base.perDelivery(base.Server)
		}
		return 0
	})
}

// err says what went wrong with deliveries; nil if nothing did.
func (r *report) err() error {
	for _, f := range r.Fanouts {
		if f.Load.Stalled {
			return fmt.Errorf("%v, run %d: nothing came for %v, and the run was given up", f.Setup, f.Run, stall)
		}
		if f.Faults.sum() > 0 || f.Written.Lost > 0 || f.Written.Failures > 0 {
			return fmt.Errorf("%v, run %d: %d missing, %d doubled, %d reordered, %d malformed; the server has lost %d frames and counted %d failures",
				f.Setup, f.Run, f.Faults.Missing, f.Faults.Doubled, f.Faults.Reordered, f.Faults.Malformed, f.Written.Lost, f.Written.Failures)
		}
	}
	return nil
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) {
	cfg := r.Config
	page.Origin(w, r.Origin)
	if len(r.Fanouts) > 0 {
		r.writeFanouts(w, cfg)
	}
	if len(r.Idles) > 0 {
		r.writeIdles(w, cfg)
	}
}

// setups are those of the report: bare loops first, then by nodes.
func (r *report) setups() []setup {
	var all []setup
	for _, f := range r.Fanouts {
		if !slices.Contains(all, f.Setup) {
			all = append(all, f.Setup)
		}
	}
	slices.SortFunc(all, func(a, b setup) int {
		return cmp.Or(a.Nodes-b.Nodes, a.Batch-b.Batch, cmp.Compare(a.String(), b.String()))
	})
	return all
}

func (r *report) writeFanouts(w io.Writer, cfg config) {
	fmt.Fprintf(w, "A room of %d sockets, %d publishes in flight by %d publishers, %d bytes each. Runs: %d; figures are medians (least to most).\n\n",
		cfg.Members, cfg.InFlight, cfg.Publishers, cfg.Size, cfg.Runs)
	setups := r.setups()
	costs := page.Table{{"", "server CPU us a delivery", "of it system", "frames a write"}}
	rates := page.Table{{"", "deliveries/s", "p50 ms", "p99 ms", "load CPU us", "load cores", "NATS CPU us"}}
	counts := page.Table{{"", "deliveries", "missing", "doubled", "reordered", "malformed"}}
	var bares []setup
	for _, s := range setups {
		if s.Nodes == 0 {
			bares = append(bares, s)
			costs[0] = append(costs[0], fmt.Sprintf("x bare (%d)", s.Batch))
		}
	}
	for _, s := range setups {
		figure := func(decimals int, f func(*fanout) float64) string { return r.over(s, f).Text(decimals) }
		row := []string{
			s.String(),
			figure(2, func(f *fanout) float64 { return f.perDelivery(f.Server) }),
			figure(2, func(f *fanout) float64 { return f.perDelivery(cpu{System: f.Server.System}) }),
			figure(1, func(f *fanout) float64 { return float64(f.Written.Frames) / float64(max(f.Written.Writes, 1)) }),
		}
		for _, bare := range bares {
			row = append(row, r.ratio(s, bare).Text(2))
		}
		costs = append(costs, row)
		broker := "-"
		if s.Nodes > 1 {
			broker = figure(3, func(f *fanout) float64 { return f.perDelivery(f.Broker) })
		}
		rates = append(rates, []string{
			s.String(),
			figure(0, func(f *fanout) float64 { return float64(f.Load.Deliveries) / f.Load.Elapsed.Seconds() }),
			figure(1, func(f *fanout) float64 { return milliseconds(f.Load.P50) }),
			figure(1, func(f *fanout) float64 { return milliseconds(f.Load.P99) }),
			figure(2, func(f *fanout) float64 { return f.perDelivery(f.Clients) }),
			figure(2, func(f *fanout) float64 { return f.Clients.total().Seconds() / f.Load.Elapsed.Seconds() }),
			broker,
		})
		deliveries, wrong := 0, faults{}
		for _, f := range r.Fanouts {
			if f.Setup == s {
				deliveries += f.Load.Deliveries
				wrong = wrong.add(f.Faults)
			}
		}
		row = []string{s.String()}
		for _, n := range []int{deliveries, wrong.Missing, wrong.Doubled, wrong.Reordered, wrong.Malformed} {
			row = append(row, fmt.Sprint(n))
		}
		counts = append(counts, row)
	}
	costs.Write(w)
	rates.Write(w)
	counts.Write(w)
	fmt.Fprint(w, fanoutNotes)
	for _, f := range r.Fanouts {
		if off := (f.Server.total() - f.Kernel.total()).Abs(); off > f.Server.total()/20+4*clockTick*time.Duration(max(f.Setup.Nodes, 1)) {
			fmt.Fprintf(w, "- Doubtful: %v, run %d: the server counts %v of CPU, the kernel %v.\n", f.Setup, f.Run, f.Server.total(), f.Kernel.total())
		}
		if f.Clients.total() > f.Load.Elapsed*9/10 {
			fmt.Fprintf(w, "- %v, run %d: the load's one loop was busy all the time; it may have set the rate.\n", f.Setup, f.Run)
		}
		if cfg.CPUProfile != "" && f.Setup.Nodes > 0 && f.Run == 1 {
			fmt.Fprintf(w, "- %v: a profile was taken, which costs CPU of its own.\n", f.Setup)
		}
	}
	fmt.Fprintln(w)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

const fanoutNotes = `- Everything is on the loopback interface of one machine: sending includes the kernel's work of receiving, and the load takes processors
  from the servers. CPU is user and system time of the server processes, of all nodes together, without NATS.
- A publish is in flight until the last member has received it; the time until then is what p50 and p99 are of.
- The size is that of the one string in a publish. The bare loop writes the same bytes, headers and all, to the same load; with more frames
  a write it has twice as many publishes in flight, so that one batch is written while the other is received.
- A ratio is that of two measurements in the same run.
`

func (r *report) writeIdles(w io.Writer, cfg config) {
	over := func(figure func(i *idle) float64) string {
		return spreadOver(r.Idles, func(*idle) bool { return true }, figure).Text(0)
	}
	page.Table{
		{"idle sockets", "anonymous RSS, B a socket", "after free memory was returned", "goroutines before", "goroutines after"},
		{
			fmt.Sprint(cfg.Idle),
			over(func(i *idle) float64 { return i.perSocket(natural) }),
			over(func(i *idle) float64 { return i.perSocket(freed) }),
			over(func(i *idle) float64 { return float64(i.Before.Goroutines) }),
			over(func(i *idle) float64 { return float64(i.After.Goroutines) }),
		},
	}.Write(w)
	fmt.Fprintf(w, "The growth over a server with %d sockets, %v after they have connected, with Go's default garbage collection. The kernel's own memory for a socket is not in it.\n", idleBase, cfg.Settle)
}
