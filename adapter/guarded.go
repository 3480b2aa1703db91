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
