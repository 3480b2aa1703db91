package mesh

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestHeartbeatShowsLostTails(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.joins(2, "b") // pending: what is missing there is from before
	s.gets("o", 6, []uint64{0}, "a")
	s.hears("o", beat(5, 9, tail("a", 8), tail("b", 7), tail("c", 9)))
	s.asks("o", missing("a", 6, 8))
	s.stands("o", 5, 9)
	s.repaired("o", 8, []uint64{6}, "a")
	s.delivers("o8")
	s.empty("o", 9)
	s.gets("o", 8, []uint64{6}, "a")
	s.delivers()
	s.gets("o", 10, []uint64{8}, "a")
	s.delivers("o10")
	s.counted(Counts{Delivered: 3, Repaired: 1, Stale: 1})
}

// A Heartbeat that does not begin where the last one ended is asked for again, at most every 100 ms.
func TestMissedHeartbeat(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.wait(resyncInterval)
	s.hears("o", beat(7, 9, tail("a", 8)))
	s.resyncs("o", 5)
	s.asks("o")
	s.wait(resyncInterval - 1)
	s.hears("o", beat(9, 11))
	kit.Equal(t, len(sent[*Resync](s, "o")), 0, "Resyncs", resyncInterval-1, "after the last")
	s.wait(1)
	s.hears("o", beat(9, 11))
	one[*Resync](s, "o")
	s.hears("o", beat(5, 11, tail("a", 8)))
	s.asks("o", missing("a", 5, 8))
	s.repaired("o", 8, []uint64{0}, "a")
	s.empty("o", 11)
}

func TestResyncIsAnswered(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	for _, topic := range []string{"a", "b", "a", "c"} {
		s.emits(10, topic)
	}
	s.hears("o", &Resync{About: old, After: 2})
	got := sent[*Heartbeat](s, "o")
	if len(got) != 1 || got[0].After != 2 || got[0].Upto != 4 || len(got[0].Tails) != 2 ||
		got[0].Tails[0] != tail("c", 4) || got[0].Tails[1] != tail("a", 3) {
		t.Errorf("answer %+v, want one heartbeat from 2 to 4 with c at 4 and a at 3", got)
	}
	s.hears("o", &Resync{About: old, After: 99}) // of a node that knows more than there is
	if got := sent[*Heartbeat](s, "o"); len(got) != 1 || got[0].After != 4 || got[0].Upto != 4 || len(got[0].Tails) != 0 {
		t.Errorf("answer %+v, want an empty heartbeat at 4", got)
	}
}

func TestHeartbeatInParts(t *testing.T) {
	part := func(a, b uint64, i, n int, tails ...Tail) *Heartbeat {
		p := beat(a, b, tails...)
		p.Part, p.Parts = i, n
		return p
	}
	open := func(t *testing.T) *script {
		s := newScript(t)
		s.receives("o", 0, "a", "b", "c")
		return s
	}
	all := []Range{missing("a", 0, 9), missing("b", 0, 8), missing("c", 0, 7)}
	whole := func(t *testing.T, s *script) {
		s.wait(resyncInterval)
		s.hears("o", part(0, 9, 0, 3, tail("a", 9)))
		s.hears("o", part(0, 9, 1, 3, tail("b", 8)))
		kit.Equal(t, s.peers["o"].high, 0, "goal before the last part")
		s.hears("o", part(0, 9, 2, 3, tail("c", 7)))
		p := s.peers["o"]
		for _, r := range all {
			if p.gaps[r.Hash] != r.Upto {
				t.Errorf("want up to %d, not %d", p.gaps[r.Hash], r.Upto)
			}
		}
		if p.high != 9 {
			t.Fatalf("goal %d after the last part, want 9", p.high)
		}
		s.hears("o", &Gone{Stubs: []Stub{number(7, "c", 0), number(8, "b", 0), number(9, "a", 0)}})
		s.counted(Counts{Missed: 3})
		s.empty("o", 9)
	}
	t.Run("whole", func(t *testing.T) { whole(t, open(t)) })
	t.Run("one lost", func(t *testing.T) {
		s := open(t)
		s.wait(resyncInterval)
		s.hears("o", part(0, 9, 0, 3, tail("a", 9)))
		s.hears("o", part(0, 9, 2, 3, tail("c", 7)))
		if p := s.peers["o"]; p.high != 0 || len(p.gaps) != 2 {
			t.Fatalf("goal %d, %d wanted although a part is missing", p.high, len(p.gaps))
		}
		s.hears("o", beat(9, 9))
		s.resyncs("o", 0)
		whole(t, s)
	})
	t.Run("the first lost", func(t *testing.T) {
		s := open(t)
		s.hears("o", part(0, 9, 1, 3, tail("b", 8)))
		s.hears("o", part(0, 9, 2, 3, tail("c", 7)))
		kit.Equal(t, s.peers["o"].high, 0, "goal although a part is missing")
		whole(t, s)
	})
	t.Run("one twice", func(t *testing.T) {
		s := open(t)
		s.hears("o", part(0, 9, 0, 3, tail("a", 9)))
		s.hears("o", part(0, 9, 0, 3, tail("a", 9)))
		s.hears("o", part(0, 9, 2, 3, tail("c", 7)))
		kit.Equal(t, s.peers["o"].high, 0, "goal although a part is missing")
		whole(t, s)
	})
	for name, second := range map[string]*Heartbeat{
		"of two heartbeats": part(0, 12, 1, 2, tail("b", 8)),
		"of a heartbeat and the answer to a Resync, with one end": part(3, 9, 1, 2, tail("b", 8)),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.hears("o", beat(0, 3)) // goal 3, so that either is welcome
			s.hears("o", part(0, 9, 0, 2, tail("a", 9)))
			s.hears("o", second)
			kit.Equal(t, s.peers["o"].high, 3, "goal", "from the parts of two lists")
		})
	}
	t.Run("two lists in turn", func(t *testing.T) { // the second is complete, and enough
		s := open(t)
		s.hears("o", part(0, 9, 0, 2, tail("a", 9)))
		s.hears("o", part(0, 12, 0, 2, tail("a", 12)))
		s.hears("o", part(0, 9, 1, 2, tail("b", 8)))
		s.hears("o", part(0, 12, 1, 2, tail("b", 8), tail("c", 7)))
		if p := s.peers["o"]; p.high != 12 || len(p.gaps) != 3 {
			t.Errorf("goal %d, want %v; want 12 and three topics", p.high, p.gaps)
		}
	})
}

// An origin that has forgotten what we missed says so by its horizon. What it forgot up to there is unknown, once; what is behind is asked for.
func TestHorizonPassedBy(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers("o6")
	s.gets("o", 9, []uint64{7}, "a") // held
	b := beat(5, 20, tail("a", 15))
	b.Horizon = 12
	s.hears("o", b)
	s.delivers("o9") // it goes before what is behind the horizon
	s.loses(Lost{Node: "o", After: 5, Upto: 12, Unknown: true})
	s.wait(2 * minNackInterval)
	s.hears("o", b)
	s.loses()
	s.counted(Counts{Delivered: 2, Unknown: 1})
	if p := s.peers["o"]; p.low != 12 || p.high != 20 || len(p.gaps) != 1 {
		t.Errorf("floor %d, goal %d, want %v; want 12, 20, and a", p.low, p.high, p.gaps)
	}
	s.repaired("o", 15, []uint64{12}, "a") // its prev is the horizon
	s.delivers("o15")
	s.empty("o", 20)
}

// What may be lost begins behind what is settled, not where the last heartbeat ended: a hole that is open is part of it.
func TestHorizonOverAnOpenHole(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.hears("o", beat(5, 9, tail("a", 7)))
	s.asks("o", missing("a", 5, 7))
	b := beat(9, 20)
	b.Horizon = 15
	s.hears("o", b)
	s.loses(Lost{Node: "o", After: 5, Upto: 15, Unknown: true})
	s.empty("o", 20)
}

// A horizon below what heartbeats have accounted for means nothing to a node that misses nothing.
func TestHorizonBehindUs(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	b := beat(5, 20)
	b.Horizon = 5
	s.hears("o", b)
	b = beat(20, 30)
	b.Horizon = 20
	s.hears("o", b)
	s.loses()
	s.empty("o", 30)
}

// heartbeats say how far the broadcasts went that were handed to the link, and no further, although newer ones have numbers on the same topics.
func TestHeartbeatsEndAtWhatWasSent(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.emits(10, "a")                  // 1
	s.emits(10, "b")                  // 2
	s.did(s.LinkDown(s.at, 2))        //
	s.emits(10, "a", "c")             // 3
	s.emits(10, "a")                  // 4
	s.did(s.LinkUp(s.at))             //
	s.hears("o", &Resync{About: old}) //
	if got := sent[*Heartbeat](s, "o"); len(got) != 1 || got[0].Upto != 2 || len(got[0].Tails) != 2 || got[0].Tails[0] != tail("b", 2) || got[0].Tails[1] != tail("a", 1) {
		t.Errorf("list %+v, want one up to 2, with b at 2 and a at 1", got)
	}
	s.hears("o", &Nack{Ranges: []Range{missing("a", 0, 9)}})
	if got := effects[Resend[string]](s); len(got) != 1 || got[0].Stamp.Sequence != 1 {
		t.Errorf("sent %v again, want 1", got)
	}
	s.answers("o", 0)
	s.wait(HeartbeatInterval)
	got := sent[*Heartbeat](s, "")
	if len(got) == 0 || got[0].After != 0 || got[0].Upto != 4 || len(got[0].Tails) != 3 {
		t.Errorf("heartbeat %+v, want one from 0 to 4 with 3 topics", got)
	}
}

// What a heartbeat lists comes from as many numbers as there were: parts hold a bounded number of topics each.
func TestHeartbeatsAreBounded(t *testing.T) {
	m := New[string, string, string, any](config("me", hashOf))
	m.LinkUp(0)
	m.Tick(FenceTimeout)
	topics := make([]string, m.cfg.Limits.Tails)
	for i := range topics {
		topics[i] = string([]rune{rune(1000 + i/100), rune(1000 + i%100)})
	}
	m.Emit(time.Second, topics, len(topics), "1", 10)
	m.Emit(time.Second, []string{"one", "two", topics[0]}, 3, "2", 10)
	beats := m.heartbeats(0, 2)
	if len(beats) != 2 || len(beats[0].Tails) != len(topics) || len(beats[1].Tails) != 2 || beats[0].Tails[2].Sequence != 2 {
		t.Fatalf("%d parts, the first with %d topics", len(beats), len(beats[0].Tails))
	}
	for i, b := range beats {
		if b.After != 0 || b.Upto != 2 || b.Part != i || b.Parts != 2 {
			t.Errorf("part %d: %d of %d, from %d to %d", i, b.Part, b.Parts, b.After, b.Upto)
		}
	}
	if b := m.heartbeats(2, 2); len(b) != 1 || len(b[0].Tails) != 0 {
		t.Errorf("%d parts where nothing was sent, want an empty one", len(b))
	}
}
