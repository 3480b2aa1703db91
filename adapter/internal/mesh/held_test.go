package mesh

import (
	"reflect"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// sentTo returns the messages of the last step to one node, or to all for "".
func (s *script) sentTo(to string) (messages []Message) {
	for _, send := range effects[Send](s) {
		if send.To == to {
			messages = append(messages, send.Message)
		}
	}
	return messages
}

// What was not handed to the link before it went down is held back until the nodes have met again: until then nobody is told that it exists,
// or a receiver would ask for what is on its way.
func TestHeldBroadcastsAreNotAnnounced(t *testing.T) {
	s := newScript(t)
	s.knows("old", 0)
	s.emits(10, "a") // 1
	s.emits(10, "b") // 2
	s.emits(10, "a") // 3, in the queue when the link goes down
	s.did(s.LinkDown(s.at, 2))
	s.emits(10, "b") // 4
	s.hears("old", &Resync{About: old})
	if got := s.sentTo("old"); got != nil {
		t.Errorf("sent while the link is down: %v", got)
	}
	s.did(s.LinkUp(s.at))
	if got := s.sentTo("")[0].(*Fence); got.Sent != 2 || !got.Hello {
		t.Errorf("the hello is %+v, want one with 2 sent", got)
	}
	s.hears("old", &Fence{About: old, Number: 1})
	kit.Equal(t, sent[*Ack](s, "old")[0].Sent, 2, "Sent in the answer to a fence")
	s.hears("old", &Resync{About: old})
	want := []Tail{tail("b", 2), tail("a", 1)}
	if got := sent[*Heartbeat](s, "old")[0]; got.Upto != 2 || !reflect.DeepEqual(got.Tails, want) {
		t.Errorf("the list ends at %d with %v, want 2 with %v", got.Upto, got.Tails, want)
	}
	s.wait(maxHold - 1)
	got := sent[*Heartbeat](s, "") // it lives, and says so
	if len(got) < int(SuspectAfter/HeartbeatInterval)-1 {
		t.Errorf("%d heartbeats while broadcasts are held back", len(got))
	}
	for _, b := range got {
		if b.Upto > 2 || len(b.Tails) > 2 {
			t.Errorf("a heartbeat up to %d with %v while all behind 2 is held back", b.Upto, b.Tails)
		}
	}
	kit.Equal(t, released(s), false, "released before old was back")
	s.wait(1)
	if !released(s) {
		t.Errorf("not released after %v", maxHold)
	}
	s.wait(HeartbeatInterval)
	beats := sent[*Heartbeat](s, "")
	if got := beats[len(beats)-1]; got.After != 2 || got.Upto != 4 || len(got.Tails) != 2 {
		t.Errorf("the heartbeat after the release is %+v, want one from 2 to 4", got)
	}
}

func released(s *script) bool { return len(effects[Release](s)) > 0 }

// Broadcasts go as soon as all nodes that were known have answered, also those that come back after the end of the opening.
func TestReleaseWhenAllAreBack(t *testing.T) {
	s := newScript(t)
	s.knows("a", 0)
	s.knows("b", 0)
	s.knows("c", 0)
	s.hears("c", &Bye{About: old})
	s.did(s.LinkDown(s.at, 0))
	s.did(s.LinkUp(s.at))
	s.answers("a", 0)
	kit.Equal(t, released(s), false, "released before b had answered")
	s.wait(FenceTimeout + 10*ms)
	kit.Equal(t, released(s), false, "released at the end of the opening, before b had answered")
	s.answers("b", 0)
	kit.Equal(t, released(s), true, "not released though all have answered")
}

// A node that was never met, and that others name, is waited for like all during the opening, and no longer: it may have died before this node
// was opened in its place.
func TestUnmetNodesHoldNothing(t *testing.T) {
	s := unlinked(t)
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{About: old, Fence: s.fence, Members: []string{"dead"}})
	s.wait(FenceTimeout - 1)
	kit.Equal(t, released(s), false, "released before the end of the opening")
	s.wait(1)
	kit.Equal(t, released(s), true, "not released at the end of the opening")
}

// A node that nobody answers calls again: the first hello of one of two that open at once may have missed the other.
func TestHelloAgain(t *testing.T) {
	s := unlinked(t)
	s.did(s.LinkUp(s.at))
	if got := len(s.sentTo("")); got != 1 {
		t.Fatalf("%d messages to all when the link is up, want a hello", got)
	}
	s.wait(FenceTimeout)
	again := s.sentTo("")
	if len(again) != 2 {
		t.Fatalf("%d messages to all while nobody answers, want 2", len(again))
	}
	for _, m := range again {
		if f := m.(*Fence); !f.Hello || f.Number != 1 {
			t.Errorf("sent %+v, want the hello of the first fence", f)
		}
	}
	kit.Equal(t, isReady(s), true, "not ready after FenceTimeout")
	s.wait(HeartbeatInterval - 1)
	kit.Equal(t, len(sent[*Fence](s, "")), 0, "hellos after the opening")
}

// What is held of one node is bounded in bytes. What does not fit is asked for again in its time.
func TestHeldOfOneNodeIsBounded(t *testing.T) {
	const size = 100 + heldOverhead
	s := newScript(t, limited(Limits{HeldBytes: 3 * size}))
	s.receives("o", 0, "a")
	s.receives("p", 0, "a")
	for seq := range uint64(5) {
		s.gets("o", seq+2, []uint64{seq + 1}, "a") // 2 to 6, of which 5 and 6 do not fit
	}
	s.gets("p", 2, []uint64{1}, "a") // another node has its own room
	if p := s.peers["o"]; p.bytes != 3*size || s.heldBytes != 4*size {
		t.Errorf("%d bytes are held of o, %d of all; want %d and %d", p.bytes, s.heldBytes, 3*size, 4*size)
	}
	s.gets("o", 1, []uint64{0}, "a")
	s.delivers("o1", "o2", "o3", "o4")
	s.wait(nackInterval)
	s.asks("o", missing("a", 4, 5))
	s.repaired("o", 5, []uint64{4}, "a")
	s.delivers("o5")
	s.hears("o", beat(0, 6, tail("a", 6)))
	s.wait(minNackInterval)
	s.asks("o", missing("a", 5, 6))
	s.repaired("o", 6, []uint64{5}, "a")
	s.delivers("o6")
	s.gets("p", 1, []uint64{0}, "a")
	s.hears("p", beat(0, 2, tail("a", 2)))
	s.empty("o", 6)
	s.empty("p", 2)
	s.counted(Counts{Delivered: 8, Repaired: 2, Unheld: 2})
}

// A broadcast larger than the bound is held if it is the only one: else a stream could never pass it.
func TestHeldOfAllNodesIsBounded(t *testing.T) {
	s := newScript(t, limited(Limits{HeldBytes: 1, HeldTotal: 1}))
	s.receives("o", 0, "a")
	s.receives("p", 0, "a")
	s.gets("o", 2, []uint64{1}, "a")
	s.gets("p", 2, []uint64{1}, "a")
	s.counted(Counts{Unheld: 1})
	s.gets("o", 1, []uint64{0}, "a")
	s.delivers("o1", "o2")
	s.gets("p", 2, []uint64{1}, "a")
	s.gets("p", 1, []uint64{0}, "a")
	s.delivers("p1", "p2")
	kit.Equal(t, s.heldBytes, 0, "bytes held of nobody")
}

// What is held of a node that nobody meets any more is given up with it.
func TestHeldOfUnknownNode(t *testing.T) {
	s := newScript(t)
	s.receives("p", 0, "a")
	s.gets("o", 5, []uint64{4}, "a")
	s.gets("o", 6, []uint64{5}, "a")
	s.wait(DeadAfter + time.Second)
	if p := s.peers["o"]; len(p.held) != 0 || s.heldBytes != 0 || p.started {
		t.Errorf("%d held, %d bytes, known %v", len(p.held), s.heldBytes, p.started)
	}
	s.loses()
	s.counted(Counts{Unheld: 2})
	s.gets("o", 7, []uint64{6}, "a") // it is back
	s.hears("o", &Ack{About: About{Age: time.Minute}, Fence: s.fence, Sent: 6})
	s.delivers("o7")
}
