package mesh

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A node that says what cannot be harms what is due of itself alone, and costs no memory.
func TestForgedNumbers(t *testing.T) {
	const huge = 1 << 63
	open := func(t *testing.T) *script {
		s := newScript(t)
		s.receives("o", 5, "a", "b")
		s.receives("p", 5)
		return s
	}
	// lives checks that another node is not concerned.
	lives := func(t *testing.T, s *script) {
		t.Helper()
		s.gets("p", 6, []uint64{5}, "a")
		s.delivers("p6")
		s.wait(10 * time.Second)
		for id, p := range s.peers {
			if n := len(p.done.words); n > maxSpan/64+1 {
				t.Errorf("%d words for numbers of %s", n, id)
			}
		}
	}
	t.Run("a number", func(t *testing.T) {
		for _, seq := range []uint64{huge, math.MaxUint64, 5 + maxSpan + 1} {
			s := open(t)
			s.wait(resyncInterval)
			s.gets("o", seq, []uint64{5}, "a")
			s.delivers()
			s.resyncs("o", 5)
			s.gets("o", 6, []uint64{5}, "a")
			s.delivers("o6")
			lives(t, s)
		}
	})
	t.Run("the widest number", func(t *testing.T) {
		s := open(t)
		s.gets("o", 5+maxSpan, []uint64{5}, "a")
		s.delivers("o1048581")
		lives(t, s)
	})
	t.Run("a number of an unknown node", func(t *testing.T) {
		s := open(t)
		s.gets("q", huge, []uint64{0}, "a")
		s.gets("q", 1, []uint64{0}, "a")
		s.hears("q", &Fence{About: About{Age: time.Second}, Number: 1, Hello: true}) // it is younger, and known now
		s.delivers("q1")
		s.counted(Counts{Delivered: 1, Unheld: 1})
		lives(t, s)
	})
	t.Run("the number before", func(t *testing.T) {
		for _, prev := range []uint64{6, 7, huge, math.MaxUint64} {
			s := open(t)
			s.gets("o", 6, []uint64{prev}, "a")
			s.delivers()
			s.asks("o")
			s.gets("o", 6, []uint64{5}, "a")
			s.delivers("o6")
			lives(t, s)
		}
	})
	t.Run("fewer or more numbers than topics", func(t *testing.T) {
		s := open(t)
		s.gets("o", 6, nil, "a")
		s.delivers()
		s.gets("o", 6, []uint64{5}, "a", "b")
		s.delivers()
		s.gets("o", 6, []uint64{5, 5}, "a")
		s.delivers()
		s.gets("o", 6, nil)
		s.delivers()
		s.counted(Counts{Unwanted: 1})
		lives(t, s)
	})
	t.Run("number 0", func(t *testing.T) {
		s := open(t)
		s.gets("o", 0, []uint64{0}, "a")
		s.delivers()
		s.gets("q", 0, []uint64{0}, "a")
		s.hears("q", &Fence{About: About{Age: time.Second}, Number: 1, Hello: true})
		s.delivers()
		lives(t, s)
	})
	t.Run("a heartbeat", func(t *testing.T) {
		s := open(t)
		s.hears("o", beat(5, huge))
		s.gets("o", 6, []uint64{5}, "a") // it has said that there is nothing
		s.delivers()
		s.gets("o", huge+1, []uint64{huge}, "a")
		s.delivers("o9223372036854775809")
		lives(t, s)
	})
	t.Run("a heartbeat with a last number beyond its end", func(t *testing.T) {
		s := open(t)
		s.hears("o", beat(5, 7, tail("a", huge), tail("b", 8)))
		s.asks("o")
		s.empty("o", 7)
		lives(t, s)
	})
	t.Run("a heartbeat that ends before it begins", func(t *testing.T) {
		s := open(t)
		s.hears("o", beat(5, 2, tail("a", 1)))
		s.empty("o", 5)
		lives(t, s)
	})
	t.Run("parts of a heartbeat", func(t *testing.T) {
		for _, parts := range [][2]int{{0, 0}, {-1, 0}, {-1, -1}, {5, 2}, {math.MaxInt, math.MinInt}, {math.MinInt, math.MaxInt}} {
			s := open(t)
			b := beat(5, 7)
			b.Part, b.Parts = parts[0], parts[1]
			s.hears("o", b)
			kit.Equal(t, s.peers["o"].high, 5, "goal", "after part", b.Part, "of", b.Parts)
			lives(t, s)
		}
	})
	t.Run("Gone", func(t *testing.T) {
		s := open(t)
		s.gets("o", 7, []uint64{6}, "a")
		s.hears("o", &Gone{Stubs: []Stub{number(huge, "a", 5), number(0, "a", 0), number(6, "a", 6), number(6)}})
		s.delivers()
		s.loses()
		s.repaired("o", 6, []uint64{5}, "a")
		s.delivers("o6", "o7")
		lives(t, s)
	})
	t.Run("a horizon", func(t *testing.T) {
		s := open(t)
		s.hears("o", &Gone{Horizon: math.MaxUint64})
		s.loses(Lost{Node: "o", After: 5, Upto: math.MaxUint64, Unknown: true})
		s.gets("o", 6, []uint64{5}, "a")
		s.delivers()
		s.gets("o", math.MaxUint64, []uint64{5}, "a")
		s.delivers()
		lives(t, s)
	})
	t.Run("an answer to a fence that there was not", func(t *testing.T) {
		s := open(t)
		s.hears("o", &Ack{About: old, Fence: s.fence + 1, Sent: 100})
		s.hears("q", &Ack{About: old, Fence: math.MaxUint64, Sent: 100})
		if s.peers["q"].started || s.peers["o"].low != 5 {
			t.Errorf("q known %v, floor of o %d", s.peers["q"].started, s.peers["o"].low)
		}
		lives(t, s)
	})
	t.Run("a negative age", func(t *testing.T) {
		s := open(t)
		s.hears("q", &Fence{About: About{Age: math.MinInt64}, Number: 1})
		if !s.peers["q"].started {
			t.Error("a node that is surely younger is not known")
		}
		lives(t, s)
	})
	t.Run("this node's own id", func(t *testing.T) {
		s := open(t)
		s.hears("me", &Bye{})
		s.gets("me", 1, []uint64{0}, "a")
		s.hears("o", &Ack{About: old, Fence: s.fence, Sent: 5, Members: []string{"me"}})
		if s.peers["me"] != nil {
			t.Error("this node is its own peer")
		}
		lives(t, s)
	})
}

// Whatever others say, in whatever order, a machine goes on, and does not grow beyond what its limits allow.
func TestNonsense(t *testing.T) {
	topics := []string{"a", "b", "c", "@me/x", "@you/x", all}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newScript(t, limited(Limits{RingStamps: 20, RingBytes: 1000, HeldBytes: 3000, HeldTotal: 5000}))
		number := func() uint64 {
			switch rng.IntN(12) {
			case 0:
				return rng.Uint64() >> rng.IntN(64)
			case 1:
				return math.MaxUint64 - uint64(rng.IntN(3))
			case 2:
				return maxSpan - 5 + uint64(rng.IntN(20))
			}
			return uint64(rng.IntN(30))
		}
		topic := func() string { return topics[rng.IntN(len(topics))] }
		about := func() About {
			return About{Age: time.Duration(rng.Int64N(int64(20 * time.Second))), Client: rng.IntN(5) == 0}
		}
		node := func() string { return string(rune('o' + rng.IntN(4))) }
		var links []Link
		for range 4 {
			links = append(links, Link{Hash: hashOf(topic()), Prev: number()})
		}
		for range 400 {
			from := node()
			switch rng.IntN(16) {
			case 0:
				s.hears(from, &Fence{About: about(), Number: number(), Sent: number(), Hello: rng.IntN(2) == 0})
			case 1, 2:
				s.hears(from, &Ack{About: about(), Fence: s.fence - min(s.fence, uint64(rng.IntN(3))), Sent: number(), Members: []string{node(), "me"}})
			case 3, 4:
				part := rng.IntN(3)
				s.hears(from, &Heartbeat{About: about(), After: number(), Upto: number(), Horizon: number(), Part: part, Parts: part + rng.IntN(2),
					Tails: []Tail{{Hash: hashOf(topic()), Sequence: number()}, {Hash: hashOf(topic()), Sequence: number()}}})
			case 5:
				s.hears(from, &Resync{About: about(), After: number()})
			case 6:
				s.hears(from, &Nack{Ranges: []Range{{hashOf(topic()), number(), number()}, {hashOf(topic()), number(), number()}}})
			case 7:
				s.hears(from, &Gone{Horizon: number() >> rng.IntN(64), Stubs: []Stub{{number(), links[:rng.IntN(5)]}, {number(), links[2:]}}})
			case 8:
				if rng.IntN(10) == 0 {
					s.hears(from, &Bye{About: about(), Last: number()})
				} else {
					s.hears(from, &Confirm{})
				}
			case 9:
				s.joins(1, topic(), topic())
			case 10:
				s.Leave(s.at, topic())
			case 11:
				s.emits(rng.IntN(200), topic())
			case 12:
				s.wait(time.Duration(rng.Int64N(int64(3 * time.Second))))
			case 13:
				if rng.IntN(5) == 0 {
					s.LinkDown(s.at, min(number(), s.Last()))
					s.did(s.LinkUp(s.at))
				}
			default:
				in := incoming(from, number(), []uint64{number(), number()}, topic(), topic())
				in.Changes, in.Repaired = rng.IntN(5) == 0, rng.IntN(5) == 0
				s.did(s.Broadcast(s.at, from, in))
				s.did(s.Resume(s.at, from))
			}
			if s.heldBytes > 5000+1000 {
				t.Fatalf("seed %d: %d bytes are held", seed, s.heldBytes)
			}
			for id, p := range s.peers {
				if len(p.done.words) > maxSpan/64+1 {
					t.Fatalf("seed %d: %d words for what is done of %s", seed, len(p.done.words), id)
				}
			}
		}
		s.wait(time.Minute)
		s.did(s.Close(s.at))
		s.wait(2 * maxClosing)
		if s.life != closed {
			t.Fatalf("seed %d: not closed", seed)
		}
	}
}
