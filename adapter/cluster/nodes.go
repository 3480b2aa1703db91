package cluster

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// MaxName is the size of the longest name of a node, in bytes.
const MaxName = envelope.MaxName

// CheckName returns what is wrong with name as HubConfig.Name, or nil.
func CheckName(name string) error {
	if name != "" && !envelope.ValidName(name) {
		return fmt.Errorf("%.64q, of %d bytes, cannot be a node's name: want at most %d bytes of printable UTF-8",
			name, len(name), MaxName)
	}
	return nil
}

// A Node is a server of the cluster, as one of its nodes knows it.
type Node struct {
	ID   string // unique, and new whenever its program starts
	Name string // its HubConfig.Name; empty while it is not known, as of a suspect that only others have met

	// Suspect is true while the node is silent, or has not answered in time: the others do not wait
	// for it. While the link of this node itself is down, all other nodes are suspect.
	Suspect bool
}

// String returns the name, with the id in parentheses, for logs and errors.
func (n Node) String() string { return label(n.ID, n.Name) }

func label(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return name + " (" + id + ")"
}

// Nodes returns the servers of the cluster, and a channel that is closed when the list changes:
// when a server was met, becomes suspect, is back, was given up or has left, or its name has become
// known. This node is the first, unless it is a client ([HubConfig.Client]); the others follow by
// name and id. The list has no clients.
//
// A caller that compares each list with the one before sees every change that lasts. The channel
// never closes if the Hub has no adapter, or was closed.
func (h *Hub) Nodes() (all []Node, changed <-chan struct{}) {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return slices.Clone(h.nodes), h.nodesChanged
}

// Silence is how long nothing has come of another node; 0 if it is not known.
func (h *Hub) Silence(node string) time.Duration {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	if h.machine == nil {
		return 0
	}
	return h.machine.Silence(h.age(), node)
}

// ServerCount is how many of Nodes are not suspect.
func (h *Hub) ServerCount() int {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	count := 0
	for _, n := range h.nodes {
		if !n.Suspect {
			count++
		}
	}
	return count
}

// Name returns this node's name.
func (h *Hub) Name() string { return h.cfg.Name }

// refreshNodes updates the list of nodes, and tells of a change. h.meshMu must be held once the Hub
// is shared.
func (h *Hub) refreshNodes() {
	var nodes []Node
	if h.machine != nil {
		for _, n := range h.machine.Nodes() {
			nodes = append(nodes, Node(n))
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	if !h.cfg.Client {
		nodes = slices.Insert(nodes, 0, Node{ID: h.node, Name: h.cfg.Name})
	}
	if slices.Equal(nodes, h.nodes) {
		return
	}
	h.nodes = nodes
	if h.nodesChanged != nil {
		close(h.nodesChanged)
	}
	h.nodesChanged = make(chan struct{})
}

// names returns the names of nodes, in the order of ids; empty where a name is not known.
func (h *Hub) names(ids ...string) []string {
	if len(ids) == 0 {
		return nil
	}
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	names := make([]string, len(ids))
	for i, id := range ids {
		switch {
		case id == h.node:
			names[i] = h.cfg.Name
		case h.machine != nil:
			names[i] = h.machine.Name(id)
		}
	}
	return names
}

// nodeError says why a node has not done what it was asked for.
func (h *Hub) nodeError(id string, err error) error { return &NodeError{id, h.names(id)[0], err} }

// other is what a line in the log says of another node.
func other(id, name string) []any {
	if name == "" {
		return []any{"other", id}
	}
	return []any{"other", id, "other_name", name}
}

// hostName is the name of a node whose program gives none.
func hostName(id string) string {
	if name, err := os.Hostname(); err == nil && envelope.ValidName(name) {
		return name
	}
	return id // the others ask for a name until they have one
}
