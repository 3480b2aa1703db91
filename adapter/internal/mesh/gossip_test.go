package mesh

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// words returns what the node says of id in the next so many heartbeats, and checks that there are no more.
func (s *script) words(id string, beats int) (words []Gossip) {
	s.Helper()
	for range beats + 3 {
		s.wait(HeartbeatInterval)
		for _, b := range sent[*Heartbeat](s, "") {
			for _, h := range b.Gossip {
				if h.Node == id {
					words = append(words, h)
				}
			}
		}
	}
	if len(words) != beats {
		s.Fatalf("%d heartbeats say what was heard of %s, want %d: %+v", len(words), id, beats, words)
	}
	return words
}

// heard has an older node say what it has heard of another.
func (s *script) heard(from string, words ...Gossip) {
	b := beat(0, 0)
	b.Gossip = words
	s.hears(from, b)
}

// What was heard of a node is said with four heartbeats when it is suspect, when it is given up and when it has left, with what no heartbeat of its own has named.
func TestWordsOfAnAbsentNode(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a", "b")
	s.hears("o", &Heartbeat{About: About{Age: time.Hour + time.Second}, After: 5, Upto: 6, Parts: 1})
	s.gets("o", 7, []uint64{5}, "a")
	s.gets("o", 8, []uint64{7, 3}, "a", "elsewhere")
	begin := s.at
	s.wait(SuspectAfter - HeartbeatInterval)
	first := s.words("o", gossipRepeats)[0]
	want := []Tail{tail("elsewhere", 8), tail("a", 8), tail("a", 7)}
	if first.Absence != Silent || first.Upto != 6 || !slices.Equal(first.Tails, want) || first.Client {
		t.Errorf("said %+v, want that it is silent, up to 6, with %v", first, want)
	}
	if age := first.Age + first.Ago; age < time.Hour+time.Second+SuspectAfter || age > time.Hour+time.Second+SuspectAfter+HeartbeatInterval {
		t.Errorf("said that it is %v old", age)
	}
	s.wait(begin + DeadAfter - HeartbeatInterval - s.at)
	if last := s.words("o", gossipRepeats)[0]; last.Absence != GivenUp || last.Upto != 6 {
		t.Errorf("said %+v, want that it is given up", last)
	}
	s.receives("p", 5)
	s.hears("p", &Bye{About: old, Last: 5})
	if last := s.words("p", gossipRepeats)[0]; last.Absence != Left || last.Upto != 5 || last.Tails != nil {
		t.Errorf("said %+v, want that it has left", last)
	}
	// A node that was never met has said how far it is, and that it said to one alone does not count.
	list := beat(5, 12)
	list.Asked = true
	s.hears("unmet", beat(3, 9))
	s.hears("unmet", list)
	s.wait(FenceTimeout)
	if last := s.words("unmet", gossipRepeats)[0]; last.Absence != Silent || last.Upto != 9 {
		t.Errorf("said %+v, want that it is silent, up to 9", last)
	}
	// Of one that is back nothing is said.
	s.receives("q", 5)
	s.wait(SuspectAfter)
	s.answers("q", 5)
	s.words("q", 0)
}

// Whoever is new or back hears of all that are absent; an answer to a fence alone does not carry that.
func TestAnswersNameSuspects(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(SuspectAfter)
	s.knows("p", 5)
	s.hears("q", &Bye{About: About{Client: true, Age: time.Hour}, Last: 3})
	named := func(hello bool, want ...Absence) {
		t.Helper()
		s.hears("p", &Fence{About: old, Number: 7, Hello: hello})
		var got []Absence
		for _, h := range sent[*Ack](s, "p")[0].Gossip {
			got = append(got, h.Absence)
		}
		kit.EqualSlices(t, got, want, "gossip, hello", hello)
	}
	named(false)
	named(true, Silent, Left)
	s.ticks(DeadAfter, func() { s.hears("p", beat(5, 5)) })
	named(true, Left, GivenUp)
	s.ticks(recent, func() { s.hears("p", beat(5, 5)) })
	named(true)
}

// A node that hears of another one that is silent knows that it is there: Close names it. One that is younger has sent nothing that was not due.
func TestIntroduced(t *testing.T) {
	s := newScript(t)
	s.receives("p", 5, "a")
	s.emits(10, "a")
	s.heard("p",
		Gossip{Node: "me", Age: time.Second},
		Gossip{Node: "older", Age: time.Hour, Ago: 5 * time.Second, Upto: 9},
		Gossip{Node: "client", Client: true, Age: time.Hour, Ago: 5 * time.Second},
		Gossip{Node: "given up", Absence: GivenUp, Age: time.Hour, Ago: remembered - 1, Upto: 9},
		Gossip{Node: "long ago", Absence: GivenUp, Age: time.Hour, Ago: remembered, Upto: 9},
		Gossip{Node: "gone", Absence: Left, Age: time.Hour, Ago: 5 * time.Second, Upto: 9},
	)
	if got, want := s.Suspects(), []string{"older", "client"}; !slices.Equal(got, want) || s.Members() == nil {
		t.Errorf("suspects %v, want %v", got, want)
	}
	if got, want := s.Named(s.at), []string{"older"}; !slices.Equal(got, want) {
		t.Errorf("servers that are silent %v, want %v", got, want)
	}
	s.joins(1, "b")
	s.answers("p", 5)
	s.ended(1, none) // nobody waits for them
	s.did(s.Close(s.at))
	s.hears("p", &Confirm{})
	kit.Equal(t, isClosed(s), true, "Close waits for nodes that are silent")
	if got, want := s.Unconfirmed(), []string{"older", "given up"}; !slices.Equal(got, want) {
		t.Errorf("Close names %v, want %v", got, want)
	}
	s.loses()

	s = newScript(t)
	s.receives("p", 5, "a")
	s.heard("p",
		Gossip{Node: "emitter", Client: true, Absence: Left, Age: time.Second, Ago: time.Second, Upto: 10},
		Gossip{Node: "nothing", Absence: Left, Age: time.Second, Ago: time.Second},
		Gossip{Node: "killed", Absence: GivenUp, Age: time.Second, Ago: time.Second},
		Gossip{Node: "forever", Absence: Left, Age: math.MaxInt64, Ago: math.MaxInt64, Upto: math.MaxUint64},
	)
	s.loses()
	s.ticks(maxClosing+FenceTimeout, func() {})
	s.loses(Lost{Node: "emitter", Upto: 10, Unknown: true})
	s.wait(DeadAfter + HeartbeatInterval)
	s.loses(Lost{Node: "killed", Unknown: true})
	if s.peers["forever"] != nil {
		t.Error("a node that has left before this one began is remembered")
	}
	s.wait(time.Hour)
	s.loses()
}

// A node that was cut off compares what it has heard of one that has gone with what the others have.
func TestComparison(t *testing.T) {
	age := func(d time.Duration) About { return About{Age: time.Hour + d} }
	for _, c := range []struct {
		name  string
		heard Gossip
		lost  []Lost
	}{
		{"the same", Gossip{Age: time.Hour, Upto: 6}, nil},
		{"less", Gossip{Age: time.Minute, Upto: 5}, nil},
		{"a heartbeat more, of nothing", Gossip{Age: time.Hour + gossipLead, Upto: 6}, nil},
		{"more heartbeats, of nothing", Gossip{Age: time.Hour + gossipLead + 1, Upto: 6}, []Lost{{"o", 6, 6, true}}},
		{"a number more", Gossip{Age: time.Hour, Upto: 7}, []Lost{{"o", 6, 7, true}}},
		{"what has come here, too", Gossip{Age: time.Hour, Upto: 6, Tails: []Tail{tail("a", 7)}}, nil},
		{"two more in a room that is received here", Gossip{Age: time.Hour, Upto: 6, Tails: []Tail{tail("a", 10), tail("c", 10), tail("a", 9), tail("a", 7), tail("elsewhere", 8)}},
			[]Lost{{"o", 8, 9, false}, {"o", 9, 10, false}}},
		{"more in a room that was joined afterwards", Gossip{Age: time.Hour, Upto: 6, Tails: []Tail{tail("b", 9)}}, nil},
		{"both", Gossip{Age: 2 * time.Hour, Upto: 6, Tails: []Tail{tail("a", 9)}}, []Lost{{"o", 8, 9, false}, {"o", 6, 6, true}}},
		{"a number out of reach", Gossip{Age: time.Hour, Upto: 6, Tails: []Tail{tail("a", math.MaxUint64)}}, nil},
	} {
		for _, when := range []string{"before it is given up", "afterwards"} {
			t.Run(c.name+" "+when, func(t *testing.T) {
				s := newScript(t)
				s.receives("p", 0)
				s.receives("o", 5, "a", "c")
				s.hears("o", &Heartbeat{About: age(0), After: 5, Upto: 6, Parts: 1})
				s.gets("o", 7, []uint64{5}, "a")
				s.wait(SuspectAfter)
				s.joins(1, "b")
				heard := c.heard
				heard.Node, heard.Ago = "o", s.at-(10*time.Second)
				say := func(a Absence) {
					heard.Absence = a
					s.answers("p", 0)
					s.heard("p", heard)
				}
				if when == "afterwards" {
					s.wait(DeadAfter + HeartbeatInterval)
					s.loses()
					say(Silent) // it may be back
					s.loses()
					say(GivenUp)
				} else {
					say(Silent)
					s.loses()
					s.wait(DeadAfter)
				}
				s.loses(c.lost...)
				say(GivenUp)
				s.loses()
				s.wait(time.Hour)
				s.loses()
				// It is back: what was lost does not come, and everything else does.
				s.gets("o", 8, []uint64{7}, "a")
				if c.heard.Upto == 6 {
					s.delivers("o8")
				}
			})
		}
	}
}

// A younger node that was met late, and is killed before its first heartbeat has come, has sent what it said then; one that was met at its birth, nothing.
func TestMetLate(t *testing.T) {
	for _, sent := range []uint64{0, 4} {
		for name, message := range map[string]Message{
			"hello":  &Fence{About: About{Age: time.Second}, Number: 1, Sent: sent, Hello: true},
			"answer": &Ack{About: About{Age: time.Second}, Fence: 1, Sent: sent},
		} {
			t.Run(fmt.Sprint(name, sent), func(t *testing.T) {
				s := newScript(t)
				s.receives("p", 0, "a")
				s.hears("o", message)
				s.hears("o", &Ack{About: About{Age: time.Second}, Fence: s.fence, Sent: sent + 3}) // which all others may have got
				s.gets("o", sent+1, []uint64{0}, "a")
				s.wait(DeadAfter + HeartbeatInterval)
				if sent == 0 {
					s.loses()
				} else {
					s.loses(Lost{Node: "o", Upto: max(sent, sent+1), Unknown: true})
				}
			})
		}
	}
}

// What a node has told this one alone, which had asked, the others may never have heard of: they are told.
func TestWordsOfWhatWasConfided(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.hears("o", &Heartbeat{About: old, After: 5, Upto: 6, Parts: 1, Tails: []Tail{tail("b", 6)}})
	s.hears("o", &Heartbeat{About: old, After: 5, Upto: 8, Parts: 1, Asked: true, Tails: []Tail{tail("c", 8), tail("b", 7), tail("d", 6)}})
	s.wait(SuspectAfter - HeartbeatInterval)
	word := s.words("o", gossipRepeats)[0]
	if want := []Tail{tail("c", 8), tail("b", 7)}; word.Upto != 6 || !slices.Equal(word.Tails, want) {
		t.Errorf("said %+v, want up to 6, with %v", word, want)
	}
}

// What is said of others has bounds, whoever says how much.
func TestWordsAreBounded(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	for seq := uint64(6); seq < 6+2*maxUnannounced; seq++ {
		s.gets("o", seq, []uint64{seq - 1}, "a")
	}
	p := s.peers["o"]
	if len(p.unannounced) > maxUnannounced || p.unannounced[len(p.unannounced)-1].Sequence != 5+2*maxUnannounced {
		t.Errorf("%d numbers are remembered, the last is %v", len(p.unannounced), p.unannounced[len(p.unannounced)-1])
	}
	s.receives("p", 0)
	for seq := range uint64(2 * maxUnannounced) {
		s.heard("p", Gossip{Node: "o", Age: time.Hour, Tails: []Tail{tail("a", 10_000+seq), tail("a", 10_000+seq)}})
	}
	kit.Equal(t, len(p.gossiped), maxUnannounced, "numbers of others remembered")
	s.hears("o", beat(5, 5+2*maxUnannounced, tail("a", 5+2*maxUnannounced)))
	kit.Equal(t, len(p.unannounced), 0, "numbers remembered that a heartbeat has named")
	for i := range 2 * maxGossip {
		s.knows(fmt.Sprint("n", i), 0)
	}
	said := make(map[string]int)
	for range SuspectAfter/HeartbeatInterval + 4*gossipRepeats {
		s.wait(HeartbeatInterval)
		for _, b := range sent[*Heartbeat](s, "") {
			if len(b.Gossip) > maxGossip {
				t.Fatalf("a heartbeat speaks of %d nodes", len(b.Gossip))
			}
			for _, h := range b.Gossip {
				said[h.Node]++
			}
			if len(b.Gossip) > 0 && len(b.Gossip[0].Tails) > maxTails {
				t.Fatalf("a heartbeat has %d tails of one node", len(b.Gossip[0].Tails))
			}
		}
	}
	for i := range 2 * maxGossip {
		if id := fmt.Sprint("n", i); said[id] != gossipRepeats {
			t.Errorf("%d heartbeats speak of %s, want %d", said[id], id, gossipRepeats)
		}
	}
}
