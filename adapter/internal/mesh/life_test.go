package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func isReady(s *script) bool { return len(effects[Ready[string]](s)) > 0 }

func TestReady(t *testing.T) {
	s := newScript(t)
	if got := sent[*Fence](s, ""); len(got) != 1 || !got[0].Hello {
		t.Fatalf("said %v when the link came up, want one hello", got)
	}
	s.joins(1, "a")
	s.wait(FenceTimeout - 1)
	if s.ended(); isReady(s) {
		t.Error("ready too early: somebody may still answer")
	}
	s.wait(1)
	if s.ended(1, none); !isReady(s) {
		t.Error("not ready, although nobody is there")
	}
	s.did(s.LinkDown(s.at, s.Last()))
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, F: s.f, Members: []string{"p"}})
	if isReady(s) {
		t.Error("ready before p has answered, who was heard of")
	}
	s.answers("p", 0)
	if !isReady(s) {
		t.Error("not ready, although all have answered")
	}
}

// Nodes that are new together do not take each other for the cluster: another may know it, and be slower to answer.
func TestReadyAmongNewNodes(t *testing.T) {
	fresh := About{Age: time.Minute, Fresh: true}
	s := newScript(t)
	s.hears("o", &Ack{About: fresh, F: s.f})
	if isReady(s) {
		t.Error("ready although none of those who answered knows the cluster")
	}
	s.hears("p", &Ack{About: old, F: s.f, Members: []string{"q"}})
	if isReady(s) {
		t.Error("ready before q has answered, who was heard of")
	}
	s.hears("q", &Ack{About: fresh, F: s.f})
	if !isReady(s) {
		t.Error("not ready, although all have answered, and one that knows the cluster")
	}
	if acks := func() []*Ack { s.hears("o", &Fence{About: fresh, F: 1, Hello: true}); return sent[*Ack](s, "o") }(); len(acks) != 1 || acks[0].Fresh {
		t.Errorf("a node that was ready says %+v of itself", acks)
	}
	s.did(s.LinkDown(s.at, s.Last()))
	s.did(s.LinkUp(s.at))
	for _, id := range []string{"o", "p", "q"} {
		s.hears(id, &Ack{About: fresh, F: s.f})
	}
	if !isReady(s) {
		t.Error("not ready again, although all that were known have answered")
	}

	s = newScript(t)
	s.hears("o", &Fence{About: fresh, F: 1, Hello: true})
	if acks := sent[*Ack](s, "o"); len(acks) != 1 || !acks[0].Fresh {
		t.Errorf("a node that is new says %+v of itself", acks)
	}
	s.hears("o", &Ack{About: fresh, F: s.f})
	s.wait(FenceTimeout)
	if !isReady(s) {
		t.Error("not ready although nobody knows more")
	}
}

func TestJoinBeforeTheLinkIsUp(t *testing.T) {
	s := unlinked(t)
	s.joins(1, "a")
	s.ended()
	s.wait(FenceTimeout / 2)
	s.ended()
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, F: s.f, Sent: 3})
	s.ended(1, none)
}

// Of an older node nothing but its answer says where its broadcasts begin for us. A Beat does not, nor does a broadcast.
func TestOlderNodeIsMetByItsAnswer(t *testing.T) {
	s := newScript(t)
	s.receives("other", 0, "a")
	s.hears("o", beat(5, 7, tail("a", 7)))
	if got := sent[*Fence](s, "o"); len(got) != 1 || !got[0].Hello {
		t.Fatalf("o is asked %v, want one hello", got)
	}
	s.gets("o", 8, []uint64{7}, "a")
	s.gets("o", 9, []uint64{8}, "a")
	s.delivers()
	s.wait(FenceTimeout)
	if got := sent[*Fence](s, "o"); len(got) != 1 {
		t.Fatalf("o is asked %d times after %v, want once more", len(got), FenceTimeout)
	}
	s.answers("o", 8)
	s.delivers("o9")
	s.counted(Counts{Delivered: 1, Stale: 1})
	s.gets("o", 10, []uint64{9}, "a")
	s.delivers("o10")
	s.counted(Counts{Delivered: 2, Stale: 1})
}

// All that a younger node ever sent concerns us, although it was met late: what has not come is asked for.
func TestYoungerNodeBeginsAtItsBirth(t *testing.T) {
	s := newScript(t)
	s.joins(1, "a")
	s.wait(FenceTimeout)
	s.gets("o", 5, []uint64{4}, "a") // born behind a partition
	s.delivers()
	s.hears("o", &Fence{About: About{Age: time.Second}, F: 1, Sent: 5, Hello: true})
	s.delivers()
	s.asks("o", missing("a", 0, 4))
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 0 {
		t.Errorf("asked %v, want one Resync from 0", got)
	}
	s.repaired("o", 4, []uint64{0}, "a")
	s.delivers("o4", "o5")
	s.hears("o", beat(0, 5, tail("a", 5), tail("@me/x", 2)))
	s.wait(minAsk)
	s.asks("o", missing("@me/x", 0, 2))
	s.hears("o", &Gone{Numbers: []Number{number(2, "@me/x", 0)}})
	s.empty("o", 5)
	s.counted(Counts{Delivered: 2, Repaired: 1, Missed: 1})
}

// A silent node is suspect, and so it stays when it sends again: until it answers, it is not certain that anything reaches it.
func TestSilence(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a")
	s.wait(SuspectAfter - BeatInterval)
	if got := s.Suspects(); got != nil {
		t.Fatalf("suspects %v too early", got)
	}
	s.wait(2 * BeatInterval)
	if got := s.Suspects(); !slices.Equal(got, []string{"o"}) || s.Members() != nil {
		t.Fatalf("suspects %v, members %v; want o, and nobody", got, s.Members())
	}
	if len(effects[Membership[string]](s)) != 1 || s.Counts().Suspects != 1 {
		t.Errorf("%d changes of the members, %d suspects counted; want 1 each", len(effects[Membership[string]](s)), s.Counts().Suspects)
	}
	s.joins(2, "b")
	s.ended(2, none)
	s.hears("o", beat(0, 0))
	if got := s.Suspects(); !slices.Equal(got, []string{"o"}) {
		t.Errorf("suspects %v after a Beat, want o still", got)
	}
	s.answers("o", 0)
	if got := s.Members(); !slices.Equal(got, []string{"o"}) || s.Suspects() != nil {
		t.Errorf("members %v, suspects %v after its answer; want o, and nobody", got, s.Suspects())
	}
}

// A node that hung for longer than DeadAfter and returns is not met anew: what it has delivered is not delivered again, and what it
// sent meanwhile is asked for.
func TestDeadNodeReturns(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 6, []uint64{0}, "a")
	s.wait(DeadAfter + BeatInterval)
	if s.Suspects() != nil || s.Members() != nil || s.Counts().Deaths != 1 {
		t.Fatalf("suspects %v, members %v, %d deaths; want nobody, and one", s.Suspects(), s.Members(), s.Counts().Deaths)
	}
	if n := len(effects[Membership[string]](s)); n != 2 {
		t.Errorf("%d changes of the members, want one by the suspicion and one by the death", n)
	}
	s.loses() // nothing was known to be missing
	if p := s.peers["o"]; p == nil || p.floor != 5 || p.last[hashOf("a")] != 6 {
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
	if got := s.Members(); !slices.Equal(got, []string{"o"}) {
		t.Errorf("members %v, want o again", got)
	}
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
	s.wait(DeadAfter + BeatInterval)
	s.loses(Lost[string]{Node: "o", After: 5, Upto: 9, Unknown: true})
	s.delivers("o7", "o8")
	s.empty("o", 9)
	s.wait(DeadAfter)
	if s.Counts().Deaths != 1 {
		t.Errorf("it died %d times", s.Counts().Deaths)
	}
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers()
	s.hears("o", beat(9, 11, tail("a", 11)))
	s.asks("o", missing("a", 9, 11))
	s.repaired("o", 11, []uint64{8}, "a")
	s.delivers("o11")
	s.answers("o", 11)
	s.wait(DeadAfter + 2*SuspectAfter)
	if s.Counts().Deaths != 2 {
		t.Errorf("it died %d times, want 2", s.Counts().Deaths)
	}
}

// A dead node of which nothing is known to be missing keeps its floor: its last broadcast may have been lost all the same.
func TestTailOfADeadNodeIsNotGivenUpInSilence(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 7, []uint64{5}, "b") // 6, on a, was lost, and nobody knows
	s.wait(DeadAfter + BeatInterval)
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
	if len(s.order) != 2 || len(s.tombs) != maxTombstones || len(s.peers) != maxTombstones+2 {
		t.Errorf("%d nodes in order, %d tombs, %d by id; want 2, %d and their sum", len(s.order), len(s.tombs), len(s.peers), maxTombstones)
	}
	if s.peers["left9"] != nil || s.peers["left10"] == nil || s.peers["dead"] == nil || s.peers["first"] == nil {
		t.Error("not the oldest of those that have left were forgotten")
	}
	s.gets("dead", 6, []uint64{0}, "a") // it is back
	s.delivers()
	s.answers("dead", 6)
	if got := s.Members(); !slices.Equal(got, []string{"first", "last", "dead"}) || len(s.tombs) != maxTombstones-1 {
		t.Errorf("members %v, %d tombs; want the dead node to be back", got, len(s.tombs))
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
	if p := s.peers["o"]; !p.buried || len(p.last) != 0 {
		t.Errorf("buried %v, last %v; want nothing of a topic that has ended", p.buried, p.last)
	}
	s.joins(2, "c") // presumed: what o sends there is due when it is back
	s.gets("o", 8, []uint64{7}, "c")
	s.delivers()
	s.asks("o", missing("c", 5, 7))
}

// After an outage of the link every node that was known is asked for what was missed.
func TestLinkUpAgain(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(time.Second)
	if len(s.got) != 0 {
		t.Errorf("while the link is down: %v", s.got)
	}
	s.joins(2, "b")
	s.ended(2, none)
	s.did(s.LinkUp(s.at))
	if got := sent[*Fence](s, ""); len(got) != 1 || got[0].F != s.f || !got[0].Hello {
		t.Errorf("said %v, want a hello", got)
	}
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 5 {
		t.Errorf("asked %v, want a Resync from 5", got)
	}
	s.hears("o", beat(5, 9, tail("a", 8), tail("b", 7)))
	s.asks("o", missing("a", 5, 8), missing("b", 5, 7))
	s.joins(3, "c")
	s.ended()
	s.answers("o", 9)
	s.ended()
	s.answers("o", 9)
	s.ended(3, none)
}

// A node that hangs costs the Joins of others one FenceTimeout, once; also if only half of it hangs, and it still beats.
func TestHungNodeCostsOnce(t *testing.T) {
	for name, hang := range map[string]func(*node){
		"hung": func(n *node) { n.hang(10 * time.Second) },
		"deaf": func(n *node) { n.deaf = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(1, faults{any: true}, 2)
			for range 3 {
				w.open()
				w.run(w.now + 300*time.Millisecond)
			}
			a := w.nodes[0]
			a.add()
			w.run(w.now + time.Second)
			hang(w.nodes[2])
			var waits []time.Duration
			for i := range 30 {
				start := w.now
				a.join(a.members[0], fmt.Sprint("room", i))
				for a.joins > 0 && w.failure == "" {
					w.run(w.now + ms)
				}
				waits = append(waits, w.now-start)
				w.run(w.now + 100*time.Millisecond)
			}
			if w.failure != "" {
				t.Fatal(w.failure)
			}
			slow := 0
			for _, d := range waits {
				if d > 60*time.Millisecond {
					slow++
				}
				if d > FenceTimeout+60*time.Millisecond {
					t.Errorf("a Join took %v", d)
				}
			}
			if slow != 1 {
				t.Errorf("%d of 30 Joins were slow, want 1: %v", slow, waits)
			}
		})
	}
}

// So does one that hears nothing among so many Joins that there is always a next fence, and that the ticks come behind them.
func TestDeafNodeUnderLoadCostsOnce(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.knows("deaf", 0)
	var slow []time.Duration // Joins that named the deaf node
	begin, f := s.at, s.f
	ended := func() {
		for _, j := range effects[Joined[string]](s) {
			if len(j.Missing) > 0 {
				slow = append(slow, j.Wait.(time.Duration))
			}
		}
	}
	for s.at < begin+3*time.Second {
		s.at += ms
		s.joins(s.at-begin, fmt.Sprint("room", s.at))
		if ended(); s.f != f {
			f = s.f
			s.answers("o", 0)
			ended()
		}
		if (s.at-begin)%BeatInterval == 0 {
			s.hears("o", beat(0, 0))
			s.hears("deaf", beat(0, 0))
		}
		for s.Next() <= s.at {
			s.did(s.Tick(s.at))
			ended()
		}
	}
	if got := s.Suspects(); !slices.Equal(got, []string{"deaf"}) || s.Counts().Suspects != 1 {
		t.Errorf("suspects %v, %d times; want the deaf node, once", got, s.Counts().Suspects)
	}
	if n := len(slow); n == 0 || slow[n-1] > FenceTimeout+ms {
		t.Errorf("%d Joins named it, the last one begun after %v; want none that began after the first time-out", n, slow[max(0, n-1)])
	}
}
