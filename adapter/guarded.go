package adapter

import (
	"context"
	"errors"
	"log/slog"
)

// ErrRefused is wrapped by errors that say which permission the broker denies a node.
var ErrRefused = errors.New("adapter: refused by the broker")

// Needs are the topics that a node cannot do without, and the name and the logger of its link. A
// topic that no node uses stands for all of its kind.
type Needs struct {
	Publish   []Topic
	Subscribe []Topic

	// Name is what the broker may call the node's connections in its lists: the name of the node,
	// with its id. Empty means that the node gives none.
	Name string

	// Logger is the node's. An adapter that has a logger of its own uses that. nil means
	// slog.Default().
	Logger *slog.Logger
}

// A Guarded is an [Adapter] whose broker may deny a node some topics, or whose links log.
type Guarded interface {
	Adapter

	// OpenFor is Open for a node with needs. On every connection the link tries all of them before
	// it is Connected: it publishes a message that no link passes to recv, and subscribes for a
	// moment. If the broker denies one, the link is [Refused], and tries again by itself. It also
	// tries again whenever the broker denies anything later.
	OpenFor(ctx context.Context, needs Needs, recv func(msg []byte)) (Link, error)
}

// A Confirmer is a [Link] whose Subscribe returns before the broker has allowed or denied the
// subscription.
type Confirmer interface {
	// Confirm waits until the broker has dealt with all earlier subscriptions. It returns those of
	// topics that the broker denies, each with an error that wraps [ErrRefused] and names the
	// broker's subject and the missing permission; nil if it denies none. err means that ctx ended
	// before this was known. Confirm does not wait for a broker that is out of reach, and then
	// returns nil, nil.
	Confirm(ctx context.Context, topics ...Topic) (denied map[Topic]error, err error)
}

// A Counter is an [Adapter] that counts what happens to its links.
type Counter interface {
	// Counts returns the counts of all links since the Adapter was made. It does not wait.
	Counts() Counts
}

// Counts are those of a [Counter].
type Counts struct {
	Dropped uint64 // messages that came and were dropped, because the node was too slow to take them
	Denied  uint64 // subscriptions and messages that the broker denied
}
