package mesh

import (
	"slices"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// emitted is a script whose node has sent n broadcasts on a.
func emitted(t *testing.T, n, size int, edit ...func(*Config[string])) *script {
	s := newScript(t, edit...)
	s.knows("o", 0)
	for range n {
		s.emits(size, "a")
	}
	return s
}

// resent checks the answer to a Nack: the numbers that were sent again, and the Gone behind them.
func (s *script) resent(from, upto uint64, gone Gone) {
	s.Helper()
	seq := from
	for _, e := range effects[Resend[string]](s) {
		if e.To != "o" || e.Stamp.Sequence != seq || e.Broadcast == "" {
			s.Fatalf("sent %v to %s as %d again, want %d", e.Broadcast, e.To, e.Stamp.Sequence, seq)
		}
		seq++
	}
	if seq != upto+1 {
		s.Fatalf("sent up to %d again, want %d", seq-1, upto)
	}
	got := sent[*Gone](s, "o")
	if len(got) != 1 || got[0].Horizon != gone.Horizon || !slices.EqualFunc(got[0].Stubs, gone.Stubs, func(a, b Stub) bool {
		return a.Sequence == b.Sequence && slices.Equal(a.Links, b.Links)
	}) {
		s.Fatalf("ended with %+v, want %+v", got, gone)
	}
	end := slices.IndexFunc(s.got, func(e Effect) bool {
		send, ok := e.(Send)
		return ok && send.Message == Message(got[0])
	})
	if slices.ContainsFunc(s.got[end:], func(e Effect) bool { _, ok := e.(Resend[string]); return ok }) {
		s.Fatal("Gone is not the end of the answer")
	}
}

func (s *script) nacked(ranges ...Range) { s.hears("o", &Nack{Ranges: ranges}) }

func TestNackIsAnswered(t *testing.T) {
	s := emitted(t, 3, 10)
	s.emits(10, "b")      // 4
	s.emits(10, "a", "b") // 5
	s.nacked(missing("a", 1, 3))
	s.resent(2, 3, Gone{})
	if got := effects[Resend[string]](s)[0]; got.Broadcast != "me2" || !slices.Equal(got.Stamp.Prev, []uint64{1}) {
		t.Errorf("sent %+v again, want me2 as it was", got)
	}
	s.nacked(missing("a", 3, 5), missing("b", 0, 4))
	s.resent(4, 5, Gone{})
	if got := effects[Resend[string]](s)[1]; !slices.Equal(got.Stamp.Prev, []uint64{3, 4}) {
		t.Errorf("sent %+v again, want it as it was", got)
	}
	s.nacked(missing("c", 0, 5))
	s.resent(1, 0, Gone{})
	s.nacked(missing("a", 1<<63, 1<<63+1))
	s.resent(1, 0, Gone{})
	s.nacked(missing("a", 4, ^uint64(0)))
	s.resent(5, 5, Gone{})
	s.nacked()
	s.resent(1, 0, Gone{})
	kit.Equal(t, s.Counts().Repairs, 5, "repairs counted")
	s.LinkDown(s.at, s.Last())
	s.nacked(missing("a", 0, 5))
	kit.Equal(t, len(s.got), 0, "effects without a link", s.got)
}

// An answer is a window: as many broadcasts as fit, and as many bytes. The asker goes on at its end.
func TestAnswerIsBounded(t *testing.T) {
	few := limited(Limits{Repairs: 20})
	s := emitted(t, 25, 10, few)
	s.nacked(missing("a", 0, 25))
	s.resent(1, 20, Gone{})
	s.nacked(missing("a", 20, 25))
	s.resent(21, 25, Gone{})

	s = emitted(t, 5, maxRepairBytes/2)
	s.nacked(missing("a", 0, 5))
	s.resent(1, 2, Gone{})
	s = emitted(t, 2, 2*maxRepairBytes)
	s.nacked(missing("a", 0, 2))
	s.resent(1, 1, Gone{})
	s.nacked(missing("a", 1, 2))
	s.resent(2, 2, Gone{})
}

// What has left the ring is named, one by one, and what has left it altogether by the horizon.
func TestAnswerOfWhatIsGone(t *testing.T) {
	s := emitted(t, 5, 10, limited(Limits{RingBytes: 20, RingStamps: 4}))
	s.emits(10, "b") // 6: payloads of 5 and 6 are left, stamps of 3 to 6
	s.nacked(missing("a", 0, 5))
	s.resent(5, 5, Gone{Horizon: 2, Stubs: []Stub{number(3, "a", 2), number(4, "a", 3)}})
	s.nacked(missing("a", 3, 4))
	s.resent(1, 0, Gone{Horizon: 2, Stubs: []Stub{number(4, "a", 3)}})

	s = emitted(t, 25, 10, limited(Limits{RingBytes: 20, Repairs: 20}))
	s.nacked(missing("a", 0, 25)) // Gone is bounded, too
	if got := sent[*Gone](s, "o"); len(got) != 1 || len(got[0].Stubs) != 20 || len(effects[Resend[string]](s)) != 0 {
		t.Errorf("%d are gone in one answer, want 20", len(got[0].Stubs))
	}
}

// What is gone and waits for something beyond the horizon is asked for again at once: then it counts in its place.
func TestGoneAboveTheHorizon(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 10, []uint64{9}, "a")
	s.asks("o", missing("a", 5, 9))
	gone := &Gone{Horizon: 7, Stubs: []Stub{number(9, "a", 6)}}
	s.wait(minNackInterval)
	s.hears("o", gone)
	s.loses(Lost{Node: "o", After: 5, Upto: 7, Unknown: true})
	s.asks("o", missing("a", 7, 9))
	s.hears("o", gone)
	s.loses(Lost{Node: "o", After: 8, Upto: 9})
	s.delivers("o10")
}

// What is gone counts once each, in its place, and what waited for it goes on.
func TestGone(t *testing.T) {
	s := newScript(t)
	s.receives("o", 1, "a", "b")
	s.gets("o", 5, []uint64{4}, "a")
	s.asks("o", missing("a", 1, 4))
	gone := &Gone{Stubs: []Stub{number(2, "a", 1), number(3, "a", 2, "b", 1), number(4, "a", 3), number(5, "a", 4), number(6, "c", 0)}}
	s.hears("o", gone)
	lost := func(seq uint64) Lost { return Lost{Node: "o", After: seq - 1, Upto: seq} }
	s.loses(lost(2), lost(3), lost(4))
	s.delivers("o5")
	kit.Equal(t, slices.IndexFunc(s.got, func(e Effect) bool { _, ok := e.(Deliver[string]); return ok }), 3,
		"delivered as effect behind the three losses")
	s.hears("o", gone) // again
	s.loses()
	s.gets("o", 3, []uint64{2, 1}, "a", "b") // it comes after all
	s.delivers()
	s.gets("o", 7, []uint64{3}, "b") // 3 is accounted for here, too
	s.delivers("o7")
	s.hears("o", beat(1, 7, tail("a", 5), tail("b", 7)))
	s.empty("o", 7)
	s.hears("o", gone)
	s.loses()
	s.counted(Counts{Delivered: 2, Missed: 3, Copies: 1})
}

// A number that is gone and waits says what is missing in front of it, or nobody would ever ask for that.
func TestGoneThatWaits(t *testing.T) {
	s := newScript(t)
	s.receives("o", 1, "a", "b")
	s.gets("o", 4, []uint64{3}, "a")
	s.asks("o", missing("a", 1, 3))
	s.hears("o", &Gone{Stubs: []Stub{number(3, "a", 1, "b", 2)}}) // 2 on b was lost, too
	s.loses()
	s.wait(nackInterval)
	s.asks("o", Range{hashOf("a"), 1, 3}, Range{hashOf("b"), 1, 2})
	s.repaired("o", 2, []uint64{1}, "b")
	s.delivers("o2")
	s.hears("o", &Gone{Stubs: []Stub{number(3, "a", 1, "b", 2)}})
	s.delivers("o4")
	s.counted(Counts{Delivered: 2, Repaired: 1, Missed: 1})
}

// What is gone, but has come, is no loss: neither what was delivered nor what is held.
func TestGoneIsHere(t *testing.T) {
	s := newScript(t)
	s.receives("o", 1, "b")
	s.gets("o", 2, []uint64{1, 1}, "a", "b")
	s.delivers("o2")
	s.LinkDown(s.at, s.Last())
	s.joins(2, "a") // presumed: a is tracked from 1
	s.did(s.LinkUp(s.at))
	s.gets("o", 5, []uint64{4}, "a")
	s.gets("o", 4, []uint64{2}, "a") // held
	s.delivers()
	s.hears("o", &Gone{Stubs: []Stub{number(2, "a", 1, "b", 1), number(4, "a", 2)}})
	s.loses()
	s.delivers("o4", "o5")
	s.counted(Counts{Delivered: 3})
}

// Nor is what waits for a request to be carried out.
func TestGoneBehindARequest(t *testing.T) {
	s := newScript(t)
	s.receives("o", 1, "a")
	request := incoming("o", 3, []uint64{2}, "a")
	request.Changes = true
	s.did(s.Broadcast(s.at, "o", request))
	s.gets("o", 5, []uint64{4}, "a")
	s.hears("o", &Gone{Stubs: []Stub{number(2, "a", 1), number(4, "a", 3), number(5, "a", 4)}})
	s.delivers("o3")
	s.loses(Lost{Node: "o", After: 1, Upto: 2}, Lost{Node: "o", After: 3, Upto: 4})
	s.did(s.Resume(s.at, "o"))
	s.delivers("o5")
	s.counted(Counts{Delivered: 2, Missed: 2})
}

// Beyond the horizon it is unknown what was lost; but not if nothing was missing there.
func TestGoneByTheHorizon(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.hears("o", beat(5, 20, tail("a", 18), tail("b", 9)))
	s.gets("o", 12, []uint64{11}, "a") // held
	s.gets("o", 19, []uint64{18}, "a")
	s.repaired("o", 9, []uint64{0}, "b")
	s.hears("o", &Gone{Horizon: 15, Stubs: []Stub{number(18, "a", 15)}})
	s.loses(Lost{Node: "o", After: 5, Upto: 15, Unknown: true})
	s.delivers("o12")
	s.asks("o", missing("a", 15, 18)) // in front of 18 there might have been something: it counts next time
	s.hears("o", &Gone{Horizon: 15, Stubs: []Stub{number(18, "a", 15)}})
	s.loses(Lost{Node: "o", After: 17, Upto: 18})
	s.delivers("o19")
	s.empty("o", 20)

	s.gets("o", 21, []uint64{19}, "a")
	s.hears("o", beat(20, 22, tail("a", 21)))
	s.gets("o", 25, []uint64{24}, "a")
	s.hears("o", &Gone{Horizon: 21}) // all up to there is here
	s.loses()
	s.hears("o", &Gone{Horizon: 24}) // and that is not
	s.loses(Lost{Node: "o", After: 22, Upto: 24, Unknown: true})
	s.delivers("o25")
	s.counted(Counts{Delivered: 5, Repaired: 1, Missed: 1, Unknown: 2, Overtaken: 0})
}
