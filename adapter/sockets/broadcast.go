package sockets

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A Broadcast selects sockets of a namespace, on all nodes, and acts on them: it emits to them,
// fetches them, moves and disconnects them. It is a value: To, Except and the like return new ones.
// It may be kept, reused, and used concurrently. Servers, namespaces, sockets and emitters make
// Broadcasts; the methods of the zero value return [ErrNoNamespace].
type Broadcast struct {
	ns       *Namespace
	chosen   bool // rooms alone are selected, even if there are none
	rooms    []string
	except   []string
	volatile bool
	local    bool
	plain    bool // not compressed
}

// To selects the sockets in any of rooms, in addition to those of an earlier To. A socket in
// several of them is selected once. The id of a socket is a room with that socket in it. Without
// To, a Broadcast selects the whole namespace.
//
// To with an empty list selects no socket, until another To adds a room. Then methods send nothing,
// ask no node, and return no error.
func (b Broadcast) To(rooms ...string) Broadcast {
	b.chosen = true
	b.rooms = slices.Concat(b.rooms, rooms)
	return b
}

// In is the same as To.
func (b Broadcast) In(rooms ...string) Broadcast { return b.To(rooms...) }

// nobody reports whether no socket can be selected.
func (b Broadcast) nobody() bool { return b.chosen && len(b.rooms) == 0 }

// Except leaves out the sockets in any of rooms. Without rooms it leaves out none.
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = slices.Concat(b.except, rooms)
	return b
}

// Volatile skips the sockets whose connection is busy: they do not get the packet.
func (b Broadcast) Volatile() Broadcast {
	b.volatile = true
	return b
}

// Local leaves out the sockets of other nodes. An emitter has no sockets on its own node.
func (b Broadcast) Local() Broadcast {
	b.local = true
	return b
}

// Compress says whether the packet may be compressed, where a server compresses at all. The default
// is true. Use false for data that is compressed already.
func (b Broadcast) Compress(compress bool) Broadcast {
	b.plain = !compress
	return b
}

// Emit sends an event to the selected sockets. It never waits for the network: when it returns, the
// packet is queued for the sockets of this node, and the adapter carries it to the others. Each
// socket receives the events that one goroutine emits in that order. Events that are emitted before
// the node has met its cluster wait until it has.
//
// args may be any values that encoding/json takes; each []byte inside them is sent as binary. Emit
// takes values from ctx, and ignores its end: the event of a handler goes out although its client
// is gone.
//
// An error that wraps [cluster.ErrOverflow], [cluster.ErrTooLarge] or adapter.ErrRefused means that
// only the sockets of this node got the packet. So does adapter.ErrClosed while the node closes and
// still has sockets. After any other error no socket got it.
func (b Broadcast) Emit(ctx context.Context, event string, args ...any) error {
	_, sp := b.begins(ctx, "emit", event, false)
	m, err := b.message(event, args, false)
	if err == nil && !b.nobody() {
		m.Trace = sp.trace
		err = b.ns.rooms.Emit(m)
	}
	return sp.over(wrapEvent("emit", event, err))
}

// EmitCounted is Emit, and then waits until every node has queued the packet for its sockets, or
// ctx ends; without a deadline in ctx, at most [cluster.CallTimeout]. It returns how many sockets
// have the packet queued, without those that a volatile packet skips. It keeps its place among the
// events that Emit sends. It asks every node, while Emit reaches only nodes with selected sockets,
// so use it only for the count.
//
// With an error that wraps an [*cluster.PartialError] comes the number of sockets that are known to
// have the packet; sockets on the nodes that it names may have it, too. After any other error no
// socket got it.
func (b Broadcast) EmitCounted(ctx context.Context, event string, args ...any) (n int, err error) {
	ctx, sp := b.begins(ctx, "emit", event, true)
	defer func() { sp.over(err) }()
	m, err := b.asking(ctx, event, args, false)
	if err != nil || b.nobody() {
		return 0, wrapEvent("emit", event, err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return 0, wrapEvent("emit", event, err)
	}
	m.Trace = sp.trace
	n, err = b.ns.rooms.EmitCounted(ctx, m)
	return n, wrapEvent("emit", event, err)
}

// EmitWithAck is Emit, and then waits for the acknowledgements of all selected sockets, on all
// nodes, until ctx ends; without a deadline in ctx, for the AckTimeout of the server's or the
// emitter's Config. It returns the answers of the clients in the order of arrival, each with all
// its arguments, while Socket.IO returns the first argument alone. If no socket is selected, it
// returns none, at once. A handler of a selected socket may call it, and gets the answer of its own
// socket, too.
//
// With an error come the answers so far. It wraps an [*cluster.PartialError], which says how many
// clients have not answered, and which nodes are missing. A client counts as one that has not
// answered if it disconnects first, which ends the wait for it, if its socket waits for too many
// answers already, although it gets the event, and if a volatile event skips it. Any other error is
// one of Emit: no socket got the packet.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) (responses []SocketResponse, err error) {
	ctx, sp := b.begins(ctx, "emit", event, true)
	defer func() { sp.over(err) }()
	m, err := b.asking(ctx, event, args, true)
	if err != nil || b.nobody() {
		return nil, wrapEvent("emit", event, err)
	}
	ctx, cancel, err := b.ns.begin(ctx, b.ns.ackTimeout)
	defer cancel()
	if err != nil {
		return nil, wrapEvent("emit", event, err)
	}
	m.Trace = sp.trace
	acks, err := b.ns.rooms.EmitWithAck(ctx, m)
	responses = make([]SocketResponse, 0, len(acks.Answers))
	for _, a := range acks.Answers {
		if len(a.Payload) == 0 {
			continue // it was not connected
		}
		r, e := parseResponse(a.Payload)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("answer of socket %s: %w", a.Member, e))
			continue
		}
		responses = append(responses, SocketResponse{a.Member, a.Node, r})
	}
	return responses, wrapEvent("emit", event, err)
}

// asking is message for a call that waits: if ctx has ended, nothing is sent.
func (b Broadcast) asking(ctx context.Context, event string, args []any, ack bool) (cluster.Broadcast, error) {
	if err := context.Cause(ctx); err != nil {
		return cluster.Broadcast{}, err
	}
	return b.message(event, args, ack)
}

// message encodes an event for the selected sockets, once for the whole cluster.
func (b Broadcast) message(event string, args []any, ack bool) (cluster.Broadcast, error) {
	if err := b.ns.usable(); err != nil {
		return cluster.Broadcast{}, err
	}
	values, err := b.ns.limits.MarshalEvent(event, args...)
	if err != nil {
		return cluster.Broadcast{}, err
	}
	encoded, err := b.ns.codec.Encode(&packet.Packet{Type: packet.Event, Namespace: b.ns.name, Args: values})
	if err != nil {
		return cluster.Broadcast{}, err
	}
	p := payload.Payload{Encoded: encoded, Plain: b.plain, Ack: ack}
	return cluster.Broadcast{
		Rooms:    b.rooms,
		Except:   b.except,
		Volatile: b.volatile,
		Local:    b.local,
		Payload:  p.Append(make([]byte, 0, p.Size())),
	}, nil
}
