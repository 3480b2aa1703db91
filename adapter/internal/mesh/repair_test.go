package mesh

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A Nack goes at once, and again at growing intervals while nothing comes.
func TestNackIsRepeated(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	begin := s.at
	s.gets("o", 7, []uint64{6}, "a")
	s.asks("o", missing("a", 5, 6))
	var at []time.Duration
	s.ticks(8*time.Second, func() {
		if len(sent[*Nack](s, "o")) > 0 {
			at = append(at, s.at-begin)
		}
	})
	want := []time.Duration{100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 5100 * ms, 7100 * ms}
	kit.EqualSlices(t, at, want, "asked again after")
	if n := s.Counts().Nacks; n != 1+uint64(len(want)) {
		t.Errorf("%d Nacks counted, want %d", n, 1+len(want))
	}

	// As soon as something comes, the interval begins anew.
	s.gets("o", 9, []uint64{8}, "a")
	s.repaired("o", 6, []uint64{5}, "a")
	s.delivers("o6", "o7")
	s.asks("o")
	begin, at = s.at, nil
	s.ticks(3*time.Second, func() {
		if got := sent[*Nack](s, "o"); len(got) > 0 {
			kit.EqualSlices(t, got[0].Ranges, []Range{missing("a", 7, 8)}, "asked for")
			at = append(at, s.at-begin)
		}
	})
	if len(at) < 4 || at[1]-at[0] != 100*ms || at[2]-at[1] != 200*ms {
		t.Errorf("asked after %v", at)
	}
}

// Who has got what was missing, and misses something else, asks soon, but not for each single one.
func TestNacksArePaced(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a")
	s.gets("o", 2, []uint64{1}, "a")
	s.asks("o", missing("a", 0, 1))
	s.gets("o", 1, []uint64{0}, "a") // it was late only
	s.delivers("o1", "o2")
	s.gets("o", 4, []uint64{3}, "a")
	s.asks("o")
	s.wait(minNackInterval)
	s.asks("o", missing("a", 2, 3))
	s.gets("o", 3, []uint64{2}, "a")
	s.wait(time.Second)
	s.asks("o")
	s.gets("o", 6, []uint64{5}, "a")
	s.asks("o", missing("a", 4, 5))
}

// A Nack names the oldest first, and is bounded.
func TestNackIsBounded(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	limit := s.cfg.Limits.Ranges
	var topics []string
	for i := range limit + 10 {
		topics = append(topics, "@me/"+string(rune('0'+i)))
	}
	var tails []Tail
	for i, topic := range topics {
		tails = append(tails, tail(topic, uint64(i+1)))
	}
	last := uint64(len(topics))
	s.gets("o", 1, []uint64{0}, topics[0])
	s.gets("o", last+1, []uint64{last + 2 - last - 1}, topics[0])
	s.hears("o", beat(0, last+2, append(tails[1:], tail(topics[0], last+2))...))
	got := sent[*Nack](s, "o")
	if len(got) != 1 || len(got[0].Ranges) != limit {
		t.Fatalf("asked %d times, want once for %d ranges", len(got), limit)
	}
	for _, r := range got[0].Ranges {
		kit.Equal(t, r.After, 0, "start of the Resync for the oldest")
	}
}

// Where all that a Nack names wait for something on another topic, that is asked for next, and the interval begins when all have been asked for.
func TestNackNamesAllInTurn(t *testing.T) {
	topics := []string{"@me/a", "@me/b", "@me/c", "@me/d", "@me/e"}
	slices.SortFunc(topics, func(a, b string) int { return cmp.Compare(hashOf(a), hashOf(b)) })
	last := topics[4] // of those who miss something since the same number
	open := func(t *testing.T) *script {
		s := newScript(t, limited(Limits{Ranges: 2}))
		s.knows("o", 0)
		s.hears("o", beat(0, 5, tail(topics[0], 2), tail(topics[1], 3), tail(topics[2], 4), tail(topics[3], 5), tail(last, 5)))
		s.asks("o", missing(topics[0], 0, 2), missing(topics[1], 0, 3))
		return s
	}
	t.Run("one waits for the other", func(t *testing.T) {
		s := open(t)
		for i, topic := range topics[:4] { // 2 to 5 are on the last topic, too
			s.repaired("o", uint64(i+2), []uint64{0, uint64(i + 1)}, topic, last)
			s.delivers()
			if i%2 == 0 {
				continue
			}
			s.hears("o", &Gone{})
			if i == 1 {
				s.asks("o", missing(topics[2], 0, 4), missing(topics[3], 0, 5))
			}
		}
		s.asks("o", missing(last, 0, 5))
		s.repaired("o", 1, []uint64{0}, last)
		s.delivers("o1", "o2", "o3", "o4", "o5")
		s.hears("o", &Gone{})
		s.asks("o")
		s.empty("o", 5)
	})
	t.Run("without an answer", func(t *testing.T) {
		s := open(t)
		begin := s.at
		var at []time.Duration
		var first []uint64 // of each Nack
		s.ticks(1200*ms, func() {
			for _, n := range sent[*Nack](s, "o") {
				at, first = append(at, s.at-begin), append(first, n.Ranges[0].Hash)
			}
		})
		kit.EqualSlices(t, at, []time.Duration{100 * ms, 200 * ms, 300 * ms, 500 * ms, 700 * ms, 900 * ms},
			"asked again after")
		for i, h := range first {
			kit.Equal(t, h, hashOf(topics[(2*i+2)%6]), "Nack", i+2, "begins with")
		}
	})
	t.Run("what is asked for comes", func(t *testing.T) {
		s := open(t)
		s.repaired("o", 2, []uint64{0}, topics[0])
		s.delivers("o2")
		s.hears("o", &Gone{})
		s.asks("o", missing(topics[1], 0, 3), missing(topics[2], 0, 4))
	})
	t.Run("all in vain", func(t *testing.T) { // but the last: the answers to the first were lost
		s := open(t)
		s.wait(2 * nackInterval)
		for _, want := range [][]Range{
			{missing(topics[0], 0, 2), missing(topics[1], 0, 3)},
			{missing(topics[2], 0, 4), missing(topics[3], 0, 5)},
			nil,
		} {
			s.hears("o", &Gone{})
			s.asks("o", want...)
		}
		s.hears("o", &Gone{}) // twice
		s.asks("o")
	})
	t.Run("a goodbye goes on in turn", func(t *testing.T) {
		s := open(t)
		s.hears("o", &Bye{About: old, Last: 5})
		s.asks("o", missing(topics[2], 0, 4), missing(topics[3], 0, 5))
		s.hears("o", &Bye{About: old, Last: 5})
		s.asks("o", missing(last, 0, 5))
	})
}

// What an answer shows to be missing is asked for at its end, however long the interval has become, and whether anything could be delivered or not.
func TestNackOfWhatAnAnswerShows(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b", "c")
	s.hears("o", beat(5, 9, tail("a", 9)))
	s.wait(2 * time.Second) // in vain
	s.repaired("o", 9, []uint64{5, 8}, "a", "b")
	s.hears("o", &Gone{})
	s.asks("o", missing("a", 5, 9), missing("b", 5, 8))
	s.repaired("o", 8, []uint64{5, 7}, "b", "c")
	s.hears("o", &Gone{})
	s.asks("o", missing("a", 5, 9), missing("c", 5, 7), missing("b", 5, 8))
	s.repaired("o", 7, []uint64{5}, "c")
	s.delivers("o7", "o8", "o9")
}

// Nobody is asked while the link is down, and at once when it is up again.
func TestNackAfterLinkDown(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.gets("o", 7, []uint64{6}, "a")
	s.did(s.LinkDown(s.at, s.Last()))
	s.wait(time.Second)
	s.asks("o")
	s.did(s.LinkUp(s.at))
	s.asks("o", missing("a", 5, 6))
}

func TestAskerGoesOnAtTheEndOfAnAnswer(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a")
	s.hears("o", beat(0, 5, tail("a", 5)))
	s.asks("o", missing("a", 0, 5))
	s.repaired("o", 1, []uint64{0}, "a")
	s.repaired("o", 2, []uint64{1}, "a")
	s.asks("o")
	s.hears("o", &Gone{})
	s.asks("o", missing("a", 2, 5))
	s.hears("o", &Gone{}) // the answer was lost, but for its end
	s.asks("o")
	s.wait(nackInterval)
	s.asks("o", missing("a", 2, 5))
	s.repaired("o", 4, []uint64{3}, "a") // 3 was lost
	s.repaired("o", 5, []uint64{4}, "a")
	s.hears("o", &Gone{})
	s.asks("o")
	s.repaired("o", 3, []uint64{2}, "a")
	s.delivers("o3", "o4", "o5")
	s.empty("o", 5)
	s.counted(Counts{Delivered: 5, Repaired: 5})
}
