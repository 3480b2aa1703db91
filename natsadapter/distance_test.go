package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// mute is a member that takes everything, and says nothing.
type mute struct{}

func (mute) Deliver(any) bool                                { return true }
func (mute) DeliverWithAck(_ any, answer func([]byte, bool)) { answer(nil, true) }
func (mute) CancelAck(any)                                   {}
func (mute) Describe() []byte                                { return nil }
func (mute) Disconnect(bool)                                 {}

// A site is a node with a member.
type site struct {
	hub   *cluster.Hub
	rooms *cluster.Rooms
	id    string // the member's
}

// newSite returns a node on the server at url that has met its cluster.
func newSite(t *testing.T, url string, naming time.Duration) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &site{hub: cluster.NewHub(cluster.HubConfig{
		Adapter:      New(Config{URL: url, Logger: log}),
		NameSuspects: naming,
		Logger:       log,
	})}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.hub.Close(ctx) // some are cut off
	})
	kit.OK(t, s.hub.Ready(t.Context()))
	s.rooms = s.hub.Rooms("/", func(payload []byte, _ bool) (any, error) { return payload, nil })
	s.id = s.hub.NewID()
	if err := s.rooms.Add(t.Context(), s.id, mute{}); err != nil {
		t.Fatalf("a node on %s, that knows %v, and suspects %v: %v", url, s.hub.Stats().Nodes, s.hub.Stats().Suspects, err)
	}
	return s
}

// joins joins new rooms, one behind the other, and returns how long the one in the middle took.
func (s *site) joins(t *testing.T, name string) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range 3 {
		start := time.Now()
		if err := s.rooms.Join(t.Context(), s.id, fmt.Sprint(name, i)); err != nil {
			t.Errorf("%s: a Join after %v: %v", name, time.Since(start), err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestDistance has a node, or two, that are far away from the NATS server: whoever joins, there or near the server, gets nil, within two round trips;
// nobody is suspect, and a node that opens knows all others when it is ready.
func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ delay, second time.Duration }{
		{50 * time.Millisecond, 0},
		{150 * time.Millisecond, 0},
		{300 * time.Millisecond, 0},
		{150 * time.Millisecond, 150 * time.Millisecond},
		{150 * time.Millisecond, 300 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%v and %v each way", c.delay, c.second), func(t *testing.T) {
			t.Parallel() // they wait most of the time
			server := natstest.NewServer(t)
			near := newSite(t, server.URL(), 0)
			sites := []*site{near, newSite(t, newFarProxy(t, server.URL(), c.delay).url(), 0)}
			if c.second > 0 {
				sites = append(sites, newSite(t, newFarProxy(t, server.URL(), c.second).url(), 0))
			}
			sites = append(sites, newSite(t, server.URL(), 0))
			for i, s := range sites {
				// A near node cannot know how far the others are before the first of them has answered.
				if got := s.hub.Stats().Nodes; i > 0 && len(got) < i {
					t.Errorf("node %d knows %v when it has joined, want %d nodes", i, got, i)
				}
			}
			trip := 2 * (c.delay + c.second) // the longest way between two nodes and back
			limit := trip + 50*time.Millisecond
			if c.second == 0 {
				limit = 2*trip + 50*time.Millisecond
			}
			const busy = 200 * time.Millisecond // of a machine that has other things to do
			for i, s := range sites {
				took := s.joins(t, fmt.Sprintf("of node %d: ", i))
				t.Logf("node %d: a Join takes %v", i, took)
				if took > limit+busy {
					t.Errorf("node %d: a Join takes %v, want less than %v", i, took, limit)
				}
			}
			for i, s := range sites {
				if n, err := s.rooms.Count(t.Context(), cluster.Selection{}); n != len(sites) || err != nil {
					t.Errorf("node %d counts %d members, %v; want %d", i, n, err, len(sites))
				}
				if stats := s.hub.Stats(); len(stats.Suspects) > 0 || len(stats.Nodes) != len(sites)-1 {
					t.Errorf("node %d: nodes %v, suspects %v; want %d nodes", i, stats.Nodes, stats.Suspects, len(sites)-1)
				}
			}
		})
	}
}

// TestCrashBesideADistance kills a near node of a cluster in which another is far away: who is near it does not wait for it longer than the far
// one takes to answer.
func TestCrashBesideADistance(t *testing.T) {
	t.Parallel() // it waits most of the time
	const delay = 300 * time.Millisecond
	server := natstest.NewServer(t)
	near := newSite(t, server.URL(), 0)
	newSite(t, newFarProxy(t, server.URL(), delay).url(), 0)
	way := newProxy(t, server.URL())
	dying := newSite(t, way.url(), 0)
	near.joins(t, "before")
	way.end()
	start := time.Now()
	err := near.rooms.Join(t.Context(), near.id, "after")
	took := time.Since(start)
	var unfenced *cluster.UnfencedError
	if !errors.As(err, &unfenced) || !slices.Equal(unfenced.Nodes, []string{dying.hub.Node()}) {
		t.Errorf("a Join after the crash: %v, want that %s has not confirmed it", err, dying.hub.Node())
	}
	t.Logf("a Join after the crash takes %v", took)
	if took > 2*delay+400*time.Millisecond { // patience is twice as much
		t.Errorf("a Join after the crash takes %v, want %v", took, 2*delay)
	}
}

// TestCutOff has a node that the server does not hear any more and still believes to be there, as behind a route that drops everything: calls name it for
// as long as that lasts, also beyond the time for which those are named of whom NATS says that they are not there.
func TestCutOff(t *testing.T) {
	t.Parallel()                           // it waits most of the time
	const naming = 3500 * time.Millisecond // longer than a silence takes to be noticed
	server := natstest.NewServer(t)
	near := newSite(t, server.URL(), naming)
	way := newProxy(t, server.URL())
	far := newSite(t, way.url(), naming)
	count := func() (n int, named bool) {
		n, err := near.rooms.Count(t.Context(), cluster.Selection{})
		var partial *cluster.PartialError
		return n, errors.As(err, &partial) && slices.Contains(partial.Nodes, far.hub.Node())
	}
	way.hold()
	for start := time.Now(); time.Since(start) < 2*naming; {
		if n, named := count(); n != 2 && !named {
			t.Fatalf("%v after the cut a count is %d without an error", time.Since(start), n)
		}
	}
	way.end() // it does not come back
	cut := time.Now()
	for {
		n, named := count()
		if !named {
			kit.Equal(t, n, 1, "a count", "without an error")
			if suspects := near.hub.Stats().Suspects; !slices.Contains(suspects, far.hub.Node()) {
				t.Errorf("%s is named until it is given up, %v after NATS has lost it; want %v", far.hub.Node(), time.Since(cut), naming)
			}
			break
		}
		if time.Since(cut) > naming+20*time.Second {
			t.Fatalf("%s is named %v after NATS has lost it", far.hub.Node(), time.Since(cut))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("a node is named until %v after NATS has lost it", time.Since(cut))
}

// TestReconnectIsNamed takes connections away from a node whose servers go on: what others ask meanwhile returns with its name, and never without an error
// and without its part; and it is whole again long before a node is not named any more.
func TestReconnectIsNamed(t *testing.T) {
	t.Parallel() // it waits most of the time
	servers := natstest.NewCluster(t, 3)
	near := newSite(t, servers[0].URL(), 0)
	other := newSite(t, natstest.URLs(servers[1:]...), 0)
	for deadline := time.Now().Add(10 * time.Second); len(near.hub.Stats().Nodes) < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the nodes have not met")
		}
	}
	for _, loss := range []struct {
		name string
		do   func()
	}{
		{"the connection is closed", func() { servers[1].Disconnect(); servers[2].Disconnect() }},
		{"the server goes down", func() {
			if servers[1].Clients() == 0 {
				servers[1], servers[2] = servers[2], servers[1]
			}
			servers[1].Shutdown()
		}},
		{"the connection is closed, and there is one server", func() { servers[2].Disconnect() }},
	} {
		connections := other.hub.State().Connections
		loss.do()
		start := time.Now()
		first, last, calls := time.Duration(-1), time.Duration(0), 0
		for {
			n, err := near.rooms.Count(t.Context(), cluster.Selection{})
			var partial *cluster.PartialError
			named := errors.As(err, &partial) && slices.Contains(partial.Nodes, other.hub.Node())
			d := time.Since(start)
			switch {
			case n != 2 && !named:
				t.Fatalf("%s: after %v a count is %d, %v", loss.name, d, n, err)
			case named:
				if last = d; first < 0 {
					first = d
				}
			case other.hub.State().Connections > connections:
				t.Logf("%s: of %d calls the first that named the node ended after %v, the last after %v", loss.name, calls, first, last)
			}
			if calls++; !named && other.hub.State().Connections > connections {
				break
			}
			if d > cluster.DefaultNameSuspects {
				t.Fatalf("%s: the node is not back after %v", loss.name, d)
			}
		}
	}
}
