package mesh

import (
	"slices"
	"testing"
	"time"
)

// One fence is in flight at most; what is joined meanwhile shares the next.
func TestJoinsShareFences(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(time.Second)
	s.hears("o", beat(5, 5))
	f := s.f
	s.joins(1, "a", "a2")
	if on, _ := subscribed(s); !slices.Equal(on, []string{"a", "a2"}) {
		t.Errorf("subscribed %v, want a and a2", on)
	}
	if got := sent[*Fence](s, ""); len(got) != 1 || got[0].F != f+1 || got[0].Hello {
		t.Fatalf("sent %v, want fence %d", got, f+1)
	}
	s.joins(2, "b")
	first := len(sent[*Fence](s, ""))
	s.joins(3, "c")
	if n := first + len(sent[*Fence](s, "")); n != 0 {
		t.Fatalf("%d fences sent while one is in flight", n)
	}
	if on, _ := subscribed(s); !slices.Equal(on, []string{"c"}) {
		t.Errorf("subscribed %v, want c at once", on)
	}
	s.answers("o", 5)
	s.ended(1, none)
	if got := sent[*Fence](s, ""); len(got) != 1 || got[0].F != f+2 {
		t.Fatalf("sent %v, want fence %d for both", got, f+2)
	}
	s.answers("o", 5)
	s.ended(2, none, 3, none)
	if got := sent[*Fence](s, ""); len(got) != 0 || s.inflight || len(s.batches) != 0 {
		t.Errorf("sent %v, in flight %v, %d batches; want nothing to be open", got, s.inflight, len(s.batches))
	}
}

func TestJoinOfPendingTopicWaitsForItsFence(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.joins(2, "b")
	s.joins(3, "b")
	if on, _ := subscribed(s); on != nil {
		t.Errorf("subscribed %v again", on)
	}
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
	if _, off := subscribed(s); off != nil {
		t.Errorf("unsubscribed %v", off)
	}
}

// The answers of a link that delivers too much: those to others prove nothing, whatever their numbers.
func TestAnswerToAnother(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.hears("o", &Ack{To: "you", F: s.f, Sent: 5, Age: time.Hour})
	s.ended()
	s.answers("o", 5)
	s.ended(1, none)
}

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
	if got := s.Suspects(); !slices.Equal(got, []string{"p"}) {
		t.Errorf("suspects %v, want p", got)
	}
	s.joins(2, "b") // p costs no more
	s.ended()
	s.answers("o", 5)
	s.ended(2, none)
	s.wait(10 * ms)
	s.gets("p", 6, []uint64{5}, "b") // presumed: what p sends meanwhile shows as missing
	s.delivers("p6")
	s.counted(Counts{Delivered: 1})
	if got := sent[*Fence](s, "p"); len(got) != 1 || got[0].F != s.f {
		t.Fatalf("p is back, and is asked %v; want one fence with number %d", got, s.f)
	}
	f := s.f
	s.wait(FenceTimeout)
	if got := s.Suspects(); !slices.Equal(got, []string{"p"}) || s.f != f {
		t.Errorf("suspects %v when p has not answered the hello, want p", got)
	}
	s.gets("p", 7, []uint64{6}, "b")
	s.joins(3, "c") // it is waited for again
	s.answers("o", 5)
	s.ended()
	s.answers("p", 7)
	s.ended(3, none)
}

// What a suspect sends on a topic joined meanwhile is tracked from where it stood: its losses are holes.
func TestPresumedAnswer(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.joins(2, "b") // wants the next fence
	s.wait(FenceTimeout)
	s.ended(1, []string{"o"}, 2, []string{"o"})
	s.gets("o", 7, []uint64{6}, "b")
	s.counted(Counts{Delivered: 1, Holes: 1})
}

// A node that missed an older fence is suspect for the newest one too, and is named by all that it has not answered.
func TestSuspectThroughOlderFence(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.knows("p", 5)
	s.joins(1, "a")
	s.answers("p", 5)
	s.wait(FenceTimeout / 2)
	s.did(s.LinkUp(s.at)) // a second fence on the way
	s.joins(2, "b")
	s.answers("p", 5)
	s.wait(FenceTimeout)
	s.answers("p", 5)
	for _, e := range s.got {
		if j, ok := e.(Joined[string]); ok && !slices.Equal(j.Missing, []string{"o"}) && j.Wait == 1 {
			t.Errorf("Join %v misses %v, want o", j.Wait, j.Missing)
		}
	}
	if p := s.peers["o"]; p.acked != s.f || p.real >= s.f {
		t.Errorf("o has answered %d, presumed %d; the last fence is %d", p.real, p.acked, s.f)
	}
	s.gets("o", 8, []uint64{7}, "b")
	s.counted(Counts{Delivered: 1, Holes: 1})
}

// A node that becomes suspect during a Join ends the wait, and is named.
func TestSuspectDuringJoin(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(FenceTimeout)
	s.joins(1, "a")
	s.did(s.LinkDown(s.at, s.origin.g))
	s.ended(1, []string{"o"})
	s.joins(2, "b") // while the link is down nobody is waited for
	s.ended(2, none)
}

// A hello to one node is no fence of all: the others are not waited for.
func TestHelloToOne(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	f := s.f
	s.wait(time.Second)
	s.hears("o", beat(5, 5))
	s.hears("new", &Fence{F: 1, Age: time.Hour, Hello: true})
	if got := sent[*Fence](s, "new"); len(got) != 1 || got[0].F != f || !got[0].Hello {
		t.Fatalf("asked %v, want a hello with number %d", got, f)
	}
	if got := sent[*Ack](s, "new"); len(got) != 1 || got[0].To != "new" || got[0].F != 1 || !slices.Equal(got[0].Members, []string{"o"}) {
		t.Errorf("answered %+v, want an answer to 1 that names o", got)
	}
	s.wait(FenceTimeout)
	if got := s.Suspects(); !slices.Equal(got, []string{"new"}) {
		t.Errorf("suspects %v, want the new node alone", got)
	}
}

// A node that others know, and that has not answered yet, is waited for and named.
func TestJoinWaitsForNodesHeardOf(t *testing.T) {
	s := newScript(t)
	s.hears("o", &Ack{To: "me", F: s.f, Sent: 5, Age: time.Hour, Members: []string{"me", "p"}})
	if got := sent[*Fence](s, "p"); len(got) != 1 {
		t.Fatalf("p is asked %v, want one hello", got)
	}
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
		for _, e := range s.got {
			if j, ok := e.(Joined[string]); ok {
				ended++
				if len(j.Missing) == 0 {
					t.Errorf("Join %v misses nobody", j.Wait)
				}
			}
		}
		s.hears([]string{"o", "p"}[turn%2], beat(5, 5))
	}
	if ended != 2 {
		t.Errorf("%d of 2 Joins have ended after %v", ended, s.at-start)
	}
}

// An answer to a fence from before its sender was met says nothing about the topics of the fences between: they wait for a later one.
func TestAnswerFromBeforeTheMeeting(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	first := s.f
	s.joins(1, "a")
	s.answers("o", 5)
	s.ended(1, none)
	s.hears("p", &Ack{To: "me", F: first, Sent: 7, Age: time.Hour})
	s.gets("p", 9, []uint64{8}, "a") // 8 was sent before our interest had come to p
	s.answers("p", 8)                // to the fence of the Join
	s.gets("p", 10, []uint64{8}, "@me/x")
	s.gets("p", 11, []uint64{9}, "a")
	s.counted(Counts{Delivered: 3})
	if p := s.peers["p"]; !p.known || p.real != s.f {
		t.Errorf("p known %v, has answered %d of %d", p.known, p.real, s.f)
	}
}

// A node that is met while another is ahead of it with its answers gets its own baselines.
func TestAnswersOfOneNodeAreNotForAll(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.hears("p", beat(3, 3)) // heard of, and asked for the fence so far
	f := s.f
	s.joins(1, "a")
	s.answers("o", 5)
	s.hears("p", &Ack{To: "me", F: f, Sent: 7, Age: time.Hour})
	s.answers("p", 8) // 8 was sent before our interest had come to p
	s.ended(1, none)
	s.gets("p", 9, []uint64{8}, "a")
	s.delivers("p9")
	s.counted(Counts{Delivered: 1})
}

// Interest lingers for a second: whoever joins again in time needs no fence.
func TestLinger(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.Leave(s.at, "a")
	s.Leave(s.at, "a")
	s.Leave(s.at, "never joined")
	s.wait(Linger - 1)
	if _, off := subscribed(s); off != nil {
		t.Fatalf("unsubscribed %v too early", off)
	}
	s.gets("o", 6, []uint64{5}, "a")
	s.delivers("o6") // the shell finds no member
	f := s.f
	s.joins(2, "a")
	s.ended(2, none)
	if on, _ := subscribed(s); on != nil || s.f != f {
		t.Errorf("subscribed %v, fence %d; want the old interest and fence %d", on, s.f, f)
	}
	s.wait(2 * Linger)
	if _, off := subscribed(s); off != nil {
		t.Fatalf("unsubscribed %v, which has a member", off)
	}
	s.hears("o", beat(5, 6))
	s.gets("o", 7, []uint64{6}, "a")
	s.Leave(s.at, "a")
	s.wait(Linger)
	if _, off := subscribed(s); !slices.Equal(off, []string{"a"}) {
		t.Fatalf("unsubscribed %v, want a", off)
	}
	if p := s.peers["o"]; len(p.last) != 0 || len(p.done) != 1 || len(s.interests) != 0 || len(s.lingering) != 0 {
		t.Errorf("%d last, %d done, %d interests, %d lingering; want none but done", len(p.last), len(p.done), len(s.interests), len(s.lingering))
	}
	s.gets("o", 8, []uint64{7}, "a")
	s.delivers()
	s.joins(3, "a")
	if on, _ := subscribed(s); !slices.Equal(on, []string{"a"}) || s.interests[hashOf("a")].fno <= f {
		t.Fatalf("subscribed %v with fence %d; want a with a new fence", on, s.interests[hashOf("a")].fno)
	}
	s.gets("o", 7, []uint64{6}, "a") // a late copy
	s.delivers()
	s.gets("o", 9, []uint64{8}, "a") // pending: no hole
	s.delivers("o9")
	s.counted(Counts{Delivered: 3, Copies: 1, Unwanted: 1})
}

// Leaving and joining again and again ends only the last linger.
func TestLingerOfManyLeaves(t *testing.T) {
	s := newScript(t)
	for range 5 {
		s.joins(1, "a")
		s.Leave(s.at, "a")
		s.wait(Linger / 2)
		if _, off := subscribed(s); off != nil {
			t.Fatalf("unsubscribed %v half a linger after the last leave", off)
		}
	}
	s.wait(Linger / 2)
	if _, off := subscribed(s); !slices.Equal(off, []string{"a"}) {
		t.Errorf("unsubscribed %v, want a", off)
	}
}
