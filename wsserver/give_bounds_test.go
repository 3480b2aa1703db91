package wsserver_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestGiveMany: many sessions are handed over in few calls, within the time that the pace takes.
func TestGiveMany(t *testing.T) {
	n := 600
	if testing.Short() || kit.Raced {
		n = 100
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 3, wsserver.Config{})
		for i := range n - 1 {
			c := wstest.Dial(t, h.srvs[0], wstest.Config{})
			kit.OK(t, socketOf(t, h.srvs[0], c).Join(t.Context(), "x", fmt.Sprint("own ", i)))
		}
		var mu sync.Mutex
		calls := make(map[string]int)
		for _, srv := range h.srvs[1:] {
			for _, kind := range []string{wsserver.Offer, wsserver.Give} {
				srv.Around(kind, func(serve func()) bool {
					mu.Lock()
					calls[kind]++
					mu.Unlock()
					serve()
					return true
				})
			}
		}
		for i := range 50 {
			h.say(0, strings.Repeat("x", 100)+fmt.Sprint(i))
		}
		synctest.Wait()
		start := time.Now()
		h.drain(0, wsserver.Drain{Notice: -1, Over: 2 * time.Second, Linger: -1})
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			h.say(1, strings.Repeat("y", 100))
		}
		h.drained()
		kit.Took(t, start, 0, 5*time.Second, "the drain took")
		h.given(n, 0)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		mu.Lock()
		t.Logf("%d sessions: %v; calls %v; heap %d MiB", n, time.Since(start), calls, m.HeapInuse>>20)
		if calls[wsserver.Give] > 200 {
			t.Errorf("%v calls", calls)
		}
		mu.Unlock()
		kit.Equal(t, h.srvs[1].Stats().Recovery.Away+h.srvs[2].Stats().Recovery.Away, n, "sessions")
		for i, srv := range h.srvs {
			t.Logf("node %d: log %d entries, %d KiB", i, srv.Stats().Recovery.LogEntries, srv.Stats().Recovery.LogBytes>>10)
		}
	})
}

// TestGiveTooMuch: a session that has missed more than a client may get is handed over without it, and
// only a client that has the beginning of it is recovered.
func TestGiveTooMuch(t *testing.T) {
	for _, seen := range []int{0, 30} {
		kit.Bubble(t, fmt.Sprint("seen ", seen), func(t *testing.T) {
			cfg := wsserver.Config{Limits: wsserver.Limits{QueueBytes: 64 << 10, MaxPayload: 64 << 10}}
			h := newHandover(t, 2, cfg)
			for i := range seen {
				h.say(0, fmt.Sprint(i, strings.Repeat("x", 2<<10)))
				synctest.Wait()
			}
			heard(h.c)
			h.c.Stall()
			synctest.Wait()
			h.lose()
			for i := range 30 - seen/2 {
				h.say(0, fmt.Sprint(i, strings.Repeat("y", 2<<10)))
			}
			h.leaves(0, quick)
			h.given(1, 0)
			h.c.Return(h.srvs[1])
			wantBackAs(t, h.c, h.id, seen > 0)
			if got := heard(h.c); seen > 0 {
				kit.Len(t, got, 30-seen/2)
			} else {
				kit.EqualSlices(t, got, nil)
			}
		})
	}
}

// TestGiveManyBytes: a batch of sessions of which each has missed much is handed over, too.
func TestGiveManyBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 40
		if kit.Raced {
			n = 12
		}
		h := newHandover(t, 2, wsserver.Config{Recovery: &wsserver.Recovery{LogBytes: 256 << 20}})
		for range n - 1 {
			c := wstest.Dial(t, h.srvs[0], wstest.Config{})
			kit.OK(t, socketOf(t, h.srvs[0], c).Join(t.Context(), "x"))
			c.Abort()
		}
		h.lose()
		for i := range 90 {
			h.say(0, fmt.Sprint(i, strings.Repeat("x", 10<<10)))
		}
		start := time.Now()
		h.drain(0, quick)
		h.drained()
		h.given(n, 0)
		s := h.srvs[1].Stats().Recovery
		t.Logf("%d sessions of 0.9 MB: %v; the heir's log %d MiB", n, time.Since(start), s.LogBytes>>20)
		h.c.Return(h.srvs[1])
		wantBackAs(t, h.c, h.id, true)
		kit.Len(t, heard(h.c), 90)
	})
}

// TestGiveCut: the link of the leaving node or the heir is down for a time during a hand-over. No session
// is lost or doubled.
func TestGiveCut(t *testing.T) {
	for _, call := range []string{wsserver.Offer, wsserver.Give} {
		for _, after := range []bool{false, true} {
			for _, down := range []time.Duration{time.Second, 7 * time.Second} {
				kit.Bubble(t, fmt.Sprint(call, after, down), func(t *testing.T) {
					memory := new(adapter.Memory)
					h := newHandover(t, 3, wsserver.Config{Adapter: memory})
					h.say(0, 1)
					kit.EqualSlices(t, heard(h.c), []string{"1"})
					var restored sync.WaitGroup
					h.at(call, after, func() {
						restore := memory.Interrupt()
						restored.Go(func() {
							time.Sleep(down)
							restore()
						})
					})
					h.drain(0, quick)
					time.Sleep(100 * time.Millisecond)
					h.drained()
					restored.Wait()
					time.Sleep(10 * time.Second)
					s := h.srvs[0].Stats().Drain
					t.Logf("%+v, away %d", s, h.away())
					kit.Equal(t, s.HandedOver+s.NotHandedOver, 1, "sessions that are counted")
					if call != wsserver.Give || down < 5*time.Second { // else the leaving node cannot know that the heir has it
						kit.Equal(t, h.away(), 1, "sessions")
					}
					h.say(1, 2)
					h.back(2, true, "2")
					kit.Close(t, h.srvs[0])
				})
			}
		}
	}
}
