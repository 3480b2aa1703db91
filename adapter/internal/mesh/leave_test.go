package mesh

import (
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func isClosed(s *script) bool { return len(effects[Closed](s)) > 0 }

// A node that leaves, of which nothing is missing, is gone at once, and is told so.
func TestBye(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 6, []uint64{0}, "a")
	s.hears("o", beat(5, 6, tail("a", 6)))
	s.joins(2, "b")
	s.hears("o", &Bye{About: old, Last: 6})
	s.ended(2, none) // a node that leaves sends nothing
	s.members()
	kit.Equal(t, len(effects[Membership](s)), 1, "changes by Bye")
	one[*Confirm](s, "o")
	s.empty("o", 6)
	s.hears("o", beat(6, 9))
	s.gets("o", 7, []uint64{6}, "a")
	s.delivers()
	s.members()
	s.joins(3, "c")
	s.ended(3, none)
	s.hears("o", &Bye{About: old, Last: 6}) // it has not heard so
	one[*Confirm](s, "o")
	s.wait(DeadAfter)
	if got := s.sentTo("o"); got != nil {
		t.Errorf("%v sent to a node that has left", got)
	}
	s.counted(Counts{Delivered: 1, Stale: 1})
}

// A node that leaves is asked for what is missing before it is let go.
func TestByeOfANodeThatIsNeeded(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.wait(resyncInterval)
	s.hears("o", &Bye{About: old, Last: 8}) // the heartbeat before it was lost
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].After != 5 || len(sent[*Confirm](s, "o")) != 0 {
		t.Fatalf("asked %v, want one Resync from 5", got)
	}
	s.members()
	s.suspects()
	s.hears("o", beat(5, 8, tail("a", 7)))
	s.asks("o", missing("a", 5, 7))
	s.joins(2, "b")
	s.ended(2, none) // nobody waits for it
	s.repaired("o", 7, []uint64{5}, "a")
	s.delivers("o7")
	one[*Confirm](s, "o")
	s.empty("o", 8)
	s.hears("o", &Gone{})
	s.asks("o")
	s.counted(Counts{Delivered: 1, Repaired: 1})
}

// Each goodbye is a chance to ask again, whatever was asked in vain before: the node stays for as long as somebody asks.
func TestByeEndsTheBackOff(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 7, []uint64{6}, "a")
	s.asks("o", missing("a", 5, 6))
	s.wait(5 * nackInterval) // in vain
	for range 3 {
		s.hears("o", &Bye{About: old, Last: 7})
		s.asks("o", missing("a", 5, 6))
		s.wait(byeInterval)
	}
}

// A node that leaves does not stay for longer than it may: then it has gone, though not all was settled.
func TestByeOfANodeThatDies(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 7, []uint64{6}, "a")
	s.hears("o", &Bye{About: old, Last: 8})
	s.wait(maxClosing + FenceTimeout)
	s.delivers("o7")
	s.loses(Lost{Node: "o", After: 5, Upto: 8, Unknown: true})
	s.suspects()
	kit.Equal(t, s.heldBytes, 0, "bytes held of nobody")
}

// What a node has named as its last number, or as sent before a heartbeat, and has not accounted for until it was given up, is a gap: it is
// reported although no broadcast has shown it.
func TestGapThatNothingElseShows(t *testing.T) {
	for name, word := range map[string]Message{
		"goodbye":             &Bye{About: old, Last: 9},
		"Heartbeat":           beat(9, 9),
		"part of a heartbeat": &Heartbeat{About: old, After: 5, Upto: 9, Parts: 2},
		"next part of one":    &Heartbeat{About: old, After: 5, Upto: 9, Part: 1, Parts: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.receives("o", 5, "a")
			s.hears("o", word)
			least := DeadAfter
			if name == "goodbye" {
				least = maxClosing + FenceTimeout // for which it answers
			}
			s.wait(least - 1)
			s.loses()
			s.wait(HeartbeatInterval)
			s.loses(Lost{Node: "o", After: 5, Upto: 9, Unknown: true})
			s.empty("o", 9)
			s.wait(2 * DeadAfter)
			s.loses()
		})
	}
	t.Run("accounted for", func(t *testing.T) {
		s := newScript(t)
		s.receives("o", 5, "a")
		s.hears("o", beat(7, 9))
		s.hears("o", beat(5, 9, tail("b", 7)))
		s.wait(2 * DeadAfter)
		s.loses()
	})
}

// Of a node that was never met nothing was due.
func TestByeOfAnUnknownNode(t *testing.T) {
	s := newScript(t)
	s.receives("p", 0, "a")
	s.gets("o", 7, []uint64{6}, "a")
	s.hears("o", &Bye{About: old, Last: 8})
	s.delivers()
	s.loses()
	if got := sent[*Confirm](s, "o"); len(got) != 1 || s.heldBytes != 0 {
		t.Errorf("told %d times that it is not needed, %d bytes held", len(got), s.heldBytes)
	}
}

// All that a younger node ever sent is due, although its goodbye is the first that says how old it is.
func TestByeOfAnUnknownYoungerNode(t *testing.T) {
	s := newScript(t)
	s.receives("p", 0, "a")
	s.gets("o", 2, []uint64{1}, "a") // all else of it was lost
	s.hears("o", &Bye{About: About{Age: time.Second}, Last: 3})
	s.asks("o", missing("a", 0, 1))
	if got := sent[*Resync](s, "o"); len(got) != 1 || len(sent[*Confirm](s, "o")) != 0 {
		t.Errorf("asked %v, want one Resync", got)
	}
	s.repaired("o", 1, []uint64{0}, "a")
	s.delivers("o1", "o2")
	s.hears("o", beat(0, 3))
	one[*Confirm](s, "o")
	s.empty("o", 3)
}

// Who leaves says first what it has sent since its last heartbeat, and waits for those who live.
func TestClose(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.knows("p", 5)
	s.wait(time.Second)
	s.hears("o", beat(5, 5))
	s.hears("p", beat(5, 5))
	s.emits(10, "a")
	s.did(s.Close(s.at))
	if len(s.got) != 2 || len(sent[*Heartbeat](s, "")) != 1 || len(sent[*Bye](s, "")) != 1 {
		t.Fatalf("said %v, want a heartbeat and a Bye", s.got)
	}
	if b := sent[*Heartbeat](s, "")[0]; b.After != 0 || b.Upto != 1 || len(b.Tails) != 1 {
		t.Errorf("the last heartbeat is %+v, want one from 0 to 1 with one tail", b)
	}
	if bye, ok := s.got[1].(Send).Message.(*Bye); !ok || bye.Last != 1 {
		t.Errorf("%v comes last, want Bye with 1", s.got[1])
	}
	s.hears("o", &Confirm{})
	s.hears("o", &Confirm{})
	s.wait(byeInterval)
	kit.Equal(t, isClosed(s), false, "closed before p has all")
	kit.Equal(t, one[*Bye](s, "").Last, 1, "the last number of the second Bye: the first may have been lost")
	s.nacked(missing("a", 0, 1))
	s.resent(1, 1, Gone{})
	s.hears("p", &Confirm{})
	kit.Equal(t, isClosed(s), true, "not closed, although nobody needs it")
	s.wait(time.Minute)
	if isClosed(s) || len(sent[*Bye](s, "")) != 0 || len(sent[*Heartbeat](s, "")) != 0 {
		t.Errorf("after the end: %v", s.got)
	}
}

// Whoever still asks gets more time, but not without end.
func TestCloseEnds(t *testing.T) {
	ends := func(t *testing.T, s *script, want time.Duration, meanwhile func()) {
		t.Helper()
		begin := s.at
		s.did(s.Close(s.at))
		for !isClosed(s) {
			if s.at > begin+time.Minute {
				t.Fatal("never closed")
			}
			meanwhile()
			if !isClosed(s) {
				s.wait(10 * ms)
			}
		}
		kit.Equal(t, s.at-begin, want, "closed after")
		for _, e := range s.got[slices.IndexFunc(s.got, func(e Effect) bool { _, ok := e.(Closed); return ok })+1:] {
			if _, ok := e.(Membership); !ok {
				t.Errorf("%T behind Closed", e)
			}
		}
	}
	nothing := func() {}
	t.Run("nobody answers", func(t *testing.T) { ends(t, emitted(t, 1, 10), FenceTimeout, nothing) })
	t.Run("somebody asks", func(t *testing.T) {
		s := emitted(t, 1, 10)
		ends(t, s, maxClosing, func() { s.nacked(missing("a", 0, 1)) })
	})
	t.Run("somebody asks for a list", func(t *testing.T) {
		s := emitted(t, 1, 10)
		ends(t, s, maxClosing, func() { s.hears("o", &Resync{About: old}) })
	})
	t.Run("nobody there", func(t *testing.T) { ends(t, newScript(t), 0, nothing) })
	t.Run("all have left", func(t *testing.T) {
		s := newScript(t)
		s.knows("o", 5)
		s.hears("o", &Bye{About: old, Last: 5})
		ends(t, s, 0, nothing)
	})
	t.Run("the others are suspect", func(t *testing.T) {
		s := newScript(t)
		s.knows("o", 5)
		s.wait(SuspectAfter)
		ends(t, s, 0, nothing)
	})
	t.Run("they become suspect", func(t *testing.T) {
		s := emitted(t, 1, 10)
		s.wait(SuspectAfter - 100*ms)
		ends(t, s, 100*ms, nothing)
	})
	t.Run("no link", func(t *testing.T) {
		s := newScript(t)
		s.knows("o", 5)
		s.did(s.LinkDown(s.at, 0))
		ends(t, s, 0, nothing)
	})
	t.Run("the link breaks", func(t *testing.T) {
		s := emitted(t, 1, 10)
		ends(t, s, 50*ms, func() {
			if s.at >= s.byeAt-byeInterval+50*ms {
				s.did(s.LinkDown(s.at, 1))
			}
		})
	})
	t.Run("both leave", func(t *testing.T) {
		s := emitted(t, 1, 10)
		ends(t, s, 0, func() { s.hears("o", &Bye{About: old}) })
	})
}

// What was held back goes before the goodbye.
func TestCloseReleases(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.did(s.LinkDown(s.at, 0))
	s.emits(10, "a")
	s.did(s.LinkUp(s.at))
	s.did(s.Close(s.at))
	if _, ok := s.got[0].(Release); !ok {
		t.Fatalf("%T comes first, want Release", s.got[0])
	}
	kit.Equal(t, one[*Heartbeat](s, "").Upto, 1, "the end of the heartbeat")
}

// Confirm means something only to who leaves.
func TestSettledWithoutBye(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.hears("o", &Confirm{})
	s.emits(10, "a")
	s.did(s.Close(s.at))
	kit.Equal(t, isClosed(s), false, "closed by a goodbye from before Close")
}

// A node that emits and leaves at once is missed by nobody, although links lose a tenth of all messages.
func TestLastWordsArrive(t *testing.T) {
	let, of := 0, 0
	for seed := range uint64(20) {
		w := newWorld(seed, faults{any: true}, 2)
		w.roomy = true
		for range 4 {
			w.open()
			w.run(w.now + FenceTimeout)
		}
		for _, n := range w.nodes {
			n.add(nil)
			n.join(n.members[0], "room")
		}
		w.run(w.now + time.Second)
		w.loss = 0.1
		leaver := w.nodes[0]
		for range 50 {
			leaver.emit(&emission{rooms: []string{"room"}, size: 100})
		}
		leaver.leave()
		w.run(w.now + 3*time.Second)
		w.faults = faults{any: true}
		w.run(w.now + 3*time.Second)
		w.quiet()
		if w.failure != "" {
			t.Fatalf("seed %d: %s", seed, w.failure)
		}
		for _, n := range w.nodes[1:] {
			of++
			if leaver.let(n) {
				let++
			}
		}
	}
	t.Logf("%d of %d had all when it left", let, of)
	if let < of*9/10 {
		t.Errorf("%d of %d had all when it left", let, of)
	}
}
