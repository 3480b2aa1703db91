package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A node that was not connected when another one was given up cannot know what that has sent, unless others do. While it is not, and as long
// after as a node may be silent, it reports nothing.
func TestGivenUpWhileNotConnected(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 2 * DeadAfter} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			s := newScript(t)
			s.receives("o", 5, "a")
			s.receives("p", 5, "a")
			s.receives("q", 5, "a")
			s.did(s.LinkDown(s.at, 0))
			s.wait(away)
			s.loses()
			s.did(s.LinkUp(s.at))
			up := s.at
			s.answers("o", 5)
			s.hears("o", beat(5, 5))
			s.answers("p", 5) // but what p has sent meanwhile it has not said
			s.wait(DeadAfter - 1)
			s.loses()
			s.wait(HeartbeatInterval)
			if got := effects[Lost](s); away < DeadAfter && len(got) != 2 || away > DeadAfter && len(got) == 0 {
				t.Fatalf("%v after its return it has reported %v, want an unknown loss of p and q", s.at-up, got)
			}
			for _, l := range effects[Lost](s) {
				if l.Node == "o" || !l.Unknown {
					t.Errorf("reported %+v", l)
				}
			}
			s.wait(time.Hour)
			if got := effects[Lost](s); len(got) != 0 {
				t.Errorf("reported %+v besides", got)
			}
		})
	}
}

// A node that was silent already while the link brought something of others is judged as if the link had stayed: it has died before.
func TestSilentBeforeTheLinkWasLost(t *testing.T) {
	// silent lets o say something last, p so long after, and then has no link for a while.
	silent := func(s *script, sign time.Duration) {
		s.receives("p", 5, "a")
		s.receives("o", 5, "a")
		s.hears("o", beat(5, 5))
		s.wait(sign)
		s.hears("p", beat(5, 5))
		s.wait(sign)
		s.did(s.LinkDown(s.at, 0))
		s.wait(time.Second)
		s.did(s.LinkUp(s.at))
		s.answers("p", 5)
		s.hears("p", beat(5, 5))
	}
	t.Run("for two heartbeats", func(t *testing.T) {
		s := newScript(t)
		silent(s, gossipLead)
		s.wait(3 * DeadAfter)
		s.loses()
		s.heard("p", Gossip{Node: "o", Absence: GivenUp, Age: time.Hour, Upto: 5})
		s.loses() // others have heard no more
	})
	t.Run("for less", func(t *testing.T) {
		s := newScript(t)
		silent(s, gossipLead-1)
		s.wait(DeadAfter)
		if got := effects[Lost](s); len(got) != 1 || got[0].Node != "o" || !got[0].Unknown {
			t.Errorf("reported %+v, want an unknown loss of o", got)
		}
	})
	t.Run("by the word of the broker", func(t *testing.T) {
		s := newScript(t)
		s.receives("o", 5, "a")
		s.hears("o", beat(5, 5))
		s.wait(gossipLead)
		s.did(s.Unreachable(s.at, "o"))
		s.did(s.LinkDown(s.at, 0))
		s.wait(time.Second)
		s.did(s.LinkUp(s.at))
		s.wait(3 * DeadAfter)
		s.loses()
	})
	for _, age := range []time.Duration{2 * time.Second, 500 * time.Millisecond} {
		t.Run(fmt.Sprintf("but not by one that was met later, aged %v", age), func(t *testing.T) {
			s := newScript(t)
			s.wait(time.Second)
			s.did(s.LinkDown(s.at, 0))
			s.wait(time.Second)
			s.did(s.LinkUp(s.at))
			s.hears("y", &Resync{About: About{Age: age}})
			s.wait(DeadAfter + HeartbeatInterval)
			if got := effects[Lost](s); len(got) != 0 != (age > time.Second) {
				t.Errorf("reported %+v of a node that has begun %v before this one was connected again", got, age)
			}
		})
	}
}

// A node that was away when another one has left hears so, and has the time that it takes to get what it misses.
func TestLeftMeanwhile(t *testing.T) {
	left := Gossip{Node: "o", Absence: Left, Age: time.Hour, Upto: 7}
	begin := func(t *testing.T) *script {
		s := newScript(t)
		s.receives("p", 0)
		s.receives("o", 5, "a")
		s.gets("o", 7, []uint64{6}, "a")
		s.heard("p", left)
		s.loses()
		if s.Suspects() != nil || slices.Contains(s.Members(), "o") {
			t.Errorf("members %v, suspects %v", s.Members(), s.Suspects())
		}
		s.wait(maxClosing + FenceTimeout - 1)
		s.loses()
		return s
	}
	t.Run("in vain", func(t *testing.T) {
		s := begin(t)
		s.wait(1)
		s.loses(Lost{Node: "o", After: 5, Upto: 7, Unknown: true})
		s.delivers("o7")
		s.heard("p", left)
		s.wait(time.Hour)
		s.loses()
	})
	t.Run("in time", func(t *testing.T) {
		s := begin(t)
		s.repaired("o", 6, []uint64{5}, "a")
		s.delivers("o6", "o7")
		s.hears("o", beat(5, 7, tail("a", 7)))
		one[*Confirm](s, "o")
		s.wait(time.Hour)
		s.loses()
	})
	t.Run("after it was given up", func(t *testing.T) {
		s := newScript(t)
		s.receives("p", 0)
		s.receives("o", 5, "a")
		s.wait(DeadAfter + HeartbeatInterval)
		s.loses()
		s.heard("p", left)
		s.wait(maxClosing + FenceTimeout)
		s.loses(Lost{Node: "o", After: 5, Upto: 7, Unknown: true})
	})
}

// A broker that stood still delivers late, and so makes a node younger than it is. Others, whose word comes in time, know better: of a node that
// had left before this one began, or is older and has never answered it, nothing was due, and nothing is reported.
func TestWordsThatComeLate(t *testing.T) {
	const late = 4 * time.Second
	left := Gossip{Node: "o", Client: true, Absence: Left, Age: time.Second, Ago: 12 * time.Second, Upto: 9}
	silent := Gossip{Node: "o", Client: true, Age: time.Second, Ago: 12 * time.Second, Upto: 9}
	after := func(h Gossip, d time.Duration) Gossip {
		h.Ago -= d
		return h
	}
	bye := &Bye{About: About{Client: true, Age: time.Second}, Last: 9}
	for _, c := range []struct {
		name  string
		comes func(s *script)
		lost  bool
	}{
		{"late alone", func(s *script) { s.heard("p", after(left, late)) }, true},
		{"late, and in time", func(s *script) { s.heard("p", after(left, late)); s.heard("q", left) }, false},
		{"in time, and late", func(s *script) { s.heard("p", left); s.heard("q", after(left, late)) }, false},
		{"in time, and its own goodbye late", func(s *script) { s.heard("p", left); s.hears("o", bye) }, false},
		{"its own goodbye late, and in time", func(s *script) { s.hears("o", bye); s.heard("p", left) }, false},
		{"a broadcast late, and in time", func(s *script) {
			s.gets("o", 9, []uint64{8}, "a")
			s.hears("o", &Heartbeat{About: bye.About, Upto: 9, Parts: 1, Tails: []Tail{tail("a", 9)}})
			s.heard("p", left)
		}, false},
		{"silent, late", func(s *script) { s.heard("p", after(silent, late)) }, true},
		{"silent, late, and in time", func(s *script) { s.heard("p", after(silent, late)); s.heard("q", silent) }, false},
		{"silent, in time, and late", func(s *script) { s.heard("p", silent); s.heard("q", after(silent, late)) }, false},
		{"silent, and in time once it is given up", func(s *script) {
			h := silent
			h.Upto = 0
			s.heard("p", after(h, late))
			s.did(s.LinkDown(s.at, 0))
			s.wait(DeadAfter)
			s.did(s.LinkUp(s.at))
			s.heard("q", after(h, -DeadAfter))
		}, false},
		{"silent, in time, and a heartbeat of its own late", func(s *script) {
			s.heard("p", silent)
			s.hears("o", &Heartbeat{About: bye.About, Upto: 9, Parts: 1, Tails: []Tail{tail("a", 9)}})
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			s.receives("p", 5, "a")
			s.knows("q", 5)
			c.comes(s)
			losses := slices.Clone(effects[Lost](s))
			s.wait(3 * DeadAfter)
			losses = append(losses, effects[Lost](s)...)
			if got := slices.ContainsFunc(losses, func(l Lost) bool { return l.Node == "o" }); got != c.lost {
				t.Errorf("reported %+v, want that something is (%v)", losses, c.lost)
			}
		})
	}
}
