package mesh

import (
	"slices"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// Interest lingers for a second: whoever joins again in time needs no fence.
func TestLinger(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.Leave(s.at, "a")
	s.Leave(s.at, "a")
	s.Leave(s.at, "never joined")
	s.wait(Linger - 1)
	s.unsubscribes() // too early
	s.gets("o", 6, []uint64{5}, "a")
	s.delivers("o6") // the shell finds no member
	fence := s.fence
	s.joins(2, "a")
	s.ended(2, none)
	if on, _ := subscribed(s); on != nil || s.fence != fence {
		t.Errorf("subscribed %v, fence %d; want the old interest and fence %d", on, s.fence, fence)
	}
	kit.Equal(t, s.Counts().Rejoins, 1, "rejoins counted")
	s.wait(2 * Linger)
	s.unsubscribes() // which has a member
	s.hears("o", beat(5, 6))
	s.answers("o", 6) // it was silent for so long that it is suspect
	s.gets("o", 7, []uint64{6}, "a")
	s.Leave(s.at, "a")
	s.wait(Linger)
	s.unsubscribes("a")
	if p := s.peers["o"]; len(p.lows) != 0 || p.done.len() != 1 || len(s.interests) != 0 || len(s.lingering) != 0 {
		t.Errorf("%d last, %d done, %d interests, %d lingering; want none but done", len(p.lows), p.done.len(), len(s.interests), len(s.lingering))
	}
	s.gets("o", 8, []uint64{7}, "a")
	s.delivers()
	s.joins(3, "a")
	if on, _ := subscribed(s); !slices.Equal(on, []string{"a"}) || s.interests[hashOf("a")].fence <= fence {
		t.Fatalf("subscribed %v with fence %d; want a with a new fence", on, s.interests[hashOf("a")].fence)
	}
	s.gets("o", 7, []uint64{6}, "a") // a late copy
	s.delivers()
	s.gets("o", 9, []uint64{8}, "a") // pending: nothing is missing
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
		s.unsubscribes() // half a linger after the last leave
	}
	s.wait(Linger / 2)
	s.unsubscribes("a")
}

// What is missing on a topic that nobody here wants any more is not waited for.
func TestEndOfTopicFreesWhatWaitsForIt(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 7, []uint64{6, 0}, "a", "b")
	s.delivers()
	s.asks("o", missing("a", 5, 6))
	s.Leave(s.at, "a")
	s.wait(Linger)
	s.delivers("o7")
	if p := s.peers["o"]; len(p.gaps) != 0 || len(p.held) != 0 {
		t.Errorf("want %v, %d held; want nothing", p.gaps, len(p.held))
	}
	s.hears("o", beat(5, 7, tail("a", 7), tail("b", 7)))
	s.empty("o", 7)
}

// colliding are two topics with one hash.
func colliding(cfg *Config[string]) {
	hash := cfg.Hash
	cfg.Hash = func(topic string) uint64 {
		if topic == "a2" {
			topic = "a"
		}
		return hash(topic)
	}
}

// Topics whose hashes are equal are one stream: it began with the first of them, and ends with the last.
func TestCollidingTopics(t *testing.T) {
	s := newScript(t, colliding)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.gets("o", 6, []uint64{5}, "a")
	s.delivers("o6")
	s.joins(2, "a2") // needs a Subscribe and a fence of its own
	s.subscribes("a2")
	s.ended()
	s.gets("o", 8, []uint64{7}, "a2") // 7 was on a2 before our interest had come to o; but it is the stream of a, too
	s.delivers()
	s.asks("o", missing("a", 6, 7))
	s.answers("o", 7)
	s.ended(2, none)
	s.repaired("o", 7, []uint64{6}, "a2")
	s.delivers("o7", "o8")
	s.joins(3, "a", "a2")
	s.ended(3, none)

	s.Leave(s.at, "a") // the first: the stream goes on
	s.wait(Linger)
	s.unsubscribes("a")
	s.gets("o", 10, []uint64{9}, "a2")
	s.delivers()
	s.asks("o", missing("a", 8, 9))
	s.hears("o", &Gone{Stubs: []Stub{number(9, "a", 8)}})
	s.delivers("o10")
	s.loses(Lost{Node: "o", After: 8, Upto: 9})

	s.joins(4, "a") // again, behind the other
	s.answers("o", 10)
	s.ended(4, none)
	s.Leave(s.at, "a2")
	s.Leave(s.at, "a")
	s.joins(5, "a2") // within the linger
	s.ended(5, none)
	s.wait(Linger)
	s.unsubscribes("a")
	s.Leave(s.at, "a2")
	s.wait(Linger)
	s.unsubscribes("a2")
	if p := s.peers["o"]; len(s.interests) != 0 || len(p.lows) != 0 || len(s.batches) != 0 {
		t.Errorf("%d interests, %d last, %d batches; want none", len(s.interests), len(p.lows), len(s.batches))
	}
	s.gets("o", 11, []uint64{10}, "a")
	s.counted(Counts{Delivered: 4, Repaired: 1, Missed: 1, Unwanted: 1})
}

// A stream that passes from one topic to the other begins where it began: nothing on it is given up meanwhile.
func TestCollidingTopicsLeftInTurn(t *testing.T) {
	s := newScript(t, colliding)
	s.receives("o", 5, "a", "a2")
	s.Leave(s.at, "a2")
	s.wait(Linger)
	s.joins(2, "a2")
	s.Leave(s.at, "a")
	s.answers("o", 5)
	s.wait(Linger)
	s.gets("o", 7, []uint64{6}, "a2")
	s.delivers()
	s.asks("o", missing("a", 5, 6))
}

// A topic whose hash is taken for one of this node's own is tracked from the beginning, and its Join still needs a fence.
func TestCollisionWithOwnTopic(t *testing.T) {
	s := newScript(t, func(cfg *Config[string]) {
		mine := cfg.Mine
		cfg.Mine = func(h uint64) bool { return mine(h) || h == hashOf("a") }
	})
	s.knows("o", 5)
	s.gets("o", 7, []uint64{6}, "@me/x", "a")
	s.hears("o", beat(5, 8, tail("a", 8)))
	s.asks("o", missing("a", 5, 8))
	s.hears("o", &Gone{Horizon: 8})
	s.joins(1, "a")
	if on, _ := subscribed(s); !slices.Equal(on, []string{"a"}) || len(sent[*Fence](s, "")) != 1 {
		t.Fatalf("subscribed %v, %d fences; want a and one", on, len(sent[*Fence](s, "")))
	}
	s.ended()
	s.answers("o", 8)
	s.ended(1, none)
	s.Leave(s.at, "a")
	s.wait(Linger)
	s.gets("o", 10, []uint64{9}, "a") // still tracked
	s.delivers()
	s.asks("o", missing("a", 8, 9))
}

// A topic ends before anything else of the step: what a node that is given up in it leaves behind is not delivered without interest.
func TestEndOfTopicComesFirst(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.gets("o", 7, []uint64{6}, "a")
	s.gets("o", 9, []uint64{8}, "b")
	s.wait(DeadAfter - Linger/2)
	s.Leave(s.at, "a")
	s.at += Linger // the tick is late: both are due
	s.did(s.Tick(s.at))
	if _, off := subscribed(s); !slices.Equal(off, []string{"a"}) || s.Counts().Deaths != 1 {
		t.Fatalf("unsubscribed %v, %d deaths; want a, and one", off, s.Counts().Deaths)
	}
	s.delivers("o9")
}
