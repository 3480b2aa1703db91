package mesh

import (
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// probing returns a script whose broker tells, which has known o for a second.
func probing(t *testing.T) *script {
	s := unlinked(t)
	s.wait(10 * time.Second)
	s.Linked(Broker{Probes: true})
	s.did(s.LinkUp(s.at))
	s.knows("o", 5)
	return s
}

func (s *script) probes() (nodes []string) {
	for _, p := range effects[Probe](s) {
		nodes = append(nodes, p.Node)
	}
	return nodes
}

func (s *script) absent(id string) { s.did(s.Unreachable(s.at, id)) }

// The broker is asked for those who do not answer a fence, and for no others; who is not there ends the wait for it, and is suspect.
func TestProbesOfAFence(t *testing.T) {
	s := probing(t)
	s.knows("p", 5)
	s.wait(400 * ms)
	if got := s.probes(); got != nil {
		t.Fatalf("asks for %v while nobody owes an answer", got)
	}
	s.joins(1, "a")
	s.answers("p", 5)
	s.wait(probeInterval - 1)
	if got := s.probes(); got != nil {
		t.Fatalf("asks for %v at once", got)
	}
	s.wait(1)
	kit.EqualSlices(t, s.probes(), []string{"o"}, "probes")
	s.wait(2 * probeInterval)
	kit.EqualSlices(t, s.probes(), []string{"o", "o"}, "probes")
	s.ended()
	s.absent("o")
	s.ended(1, []string{"o"})
	s.suspects("o")
	kit.EqualSlices(t, s.Named(s.at), []string{"o"}, "named")
	s.gets("o", 6, []uint64{5}, "@me/x") // it is back: nothing is lost
	s.delivers("o6")
	one[*Fence](s, "o")
	s.answers("o", 6)
	s.suspects()
}

// The broker's word counts for those alone who are waited for: not of a node that was never met, while the link is new or down, or of one that leaves.
func TestAbsent(t *testing.T) {
	s := probing(t)
	suspects := func(want ...string) {
		t.Helper()
		kit.EqualSlices(t, s.Suspects(), want, "suspects")
	}
	s.absent("nobody")
	s.hears("o", &Ack{About: old, Fence: s.fence, Sent: 5, Members: []string{"named"}})
	s.absent("named")
	suspects()
	s.did(s.LinkDown(s.at, s.Last()))
	s.did(s.LinkUp(s.at))
	s.absent("o")
	suspects()
	s.answers("o", 5)
	s.answers("named", 5)
	suspects()
	s.absent("o")
	suspects("o")
	s.hears("named", &Bye{About: old, Last: 7})
	s.absent("named")
	suspects("o")
}

// A broker that does not tell is not asked.
func TestNoProbes(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.wait(DeadAfter + time.Second)
	if got := s.probes(); got != nil {
		t.Errorf("asks for %v", got)
	}
}

// named lets time pass, and returns until when calls name o. answer is called for each question to the broker.
func (s *script) named(answer func()) time.Duration {
	last := time.Duration(-1)
	begin := s.at
	for s.at < begin+DeadAfter+time.Second {
		s.ticks(50*ms, func() {
			for range s.probes() {
				answer()
			}
		})
		if slices.Contains(s.Named(s.at), "o") {
			last = s.at - begin
		}
	}
	return last
}

// Calls name a node for 10 s from when anything was heard of it, or from when the broker last thought that it was there. So after a crash; a node that is
// behind a route that drops everything is there for the broker, until it gives up the route.
func TestSuspectsAreNamed(t *testing.T) {
	const near = 100 * ms // of the steps in which this looks
	about := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want-near || got > want {
			t.Errorf("%s: named until %v, want %v", what, got, want)
		}
	}
	s := newScript(t)
	s.knows("o", 5)
	about("a broker that does not tell", s.named(func() { t.Error("it is asked") }), 10*time.Second)

	s = probing(t)
	s.absent("o")
	about("a crash, and a call at once", s.named(func() { s.absent("o") }), 10*time.Second)

	s = probing(t)
	about("a crash, and no call", s.named(func() { s.absent("o") }), 10*time.Second)

	s = probing(t)
	about("hung, and connected", s.named(func() {}), DeadAfter)

	s = probing(t)
	begin := s.at
	until := s.named(func() {
		if s.at >= begin+6*time.Second {
			s.absent("o")
		}
	})
	if until < 14*time.Second || until > 16*time.Second { // it is asked every half second, and may take a second to say so
		t.Errorf("a route that drops everything, and is given up after 6 s: named until %v, want 10 s from then", until)
	}

	s = unlinked(t, func(cfg *Config[string]) { cfg.NameSuspects = 3 * time.Second })
	s.wait(10 * time.Second)
	s.Linked(Broker{Probes: true})
	s.did(s.LinkUp(s.at))
	s.knows("o", 5)
	about("as configured", s.named(func() { s.absent("o") }), 3*time.Second)
}

// A partition of 8 s, however the broker sees it: calls name the other side throughout, until it is back.
func TestPartitionIsNamed(t *testing.T) {
	const partition = 8 * time.Second
	for _, c := range []struct {
		name   string
		absent func(since time.Duration) bool // whether the broker does not know the other side
	}{
		{"its end is seen at once", func(time.Duration) bool { return true }},
		{"its end is seen late", func(since time.Duration) bool { return since > 5*time.Second }},
		{"its end is never seen", func(time.Duration) bool { return false }},
	} {
		s := probing(t)
		begin := s.at
		for s.at < begin+partition {
			s.ticks(50*ms, func() {
				for range s.probes() {
					if c.absent(s.at - begin) {
						s.absent("o")
					}
				}
			})
			if silent := s.at - begin; silent >= SuspectAfter && !slices.Contains(s.Named(s.at), "o") {
				t.Errorf("%s: not named after %v", c.name, silent)
			}
			if slices.Contains(s.Servers(), "o") == slices.Contains(s.Named(s.at), "o") {
				t.Errorf("%s: after %v o is not waited for nor named, or both", c.name, s.at-begin)
			}
		}
		s.hears("o", beat(5, 5))
		if !slices.Contains(s.Named(s.at), "o") {
			t.Errorf("%s: it speaks, and is not named before it has answered", c.name)
		}
		s.answers("o", 5)
		if slices.Contains(s.Named(s.at), "o") || !slices.Contains(s.Servers(), "o") {
			t.Errorf("%s: back, and still named", c.name)
		}
	}
}
