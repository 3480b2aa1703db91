// Package adapter is for who writes a driver: an [Adapter] and its [Link] move bytes between the nodes of a cluster, by [Topic], and know
// nothing of rooms, sockets or packets. [Memory] is one; package natsadapter is another, for NATS. Package adaptertest holds every
// driver to the contract written here. Package cluster is what a server makes of a link.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by the methods of a Link that has been closed, and wrapped by what a closed server or emitter is asked for.
var ErrClosed = errors.New("adapter: closed")

// ErrUnavailable is wrapped by what Publish returns while the broker is out of reach: the link does not keep the message, and published
// again it may go through. Some receivers may have it already. Any other error of Publish is final for its message.
var ErrUnavailable = errors.New("adapter: broker out of reach")

// An Adapter carries messages between the nodes of a cluster. It knows nothing of sockets, rooms or packets: it moves bytes by [Topic].
//
// An Adapter is a fixed configuration and may be opened any number of times, also concurrently; each Open is one node.
type Adapter interface {
	// Open joins the cluster. Messages on the link's topics are handed to recv: from one goroutine at a time, and those of one
	// publisher in the order in which it published them, whatever their topics. recv owns msg from then on; it does not block,
	// does not panic and calls nothing of the link.
	//
	// ctx bounds Open alone, not the life of the link. A broker that cannot be reached is not an error where the driver can go on
	// trying by itself: the link then starts out as [Degraded]. An error means that the configuration cannot work.
	Open(ctx context.Context, recv func(msg []byte)) (Link, error)
}

// A Link is one node's membership of a cluster. Its methods may be called concurrently.
//
// Delivery is at most once by intent, but a link may deliver more than was asked: its own messages, messages on topics that it has
// left, a message twice. Hub sorts that out. It may not deliver less while it is [Connected].
//
// A link that loses its broker becomes [Degraded], restores connection and subscriptions by itself, and is Connected again. What was on
// its way is lost; what comes afterwards is newer than what came before.
//
// Once Subscribe(T) has returned nil: whoever publishes on T after having received a message that this link published after the
// return, and since it last became Connected, reaches this link. Hub's fence rests on this rule alone.
//
// A Link may be a [Limiter], a [Confirmer] and a [Prober], too, and an Adapter [Guarded].
type Link interface {
	// Publish sends msg to every other link of the cluster that is subscribed to topic. It does not modify msg, nor keep it after it
	// returns. It may block for as long as the broker takes, at the latest until ctx ends; while the link is Degraded it does not wait
	// for the broker, but returns an error that wraps [ErrUnavailable]. nil means handed over, not received.
	Publish(ctx context.Context, topic Topic, msg []byte) error

	// Subscribe adds topics to those that the link receives. A topic that is subscribed already is left as it is.
	// A subscription to a node's topic ([Node]) covers all its private topics ([Private]). That the link is Degraded is no error:
	// the subscription stands when the link is Connected.
	Subscribe(ctx context.Context, topics ...Topic) error

	// Unsubscribe ends the subscriptions of topics; one that is not subscribed is left as it is. Messages may still come for a while.
	// It works on a Degraded link as Subscribe does.
	Unsubscribe(ctx context.Context, topics ...Topic) error

	// State is the state now, and a channel that is closed when any part of it changes. The channel of a closed link never closes.
	State() (State, <-chan struct{})

	// Close leaves the cluster: recv is not called after Close has returned, and the other methods return [ErrClosed].
	// What Publish accepted before is sent first, as far as the broker takes it within a bounded time. Further calls return nil.
	Close() error
}

// A Limiter is a [Link] that knows what size of message its broker takes. One that is none must take 512 KiB.
type Limiter interface {
	// MaxMessage is the size of the largest message that Publish takes, in bytes, 4 KiB at the least; 0 means any size. It does not wait
	// for the broker. Hub sends what is larger in parts.
	// It may change whenever the link becomes Connected; before the first time it is a guess, and while the link is Degraded what it
	// was last. A message over it is refused with an error, and costs nothing but itself.
	MaxMessage() int
}

// A Prober is a [Link] whose broker says so at once if nobody is subscribed to a topic. By that Hub finds nodes that do not answer since they
// have died, where it otherwise would have to wait.
type Prober interface {
	// Probe asks the broker whether any other link is subscribed to the topic of a node ([Node]). If none is, as far as the broker
	// knows, it hands back to the link's recv, in its place among the messages; back is 64 bytes at the most, and treated as
	// Publish treats msg. Otherwise nothing comes of it, here or there. The answer may be lost as a message may.
	//
	// The link must have subscribed to the topic of a node itself: by that topic the broker answers, so that the link needs no further
	// permission. Probe waits no longer than Publish, and returns the same errors.
	Probe(ctx context.Context, topic Topic, back []byte) error
}

// A Kind says to whom a [Topic] speaks.
type Kind uint8

// The kinds of topics, with the fields of Topic that each uses.
const (
	Cluster   Kind = iota + 1 // every node of the cluster; no field
	Namespace                 // the nodes that serve a namespace: Namespace
	Room                      // the nodes with a member of a room: Namespace, Room
	Node                      // one node: Node
	Private                   // a room that is a socket's id, at the node of that socket: Namespace, Node, Room
)

var kindNames = [...]string{Cluster: "cluster", Namespace: "namespace", Room: "room", Node: "node", Private: "private"}

// String returns the kind's name, in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// A Topic is what messages are published on and subscribed to: a value, comparable, and meant for use as a map key.
//
// Its strings are any bytes at all, of any length: a driver maps a topic to a name of its broker by a pure and injective function
// (a cryptographic hash counts as injective), and no name may reach another topic, cost the link its connection, or be refused.
// Node is an exception: Hub makes it, and it consists of letters, digits, '-' and '_', 32 at the most.
type Topic struct {
	Kind      Kind
	Namespace string
	Node      string
	Room      string
}

// String returns the topic in a readable form for logs and errors.
func (t Topic) String() string {
	switch t.Kind {
	case Cluster:
		return "cluster"
	case Namespace:
		return fmt.Sprintf("namespace %.64q", t.Namespace)
	case Room:
		return fmt.Sprintf("room %.64q of %.64q", t.Room, t.Namespace)
	case Node:
		return fmt.Sprintf("node %.64q", t.Node)
	case Private:
		return fmt.Sprintf("private room %.64q of %.64q", t.Room, t.Namespace)
	}
	return t.Kind.String()
}

// A Status is what a link can do at a moment.
type Status uint8

// The states of a link.
const (
	Connected Status = iota + 1 // messages flow, all subscriptions stand
	Degraded                    // the broker is out of reach; the link works on it by itself
	Closed                      // Close was called
	Refused                     // as Degraded, but the broker can be reached: it denies what the node cannot do without ([Needs])
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case Connected:
		return "connected"
	case Degraded:
		return "degraded"
	case Closed:
		return "closed"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// A State is a link's status, and what is wrong.
type State struct {
	Status Status
	Reason error // Degraded, Refused: why. Connected: what the broker refuses (a topic without permission, say); nil if nothing

	// Connections is how many times the link has become Connected. It grows by at least one with each time, and never otherwise: by it Hub
	// knows a link that was lost and came back before it looked, and whose nodes have to meet anew, from one that is refused something.
	Connections uint64

	// RoundTrip is the time to the broker and back, as it was when the link became Connected last; 0 if that is not known. Hub begins with
	// it on a new connection, and then goes by how long the other nodes take to answer.
	RoundTrip time.Duration
}
