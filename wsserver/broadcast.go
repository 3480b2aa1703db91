package wsserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
)

// A Broadcast is a selection of the sockets of a namespace, on all nodes, to emit to. It is a value: its methods return new ones, and it
// may be kept, reused, and used concurrently. Namespaces, servers and sockets make it: the zero value selects nothing and must not be used.
type Broadcast struct {
	ns       *Namespace
	rooms    []string
	except   []string
	volatile bool
	local    bool
	plain    bool // not compressed
}

// To selects the sockets in any of rooms, besides those selected before; each gets a packet once. A socket's id is a room with that
// socket in it. Without rooms, a broadcast goes to the whole namespace.
func (b Broadcast) To(rooms ...string) Broadcast {
	b.rooms = slices.Concat(b.rooms, rooms)
	return b
}

// In is To.
func (b Broadcast) In(rooms ...string) Broadcast { return b.To(rooms...) }

// Except leaves out the sockets in any of rooms.
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = slices.Concat(b.except, rooms)
	return b
}

// Volatile passes over the sockets that cannot take the packet at once, since their connection is busy.
func (b Broadcast) Volatile() Broadcast {
	b.volatile = true
	return b
}

// Local leaves out the sockets of other nodes.
func (b Broadcast) Local() Broadcast {
	b.local = true
	return b
}

// Compress says whether the packet may be compressed, as it may unless this says no: where compression is on at all ([Config]). Turn it off
// for what is compressed already.
func (b Broadcast) Compress(compress bool) Broadcast {
	b.plain = !compress
	return b
}

// Emit sends an event to the selected sockets. It never waits for the network: the sockets of this node have the packet in their queues
// when Emit returns, those of other nodes as soon as the adapter has carried it there. What one goroutine emits reaches each socket in
// that order.
//
// args are anything that encoding/json takes, with []byte anywhere inside sent as binary. An error that wraps [adapter.ErrOverflow] or
// [adapter.ErrClosed] means that this node's sockets got the packet, and that the cluster's part was refused; after any other nobody
// got it. If ctx has ended, nothing is sent.
func (b Broadcast) Emit(ctx context.Context, event string, args ...any) error {
	m, err := b.message(ctx, event, args, false)
	if err != nil {
		return err
	}
	if err := b.ns.rooms.Broadcast(m); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}

// A SocketResponse is what one client answered to [Broadcast.EmitWithAck].
type SocketResponse struct {
	Socket string // its id
	Node   string // where it is
	Response
}

// EmitWithAck is [Broadcast.Emit] that waits for the acknowledgements of all selected sockets, on all nodes, until ctx ends; without a
// deadline in ctx, no longer than Config.AckTimeout. It returns what the clients have answered, each with all its arguments, in the order
// of coming. If no socket is selected, that is nothing, at once.
//
// With an error come the answers so far. It wraps an [*adapter.PartialError], which says how many clients have not answered, and which
// nodes nobody has heard of. A socket that disconnects before it has answered is one of those clients, and not waited for. So is one that
// waits for too many answers already ([ErrTooManyAcks]), which gets the event all the same, and one that a volatile event passes over. Any
// other error is one of Emit, after which nobody got the packet.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]SocketResponse, error) {
	m, err := b.message(ctx, event, args, true)
	if err != nil {
		return nil, err
	}
	ctx, cancel := b.ns.server.ackContext(ctx)
	defer cancel()
	acks, err := b.ns.rooms.BroadcastWithAck(ctx, m)
	responses := make([]SocketResponse, 0, len(acks.Answers))
	for _, a := range acks.Answers {
		if len(a.Payload) == 0 {
			continue // it was not connected: see member.Ask
		}
		r, e := newResponse(a.Payload)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("answer of socket %s: %w", a.Member, e))
			continue
		}
		responses = append(responses, SocketResponse{a.Member, a.Node, r})
	}
	if err != nil {
		err = fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return responses, err
}

// newResponse makes a Response of what a member, or a server, of any node has answered.
func newResponse(payload []byte) (Response, error) {
	args, err := packet.ParseArgsBlob(payload, &unlimited)
	return Response{args}, err
}

// message encodes an event for the selected sockets, once for the whole cluster.
func (b Broadcast) message(ctx context.Context, event string, args []any, ack bool) (adapter.Broadcast, error) {
	if err := context.Cause(ctx); err != nil {
		return adapter.Broadcast{}, fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	encoded, err := b.ns.server.encode(&packet.Packet{Type: packet.Event, Namespace: b.ns.name}, event, args)
	if err != nil {
		return adapter.Broadcast{}, err
	}
	p := packet.Payload{Encoded: encoded, Plain: b.plain, Ack: ack}
	return adapter.Broadcast{
		Rooms:    b.rooms,
		Except:   b.except,
		Volatile: b.volatile,
		Local:    b.local,
		Payload:  p.Append(make([]byte, 0, p.Size())),
	}, nil
}
