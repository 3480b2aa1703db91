package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// A gauge is what is there while no client is.
type gauge struct {
	heap          uint64 // bytes, after a garbage collection
	goroutines    int
	descriptors   int // -1 where they cannot be counted
	subscriptions int // at NATS
}

func measure(subscriptions int) gauge {
	runtime.GC()
	runtime.GC() // what has a finalizer goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	g := gauge{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine(), descriptors: -1, subscriptions: subscriptions}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		g.descriptors = len(entries)
	}
	return g
}

func (g gauge) String() string {
	return fmt.Sprintf("heap %.1f MB, %d goroutines, %d descriptors, %d subscriptions",
		float64(g.heap)/1e6, g.goroutines, g.descriptors, g.subscriptions)
}

// What may be more than in the first cycle: the places of nodes that have left are remembered, 1,024 at the most, and the runtime keeps
// something for itself.
const (
	heapSlack  = 4 << 20
	countSlack = 2
)

// grown returns what is more than it was.
func (g gauge) grown(since gauge) error {
	var errs []error
	grown := func(what string, before, now, slack int) {
		if now > before+slack {
			errs = append(errs, fmt.Errorf("%s: %d before, %d now", what, before, now))
		}
	}
	grown("bytes of heap", int(since.heap), int(g.heap), heapSlack)
	grown("goroutines", since.goroutines, g.goroutines, countSlack)
	grown("descriptors", since.descriptors, g.descriptors, countSlack)
	grown("NATS subscriptions", since.subscriptions, g.subscriptions, 0)
	return errors.Join(errs...)
}

// verdict compares the last gauge with the first.
func verdict(gauges []gauge) error {
	if err := gauges[len(gauges)-1].grown(gauges[0]); err != nil {
		return fmt.Errorf("something is left behind after %d cycles:\n%w", len(gauges), err)
	}
	return nil
}
