package wsserver

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A Namespace is a part of a server that clients connect to by name, with its own sockets, rooms
// and handlers. Its methods may be called concurrently. Set handlers before clients connect: a
// handler is not called for earlier events.
type Namespace struct {
	hooks
	server *Server
	name   string
	rooms  *cluster.Rooms
	all    *sockets.Namespace // the sockets of all nodes
	parent *ParentNamespace   // whose child it is; nil for none

	byPolling, byWebSocket atomic.Int64 // connected sockets, by what carries them: see conn.count

	// server.mu guards what follows.
	maker    netip.Addr // of the client that made it, if that is counted
	users    int        // sockets that have entered and not left
	stays    bool       // the program has asked for it: it does not go with its last socket
	unlisten func()     // has the rooms tell no more of their events; nil while they tell nothing
}

// Name returns the namespace's name, "/" for the default one.
func (ns *Namespace) Name() string { return ns.name }

// All returns the broadcast to all sockets of the namespace, on all nodes.
func (ns *Namespace) All() sockets.Broadcast { return ns.all.All() }

// To returns the broadcast to the sockets in any of rooms: see [sockets.Broadcast.To].
func (ns *Namespace) To(rooms ...string) sockets.Broadcast { return ns.all.To(rooms...) }

// In is the same as To.
func (ns *Namespace) In(rooms ...string) sockets.Broadcast { return ns.all.To(rooms...) }

// Except returns the broadcast to all sockets except those in any of rooms.
func (ns *Namespace) Except(rooms ...string) sockets.Broadcast { return ns.all.Except(rooms...) }

// Emit sends an event to all sockets of the namespace: see [sockets.Broadcast.Emit].
func (ns *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return ns.all.Emit(ctx, event, args...)
}

// AllRooms returns the names of the rooms that have a socket on any node, each once, in no order,
// without the sockets' own rooms, as [Namespace.Rooms] does for this node. It waits as
// [sockets.Broadcast.FetchSockets] does. With an error come the rooms of the nodes that have
// answered.
func (ns *Namespace) AllRooms(ctx context.Context) ([]string, error) {
	return ns.all.AllRooms(ctx)
}

// ServerSideEmit sends an event to the programs of the cluster's other servers, which handle it by
// [Namespace.OnServerSide]; clients and this server do not get it. It does not wait for them. Each
// server handles the events of one goroutine in order, one at a time, so a handler that blocks
// holds up this node's later events. A server without a handler for the event counts it in its
// Stats.Unhandled. Beyond 1,024 events of this node, or 4 MiB, that wait for the handlers, a server
// drops further ones.
//
// args are those of [sockets.Broadcast.Emit], and the end of ctx is ignored likewise. After an
// error, which wraps [cluster.ErrOverflow], [cluster.ErrTooLarge] or [adapter.ErrClosed], no server
// got the event.
func (ns *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	return ns.all.ServerSideEmit(ctx, event, args...)
}

// ServerSideEmitWithAck is ServerSideEmit, and then waits for the answers of the other servers that
// are alive, until ctx ends; without a deadline in ctx, at most [cluster.CallTimeout]. It returns
// them in the order of arrival; if there is no other server, none, at once. A server handles events
// that are to be answered concurrently.
//
// With an error come the answers so far. It wraps an [*cluster.PartialError], which names the nodes
// that have not answered, and an [*cluster.NodeError] for each node that has failed: its handler
// has returned an error or not called Ack. If a node has no handler, the error wraps
// [cluster.ErrUnknown], at once, while Socket.IO waits for a timeout.
func (ns *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]sockets.ServerResponse, error) {
	return ns.all.ServerSideEmitWithAck(ctx, event, args...)
}

// Rooms returns the names of the rooms that have a socket on this node, each once, in no order,
// without the sockets' own rooms: a room with the name of a socket's id is that socket's own, even
// if others have joined it. [Namespace.AllRooms] has the rooms of all nodes.
func (ns *Namespace) Rooms() []string { return ns.rooms.Names() }

// Sockets returns all sockets on this node, in no order. [sockets.Broadcast.FetchSockets] has those
// of all nodes.
func (ns *Namespace) Sockets() []*Socket { return ns.selected(nil) }

// SocketsIn returns the sockets on this node that are in any of rooms, in no order. An empty list
// of rooms selects none.
func (ns *Namespace) SocketsIn(rooms ...string) []*Socket {
	if len(rooms) == 0 {
		return nil
	}
	return ns.selected(rooms)
}

func (ns *Namespace) selected(rooms []string) []*Socket {
	members := ns.rooms.Select(rooms, nil)
	sockets := make([]*Socket, 0, len(members))
	for _, m := range members {
		if s := m.(*member).socket(); s.life.at() != connecting {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// SocketCount returns the number of sockets on this node, at no cost. It may include sockets that
// are about to connect or to leave. [sockets.Broadcast.Count] counts the sockets of a room, or of
// all nodes.
func (ns *Namespace) SocketCount() int { return ns.rooms.Len() }

// Socket returns the socket with this id, if it is on this node.
func (ns *Namespace) Socket(id string) (*Socket, bool) {
	m, ok := ns.rooms.Get(id)
	if !ok {
		return nil, false
	}
	s := m.(*member).socket()
	if s.life.at() == connecting {
		return nil, false // what is sent to it would overtake its CONNECT packet
	}
	return s, true
}

// carried counts the connected sockets that a transport carries.
func (ns *Namespace) carried(by engineio.Transport) *atomic.Int64 {
	if by == engineio.TransportPolling {
		return &ns.byPolling
	}
	return &ns.byWebSocket
}
