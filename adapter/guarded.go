package adapter

import (
	"context"
	"errors"
	"log/slog"
)

// ErrRefused is wrapped by errors that say what the broker denies a node, for want of a permission.
var ErrRefused = errors.New("adapter: refused by the broker")

// Needs are what a node wants of its link: the topics that it cannot do without, of which one that nobody has stands for all of its kind, and
// where the link logs.
type Needs struct {
	Publish   []Topic
	Subscribe []Topic

	// Logger is the node's. An adapter that was given a logger of its own goes on using that. nil means slog.Default().
	Logger *slog.Logger
}

// A Guarded is an [Adapter] whose broker may deny a node some of its topics, or whose links log.
type Guarded interface {
	Adapter

	// OpenFor is Open for a node that cannot do without needs. On every connection its link tries all of them before it is Connected: it
	// publishes a message that no link hands to its recv, and subscribes for a moment. While one of them is denied the link is [Refused]. It
	// tries again by itself. Whenever the broker denies anything later, the link tries them anew.
	OpenFor(ctx context.Context, needs Needs, recv func(msg []byte)) (Link, error)
}

// A Confirmer is a [Link] whose Subscribe returns before the broker has said whether it allows that.
type Confirmer interface {
	// Confirm waits until the broker has dealt with all that was subscribed before. It returns those of topics that the broker denies, each
	// with an error that wraps [ErrRefused] and names the broker's subject and the permission that is missing; nil if it denies none. err
	// says that it is not known, since ctx has ended. Confirm does not wait for a broker that is out of reach, and returns nothing then.
	Confirm(ctx context.Context, topics ...Topic) (denied map[Topic]error, err error)
}

// The topics that stand for all of their kind. The namespace is the one that every server has. Nobody has that room, as names are UTF-8, nor
// is there such a node, as the ids of nodes have nodeLen characters.
const (
	rootNamespace = "/"
	noNode        = "nobody"
)

// needs are what the node cannot do without. One without members receives from no rooms.
func (h *Hub) needs() Needs {
	var (
		all     = Topic{Kind: Cluster}
		root    = Topic{Kind: Namespace, Namespace: rootNamespace}
		room    = Topic{Kind: Room, Namespace: rootNamespace, Room: nobody}
		private = Topic{Kind: Private, Namespace: rootNamespace, Node: noNode, Room: nobody}
	)
	n := Needs{
		Logger:    h.cfg.Logger,
		Publish:   []Topic{all, root, room, {Kind: Node, Node: noNode}, private},
		Subscribe: []Topic{all, {Kind: Node, Node: h.node}},
	}
	if !h.cfg.Client {
		n.Subscribe = append(n.Subscribe, root, room, private)
	}
	return n
}

// openLink opens the adapter, for what the node needs if the adapter asks.
func (h *Hub) openLink() (Link, error) {
	if guarded, ok := h.cfg.Adapter.(Guarded); ok {
		return guarded.OpenFor(h.ctx, h.needs(), h.receive)
	}
	return h.cfg.Adapter.Open(h.ctx, h.receive)
}

// refusal is the error of what needs the cluster, where the broker keeps this node out of it; nil if it does not. h.meshMu must be held.
func (h *Hub) refusal() error {
	if h.state.Status != Refused {
		return nil
	}
	return &refusedError{h.state.Reason}
}

// A refusedError says that the node is outside of the cluster, and why.
type refusedError struct{ reason error }

func (e *refusedError) Error() string {
	return "adapter: the node is outside of the cluster: " + e.reason.Error()
}
func (e *refusedError) Unwrap() []error { return []error{ErrRefused, e.reason} }
