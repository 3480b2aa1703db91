package wsserver

import (
	"context"
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
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	encoded, err := b.ns.server.encode(&packet.Packet{Type: packet.Event, Namespace: b.ns.name}, event, args)
	if err != nil {
		return err
	}
	payload := make([]byte, 1, 1+encoded.BlobSize())
	if b.plain {
		payload[0] |= payloadPlain
	}
	err = b.ns.rooms.Broadcast(adapter.Broadcast{
		Rooms:    b.rooms,
		Except:   b.except,
		Volatile: b.volatile,
		Local:    b.local,
		Payload:  encoded.AppendBlob(payload),
	})
	if err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}
