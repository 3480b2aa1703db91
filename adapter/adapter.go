// Package adapter is the contract between a node of a cluster and its broker. A driver implements
// [Adapter] and [Link], which move bytes by [Topic] and know nothing of rooms, sockets or packets.
// [Memory] is a driver for one process; package natsadapter is one for NATS.
//
// Package adaptertest checks a driver against this contract. Package cluster, whose Hub opens an
// Adapter, is what servers and emitters build on.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by the methods of a closed [Link], and wrapped by the errors of a closed
// server or emitter.
var ErrClosed = errors.New("adapter: closed")

// ErrUnavailable is wrapped by the errors of Publish while the broker is out of reach. The link
// does not keep the message. Publishing it again may succeed, and some receivers may have it
// already. Any other error of Publish is final for its message.
var ErrUnavailable = errors.New("adapter: broker out of reach")

// An Adapter carries messages between the nodes of a cluster. It moves bytes by [Topic].
//
// An Adapter is a fixed configuration. It may be opened any number of times, also concurrently;
// each Open is one node.
type Adapter interface {
	// Open joins the cluster. The link calls recv with each message on its topics: from one
	// goroutine at a time, and with the messages of one publisher in the order in which it
	// published them, whatever their topics. recv owns msg. It does not block, does not panic, and
	// calls no method of the link.
	//
	// ctx bounds Open alone, not the life of the link. A driver that can go on trying by itself
	// does not fail if it cannot reach its broker: the link begins as [Degraded]. An error means
	// that the configuration cannot work.
	Open(ctx context.Context, recv func(msg []byte)) (Link, error)
}

// A Link is one node's membership of a cluster. Its methods may be called concurrently.
//
// A link delivers each message at most once by intent. It may deliver more than was asked for: its
// own messages, messages on topics that it has left, a message twice. Hub sorts that out. While it
// is [Connected] it may not deliver less.
//
// A link that loses its broker becomes [Degraded], restores its connection and subscriptions by
// itself, and becomes Connected again. Messages that were on their way are lost; later ones are
// newer than those before.
//
// After Subscribe(T) has returned nil, this rule holds: a publisher that has received a message
// which this link published after that return, and since it last became Connected, reaches this
// link with whatever it then publishes on T. Hub's fence rests on this rule alone.
//
// A Link may also be a [Limiter], a [Confirmer] and a [Prober], and an Adapter may be [Guarded].
type Link interface {
	// Publish sends msg to every other link of the cluster that is subscribed to topic. It does not
	// modify msg, and does not keep it after it returns. It may block for as long as the broker
	// takes, but not after ctx ends. While the link is Degraded it does not wait, and returns an
	// error that wraps [ErrUnavailable]. nil means handed over, not received.
	Publish(ctx context.Context, topic Topic, msg []byte) error

	// Subscribe adds topics. Topics that are subscribed already stay as they are. A subscription to
	// a node's topic ([Node]) covers all its private topics ([Private]). A Degraded link returns no
	// error: the subscription stands once it is Connected.
	Subscribe(ctx context.Context, topics ...Topic) error

	// Unsubscribe ends the subscriptions of topics, and ignores topics that are not subscribed.
	// Messages may still come for a while. It works on a Degraded link as Subscribe does.
	Unsubscribe(ctx context.Context, topics ...Topic) error

	// State returns the present state, and a channel that is closed when any part of it changes.
	// The channel of a closed link never closes.
	State() (State, <-chan struct{})

	// Close leaves the cluster. It first sends what Publish has accepted, as far as the broker
	// takes it within a bounded time. After it has returned, recv is not called, and the other
	// methods return [ErrClosed]. Further calls return nil.
	Close() error
}

// A Limiter is a [Link] that knows the largest message that its broker takes. A Link that is no
// Limiter must take 512 KiB.
type Limiter interface {
	// MaxMessage returns the size of the largest message that Publish takes, in bytes, at least 4
	// KiB; 0 means any size. Hub sends larger messages in parts. Publish refuses a larger message
	// with an error, which has no other consequence.
	//
	// It does not wait for the broker. The size may change whenever the link becomes Connected.
	// Before the first time it is a guess; while the link is Degraded it is the last one.
	MaxMessage() int
}

// A Prober is a [Link] whose broker says at once if a topic has no subscriber. Hub uses it to find
// crashed nodes sooner than by waiting for their answers.
type Prober interface {
	// Probe asks the broker whether any other link is subscribed to the topic of a node ([Node]).
	// If the broker knows of none, the link calls recv with back, in its place among the messages.
	// Otherwise nothing happens, here or at that node. The answer may be lost, like a message. back
	// is at most 64 bytes, and treated as Publish treats msg.
	//
	// The link must be subscribed to the topic of a node itself: the broker answers by that topic,
	// so that the link needs no further permission. Probe waits no longer than Publish, and returns
	// the same errors.
	Probe(ctx context.Context, topic Topic, back []byte) error
}

// A Kind says which nodes a [Topic] is for.
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

// A Topic is what messages are published on. It is comparable, and may be used as a map key.
//
// Its strings may be any bytes, of any length. A driver maps a topic to a name of its broker by a
// pure and injective function (a cryptographic hash counts as injective). No name may reach another
// topic, cost the link its connection, or be refused. Node alone has a known form: at most 32
// letters, digits, '-' and '_', made by Hub.
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

// A Status says what a link can do.
type Status uint8

// The states of a link.
const (
	Connected Status = iota + 1 // messages flow, all subscriptions stand
	Degraded                    // the broker is out of reach; the link works on it by itself
	Closed                      // Close was called
	Refused                     // as Degraded, but the broker answers, and denies what the node needs ([Needs])
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

// A State is a link's status, and what is wrong with it.
type State struct {
	Status Status
	Reason error // Degraded, Refused: why. Connected: a topic that the broker denies, or nil

	// Connections is how often the link has become Connected. It grows each time, by one or more,
	// and never otherwise. So Hub can tell a link that was lost and came back unseen, whose nodes
	// must meet anew, from a link that was denied something.
	Connections uint64

	// RoundTrip is the time to the broker and back, measured when the link last became Connected; 0
	// if unknown. Hub begins with it on a new connection, and then measures how long other nodes
	// take to answer.
	RoundTrip time.Duration
}
