package mesh

import (
	"testing"
	"time"
)

// A broadcast of a union comes once for each topic. The answer for a topic that was pending at the first copy moves nothing back.
func TestCopyAfterLateAnswer(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "b")
	s.answers("o", 5)
	s.ended(1, none)
	s.joins(2, "a")
	s.gets("o", 7, []uint64{6, 0}, "a", "b")
	s.delivers("o7")
	s.answers("o", 5) // left before 6 did
	s.ended(2, none)
	s.gets("o", 7, []uint64{6, 0}, "a", "b")
	s.delivers()
	s.counted(Counts{Delivered: 1, Copies: 1})
}

// What a union's copy says about a topic that was joined after the first copy counts: the next broadcast there has no hole in front.
func TestCopyMovesItsTopics(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "b")
	s.answers("o", 5)
	s.gets("o", 6, []uint64{2, 3}, "a", "b")
	s.delivers("o6")
	s.Receive(s.at, "late", &Fence{F: 1, Age: time.Second}) // somebody who does not answer
	s.LinkDown(s.at, s.origin.g)
	s.joins(2, "a") // presumed answered
	s.did(s.LinkUp(s.at))
	s.gets("o", 6, []uint64{2, 3}, "a", "b")
	s.delivers()
	s.gets("o", 8, []uint64{6}, "a")
	s.delivers("o8")
	s.counted(Counts{Delivered: 2, Copies: 1})
}

func TestHoles(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.joins(1, "a", "b")
	s.answers("o", 0)
	s.gets("o", 1, []uint64{0}, "a")
	s.delivers("o1")
	s.gets("o", 3, []uint64{2}, "a") // 2 is missing
	s.delivers("o3")
	s.counted(Counts{Delivered: 2, Holes: 1})
	s.gets("o", 2, []uint64{1}, "a") // and comes too late
	s.delivers()
	s.counted(Counts{Delivered: 2, Holes: 1, Stale: 1})
	s.gets("o", 6, []uint64{0}, "b")
	s.gets("o", 5, []uint64{3}, "a") // overtaken, on another topic
	s.delivers("o5")
	s.counted(Counts{Delivered: 4, Holes: 1, Stale: 1, Overtaken: 1})
	s.gets("o", 7, []uint64{0}, "c") // over-delivered
	s.delivers()
	s.counted(Counts{Delivered: 4, Holes: 1, Stale: 1, Overtaken: 1, Unwanted: 1})
	s.gets("me", 9, []uint64{0}, "a") // an echo
	s.gets("o", 8, nil, "a")          // stamps do not fit
	s.delivers()
	s.counted(Counts{Delivered: 4, Holes: 1, Stale: 1, Overtaken: 1, Unwanted: 1})
}

// The late copy of a lost union is past in one of its rooms, whose members may be in the others too: it is not delivered, and stays a
// hole in the others.
func TestLateUnionIsNotDelivered(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.joins(1, "a", "b")
	s.answers("o", 0)
	s.gets("o", 2, []uint64{1}, "a")
	s.counted(Counts{Delivered: 1, Holes: 1})
	s.gets("o", 1, []uint64{0, 0}, "a", "b")
	s.delivers()
	s.counted(Counts{Delivered: 1, Holes: 1, Stale: 1})
	s.gets("o", 3, []uint64{1}, "b")
	s.delivers("o3")
	s.counted(Counts{Delivered: 2, Holes: 2, Stale: 1})
}

func beat(a, b uint64, tails ...Tail) *Beat {
	return &Beat{A: a, B: b, Age: time.Hour, Parts: 1, Tails: tails}
}

func TestBeatShowsLostTails(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.joins(2, "b") // pending: what is missing there is from before
	s.gets("o", 6, []uint64{0}, "a")
	s.hears("o", beat(5, 9, Tail{hashOf("a"), 8}, Tail{hashOf("b"), 7}, Tail{hashOf("c"), 9}))
	s.counted(Counts{Delivered: 1, Holes: 1})
	p := s.peers["o"]
	if p.floor != 9 || p.goal != 9 || len(p.last) != 0 || len(p.done) != 0 {
		t.Errorf("after a Beat up to 9: floor %d, goal %d, %d last, %d done; want all settled", p.floor, p.goal, len(p.last), len(p.done))
	}
	s.gets("o", 8, []uint64{6}, "a")
	s.delivers()
	s.counted(Counts{Delivered: 1, Holes: 1, Stale: 1})
	s.gets("o", 10, []uint64{8}, "a")
	s.delivers("o10")
	s.counted(Counts{Delivered: 2, Holes: 1, Stale: 1})
}

// A Beat that does not begin where the last one ended is asked for again, at most every 100 ms.
func TestMissedBeat(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.wait(resyncInterval)
	s.hears("o", beat(7, 9, Tail{hashOf("a"), 8}))
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 5 {
		t.Fatalf("asked %v, want one Resync from 5", got)
	}
	s.counted(Counts{})
	s.wait(resyncInterval - 1)
	s.hears("o", beat(9, 11))
	if got := sent[*Resync](s, "o"); len(got) != 0 {
		t.Errorf("asked again %v after the last Resync", resyncInterval-1)
	}
	s.wait(1)
	s.hears("o", beat(9, 11))
	if got := sent[*Resync](s, "o"); len(got) != 1 {
		t.Errorf("%d Resyncs %v after the last, want 1", len(got), resyncInterval)
	}
	s.hears("o", beat(5, 11, Tail{hashOf("a"), 8}))
	s.counted(Counts{Holes: 1})
	if p := s.peers["o"]; p.floor != 11 {
		t.Errorf("floor %d after the answer, want 11", p.floor)
	}
}

func TestResyncIsAnswered(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	for _, topic := range []string{"a", "b", "a", "c"} {
		s.Emit(s.at, []string{topic})
	}
	s.hears("o", &Resync{A: 2, Age: time.Hour})
	got := sent[*Beat](s, "o")
	if len(got) != 1 || got[0].A != 2 || got[0].B != 4 || len(got[0].Tails) != 2 ||
		got[0].Tails[0] != (Tail{hashOf("c"), 4}) || got[0].Tails[1] != (Tail{hashOf("a"), 3}) {
		t.Errorf("answer %+v, want one Beat from 2 to 4 with c at 4 and a at 3", got)
	}
}

func TestBeatInParts(t *testing.T) {
	part := func(a, b uint64, i, n int, tails ...Tail) *Beat {
		p := beat(a, b, tails...)
		p.Part, p.Parts = i, n
		return p
	}
	open := func(t *testing.T) *script {
		s := newScript(t)
		s.knows("o", 0)
		s.joins(1, "a", "b", "c")
		s.answers("o", 0)
		return s
	}
	t.Run("whole", func(t *testing.T) {
		s := open(t)
		s.hears("o", part(0, 9, 0, 3, Tail{hashOf("a"), 9}))
		if p := s.peers["o"]; p.floor != 0 {
			t.Fatalf("floor %d after the first part", p.floor)
		}
		s.hears("o", part(0, 9, 1, 3, Tail{hashOf("b"), 8}))
		s.hears("o", part(0, 9, 2, 3, Tail{hashOf("c"), 7}))
		s.counted(Counts{Holes: 3})
		if p := s.peers["o"]; p.floor != 9 || len(p.last) != 0 {
			t.Fatalf("floor %d and %d last after the last part, want 9 and none", p.floor, len(p.last))
		}
	})
	t.Run("one lost", func(t *testing.T) {
		s := open(t)
		s.wait(resyncInterval)
		s.hears("o", part(0, 9, 0, 3, Tail{hashOf("a"), 9}))
		s.hears("o", part(0, 9, 2, 3, Tail{hashOf("c"), 7}))
		s.counted(Counts{Holes: 1})
		if p := s.peers["o"]; p.floor != 0 {
			t.Fatalf("floor %d although a part is missing", p.floor)
		}
		s.hears("o", beat(9, 9))
		if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 0 {
			t.Fatalf("asked %v, want one Resync from 0", got)
		}
		s.hears("o", part(0, 9, 0, 3, Tail{hashOf("a"), 9}))
		s.hears("o", part(0, 9, 1, 3, Tail{hashOf("b"), 8}))
		s.hears("o", part(0, 9, 2, 3, Tail{hashOf("c"), 7}))
		s.counted(Counts{Holes: 3})
		if p := s.peers["o"]; p.floor != 9 {
			t.Fatalf("floor %d, want 9", p.floor)
		}
	})
	t.Run("of two Beats", func(t *testing.T) {
		s := open(t)
		s.hears("o", part(0, 9, 0, 2, Tail{hashOf("a"), 9}))
		s.hears("o", part(0, 12, 1, 2, Tail{hashOf("b"), 8}))
		if p := s.peers["o"]; p.floor != 0 {
			t.Errorf("floor %d from the parts of two Beats", p.floor)
		}
	})
}

// An origin that has forgotten what we missed says so by its horizon: that is one hole, and life goes on.
func TestHorizonPassedBy(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers("o6")
	b := beat(5, 20, Tail{hashOf("a"), 15})
	b.S = 12
	s.hears("o", b)
	s.counted(Counts{Delivered: 1, Holes: 2}) // up to the horizon, and behind it
	if p := s.peers["o"]; p.floor != 20 || len(p.last)+len(p.done) != 0 {
		t.Errorf("floor %d, %d last, %d done; want 20 and none", p.floor, len(p.last), len(p.done))
	}
	s.hears("o", b)
	s.counted(Counts{Delivered: 1, Holes: 2})
}

func TestOriginLinks(t *testing.T) {
	m := New(config("me"))
	for _, want := range []struct {
		topics []string
		prev   []uint64
	}{
		{[]string{"a"}, []uint64{0}},
		{[]string{"b", "a"}, []uint64{0, 1}},
		{[]string{"c"}, []uint64{0}},
		{[]string{"a", "b", "c"}, []uint64{2, 2, 3}},
	} {
		got := m.Emit(0, want.topics)
		for i := range want.prev {
			if got.Prev[i] != want.prev[i] {
				t.Errorf("broadcast %d on %v: previous %v, want %v", got.G, want.topics, got.Prev, want.prev)
				break
			}
		}
	}
}

// An idle topic is forgotten after tailAge. It is then announced with the horizon, so that nobody takes the gap for a hole.
func TestIdleTopicsAreForgotten(t *testing.T) {
	s := newScript(t)
	s.Emit(s.at, []string{"a", "b"})
	s.Emit(s.at, []string{"c"})
	s.wait(tailAge / 2)
	s.Emit(s.at, []string{"b"})
	s.wait(tailAge/2 + BeatInterval)
	if o := &s.origin; o.s != 2 || len(o.last) != 1 {
		t.Fatalf("horizon %d, %d topics remembered; want 2 and 1", o.s, len(o.last))
	}
	if got := s.Emit(s.at, []string{"a", "b"}); got.Prev[0] != 2 || got.Prev[1] != 3 {
		t.Errorf("previous %v, want the horizon 2 and the known 3", got.Prev)
	}
	s.wait(2 * tailAge)
	if o := &s.origin; o.s != 4 || len(o.last) != 0 || o.oldest != nil || o.newest != nil {
		t.Errorf("horizon %d, %d topics remembered; want 4 and none", o.s, len(o.last))
	}
}

func TestTopicsRememberedAreBounded(t *testing.T) {
	o := origin[int]{last: make(map[int]*tail[int], maxTails+8)}
	const more = 10
	for i := range maxTails/2 + more {
		o.stamp(0, []int{2 * i, 2*i + 1}, o.g)
	}
	if len(o.last) != maxTails || o.s != more {
		t.Errorf("%d topics remembered, horizon %d; want %d and %d", len(o.last), o.s, maxTails, more)
	}
	beats := o.since(0, o.s, o.g, func(t int) uint64 { return uint64(t) })
	if want := maxTails / tailsPerPart; len(beats) != want {
		t.Fatalf("%d parts, want %d", len(beats), want)
	}
	total := 0
	for i, b := range beats {
		if b.Part != i || b.Parts != len(beats) || len(b.Tails) > tailsPerPart || b.S != more {
			t.Fatalf("part %d of %d with %d tails, horizon %d", b.Part, b.Parts, len(b.Tails), b.S)
		}
		total += len(b.Tails)
	}
	if total != maxTails {
		t.Errorf("%d tails in all parts, want %d", total, maxTails)
	}
}
