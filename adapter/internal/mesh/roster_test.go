package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func newRoster(ids ...string) *roster[string] {
	r := &roster[string]{peers: make(map[string]*peer[string])}
	for _, id := range ids {
		r.add(&peer[string]{id: id, standing: StandingAlive})
	}
	return r
}

func ids(peers []*peer[string]) (list []string) {
	for _, p := range peers {
		list = append(list, p.id)
	}
	return list
}

// Those that are over leave the order at the end of the step; one that returns is in it again, as the last.
func TestRosterRetires(t *testing.T) {
	r := newRoster("a", "b", "c")
	r.apply(r.peers["a"], falls)
	r.apply(r.peers["a"], dies)
	r.apply(r.peers["b"], parts)
	r.apply(r.peers["b"], leaves)
	kit.EqualSlices(t, ids(r.order), []string{"a", "b", "c"}, "in order", "before the end of the step")
	r.retire()
	if order, tombs := ids(r.order), ids(r.tombstones); !slices.Equal(order, []string{"c"}) || !slices.Equal(tombs, []string{"a", "b"}) {
		t.Errorf("in order %v, tombstones %v; want c, and a and b", order, tombs)
	}
	if r.apply(r.peers["b"], returns) {
		t.Error("one that has left returns")
	}
	if !r.apply(r.peers["a"], returns) || !slices.Equal(ids(r.everybody()), []string{"c", "a", "b"}) {
		t.Errorf("all are %v, want c, a and b", ids(r.everybody()))
	}
	alive := r.list(func(p *peer[string]) bool { return p.alive() })
	kit.EqualSlices(t, alive, []string{"c"}, "alive: one that returns is suspect")
}

// Members, Nodes and Remaining change when somebody is waited for or no longer, when a suspect dies or says goodbye, and when one has left.
func TestRosterNotesChanges(t *testing.T) {
	r := newRoster("a")
	for _, step := range []struct {
		change
		applied, changed bool
	}{
		{answers, false, false}, {falls, true, true}, {falls, false, false}, {answers, true, true}, {falls, true, true},
		{dies, true, true}, {returns, true, false}, {parts, true, true}, {answers, true, false}, {leaves, true, true},
	} {
		r.changed = false
		if applied := r.apply(r.peers["a"], step.change); applied != step.applied || r.changed != step.changed {
			t.Errorf("change %d: applied %v, changed %v; want %v", step.change, applied, r.changed, step)
		}
	}
}

// Tombstones are bounded: of those that have left the oldest go first, since the dead may return.
func TestRosterForgets(t *testing.T) {
	r := newRoster("dead")
	r.apply(r.peers["dead"], falls)
	r.apply(r.peers["dead"], dies)
	for i := range maxTombstones {
		p := &peer[string]{id: fmt.Sprint(i), standing: StandingLeaving}
		r.add(p)
		r.apply(p, leaves)
	}
	r.retire()
	kit.Equal(t, len(r.tombstones), maxTombstones, "tombstones")
	kit.Equal(t, len(r.peers), maxTombstones, "nodes")
	if r.peers["dead"] == nil || r.peers["0"] != nil || r.peers["1"] == nil {
		t.Error("forgotten is not the first one that has left")
	}
}

// Names come with the hello and its answer. One that was lost is asked for, and a node that has said none yet is asked no more often than
// that.
func TestNames(t *testing.T) {
	s := newScript(t)
	s.hears("young", &Fence{About: About{Age: time.Second}, Number: 1, Hello: true, Name: "web-1"})
	for _, e := range effects[Send](s) {
		switch m := e.Message.(type) {
		case *Ack:
			kit.Equal(t, m.Name, s.cfg.Name, "the answer to a hello has the name")
		case *Fence:
			if !m.Hello || m.Name != s.cfg.Name {
				t.Errorf("a node that is met is sent %+v, want a hello with the name %q", m, s.cfg.Name)
			}
		}
	}
	s.hears("young", &Fence{About: About{Age: time.Second}, Number: 2})
	kit.Equal(t, effects[Send](s)[0].Message.(*Ack).Name, "", "the answer to a fence has the name")
	s.hears("old", &Ack{About: old, Fence: s.fence, Members: []string{"hearsay"}}) // its hello was lost
	want := []Node{{"young", "web-1", false}, {"old", "", false}}
	if got := s.Nodes(); !slices.Equal(got, want) {
		t.Fatalf("nodes %v, want %v", got, want)
	}
	hellos := func() (n int) {
		for _, e := range effects[Send](s) {
			if m, ok := e.Message.(*Fence); ok && m.Hello && e.To == "old" {
				n++
			}
		}
		return n
	}
	asked := 0
	for range 10 {
		s.wait(HeartbeatInterval)
		s.hears("old", &Heartbeat{About: old, Parts: 1})
		asked += hellos()
	}
	kit.Equal(t, asked, 2, "hellos for its name in 5 s")
	s.hears("old", &Ack{About: old, Fence: s.fence, Name: "web-2"})
	kit.Equal(t, len(effects[Membership](s)), 1, "changes when a name becomes known")
	kit.Equal(t, s.Name("old"), "web-2", "it is called")
	s.hears("old", &Ack{About: old, Fence: s.fence, Name: "web-2"})
	kit.Equal(t, len(effects[Membership](s)), 0, "changes when a name is known already")
}
