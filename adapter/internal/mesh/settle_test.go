package mesh

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// settled checks which Settles have ended in the last step: pairs of ref and unsettled nodes.
func (s *script) settled(want ...any) {
	s.Helper()
	var got []any
	for _, e := range s.got {
		if e, ok := e.(Settled[any]); ok {
			got = append(got, e.Wait, e.Unsettled)
		}
	}
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("Settles ended: %v, want %v", got, want)
	}
}

func (s *script) settles(ref any) { s.did(s.Settle(s.at, ref)) }

// asked is a heartbeat that answers a Resync.
func asked(a, b uint64, tails ...Tail) *Heartbeat {
	h := beat(a, b, tails...)
	h.Asked = true
	return h
}

func TestSettleAlone(t *testing.T) {
	s := newScript(t)
	s.wait(time.Second)
	s.settles("x")
	s.settled("x", none)
	kit.Equal(t, len(sent[*Fence](s, "")), 0, "fences")
}

// In a quiet cluster a Settle is one fence and its answers, however many wait for it.
func TestSettleQuiet(t *testing.T) {
	s := newScript(t)
	s.knows("a", 5)
	s.knows("b", 7)
	s.settles("x")
	fence := one[*Fence](s, "")
	kit.Equal(t, fence.Hello, false, "hello")
	s.settled()
	s.settles("y") // this one must not take the answers to that fence
	s.settles("z")
	kit.Equal(t, len(effects[Send](s)), 0, "messages")
	s.answers("a", 5)
	s.settled()
	s.answers("b", 7)
	s.settled("x", none)
	kit.Equal(t, one[*Fence](s, "").Number, fence.Number+1, "number of the next fence")
	s.answers("b", 7)
	s.answers("a", 5)
	s.settled("y", none, "z", none)
	kit.Equal(t, len(effects[Send](s)), 0, "messages")
	kit.Equal(t, s.Counts().Settles, 2, "rounds")
}

// What was lost at the end of a topic is asked for, and delivered before the Settle ends.
func TestSettleOfALostEnd(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.hears("a", beat(0, 5))
	s.settles("x")
	s.answers("a", 6)
	s.resyncs("a", 5)
	s.hears("a", asked(5, 6, tail("red", 6)))
	s.asks("a", missing("red", 5, 6))
	s.settled()
	s.repaired("a", 6, []uint64{5}, "red")
	s.delivers("a6")
	s.settled("x", none)
	if _, last := s.got[len(s.got)-1].(Settled[any]); !last {
		t.Errorf("%T is the last effect, want Settled", s.got[len(s.got)-1])
	}
}

// What has gone is counted before the Settle ends.
func TestSettleOfWhatHasGone(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.settles("x")
	s.answers("a", 6)
	s.hears("a", asked(5, 6, tail("red", 6)))
	s.hears("a", &Gone{Stubs: []Stub{number(6, "red", 5)}})
	s.loses(Lost{Node: "a", After: 5, Upto: 6})
	s.settled("x", none)
}

// A heartbeat that was on its way when the Settle began says nothing of what was sent since; nor does an answer to an older fence.
func TestSettleTakesNoOldAnswer(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.joins("j", "blue") // a fence is under way
	s.settles("x")
	s.hears("a", asked(5, 6, tail("red", 6)))
	s.repaired("a", 6, []uint64{5}, "red")
	s.settled()
	s.answers("a", 6)
	s.ended("j", none)
	s.settled()
	kit.Equal(t, len(sent[*Fence](s, "")), 1, "fences")
	s.hears("a", beat(5, 6))
	s.settled()
	s.answers("a", 7)
	s.resyncs("a", 6)
	s.hears("a", asked(5, 6, tail("red", 6))) // to an older Resync
	s.settled()
	s.wait(minNackInterval)
	s.hears("a", asked(6, 7, tail("blue", 7)))
	s.asks("a", missing("blue", 6, 7))
	s.repaired("a", 7, []uint64{0}, "blue")
	s.settled("x", none)
}

// A Resync that is lost, or its answer, or a part of it, is sent again.
func TestSettleAsksAgain(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.settles("x")
	s.answers("a", 9)
	s.resyncs("a", 5)
	s.wait(resyncInterval)
	s.resyncs("a", 5)
	half := asked(5, 9, tail("red", 8))
	half.Part, half.Parts = 1, 2
	s.hears("a", half)
	s.repaired("a", 8, []uint64{5}, "red")
	s.settled()
	s.wait(resyncInterval)
	s.resyncs("a", 5)
	half = asked(5, 9)
	half.Parts = 2
	s.hears("a", half)
	s.settled()
	half = asked(5, 9, tail("red", 8))
	half.Part, half.Parts = 1, 2
	s.hears("a", half)
	s.settled("x", none)
}

// The Resync of a Settle is sent at once, whenever another one was sent.
func TestSettleDoesNotWaitForTheResyncInterval(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.hears("a", beat(8, 9)) // one is missing
	s.resyncs("a", 5)
	s.wait(ms)
	s.settles("x")
	s.answers("a", 10)
	s.resyncs("a", 5)
}

// A request that changes what this node receives is carried out before the Settle ends.
func TestSettleWaitsForResume(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.settles("x")
	s.answers("a", 7)
	s.hears("a", asked(5, 7, tail("red", 7)))
	s.gets("a", 7, []uint64{6}, "red")
	in := incoming("a", 6, []uint64{5}, "red")
	in.Changes = true
	s.did(s.Broadcast(s.at, "a", in))
	s.delivers("a6")
	s.settled()
	s.did(s.Resume(s.at, "a"))
	s.delivers("a7")
	s.settled("x", none)
}

// Who does not answer is suspect then, as with a Join, and named; one that is suspect already is not waited for.
func TestSettleOfTheSilent(t *testing.T) {
	s := newScript(t)
	s.knows("a", 5)
	s.knows("b", 5)
	s.settles("x")
	s.answers("a", 5)
	s.wait(FenceTimeout)
	s.settled("x", []string{"b"})
	s.settles("y")
	s.settled()
	s.answers("a", 5)
	s.settled("y", []string{"b"})
	s.hears("a", &Bye{About: old, Last: 5})
	s.settles("z")
	s.settled("z", []string{"b"})
	kit.Equal(t, len(sent[*Fence](s, "")), 0, "fences: nobody is there to answer")
}

// What is missing is waited for longer than an answer, and not for ever.
func TestSettleOfWhatDoesNotCome(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.settles("x")
	began := s.at
	s.answers("a", 6)
	s.hears("a", asked(5, 6, tail("red", 6)))
	limit := 2*FenceTimeout + MaxPatience
	for s.at < began+limit-HeartbeatInterval {
		s.wait(HeartbeatInterval)
		s.settled()
		s.hears("a", beat(6, 6))
	}
	s.wait(began + limit - s.at)
	s.settled("x", []string{"a"})
}

func TestSettleWithoutLink(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.knows("b", 5)
	s.settles("x")
	s.answers("a", 6)
	s.answers("b", 5)
	s.settled()
	s.did(s.LinkDown(s.at, 0))
	s.settled("x", []string{"a"})
	s.settles("y")
	s.settled("y", []string{"a", "b"})
}

// A node that leaves sends nothing any more: its goodbye says what is waited for.
func TestSettleOfALeavingNode(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.knows("b", 5)
	s.hears("a", &Bye{About: old, Last: 6})
	s.settles("x")
	s.answers("b", 5)
	s.settled()
	s.hears("a", asked(5, 6, tail("red", 6)))
	s.settled()
	s.repaired("a", 6, []uint64{5}, "red")
	s.settled("x", none)

	s.settles("y")
	s.hears("b", &Bye{About: old, Last: 7}) // before it answers
	s.resyncs("b", 5)
	s.hears("b", asked(5, 7))
	s.settled("y", none)
}

// A node that dies, or goes while something of it is missing, is not taken for settled.
func TestSettleOfADyingNode(t *testing.T) {
	s := newScript(t)
	s.receives("a", 5, "red")
	s.settles("x")
	s.answers("a", 6)
	s.hears("a", asked(5, 6, tail("red", 6)))
	s.wait(SuspectAfter)
	s.settled("x", []string{"a"})
	s.wait(DeadAfter)
	s.settles("y")
	s.settled("y", none) // what was missing of it is counted
	kit.Equal(t, s.Counts().Unknown, 1, "losses")
}

// settle has n settle. All that those had sent when it began whom it does not name must have come, or have been counted.
func (n *node) settle(then func(unsettled []string)) {
	w := n.w
	began, before := w.now, make(map[*node]uint64)
	for o, sent := range w.sent() {
		if p := n.m.peers[o.id]; o != n && p != nil && !p.standing.over() {
			before[o] = sent
		}
	}
	n.settling++
	w.trace("%s settles", n.id)
	ended := func(unsettled []string) {
		n.settling--
		w.trace("%s has settled, but for %v", n.id, unsettled)
		wait := w.now - max(began, min(n.stretch, w.now))
		if limit := w.patience() + MaxPatience + 3*maxLate; wait > limit {
			w.fail("a Settle of %s took %v, more than %v", n.id, wait, limit)
		}
		for _, id := range unsettled {
			if o := w.node(id); o == nil || o == n {
				w.fail("a Settle of %s names %v, which are not other nodes", n.id, unsettled)
			} else if !w.any && !o.closing && o.alive {
				w.fail("a Settle of %s names %v in a healthy world", n.id, unsettled)
			}
		}
		for o, sent := range before {
			for _, d := range n.dues[o] {
				if d.e.stamp.Sequence <= sent && !slices.Contains(unsettled, o.id) {
					w.fail("%s has settled, and %v has not come", n.id, d.e)
				}
			}
		}
		then(unsettled)
	}
	n.step(func() []Effect { return n.m.Settle(n.clock(), &join{settled: ended}) })
}
