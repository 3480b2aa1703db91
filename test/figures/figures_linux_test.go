package figures

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) {
	child.Main(map[string]child.Role{"node": beNode})
	leak.Main(m, "belfry/")
}

func TestFigures(t *testing.T) {
	if kit.Raced {
		t.Skip("the race detector allocates, and has goroutines")
	}
	s := sheet{least: make(map[string]float64)}
	parts := map[string]func(*testing.T, *sheet){
		"Fanout": testFanout, "Events": testEvents, "Idle": testIdle, "Recovery": testRecovery,
		"Polling": testPolling, "SystemCalls": testSystemCalls,
	}
	var complete atomic.Int32 // parts that are
	t.Run("of", func(t *testing.T) {
		for name, test := range parts {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // they wait for their nodes
				test(t, &s)
				complete.Add(1)
			})
		}
	})
	t.Logf("as table_linux_test.go has it:\n%v", &s)
	for _, f := range table {
		_, ok := s.least[f.what]
		kit.Check(t, ok || int(complete.Load()) < len(parts), "nothing measures %q", f.what)
	}
	s.check(t)
}

func testFanout(t *testing.T, s *sheet) {
	n := start(t, nil, "JSON")
	r := n.room(t, 1000)
	for _, c := range []struct {
		figure    string
		at, times int
	}{
		{"allocations: a delivery, one publish at a time to 1,000", 1, 10},
		{"allocations: a delivery, 16 publishes at once to 1,000", 16, 2},
	} {
		r.publish(t, c.at)
		s.measure(t, c.figure, func() float64 {
			return n.allocations(t, c.at*c.times*len(r.members), func() {
				for range c.times {
					r.publish(t, c.at)
				}
			})
		})
	}
	s.measure(t, "writes: a delivery, 16 publishes at once to 1,000", func() float64 {
		before := n.gauge(t, "count")
		r.publish(t, 16)
		after := n.gauge(t, "count")
		return float64(after.Writes-before.Writes) / float64(after.Frames-before.Frames)
	})
}

func testEvents(t *testing.T, s *sheet) {
	const times = 200
	for codec := range codecs {
		n := start(t, nil, codec)
		c := n.connect(t)
		echo := n.echo(t)
		note := bytes.Repeat(n.frame(t, event(t, false, "note", payload)), times)
		echo.times(t, c, times)
		s.measure(t, "allocations: an event with ack, "+codec, func() float64 {
			return n.allocations(t, times, func() { echo.times(t, c, times) })
		})
		s.measure(t, "allocations: an event, "+codec, func() float64 {
			return n.allocations(t, times, func() {
				c.send(t, note)
				echo.times(t, c, 1) // behind the others
			})
		})
	}
}

// crowded is how many sockets are idle, of which memory is measured.
const crowded = 5000

func testIdle(t *testing.T, s *sheet) {
	n := start(t, nil, "JSON")
	needFiles(t)
	n.warm(t)
	count := func() float64 { return float64(n.gauge(t, "count").Goroutines) }
	alone := s.measure(t, "goroutines: a server that clients have left", count)
	before := n.gauge(t, "collect")
	goroutines := func() float64 { return count() - alone }
	var all []*client
	for range 5 {
		s.note(t, "allocations: a connect", n.allocations(t, crowded/5, func() {
			all = append(all, n.crowd(t, crowded/5)...)
			n.holds(t, len(all))
		}))
	}
	s.measure(t, "heap bytes: an idle socket", func() float64 {
		return float64(n.gauge(t, "collect").Heap-before.Heap) / crowded
	})
	s.measure(t, "goroutines: of 5,000 idle sockets", goroutines)
	for _, size := range []int{10, 1} {
		was := n.gauge(t, "collect").Heap
		n.gauge(t, fmt.Sprintf("rooms %d %d %d", crowded/2, size, 4))
		s.measure(t, fmt.Sprintf("heap bytes: a membership in a room of %d", size), func() float64 {
			return float64(n.gauge(t, "collect").Heap-was) / (crowded / 2 * 4)
		})
	}
	leave(all...)
	n.holds(t, 0)
	s.measure(t, "goroutines: left after 5,000 sockets", goroutines)
}

func testRecovery(t *testing.T, s *sheet) {
	n := start(t, nil, "JSON", "recovery")
	needFiles(t)
	n.warm(t)
	before := n.gauge(t, "collect")
	n.crowd(t, crowded)
	n.holds(t, crowded)
	s.measure(t, "heap bytes: an idle socket, with Recovery", func() float64 {
		return float64(n.gauge(t, "collect").Heap-before.Heap) / crowded
	})
}

func testPolling(t *testing.T, s *sheet) {
	const warm, size = 100, 1000
	n := start(t, nil, "JSON")
	web := &http.Client{Transport: new(http.Transport)}
	defer web.CloseIdleConnections()
	for range warm {
		n.poll(t, web)
	}
	before := n.gauge(t, "collect")
	for range size {
		n.poll(t, web)
	}
	n.holds(t, warm+size)
	s.measure(t, "heap bytes: a session that polls", func() float64 {
		return float64(n.gauge(t, "collect").Heap-before.Heap) / size
	})
}

func testSystemCalls(t *testing.T, s *sheet) {
	n := startTraced(t)
	r := n.room(t, 100)
	echo := n.echo(t)
	parts := []struct {
		figure string
		times  int // that it is done in a section
		do     func()
	}{
		{"system calls: a connect", 10, func() { n.crowd(t, 10) }},
		{"system calls: an event with ack", 50, func() { echo.times(t, r.from, 50) }},
		{"system calls: a delivery, one publish at a time to 100", 5 * 100, func() {
			for range 5 {
				r.publish(t, 1)
			}
		}},
		{"system calls: a delivery, 16 publishes at once to 100", 16 * 100, func() { r.publish(t, 16) }},
	}
	for range 4 {
		for _, p := range parts {
			n.section(t, p.figure, p.do)
		}
	}
	all := n.calls(t)
	for _, p := range parts {
		for _, c := range all[p.figure] {
			t.Logf("%s, %d times: %v", p.figure, p.times, c)
			s.note(t, p.figure, float64(c.sum())/float64(p.times))
		}
	}
}
