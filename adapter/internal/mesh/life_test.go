package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func isReady(s *script) bool { return len(effects[Ready](s)) > 0 }

func TestReady(t *testing.T) {
	s := newScript(t)
	kit.Equal(t, one[*Fence](s, "").Hello, true, "a hello when the link came up")
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
	s.hears("o", &Ack{About: old, Fence: s.fence, Members: []string{"p"}})
	kit.Equal(t, isReady(s), false, "ready before p has answered, who was heard of")
	s.answers("p", 0)
	kit.Equal(t, isReady(s), true, "not ready, although all have answered")
}

// Nodes that are new together do not take each other for the cluster: another may know it, and be slower to answer.
func TestReadyAmongNewNodes(t *testing.T) {
	fresh := About{Age: time.Minute, Fresh: true}
	s := newScript(t)
	s.hears("o", &Ack{About: fresh, Fence: s.fence})
	kit.Equal(t, isReady(s), false, "ready although none of those who answered knows the cluster")
	s.hears("p", &Ack{About: old, Fence: s.fence, Members: []string{"q"}})
	kit.Equal(t, isReady(s), false, "ready before q has answered, who was heard of")
	s.hears("q", &Ack{About: fresh, Fence: s.fence})
	kit.Equal(t, isReady(s), true, "not ready, although all have answered, and one that knows the cluster")
	s.hears("o", &Fence{About: fresh, Number: 1, Hello: true})
	kit.Equal(t, one[*Ack](s, "o").Fresh, false, "a node that was ready says that it is fresh")
	s.did(s.LinkDown(s.at, s.Last()))
	s.did(s.LinkUp(s.at))
	for _, id := range []string{"o", "p", "q"} {
		s.hears(id, &Ack{About: fresh, Fence: s.fence})
	}
	kit.Equal(t, isReady(s), true, "not ready again, although all that were known have answered")

	s = newScript(t)
	s.hears("o", &Fence{About: fresh, Number: 1, Hello: true})
	kit.Equal(t, one[*Ack](s, "o").Fresh, true, "a node that is new, or was silent for long, says that it is fresh")
	s.hears("o", &Ack{About: fresh, Fence: s.fence})
	s.wait(FenceTimeout)
	kit.Equal(t, isReady(s), true, "not ready although nobody knows more")
}

// A link that was silent for so long that nodes were given up is as good as a node's first: whom another node names is waited for.
func TestReadyAfterALongSilence(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a")
	s.knows("p", 0)
	s.wait(FenceTimeout)
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(DeadAfter)
	if len(s.tombstones) != 2 {
		t.Fatalf("%d nodes were given up, want 2", len(s.tombstones))
	}
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, Fence: s.fence, Members: []string{"p"}})
	kit.Equal(t, isReady(s), false, "ready before p has answered, who was named")
	one[*Resync](s, "p")
	s.answers("p", 2)
	if got := s.Members(); !isReady(s) || !slices.Equal(got, []string{"o", "p"}) {
		t.Errorf("ready %v, members %v; want o and p", isReady(s), got)
	}

	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(DeadAfter)
	s.did(s.LinkUp(s.at))
	s.hears("p", beat(0, 2))
	s.answers("o", 0)
	kit.Equal(t, isReady(s), false, "ready before p has answered, of which a heartbeat has come")
	s.answers("p", 2)
	kit.Equal(t, isReady(s), true, "not ready although all have answered")

	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(DeadAfter)
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, Fence: s.fence, Members: []string{"p"}}) // it does not know yet that p has died
	s.wait(FenceTimeout - 1)
	kit.Equal(t, isReady(s), false, "ready before the end of the opening")
	s.wait(1)
	if got := s.Members(); !isReady(s) || !slices.Equal(got, []string{"o"}) {
		t.Errorf("ready %v, members %v at the end of the opening; want o", isReady(s), got)
	}
	s.wait(DeadAfter - FenceTimeout - 1)
	s.answers("o", 0)
	s.wait(1)
	s.answers("o", 0)
	s.hears("o", &Ack{About: old, Fence: s.fence, Members: []string{"p"}}) // outside of an opening that is nothing to us
	if p := s.peers["p"]; p.standing != StandingDead {
		t.Error("p was not given up again")
	}
}

// Where the whole cluster was silent for so long, nobody knows who else is there.
func TestReadyAfterASilenceOfAll(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.knows("p", 0)
	s.wait(FenceTimeout)
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(DeadAfter)
	s.did(s.LinkUp(s.at))
	s.hears("o", &Fence{About: old, Number: 1, Hello: true})
	kit.Equal(t, one[*Ack](s, "o").Fresh, true, "a node that is new, or was silent for long, says that it is fresh")
	s.hears("o", &Ack{About: About{Age: time.Hour, Fresh: true}, Fence: s.fence})
	kit.Equal(t, isReady(s), false, "ready although p has had no time to answer")
	s.wait(FenceTimeout)
	kit.Equal(t, isReady(s), true, "not ready at the end of the opening")

	s.answers("o", 0)
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(DeadAfter - SuspectAfter - 1) // nobody who was there has been given up
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: About{Age: time.Hour, Fresh: true}, Fence: s.fence})
	kit.Equal(t, isReady(s), true, "not ready although all that were known have answered")
}

func TestJoinBeforeTheLinkIsUp(t *testing.T) {
	s := unlinked(t)
	s.joins(1, "a")
	s.ended()
	s.wait(FenceTimeout / 2)
	s.ended()
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, Fence: s.fence, Sent: 3})
	s.ended(1, none)
}

// Of an older node nothing but its answer says where its broadcasts begin for us. A heartbeat does not, nor does a broadcast.
func TestOlderNodeIsMetByItsAnswer(t *testing.T) {
	s := newScript(t)
	s.receives("other", 0, "a")
	s.hears("o", beat(5, 7, tail("a", 7)))
	kit.Equal(t, one[*Fence](s, "o").Hello, true, "a hello")
	s.gets("o", 8, []uint64{7}, "a")
	s.gets("o", 9, []uint64{8}, "a")
	s.delivers()
	s.wait(FenceTimeout)
	one[*Fence](s, "o")
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
	s.hears("o", &Fence{About: About{Age: time.Second}, Number: 1, Sent: 5, Hello: true})
	s.delivers()
	s.asks("o", missing("a", 0, 4))
	s.resyncs("o", 0)
	s.repaired("o", 4, []uint64{0}, "a")
	s.delivers("o4", "o5")
	s.hears("o", beat(0, 5, tail("a", 5), tail("@me/x", 2)))
	s.wait(minNackInterval)
	s.asks("o", missing("@me/x", 0, 2))
	s.hears("o", &Gone{Stubs: []Stub{number(2, "@me/x", 0)}})
	s.empty("o", 5)
	s.counted(Counts{Delivered: 2, Repaired: 1, Missed: 1})
}

// A node that was stopped does not take its own silence for that of the others.
func TestOwnStall(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.knows("p", 0)
	s.wait(SuspectAfter) // p and o are silent
	s.knows("o", 0)
	s.wait(HeartbeatInterval)
	s.at += DeadAfter + time.Minute
	s.did(s.Tick(s.at))
	s.members("o")
	s.suspects("p") // after a stall
	s.wait(SuspectAfter)
	s.suspects("o", "p") // of whom nothing has come after the stall
	s.hears("o", beat(0, 0))
	s.at += time.Hour
	s.hears("o", beat(0, 0)) // before the tick
	s.did(s.Tick(s.at))
	s.wait(DeadAfter - 1)
	kit.Equal(t, len(s.tombstones), 1, "given up")
	kit.Equal(t, len(s.order), 1, "not given up")
}

// A silent node is suspect, and so it stays when it sends again: until it answers, it is not certain that anything reaches it.
func TestSilence(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a")
	s.wait(SuspectAfter - HeartbeatInterval)
	s.suspects()
	s.wait(2 * HeartbeatInterval)
	s.suspects("o")
	s.members()
	kit.Equal(t, len(effects[Membership](s)), 1, "changes of the members")
	kit.Equal(t, s.Counts().Suspects, 1, "suspects counted")
	s.joins(2, "b")
	s.ended(2, none)
	s.hears("o", beat(0, 0))
	s.suspects("o")
	s.answers("o", 0)
	s.members("o")
	s.suspects()
}

// After an outage of the link every node that was known is asked for what was missed.
func TestLinkUpAgain(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(time.Second)
	kit.Equal(t, len(s.got), 0, "effects while the link is down", s.got)
	s.joins(2, "b")
	s.ended(2, none)
	s.did(s.LinkUp(s.at))
	s.greets("", s.fence)
	s.resyncs("o", 5)
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
			a.add(nil)
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
	begin, fence := s.at, s.fence
	ended := func() {
		for _, j := range effects[Joined[any]](s) {
			if len(j.Missing) > 0 {
				slow = append(slow, j.Wait.(time.Duration))
			}
		}
	}
	for s.at < begin+3*time.Second {
		s.at += ms
		s.joins(s.at-begin, fmt.Sprint("room", s.at))
		if ended(); s.fence != fence {
			fence = s.fence
			s.answers("o", 0)
			ended()
		}
		if (s.at-begin)%HeartbeatInterval == 0 {
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
