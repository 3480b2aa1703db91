package mesh

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// sent returns the messages of the last step to one node, or to all for "".
func (s *script) sentTo(to string) (messages []Message) {
	for _, e := range s.got {
		if m, ok := e.(Send[string]); ok && m.To == to {
			messages = append(messages, m.Message)
		}
	}
	return messages
}

// What was not handed to the link before it went down is held back until the nodes have met again: until then nobody is told that it exists,
// or a receiver would take it for lost, and drop it when it comes.
func TestHeldBroadcastsAreNotAnnounced(t *testing.T) {
	s := newScript(t)
	s.knows("old", 0)
	s.Emit(s.at, []string{"a"}) // 1
	s.Emit(s.at, []string{"b"}) // 2
	s.Emit(s.at, []string{"a"}) // 3, in the queue when the link goes down
	s.did(s.LinkDown(s.at, 2))
	s.Emit(s.at, []string{"b"}) // 4
	s.hears("old", &Resync{A: 0, Age: time.Hour})
	if got := s.sentTo("old"); got != nil {
		t.Errorf("sent while the link is down: %v", got)
	}
	s.did(s.LinkUp(s.at))
	if got := s.sentTo("")[0].(*Fence); got.Sent != 2 || !got.Hello {
		t.Errorf("the hello is %+v, want one with 2 sent", got)
	}
	s.hears("old", &Fence{F: 1, Age: time.Hour})
	if got := s.sentTo("old")[0].(*Ack); got.Sent != 2 {
		t.Errorf("the answer to a fence says that %d are sent, want 2", got.Sent)
	}
	s.hears("old", &Resync{A: 0, Age: time.Hour})
	want := []Tail{{Hash: hashOf("b"), G: 2}, {Hash: hashOf("a"), G: 1}}
	if got := s.sentTo("old")[0].(*Beat); got.B != 2 || !reflect.DeepEqual(got.Tails, want) {
		t.Errorf("the list ends at %d with %v, want 2 with %v", got.B, got.Tails, want)
	}
	s.wait(maxHold - 1)
	for _, m := range s.sentTo("") {
		if b, ok := m.(*Beat); ok {
			t.Errorf("a Beat up to %d while broadcasts are held back", b.B)
		}
	}
	if released(s) {
		t.Errorf("released before %s was back", "old")
	}
	s.wait(1)
	if !released(s) {
		t.Errorf("not released after %v", maxHold)
	}
	s.wait(BeatInterval)
	beats := s.sentTo("")
	if got := beats[len(beats)-1].(*Beat); got.B != 4 || len(got.Tails) != 2 {
		t.Errorf("the Beat after the release is %+v, want one up to 4", got)
	}
}

func released(s *script) bool {
	return slices.ContainsFunc(s.got, func(e Effect[string]) bool { _, ok := e.(Release[string]); return ok })
}

// Broadcasts go as soon as all nodes that were known have answered, also those that come back after the end of the opening.
func TestReleaseWhenAllAreBack(t *testing.T) {
	s := newScript(t)
	s.knows("a", 0)
	s.knows("b", 0)
	s.knows("c", 0)
	s.hears("c", &Bye{})
	s.did(s.LinkDown(s.at, 0))
	s.did(s.LinkUp(s.at))
	s.answers("a", 0)
	if released(s) {
		t.Error("released before b had answered")
	}
	s.wait(FenceTimeout + 10*ms)
	if released(s) {
		t.Error("released at the end of the opening, before b had answered")
	}
	s.answers("b", 0)
	if !released(s) {
		t.Error("not released though all have answered")
	}
}

// A node that nobody answers calls again: the first hello of one of two that open at once may have missed the other.
func TestHelloAgain(t *testing.T) {
	s := &script{T: t, Machine: New(config("me"))}
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
		if f := m.(*Fence); !f.Hello || f.F != 1 {
			t.Errorf("sent %+v, want the hello of the first fence", f)
		}
	}
	if !isReady(s) {
		t.Error("not ready after FenceTimeout")
	}
	s.wait(BeatInterval - 1)
	for _, m := range s.sentTo("") {
		if _, ok := m.(*Fence); ok {
			t.Error("a hello after the opening")
		}
	}
}
