package sockets

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// A Broadcast is a selection of the sockets of a namespace, on all nodes, to emit to, or to do something else with. It is a value: its
// methods return new ones, and it may be kept, reused, and used concurrently. Emitters, servers, namespaces and sockets make it: what the
// zero value is asked for is [ErrNoNamespace].
type Broadcast struct {
	ns       *Namespace
	chosen   bool // rooms alone are selected, even if there are none
	rooms    []string
	except   []string
	volatile bool
	local    bool
	plain    bool // not compressed
}

// To selects the sockets in any of rooms, besides those that an earlier To has selected; each gets a packet once. A socket's id is a room with
// that socket in it. Without any To, a broadcast goes to the whole namespace. To without rooms, such as with a list that is empty, selects
// nobody, until another To adds a room: nothing is sent then, no node is asked, and what else is done is done to no socket, without an error.
func (b Broadcast) To(rooms ...string) Broadcast {
	b.chosen = true
	b.rooms = slices.Concat(b.rooms, rooms)
	return b
}

// In is To.
func (b Broadcast) In(rooms ...string) Broadcast { return b.To(rooms...) }

// nobody reports whether no socket can be selected.
func (b Broadcast) nobody() bool { return b.chosen && len(b.rooms) == 0 }

// Except leaves out the sockets in any of rooms; without rooms, none.
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = slices.Concat(b.except, rooms)
	return b
}

// Volatile passes over the sockets that cannot take the packet at once, since their connection is busy.
func (b Broadcast) Volatile() Broadcast {
	b.volatile = true
	return b
}

// Local leaves out the sockets of other nodes than the server that the broadcast is of. Those of an emitter are all on other nodes.
func (b Broadcast) Local() Broadcast {
	b.local = true
	return b
}

// Compress says whether the packet may be compressed, as it may unless this says no: where a server compresses at all. Turn it off for
// what is compressed already.
func (b Broadcast) Compress(compress bool) Broadcast {
	b.plain = !compress
	return b
}

// Emit sends an event to the selected sockets. It never waits for the network: the sockets of a server's own node have the packet in their
// queues when Emit returns, those of other nodes as soon as the adapter has carried it there. What one goroutine emits reaches each
// socket in that order. What is emitted before the node has met its cluster waits until it has.
//
// args are anything that encoding/json takes, with []byte anywhere inside sent as binary. An error that wraps [cluster.ErrOverflow],
// [cluster.ErrTooLarge] or adapter.ErrRefused means that the sockets of the own node got the packet, and that the cluster's part was refused; so does
// adapter.ErrClosed, where the node is closing and has sockets yet. After any other nobody got it. ctx may have ended, as that of a handler has
// whose client is gone: the event goes out all the same.
func (b Broadcast) Emit(ctx context.Context, event string, args ...any) error {
	m, err := b.message(event, args, false)
	if err == nil && !b.nobody() {
		err = b.ns.rooms.Broadcast(m)
	}
	return wrapEvent("emit", event, err)
}

// EmitCounted is Emit that waits until every node has handed the packet to its sockets, until ctx ends; without a deadline in ctx, no longer
// than [cluster.CallTimeout]. It returns how many sockets have the packet in their queues, in the same order as what Emit sends; a socket
// that a volatile packet passes over is none of them. Every node is asked, where Emit reaches those alone that have such sockets: it
// is for those who want to know.
//
// With an error that wraps an [*cluster.PartialError] comes the number of those that are known to have it; on the nodes that it names, some
// may have it, too. After any other error nobody got the packet.
func (b Broadcast) EmitCounted(ctx context.Context, event string, args ...any) (int, error) {
	m, err := b.asking(ctx, event, args, false)
	if err != nil || b.nobody() {
		return 0, wrapEvent("emit", event, err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return 0, wrapEvent("emit", event, err)
	}
	n, err := b.ns.rooms.BroadcastCounted(ctx, m)
	return n, wrapEvent("emit", event, err)
}

// EmitWithAck is Emit that waits for the acknowledgements of all selected sockets, on all nodes, until ctx ends; without a deadline in
// ctx, no longer than the AckTimeout of the server's or the emitter's Config. It returns what the clients have answered, in the order of
// coming, and of each all arguments, where Socket.IO has the first alone. If no socket is selected, that is nothing, at once. A handler of
// a socket may wait for it, as for the answer of the socket itself.
//
// With an error come the answers so far. It wraps an [*cluster.PartialError], which says how many clients have not answered, and which
// nodes nobody has heard of. A socket that disconnects before it has answered is one of those clients, and not waited for. So is one that
// waits for too many answers already, which gets the event all the same, and one that a volatile event passes over. Any other error is
// one of Emit, after which nobody got the packet.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]SocketResponse, error) {
	m, err := b.asking(ctx, event, args, true)
	if err != nil || b.nobody() {
		return nil, wrapEvent("emit", event, err)
	}
	ctx, cancel, err := b.ns.begin(ctx, b.ns.ackTimeout)
	defer cancel()
	if err != nil {
		return nil, wrapEvent("emit", event, err)
	}
	acks, err := b.ns.rooms.BroadcastWithAck(ctx, m)
	responses := make([]SocketResponse, 0, len(acks.Answers))
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
	p := packet.Payload{Encoded: encoded, Plain: b.plain, Ack: ack}
	return cluster.Broadcast{
		Rooms:    b.rooms,
		Except:   b.except,
		Volatile: b.volatile,
		Local:    b.local,
		Payload:  p.Append(make([]byte, 0, p.Size())),
	}, nil
}
