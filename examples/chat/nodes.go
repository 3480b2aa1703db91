package main

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// How a node stands, in the eyes of another.
const (
	here    = "here"    // it answers
	suspect = "suspect" // it is silent: it may have died, or have lost the broker
	gone    = "gone"    // it was there, and has left or was given up
	back    = "back"    // it is there again since less than backFor
)

const (
	backFor = 10 * time.Second
	goneFor = 5 * time.Minute // before a node that is gone is forgotten
	look    = time.Second     // between two looks at the broker, of whose changes nothing tells
)

// nodes keeps the sockets of this node informed of the cluster: its nodes, and the broker.
type nodes struct {
	io     *wsserver.Server
	people *people
	peers  []string
	log    *slog.Logger
	seen   map[string]standing // by a node's name; for run alone

	mu   sync.Mutex   // guards what follows
	told clusterState // last
}

// A standing is how a node stands, and since when.
type standing struct {
	now   string
	since time.Time
	id    string // the node's when it answered last
}

// clusterState is what "cluster" carries.
type clusterState struct {
	Version int         `json:"version"` // of two states of a node, the one with the higher version is newer
	Node    string      `json:"node"`    // the name of the node that says so
	Nodes   []nodeState `json:"nodes"`   // by name
	Broker  string      `json:"broker"`  // how it is: connected, reconnecting or degraded
	Why     string      `json:"why"`     // if it is not connected
	Peers   []string    `json:"peers"`   // addresses of nodes that a page may connect to
	Kill    bool        `json:"kill"`    // "kill" is allowed
}

type nodeState struct {
	Name     string `json:"name"`
	Standing string `json:"standing"`
}

func newNodes(
	io *wsserver.Server, people *people, peers []string, kill bool, log *slog.Logger,
) *nodes {
	n := &nodes{io: io, people: people, peers: peers, log: log, seen: make(map[string]standing)}
	n.told = clusterState{Node: io.NodeName(), Peers: peers, Kill: kill}
	io.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		n.mu.Lock()
		state := n.told
		n.mu.Unlock()
		return s.Emit(ctx, "cluster", state)
	})
	return n
}

// run tells the sockets of each change, until ctx ends.
func (n *nodes) run(ctx context.Context) {
	for {
		all, changed := n.io.Nodes()
		n.tell(ctx, n.standings(all, time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(look):
		}
	}
}

// standings says how the nodes stand that are there now, and those that were. A node that was
// started anew has its name of before, and another id.
func (n *nodes) standings(all []cluster.Node, now time.Time) []nodeState {
	there := make(map[string]cluster.Node) // by name
	for _, node := range all {
		if other, ok := there[node.Name]; node.Name != "" && (!ok || other.Suspect) {
			there[node.Name] = node
		}
	}
	for name, node := range there {
		was, known := n.seen[name]
		is := standing{here, now, node.ID}
		switch {
		case node.Suspect:
			is.now, is.id = suspect, was.id
		case known && (was.id != node.ID || was.now == suspect || was.now == gone):
			is.now = back
		case was.now == back && now.Sub(was.since) < backFor:
			is.now = back
		}
		if is.now == was.now && is.id == was.id {
			is.since = was.since
		}
		n.seen[name] = is
	}
	var states []nodeState
	for name, s := range n.seen {
		if _, ok := there[name]; !ok {
			if s.now != gone {
				s = standing{gone, now, s.id}
				n.seen[name] = s
			} else if now.Sub(s.since) > goneFor {
				delete(n.seen, name)
				continue
			}
		}
		states = append(states, nodeState{name, s.now})
	}
	slices.SortFunc(states, func(a, b nodeState) int { return cmp.Compare(a.Name, b.Name) })
	return states
}

// tell tells the sockets how the cluster is, if they do not know that yet. With the nodes change
// the people who are there.
func (n *nodes) tell(ctx context.Context, states []nodeState) {
	n.mu.Lock()
	state := n.told
	state.Nodes = states
	state.Broker, state.Why = broker(n.io.Stats().Adapter.State)
	if reflect.DeepEqual(state, n.told) {
		n.mu.Unlock()
		return
	}
	state.Version++
	n.told = state
	n.mu.Unlock()
	if err := n.io.All().Local().Emit(ctx, "cluster", state); err != nil {
		n.log.Warn("chat: pages do not know how the cluster is", "error", err)
	}
	n.people.refresh(n.io.Of("/").Rooms()...)
}

// broker says how the broker is, and why.
func broker(s adapter.State) (state, why string) {
	if s.Reason != nil {
		why = s.Reason.Error()
	}
	switch {
	case s.Status == adapter.Degraded:
		return "reconnecting", why
	case s.Status == adapter.Connected && s.Reason == nil:
		return "connected", ""
	}
	return "degraded", why // it denies something
}
