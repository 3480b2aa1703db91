package adaptertest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// caseLabel is the profiler's label of the goroutines that a case starts, directly or not. Its value is the case's number, so that cases
// of several suites and other tests may run at the same time.
const caseLabel = "adaptertest"

var caseNumber atomic.Uint64

// labelled runs the case with its label.
func (c *cluster) labelled(test func(c *cluster)) {
	c.label = strconv.FormatUint(caseNumber.Add(1), 10)
	pprof.Do(context.Background(), pprof.Labels(caseLabel, c.label), func(context.Context) { test(c) })
}

// goroutines returns how many goroutines run that the case has started, and their stacks.
func (c *cluster) goroutines() (n int, stacks string) {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1) // a buffer takes everything
	label := fmt.Sprintf("\n# labels: {%q:%q}\n", caseLabel, c.label)
	var own strings.Builder
	for group := range strings.SplitSeq(all.String(), "\n\n") {
		if !strings.Contains(group, label) {
			continue
		}
		own.WriteString(group + "\n\n")
		for line := range strings.Lines(group) {
			if count, _, ok := strings.Cut(line, " @ "); ok {
				k, _ := strconv.Atoi(count)
				n += k
				break
			}
		}
	}
	return n, own.String()
}

// pollGoroutines is how often the goroutines are counted.
const pollGoroutines = 5 * time.Millisecond

// settledGoroutines returns the number of goroutines once it has stopped falling: brokers in this process need a while to notice that
// a link has gone.
func (c *cluster) settledGoroutines() int {
	const steady = 20 // polls without a new minimum
	tick := time.NewTicker(pollGoroutines)
	defer tick.Stop()
	least, _ := c.goroutines()
	for since, late := 0, time.Now().Add(c.timeout); since < steady && time.Now().Before(late); since++ {
		<-tick.C
		if n, _ := c.goroutines(); n < least {
			least, since = n, 0
		}
	}
	return least
}

// noMoreGoroutines ends the case unless there are soon no more goroutines than most. what says what has happened since there were before.
func (c *cluster) noMoreGoroutines(before, most int, what string) {
	c.t.Helper()
	tick := time.NewTicker(pollGoroutines)
	defer tick.Stop()
	for late := time.Now().Add(c.timeout); ; {
		n, stacks := c.goroutines()
		if n <= most {
			return
		}
		if time.Now().After(late) {
			c.fatalf("%d goroutines before %s, %d afterwards:\n%s", before, what, n, stacks)
		}
		<-tick.C
	}
}
