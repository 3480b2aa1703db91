package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// One fence is in flight at most; what is joined meanwhile shares the next.
func TestJoinsShareFences(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(time.Second)
	s.hears("o", beat(5, 5))
	fence := s.fence
	s.joins(1, "a", "a2")
	s.subscribes("a", "a2")
	if got := sent[*Fence](s, ""); len(got) != 1 || got[0].Number != fence+1 || got[0].Hello {
		t.Fatalf("sent %v, want fence %d", got, fence+1)
	}
	s.joins(2, "b")
	first := len(sent[*Fence](s, ""))
	s.joins(3, "c")
	kit.Equal(t, first+len(sent[*Fence](s, "")), 0, "fences while one is in flight")
	s.subscribes("c")
	s.answers("o", 5)
	s.ended(1, none)
	kit.Equal(t, one[*Fence](s, "").Number, fence+2, "the fence for both")
	s.answers("o", 5)
	s.ended(2, none, 3, none)
	if got := sent[*Fence](s, ""); len(got) != 0 || s.fencing != fenceIdle || len(s.batches) != 0 {
		t.Errorf("sent %v, in flight %v, %d batches; want nothing to be open", got, s.fencing, len(s.batches))
	}
}

func TestJoinOfPendingTopicWaitsForItsFence(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.joins(2, "b")
	s.joins(3, "b")
	s.subscribes() // again
	s.joins(4, "a")
	s.ended()
	s.answers("o", 5)
	s.ended(1, none, 4, none)
	s.answers("o", 5)
	s.ended(2, none, 3, none)
	s.joins(5, "a", "b")
	s.ended(5, none)
}

// A private topic of this node needs no fence: the subscription of its node covers it since it was met.
func TestJoinOfOwnTopic(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "@me/x")
	s.ended(1, none)
	if on, _ := subscribed(s); on != nil || len(sent[*Fence](s, "")) != 0 {
		t.Errorf("subscribed %v, %d fences; want nothing", on, len(sent[*Fence](s, "")))
	}
	s.gets("o", 6, []uint64{0}, "@me/x")
	s.delivers("o6")
	s.gets("o", 7, []uint64{0}, "@you/x")
	s.delivers()
	s.Leave(s.at, "@me/x")
	s.wait(2 * Linger)
	s.unsubscribes()
}

// A node that did not answer is named once. Only its answer ends the suspicion: whoever sends may still not receive.
func TestJoinNamesWhoDoesNotAnswer(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.knows("p", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.wait(FenceTimeout - 1)
	s.ended()
	s.wait(1)
	s.ended(1, []string{"p"})
	s.suspects("p")
	s.joins(2, "b") // p costs no more
	s.ended()
	s.answers("o", 5)
	s.ended(2, none)
	s.wait(100 * ms)
	s.gets("p", 6, []uint64{5}, "b") // presumed: what p sends meanwhile would show as missing
	s.delivers("p6")
	s.greets("p", s.fence)
	s.resyncs("p", 5)
	s.gets("p", 7, []uint64{6}, "b")
	kit.Equal(t, len(sent[*Fence](s, "p")), 0, "fences for p, at once again")
	s.joins(3, "c") // it has not answered
	s.answers("o", 5)
	s.ended(3, none)
	s.suspects("p") // before p has answered
	s.answers("p", 7)
	s.members("o", "p")
	s.joins(4, "d")
	s.answers("o", 5)
	s.ended()
	s.answers("p", 7)
	s.ended(4, none)
	s.counted(Counts{Delivered: 2})
}

// An answer to a fence from before the one that was missed does not end the suspicion.
func TestOldAnswerOfASuspect(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	fence := s.fence
	s.joins(1, "a")
	s.wait(FenceTimeout)
	s.ended(1, []string{"o"})
	s.hears("o", &Ack{About: old, Fence: fence, Sent: 5})
	s.suspects("o")
	s.answers("o", 5)
	s.suspects()
	s.hears("o", &Ack{About: old, Fence: s.fence + 1, Sent: 100}) // there is no such fence
	if p := s.peers["o"]; p.answered != s.fence || p.low != 5 {
		t.Errorf("o has answered %d of %d, floor %d", p.answered, s.fence, p.low)
	}
}

// What a suspect sends on a topic joined meanwhile is tracked from where it stood: its losses show, and are repaired.
func TestPresumedAnswer(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.joins(2, "b") // wants the next fence
	s.wait(FenceTimeout)
	s.ended(1, []string{"o"}, 2, []string{"o"})
	s.gets("o", 7, []uint64{6}, "b")
	s.delivers()
	s.asks("o", missing("b", 5, 6))
	s.repaired("o", 6, []uint64{0}, "b")
	s.delivers("o6", "o7")
	s.counted(Counts{Delivered: 2, Repaired: 1})
}

// A node that missed an older fence is suspect for the newest one too, and is named by all that it has not answered.
func TestSuspectThroughOlderFence(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.knows("p", 5)
	s.joins(1, "a")
	s.answers("p", 5)
	s.wait(FenceTimeout / 2)
	s.joins(2, "b") // shares no fence with the first
	s.wait(FenceTimeout / 2)
	s.ended(1, []string{"o"}) // and the second waits for p alone
	s.answers("p", 5)
	s.ended(2, []string{"o"}) // it was asked for, and became suspect meanwhile: not nil
	if p := s.peers["o"]; p.presumed != s.fence || p.answered >= s.fence {
		t.Errorf("o has answered %d, presumed %d; the last fence is %d", p.answered, p.presumed, s.fence)
	}
	s.gets("o", 8, []uint64{7}, "b")
	s.delivers()
	s.asks("o", missing("b", 5, 7))
}

// A node that becomes suspect during a Join ends the wait, and is named.
func TestSuspectDuringJoin(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(FenceTimeout)
	s.joins(1, "a")
	s.did(s.LinkDown(s.at, s.Last()))
	s.ended(1, []string{"o"})
	s.joins(2, "b") // while the link is down nobody is waited for
	s.ended(2, none)
}

// A node that was silent when a Join began, and is back by its answer to an older fence, is waited for, and named.
func TestSilentNodeIsBackDuringAJoin(t *testing.T) {
	s := newScript(t)
	s.hears("o", &Fence{About: old, Number: 1, Hello: true})
	s.wait(FenceTimeout)
	s.knows("p", 5)
	fence := s.fence
	s.joins(1, "a")
	s.wait(time.Millisecond)
	s.hears("o", &Ack{About: old, Fence: fence, Sent: 5})
	s.answers("p", 5)
	s.ended()
	s.suspects()
	s.wait(FenceTimeout - time.Millisecond)
	s.ended(1, []string{"o"})
}

// A hello to one node is no fence of all: the others are not waited for.
func TestHelloToOne(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	fence := s.fence
	s.wait(time.Second)
	s.hears("o", beat(5, 5))
	s.hears("new", &Fence{About: old, Number: 1, Hello: true})
	s.greets("new", fence)
	if got := sent[*Ack](s, "new"); len(got) != 1 || got[0].Fence != 1 || !slices.Equal(got[0].Members, []string{"o"}) {
		t.Errorf("answered %+v, want an answer to 1 that names o", got)
	}
	s.wait(FenceTimeout)
	s.suspects("new")
}

// A node that others know, and that has not answered yet, is waited for and named.
func TestJoinWaitsForNodesHeardOf(t *testing.T) {
	s := newScript(t)
	s.hears("o", &Ack{About: old, Fence: s.fence, Sent: 5, Members: []string{"me", "p"}})
	one[*Fence](s, "p")
	s.joins(1, "a")
	s.answers("o", 5)
	s.answers("o", 5)
	s.ended()
	s.wait(FenceTimeout)
	s.ended(1, []string{"p"})
}

// A Join ends in time although two nodes take turns to be silent: both send, and never answer.
func TestJoinEndsAlthoughNodesReturn(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.knows("p", 5)
	s.wait(time.Second)
	s.joins(1, "a")
	s.joins(2, "b")
	start, ended := s.at, 0
	for turn := 0; s.at < start+3*FenceTimeout; turn++ {
		s.wait(FenceTimeout / 5)
		for _, j := range effects[Joined[any]](s) {
			ended++
			if len(j.Missing) == 0 {
				t.Errorf("Join %v misses nobody", j.Wait)
			}
		}
		s.hears([]string{"o", "p"}[turn%2], beat(5, 5))
	}
	kit.Equal(t, ended, 2, "Joins that have ended after", s.at-start)
}

// An answer to a fence from before its sender was met says nothing about the topics of the fences between: they wait for a later one.
func TestAnswerFromBeforeTheMeeting(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	first := s.fence
	s.joins(1, "a")
	s.answers("o", 5)
	s.ended(1, none)
	s.hears("p", &Ack{About: old, Fence: first, Sent: 7})
	s.gets("p", 9, []uint64{8}, "a") // 8 was sent before our interest had come to p
	s.delivers()
	s.answers("p", 8) // to the fence of the Join
	s.delivers("p9")
	s.gets("p", 10, []uint64{8}, "@me/x")
	s.gets("p", 11, []uint64{9}, "a")
	s.counted(Counts{Delivered: 3})
	if p := s.peers["p"]; !p.started || p.answered != s.fence {
		t.Errorf("p known %v, has answered %d of %d", p.started, p.answered, s.fence)
	}
}

// A node that is met while another is ahead of it with its answers gets its own baselines.
func TestAnswersOfOneNodeAreNotForAll(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.hears("p", beat(3, 3)) // heard of, and asked for the fence so far
	fence := s.fence
	s.joins(1, "a")
	s.answers("o", 5)
	s.hears("p", &Ack{About: old, Fence: fence, Sent: 7})
	s.answers("p", 8) // 8 was sent before our interest had come to p
	s.ended(1, none)
	s.gets("p", 9, []uint64{8}, "a")
	s.delivers("p9")
	s.counted(Counts{Delivered: 1})
}

// A client has no members: it is no server, but it emits, and so a Join waits for its answer.
func TestClientsAreWaitedFor(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.hears("emitter", &Ack{About: About{Age: time.Hour, Client: true}, Fence: s.fence, Sent: 3})
	if got, want := fmt.Sprint(s.Members(), s.Servers()), "[o emitter] [o]"; got != want {
		t.Fatalf("members and servers %s, want %s", got, want)
	}
	s.joins(1, "a")
	s.answers("o", 5)
	s.ended()
	s.hears("emitter", &Ack{About: About{Age: time.Hour, Client: true}, Fence: s.fence, Sent: 4})
	s.ended(1, none)
	s.gets("emitter", 5, []uint64{0}, "a")
	s.delivers("emitter5")
	s.joins(2, "b")
	s.answers("o", 5)
	s.wait(FenceTimeout)
	s.ended(2, []string{"emitter"})
	if got, want := fmt.Sprint(s.Servers(), s.Suspects(), s.Named(s.at)), "[o] [emitter] []"; got != want {
		t.Errorf("servers, suspects, and servers among them %s, want %s", got, want)
	}
	s.wait(SuspectAfter)
	kit.EqualSlices(t, s.Named(s.at), []string{"o"}, "silent servers")
	m := New[string, string, string, any](Config[string]{Node: "me", Client: true, Hash: hashOf, Own: func(string) bool { return true }, Mine: func(uint64) bool { return false }})
	m.LinkUp(0)
	for _, e := range m.Receive(0, "o", &Fence{About: old, Number: 1, Hello: true}) {
		if send, ok := e.(Send); ok {
			if a, ok := send.Message.(*Ack); ok && !a.Client {
				t.Error("a client does not say that it is one")
			}
		}
	}
}

// A node that is known only when it is back, by its answer to a fence from before a Join that has not waited for it, is missed from there on.
func TestKnownWhenItIsBack(t *testing.T) {
	s := newScript(t)
	s.hears("o", beat(0, 0)) // it is older, and has not answered
	fence := s.fence
	s.wait(FenceTimeout + HeartbeatInterval)
	s.joins("join", "a")
	if got := effects[Joined[any]](s); len(got) != 1 || len(got[0].Missing) != 0 || s.fence == fence {
		t.Fatalf("the Join ended with %v, and the fence is %d", got, s.fence)
	}
	s.hears("o", &Ack{About: old, Fence: fence, Sent: 5})
	s.hears("o", beat(5, 6, tail("a", 6)))
	one[*Nack](s, "o")
}
