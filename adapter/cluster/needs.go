package cluster

import "github.com/belfry-io/belfry/adapter"

// The topics that stand for all of their kind. The namespace is the one that every server has.
// Nobody has that room, as names are UTF-8, nor is there such a node, as the ids of nodes have
// nodeLen characters.
const (
	rootNamespace = "/"
	noNode        = "nobody"
)

// needs are what the node cannot do without. One without members receives from no rooms.
func (h *Hub) needs() adapter.Needs {
	var (
		all     = adapter.Topic{Kind: adapter.Cluster}
		root    = adapter.Topic{Kind: adapter.Namespace, Namespace: rootNamespace}
		room    = adapter.Topic{Kind: adapter.Room, Namespace: rootNamespace, Room: nobody}
		private = adapter.Topic{Kind: adapter.Private, Namespace: rootNamespace, Node: noNode, Room: nobody}
	)
	n := adapter.Needs{
		Name:      label(h.node, h.cfg.Name),
		Logger:    h.log,
		Publish:   []adapter.Topic{all, root, room, {Kind: adapter.Node, Node: noNode}, private},
		Subscribe: []adapter.Topic{all, {Kind: adapter.Node, Node: h.node}},
	}
	if !h.cfg.Client {
		n.Subscribe = append(n.Subscribe, root, room, private)
	}
	return n
}

// openLink opens the adapter, for what the node needs if the adapter asks.
func (h *Hub) openLink() (adapter.Link, error) {
	if guarded, ok := h.cfg.Adapter.(adapter.Guarded); ok {
		return guarded.OpenFor(h.ctx, h.needs(), h.receive)
	}
	return h.cfg.Adapter.Open(h.ctx, h.receive)
}

// refusal is the error of what needs the cluster, where the broker keeps this node out of it; nil
// if it does not. h.meshMu must be held.
func (h *Hub) refusal() error {
	if h.state.Status != adapter.Refused {
		return nil
	}
	return &refusedError{h.state.Reason}
}

// A refusedError says that the node is outside of the cluster, and why.
type refusedError struct{ reason error }

func (e *refusedError) Error() string {
	return "cluster: the broker keeps the node out of the cluster: " + e.reason.Error()
}
func (e *refusedError) Unwrap() []error { return []error{adapter.ErrRefused, e.reason} }
