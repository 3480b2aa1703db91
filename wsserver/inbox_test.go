package wsserver

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// owned is an [inboxOwner], with its inbox, that notes what it is told, and whose goroutine is the test's.
type owned struct {
	inbox
	limits inboxLimits
	ended  bool
	told   []string
}

// oneEvent is the size of an event without arguments.
var oneEvent = size(&packet.Packet{Type: packet.Event})

func newOwned(events int) *owned {
	return &owned{limits: inboxLimits{events: events, budget: budget.New(1 << 30)}}
}

func (o *owned) over() bool { return o.ended }
func (o *owned) run()       { o.told = append(o.told, "run") }
func (o *owned) pause()     { o.told = append(o.told, "pause") }
func (o *owned) resume()    { o.told = append(o.told, "resume") }

func (o *owned) add(n int) {
	for range n {
		o.push(&packet.Packet{Type: packet.Event}, o, &o.limits)
	}
}

// want checks what the owner was told since the last look, and how much of the budget is taken.
func (o *owned) want(t *testing.T, what string, events int, told ...string) {
	t.Helper()
	if !slices.Equal(o.told, told) || o.limits.budget.Used() != int64(events*oneEvent) {
		t.Errorf("%s: told %q, %d bytes taken, want %q, %d", what, o.told, o.limits.budget.Used(), told, events*oneEvent)
	}
	o.told = nil
}

// TestInbox: a goroutine exists while there are events, and the client is not read from the bound on until half of them are left.
func TestInbox(t *testing.T) {
	o := newOwned(4)
	o.add(3)
	o.want(t, "three events", 3, "run")
	o.add(2)
	o.want(t, "the bound", 5, "pause")
	for left := 5; left > 0; left-- {
		if p, last := o.next(o, &o.limits); p == nil || last {
			t.Fatalf("no event, with %d left", left)
		}
		if left == 3 {
			o.want(t, "half are left", left, "resume")
		} else {
			o.want(t, "an event is handled", left)
		}
	}
	if p, last := o.next(o, &o.limits); p != nil || last || o.events != nil {
		t.Errorf("got %v, %v, %v of an inbox that is empty", p, last, o.events)
	}
	o.want(t, "none is left", 0)
	o.add(1)
	o.want(t, "the next one", 1, "run")
}

// TestInboxCloses: at the end the events that wait are handled, or discarded; the goroutine, which is there or is started, has one thing
// more to do; and the client is read on only when that is done.
func TestInboxCloses(t *testing.T) {
	for _, c := range []struct {
		events  int
		discard bool
		told    []string
	}{{0, false, []string{"run"}}, {0, true, []string{"run"}}, {3, false, nil}, {3, true, nil}} {
		o := newOwned(2)
		o.add(c.events)
		left := c.events
		if left > 0 {
			o.next(o, &o.limits)
			left--
		}
		o.told, o.ended = nil, true
		want := 0
		if c.discard {
			want, left = left, 0
		}
		if got := o.close(o, &o.limits, c.discard); got != want {
			t.Errorf("%+v: discarded %d, want %d", c, got, want)
		}
		o.want(t, "closed", left, c.told...)
		o.add(1)
		o.want(t, "an event after the end", left)
		for ; left > 0; left-- {
			if p, last := o.next(o, &o.limits); p == nil || last {
				t.Errorf("%+v: no event, with %d left", c, left)
			}
		}
		paused := o.pausing
		o.told = nil
		if p, last := o.next(o, &o.limits); p != nil || !last {
			t.Errorf("%+v: got %v, %v, want nothing but the last thing", c, p, last)
		}
		o.unpause(o)
		o.unpause(o)
		if paused {
			o.want(t, "released", 0, "resume")
		} else {
			o.want(t, "released", 0)
		}
	}
}

// TestLoad: what waits and what is handled counts, from when the handlers took the last event, or the first one came.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwned(10)
		want := func(what string, events int, waits time.Duration) {
			t.Helper()
			if n, got := o.load(); n != events*oneEvent || got != waits {
				t.Errorf("%s: got %d bytes, %v, want %d, %v", what, n, got, events*oneEvent, waits)
			}
		}
		want("nothing", 0, 0)
		o.add(2)
		time.Sleep(time.Second)
		o.add(1)
		want("three wait", 3, time.Second)
		o.next(o, &o.limits)
		want("the first is taken", 3, 0)
		time.Sleep(2 * time.Second)
		want("it is handled", 3, 2*time.Second)
		o.next(o, &o.limits)
		want("the second is taken", 2, 0)
	})
}
