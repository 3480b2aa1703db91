// Soak has clients, rooms, namespaces and emitters come and go on two servers over NATS, all in this process, and finds out whether something
// is left behind: after each cycle, when all clients have gone, memory, goroutines, descriptors and NATS subscriptions must be what they were.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	f := flag.NewFlagSet("soak", flag.ExitOnError)
	var cfg config
	last := f.Duration("for", 5*time.Minute, "how `long` cycles begin; there are three at the least")
	f.DurationVar(&cfg.cycle, "cycle", 15*time.Second, "how `long` clients come and go before all leave and what is left is measured")
	f.IntVar(&cfg.clients, "clients", 100, "how `many` clients there are at a time")
	f.Usage = func() {
		fmt.Fprint(f.Output(), `Soak has clients come and go on two servers over NATS, by WebSocket, by polling and with the change between them: they join and leave rooms,
use namespaces that are made for them, broadcast, and end in every way. Emitters come and go, too. After each cycle all leave; then the heap,
goroutines, descriptors and NATS subscriptions are measured. The first cycle is to warm up. The verdict is about the last against the
first: exit status 1 if something has grown, or the clients did not get what they should.

  go run ./test/soak -for 1h

`)
		f.PrintDefaults()
	}
	f.Parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := soak(ctx, cfg, *last); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// A config says how a cycle is.
type config struct {
	cycle   time.Duration
	clients int
}

// minCycles are one to warm up, one to measure, and one to compare.
const minCycles = 3

// soak runs cycles, and returns what is wrong.
func soak(ctx context.Context, cfg config, last time.Duration) error {
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	var gauges []gauge
	for start := time.Now(); ctx.Err() == nil && (len(gauges) < minCycles || time.Since(start) < last); {
		w.churn(ctx, cfg)
		g, err := w.settle(ctx, gauges)
		if err != nil {
			return err
		}
		gauges = append(gauges, g)
		fmt.Printf("%8s  cycle %d: %s; %s\n", time.Since(start).Round(time.Second), len(gauges), g, w.progress())
	}
	if len(gauges) < minCycles {
		return fmt.Errorf("interrupted after %d cycles: no verdict", len(gauges))
	}
	if err := verdict(gauges); err != nil {
		return err
	}
	if err := w.verdict(); err != nil {
		return err
	}
	fmt.Printf("all is flat: %s after the first cycle, %s after the last one\n", gauges[0], gauges[len(gauges)-1])
	return nil
}
