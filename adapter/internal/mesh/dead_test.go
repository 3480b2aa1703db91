package mesh

import (
	"fmt"
	"slices"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// A node that hung for longer than DeadAfter and returns is not met anew: what it has delivered is not delivered again, and what it
// sent meanwhile is asked for.
func TestDeadNodeReturns(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 6, []uint64{0}, "a")
	s.wait(DeadAfter + HeartbeatInterval)
	if s.Suspects() != nil || s.Members() != nil || s.Counts().Deaths != 1 {
		t.Fatalf("suspects %v, members %v, %d deaths; want nobody, and one", s.Suspects(), s.Members(), s.Counts().Deaths)
	}
	kit.Equal(t, len(effects[Membership](s)), 2,
		"changes of the members: one by the suspicion and one by the death")
	s.loses() // nothing was known to be missing
	if p := s.peers["o"]; p == nil || p.low != 5 || p.lows[hashOf("a")] != 6 {
		t.Fatalf("of the dead node %+v is kept, want its place", p)
	}
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers()
	s.gets("o", 8, []uint64{7}, "a")
	s.delivers()
	s.asks("o", missing("a", 6, 7))
	s.repaired("o", 7, []uint64{6}, "a")
	s.delivers("o7", "o8")
	s.answers("o", 8)
	s.members("o")
	s.hears("o", beat(5, 8, tail("a", 8)))
	s.empty("o", 8)
	s.counted(Counts{Delivered: 3, Repaired: 1, Copies: 1})
}

// What is missing of a node when it is given up is reported, and what is held goes out in its order. If it returns, it goes on behind.
func TestDeadNodeLeavesAGap(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 8, []uint64{7}, "a")
	s.gets("o", 7, []uint64{6}, "a") // 6 is lost
	s.gets("o", 9, []uint64{5}, "b")
	s.delivers("o9")
	s.wait(DeadAfter + HeartbeatInterval)
	s.loses(Lost{Node: "o", After: 5, Upto: 9, Unknown: true})
	s.delivers("o7", "o8")
	s.empty("o", 9)
	s.wait(DeadAfter)
	kit.Equal(t, s.Counts().Deaths, 1, "deaths")
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers()
	s.hears("o", beat(9, 11, tail("a", 11)))
	s.asks("o", missing("a", 9, 11))
	s.repaired("o", 11, []uint64{8}, "a")
	s.delivers("o11")
	s.answers("o", 11)
	s.wait(DeadAfter + 2*SuspectAfter)
	kit.Equal(t, s.Counts().Deaths, 2, "deaths")
}

// A node that dies while it leaves is dead, although a request of it is carried out when it is given up, and is let go when it says goodbye again.
func TestDeadNodeThatWasLeaving(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	request := incoming("o", 7, []uint64{6}, "a")
	request.Changes = true
	s.did(s.Broadcast(s.at, "o", request))
	s.hears("o", &Bye{About: old, Last: 7})
	s.wait(maxClosing + FenceTimeout)
	s.delivers("o7")
	s.loses(Lost{Node: "o", After: 5, Upto: 7, Unknown: true})
	s.did(s.Resume(s.at, "o"))
	kit.Equal(t, len(sent[*Confirm](s, "o")), 0, "Confirms to who has gone")
	s.hears("o", &Bye{About: old, Last: 7})
	one[*Confirm](s, "o")
	s.wait(2 * DeadAfter)
	if len(s.order) != 0 || len(s.tombstones) != 1 || s.Counts().Deaths != 0 {
		t.Errorf("%d nodes in order, %d tombs, %d deaths; want one tomb alone", len(s.order), len(s.tombstones), s.Counts().Deaths)
	}
}

// A Join does not name a node that was dead when it began, although it has returned before the end.
func TestDeadNodeReturnsDuringAJoin(t *testing.T) {
	s := newScript(t)
	s.knows("dead", 5)
	s.wait(DeadAfter)
	s.knows("o", 5)
	s.joins(1, "a")
	s.hears("dead", beat(5, 5))
	s.ended()
	s.answers("o", 5)
	s.ended(1, none)
}

// A dead node of which nothing is known to be missing keeps its low watermark: its last broadcast may have been lost all the same.
func TestTailOfADeadNodeIsNotGivenUpInSilence(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 7, []uint64{5}, "b") // 6, on a, was lost, and nobody knows
	s.wait(DeadAfter + HeartbeatInterval)
	s.loses()
	s.hears("o", beat(5, 7, tail("a", 6), tail("b", 7)))
	s.asks("o", missing("a", 5, 6))
}

// Those that have left go before those that died, and may return.
func TestTombstonesAreBounded(t *testing.T) {
	s := newScript(t)
	s.receives("dead", 5, "a")
	s.gets("dead", 6, []uint64{0}, "a")
	s.wait(DeadAfter)
	s.knows("first", 0)
	leave := func(name string, n int) {
		for i := range n {
			id := fmt.Sprint(name, i)
			s.knows(id, 0)
			s.hears(id, &Bye{About: old})
		}
	}
	leave("left", maxTombstones-1)
	s.hears("first", beat(0, 0))
	leave("more", 10)
	s.knows("last", 0)
	if len(s.order) != 2 || len(s.tombstones) != maxTombstones || len(s.peers) != maxTombstones+2 {
		t.Errorf("%d nodes in order, %d tombs, %d by id; want 2, %d and their sum", len(s.order), len(s.tombstones), len(s.peers), maxTombstones)
	}
	if s.peers["left9"] != nil || s.peers["left10"] == nil || s.peers["dead"] == nil || s.peers["first"] == nil {
		t.Error("not the oldest of those that have left were forgotten")
	}
	s.gets("dead", 6, []uint64{0}, "a") // it is back
	s.delivers()
	s.answers("dead", 6)
	if got := s.Members(); !slices.Equal(got, []string{"first", "last", "dead"}) || len(s.tombstones) != maxTombstones-1 {
		t.Errorf("members %v, %d tombs; want the dead node to be back", got, len(s.tombstones))
	}

	s = newScript(t) // where all have died, the oldest are forgotten
	s.receives("dead", 5)
	s.wait(DeadAfter)
	for i := range maxTombstones {
		s.knows(fmt.Sprint("more", i), 0)
	}
	s.wait(DeadAfter)
	if len(s.order) != 0 || len(s.peers) != maxTombstones || s.peers["dead"] != nil || s.peers["more0"] == nil {
		t.Errorf("%d nodes in order, %d by id; want none, and %d", len(s.order), len(s.peers), maxTombstones)
	}
}

// A topic that ends is forgotten of the dead, too.
func TestEndOfTopicOfADeadNode(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 6, []uint64{0}, "a")
	s.wait(DeadAfter)
	s.Leave(s.at, "a")
	s.wait(Linger)
	if p := s.peers["o"]; p.standing != StandingDead || len(p.lows) != 0 {
		t.Errorf("standing %d, lows %v; want nothing of a topic that has ended", p.standing, p.lows)
	}
	s.joins(2, "c") // presumed: what o sends there is due when it is back
	s.gets("o", 8, []uint64{7}, "c")
	s.delivers()
	s.asks("o", missing("c", 5, 7))
}
