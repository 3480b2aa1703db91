package wsserver

import (
	"context"
	"slices"
	"sync"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
)

// A Namespace is a part of a server that clients connect to by name, with sockets, rooms and handlers of its own. Its methods may be
// called concurrently; handlers are meant to be set before clients connect, and are not taken back.
type Namespace struct {
	server *Server
	name   string
	rooms  *adapter.Rooms

	mu            sync.RWMutex // guards what follows; slices are replaced, not changed
	connect       []func(context.Context, *Socket) error
	disconnecting []func(*Socket, error)
	disconnect    []func(*Socket, error)
	handlers      map[string][]Handler
}

// Name is the namespace's name, "/" for the one that clients get by default.
func (ns *Namespace) Name() string { return ns.name }

// OnConnect sets a handler for sockets that have connected. It runs after the client has been told so; events wait until it returns.
// An error disconnects the socket. ctx ends when the socket disconnects.
func (ns *Namespace) OnConnect(handle func(ctx context.Context, s *Socket) error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.connect = append(slices.Clip(ns.connect), handle)
}

// OnDisconnecting sets a handler for sockets that are about to leave their rooms. reason is context.Cause of the socket's context.
func (ns *Namespace) OnDisconnecting(handle func(s *Socket, reason error)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.disconnecting = append(slices.Clip(ns.disconnecting), handle)
}

// OnDisconnect sets a handler for sockets that have left all rooms. reason is context.Cause of the socket's context.
func (ns *Namespace) OnDisconnect(handle func(s *Socket, reason error)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.disconnect = append(slices.Clip(ns.disconnect), handle)
}

// On sets a handler for an event of all sockets of the namespace. It runs before a socket's own. It costs nothing for each socket.
func (ns *Namespace) On(event string, handle Handler) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.handlers == nil {
		ns.handlers = make(map[string][]Handler)
	}
	ns.handlers[event] = append(slices.Clip(ns.handlers[event]), handle)
}

func (ns *Namespace) handlersOf(event string) []Handler {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return ns.handlers[event]
}

func (ns *Namespace) broadcast() Broadcast { return Broadcast{ns: ns} }

// To is the broadcast to the sockets in any of rooms: see [Broadcast.To].
func (ns *Namespace) To(rooms ...string) Broadcast { return ns.broadcast().To(rooms...) }

// In is To.
func (ns *Namespace) In(rooms ...string) Broadcast { return ns.broadcast().To(rooms...) }

// Except is the broadcast to all sockets but those in any of rooms.
func (ns *Namespace) Except(rooms ...string) Broadcast { return ns.broadcast().Except(rooms...) }

// Volatile is the volatile broadcast to all sockets: see [Broadcast.Volatile].
func (ns *Namespace) Volatile() Broadcast { return ns.broadcast().Volatile() }

// Local is the broadcast to all sockets of this node.
func (ns *Namespace) Local() Broadcast { return ns.broadcast().Local() }

// Emit sends an event to all sockets of the namespace: see [Broadcast.Emit].
func (ns *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return ns.broadcast().Emit(ctx, event, args...)
}

// Rooms returns the names of the rooms with a socket on this node, the sockets' own among them, in no order.
func (ns *Namespace) Rooms() []string { return ns.rooms.Names() }

// Sockets returns the sockets on this node that are in any of rooms, or all of them, in no order.
func (ns *Namespace) Sockets(rooms ...string) []*Socket {
	members := ns.rooms.Select(rooms, nil)
	sockets := make([]*Socket, 0, len(members))
	for _, m := range members {
		if s := m.(*Socket); s.now() != connecting {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// Socket returns the socket with this id, if it is on this node.
func (ns *Namespace) Socket(id string) (*Socket, bool) {
	m, ok := ns.rooms.Get(id)
	if !ok || m.(*Socket).now() == connecting {
		return nil, false // what is sent to it would overtake its CONNECT packet
	}
	return m.(*Socket), true
}

// frame makes a shared frame of a broadcast's payload, as Emit made it here or on another node.
func (ns *Namespace) frame(payload []byte, volatile bool) (any, error) {
	encoded, err := packet.ParseBlob(payload, &ns.server.limits)
	if err != nil {
		return nil, err
	}
	f := newFrame(encoded)
	f.Volatile = volatile
	return f, nil
}
