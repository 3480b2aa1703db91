package wsserver

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// TestLife: each step is taken once, in its order, by whoever comes first, and none after the end but those of the worker.
func TestLife(t *testing.T) {
	why := errors.New("why")
	yes, no := func() bool { return true }, func() bool { return false }
	never := func() bool { t.Error("a step was taken twice, or after the end"); return true }
	var l life
	kit.Require(t, !l.over() && l.reason() == nil && !l.greet(no) && l.at() == connecting,
		"a life has ended, or gone on, before it began")
	kit.Require(t, l.greet(yes) && l.at() == connected && !l.greet(never), "want one greeting")
	kit.Require(t, !l.end(connected, why, func(bool) { t.Error("refused, when connected") }) && !l.over(),
		"what is connected was refused")
	kit.Require(t, l.seated() && !l.park(no) && l.seated() && l.park(yes) && !l.seated() && l.park(never) && !l.bar(),
		"want a seat on which a session is left once")
	kit.Require(t, !l.unpark(no) && !l.seated(), "the seat was not taken, and it sits there")
	l.unpark(yes)
	kit.Require(t, l.seated() && l.bar() && !l.park(never), "who was barred has left a session")
	did := 0
	for range 2 {
		l.end(ended, why, func(greeted bool) {
			did++
			kit.Check(t, greeted && context.Cause(&l.ctx) == why,
				"the end does not know of the greeting, or of its reason")
		})
	}
	kit.Require(t, did == 1 && l.over() && l.reason() == why && !l.greet(never),
		"ended %d times, with %v, want once", did, l.reason())
	if l.advance(parting); l.at() != parting || !l.over() {
		t.Error("the life is not parting")
	}
}

// TestReasonOfARacingEnd: whoever sees that a life has ended knows the reason.
func TestReasonOfARacingEnd(t *testing.T) {
	for range 1000 {
		var l life
		var wg sync.WaitGroup
		wg.Go(func() { l.end(ended, ErrTransportClose, func(bool) {}) })
		for !l.over() {
			runtime.Gosched() // the other may need this processor
		}
		kit.Require(t, l.reason() == ErrTransportClose, "got reason %v", l.reason())
		wg.Wait()
	}
}

// TestAcksOfARacingEnd: what waits for an acknowledgement as the life ends is told once that none will come, or is refused.
func TestAcksOfARacingEnd(t *testing.T) {
	for range 1000 {
		var (
			l     life
			a     acks
			wg    sync.WaitGroup
			mu    sync.Mutex
			calls int
		)
		wg.Go(func() {
			l.end(ended, ErrTransportClose, func(bool) {})
			a.removeAll()
		})
		refused := 0
		for id := range uint64(4) {
			err := a.add(&l, id, func(_ packet.Args, ok bool) {
				mu.Lock()
				defer mu.Unlock()
				if calls++; ok {
					t.Error("an acknowledgement came")
				}
			})
			if err != nil {
				refused++
			}
		}
		wg.Wait()
		kit.Require(t, calls+refused == 4 && len(a.waiting) == 0,
			"%d were told, %d refused, %d still wait, want 4, and none", calls, refused, len(a.waiting))
	}
}

// TestAcks: an acknowledgement has one taker, and only so many are waited for.
func TestAcks(t *testing.T) {
	var l life
	var a acks
	for id := range uint64(maxAcks) {
		kit.OK(t, a.add(&l, id, func(packet.Args, bool) {}))
	}
	kit.Equal(t, a.add(&l, maxAcks, func(packet.Args, bool) {}), ErrTooManyAcks)
	for id := range uint64(maxAcks + 1) {
		if got := a.remove(id) != nil; got != (id < maxAcks) || a.remove(id) != nil {
			t.Fatalf("acknowledgement %d: taken %v, or twice", id, got)
		}
	}
	kit.Check(t, a.waiting == nil, "the memory of what was waited for is kept")
}

// TestSocketIsSmall: an idle socket is the size of a class of the allocator's, and its connection of another.
func TestSocketIsSmall(t *testing.T) {
	if s, c := unsafe.Sizeof(Socket{}), unsafe.Sizeof(conn{}); s > 192 || c > 128 {
		t.Errorf("a Socket takes %d bytes, a conn %d; want 192 and 128", s, c)
	}
}
