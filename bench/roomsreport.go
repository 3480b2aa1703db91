package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/belfry-io/belfry/bench/internal/page"
	"github.com/belfry-io/belfry/bench/internal/result"
)

// A roomsReport is everything that the rooms command has measured.
type roomsReport struct {
	Origin   result.Origin `json:"origin"`
	Config   roomsConfig   `json:"config"`
	Weights  []*weight     `json:"weights"`
	Silences []*silence    `json:"silences"`
}

// measure does all runs.
func (r *roomsReport) measure(ctx context.Context, progress io.Writer) error {
	for run := range r.Config.Runs {
		if r.Config.Only != onlySilence {
			for _, h := range holdings {
				fmt.Fprintf(progress, "run %d of %d: %s: ", run+1, r.Config.Runs, h.Name)
				w, err := weigh(ctx, r.Config, h, run+1)
				if err != nil {
					fmt.Fprintln(progress)
					return fmt.Errorf("%s: %w", h.Name, err)
				}
				r.Weights = append(r.Weights, w)
				fmt.Fprintf(progress, "%.0f B a room\n", w.heap())
			}
		}
		if r.Config.Only == onlyMemory {
			continue
		}
		for _, rooms := range r.Config.Rooms {
			for _, w := range inTurn(everybody, run) {
				s, err := measureSilence(ctx, r.Config, rooms, w, run+1)
				if err != nil {
					return fmt.Errorf("silence with %d rooms: %w", rooms, err)
				}
				r.Silences = append(r.Silences, s)
				fmt.Fprintf(progress, "run %d of %d: %s, %d rooms: %v until the first message, %d lost, %d late\n",
					run+1, r.Config.Runs, s.Who, rooms, s.First.Round(time.Millisecond), s.Lost, s.Late)
			}
		}
	}
	r.Origin.After = loadAverage()
	return nil
}

// err says that rooms were not reached any more.
func (r *roomsReport) err() error {
	for _, s := range r.Silences {
		if s.Unreached > 0 {
			return fmt.Errorf("%s, %d rooms, run %d: %d rooms of the sample were not reached in %v after the kill", s.Who, s.Rooms, s.Run, s.Unreached, r.Config.Watch)
		}
	}
	return nil
}

// heap and anonymous are the growth by a room, in bytes: of live objects, and of the process once what is free was returned.
func (w *weight) heap() float64 { return float64(w.After.Heap-w.Before.Heap) / float64(w.Rooms) }
func (w *weight) anonymous() float64 {
	return float64(freed(w.After)-freed(w.Before)) / float64(w.Rooms)
}

// broker is the growth of a NATS server by a room, in bytes.
func (w *weight) broker(i int) float64 {
	return float64(freed(w.Brokers[i][1])-freed(w.Brokers[i][0])) / float64(w.Rooms)
}

// write writes the report as Markdown.
func (r *roomsReport) write(w io.Writer) {
	page.Origin(w, r.Origin)
	fmt.Fprintf(w, "Runs: %d; figures are medians (least to most). Nodes, clients and NATS servers have a process each, all on this machine.\n\n", r.Config.Runs)
	if len(r.Weights) > 0 {
		r.writeWeights(w)
		r.writeJoins(w)
	}
	if len(r.Silences) > 0 {
		r.writeSilences(w)
	}
}

// ofHolding is the spread of a figure over the runs of a holding.
func (r *roomsReport) ofHolding(h holding, figure func(*weight) float64) result.Spread {
	return spreadOver(r.Weights, func(w *weight) bool { return w.Holding == h.Name }, figure)
}

func (r *roomsReport) writeWeights(w io.Writer) {
	t := page.Table{{"bytes a room", "heap", "anonymous RSS", "its NATS server, RSS", "each other one, RSS"}}
	for _, h := range holdings {
		row := []string{h.Name, r.ofHolding(h, (*weight).heap).Text(0), r.ofHolding(h, (*weight).anonymous).Text(0), "-", "-"}
		if h.NATS {
			row[3] = r.ofHolding(h, func(w *weight) float64 { return w.broker(0) }).Text(0)
			row[4] = r.ofHolding(h, func(w *weight) float64 {
				sum := 0.0
				for i := range w.Brokers[1:] {
					sum += w.broker(i + 1)
				}
				return sum / float64(len(w.Brokers)-1)
			}).Text(0)
		}
		t = append(t, row)
	}
	t.Write(w)
	var each []float64
	for _, one := range r.Weights {
		for _, ten := range r.Weights {
			if one.Run == ten.Run && one.Holding == holdings[0].Name && ten.Holding == holdings[1].Name {
				each = append(each, (ten.heap()-one.heap())/float64(holdings[1].Memberships-holdings[0].Memberships))
			}
		}
	}
	fmt.Fprintf(w, "%d rooms with names of %d bytes on one node with %d members; each room has one member unless said. A further membership of a room takes %s B of heap.\n\n",
		slices.Max(r.Config.Rooms), len(roomName("room", 0)), roomMembers, result.SpreadOf(each).Text(0))
}

func (r *roomsReport) writeJoins(w io.Writer) {
	t := page.Table{{"joins of new rooms, awaited", "rooms", "joins/s", "CPU us a join", "unfenced calls"}}
	for _, m := range []struct{ manner, name string }{
		{single, "one after the other"},
		{parallel, fmt.Sprintf("%d at a time", joiners)},
		{batched, fmt.Sprintf("one after the other, %d rooms a call", fillBatch)},
	} {
		figure := func(decimals int, f func(joins) float64) string {
			joined := func(w *weight) bool { return w.Joins[m.manner].Count > 0 }
			return spreadOver(r.Weights, joined, func(w *weight) float64 { return f(w.Joins[m.manner]) }).Text(decimals)
		}
		t = append(t, []string{
			m.name,
			figure(0, func(j joins) float64 { return float64(j.Count) }),
			figure(0, func(j joins) float64 { return float64(j.Count) / j.Elapsed.Seconds() }),
			figure(1, func(j joins) float64 { return float64(j.CPU.total().Microseconds()) / float64(j.Count) }),
			figure(0, func(j joins) float64 { return float64(j.Unfenced) }),
		})
	}
	t.Write(w)
	fmt.Fprintf(w, "Each of the first two on a node that has %d rooms already. CPU is the node's. Two other nodes confirm, each on a NATS server of its own.\n\n",
		slices.Max(r.Config.Rooms))
}

func (r *roomsReport) writeSilences(out io.Writer) {
	times := page.Table{{"after kill -9 of its NATS server, ms", "rooms", "its connections end", "first message", "x nats.go", "last one lost", "all rooms reached", "x nats.go", "own messages late by", "others' by"}}
	counts := page.Table{{"", "rooms", "sent", "lost", "late", "longest delay ms", "own lost", "CPU s of the node", "of two NATS servers"}}
	for _, rooms := range r.Config.Rooms {
		for _, w := range everybody {
			over := func(decimals int, f func(*silence) float64) string {
				measured := func(s *silence) bool { return s.Rooms == rooms && s.Who == w }
				return spreadOver(r.Silences, measured, f).Text(decimals)
			}
			ms := func(f func(*silence) time.Duration) string {
				return over(0, func(s *silence) float64 { return milliseconds(f(s)) })
			}
			ratio := func(f func(*silence) time.Duration) string {
				return over(2, func(s *silence) float64 { return r.ratio(s, f) })
			}
			count := func(f func(*silence) int) string {
				return over(0, func(s *silence) float64 { return float64(f(s)) })
			}
			times = append(times, []string{
				string(w), fmt.Sprint(rooms),
				ms(func(s *silence) time.Duration { return s.Ended }),
				ms(func(s *silence) time.Duration { return s.First }),
				ratio(func(s *silence) time.Duration { return s.First }),
				ms(func(s *silence) time.Duration { return s.Last }),
				ms(func(s *silence) time.Duration { return s.All }),
				ratio(func(s *silence) time.Duration { return s.All }),
				ms(func(s *silence) time.Duration { return s.Outward }),
				ms(func(s *silence) time.Duration { return s.Beside }),
			})
			counts = append(counts, []string{
				string(w), fmt.Sprint(rooms),
				count(func(s *silence) int { return s.Sent }),
				count(func(s *silence) int { return s.Lost }),
				count(func(s *silence) int { return s.Late }),
				ms(func(s *silence) time.Duration { return s.Delay }),
				count(func(s *silence) int { return s.Unsent }),
				over(2, func(s *silence) float64 { return s.Node.total().Seconds() }),
				over(2, func(s *silence) float64 { return s.Brokers.total().Seconds() }),
			})
		}
	}
	times.Write(out)
	counts.Write(out)
	fmt.Fprintf(out, silenceNotes, r.Config.Rate, min(r.Config.Sample, slices.Max(r.Config.Rooms)), late.Milliseconds(),
		1000*r.Config.Sample/r.Config.Rate, outRate, r.Config.Watch)
}

// ratio is a time of s, against that of the bare client in the same run.
func (r *roomsReport) ratio(s *silence, of func(*silence) time.Duration) float64 {
	for _, base := range r.Silences {
		if base.Run == s.Run && base.Rooms == s.Rooms && base.Who == bareClient && of(base) > 0 {
			return float64(of(s)) / float64(of(base))
		}
	}
	return 0
}

const silenceNotes = `- Two other nodes, each on one of the servers that live on, send %d messages a second together, to a sample of %d rooms in turn. Times count
  from the kill. A message is late that took longer than %d ms. After the last one that was lost, nothing was. A room is reached when a
  message to it has come again; each gets one every %d ms, so that is how exact the column is.
- A connection to the killed server ends when the kernel has taken its process apart: before that, nobody can know.
- The node itself sends %d messages a second to the others; what it cannot send at once waits. The others send some to each other, which
  pass by the dead server: what these are late by is what the servers that live on need for themselves. They keep everybody waiting
  while they take the dead one's subscriptions out of their lists.
- CPU is that of the %v after the kill, of what the messages cost too.
- A ratio is that of two times in the same run.
`
