package wsserver

import (
	"github.com/belfry-io/belfry/adapter/cluster"
)

// roomHook is a handler of room events of one kind.
type roomHook struct {
	kind   cluster.RoomEventKind
	handle func(ns *Namespace, s *Socket, room string) // s is nil if no socket sits there, but what keeps a seat
}

// OnCreateRoom sets a handler for rooms that get their first socket on this node; the handlers of
// OnJoinRoom are called next. Sockets on other nodes do not count, and make no events here. A
// socket's own room, named by its id, is a room like others.
//
// The handlers for room events of a namespace are called one at a time, in the order of the
// changes. They see the rooms as they are after the change, or later. They may join and leave
// rooms, and are called for that after they have returned. The call that makes a change calls them
// before it returns, on its own goroutine; if another goroutine is calling them, that one goes on
// with the change.
//
// So a handler must not block, and must not wait for the cluster, as Socket.Join does unless its
// ctx has ended. Otherwise it holds up that goroutine, all later room events of the namespace, and
// with them all clients that connect to it or disconnect. If thousands of events wait, some that
// undo each other are left out, and counted in Stats.Adapter.Elided.
//
// A panic is recovered, and reported as one of "create-room", "join-room", "leave-room" or
// "delete-room". It has no other consequence. The handlers of a [ParentNamespace] may be called for
// several children at a time.
func (h *hooks) OnCreateRoom(handle func(ns *Namespace, room string)) (stop func()) {
	return h.onRoom(cluster.CreateRoom, func(ns *Namespace, _ *Socket, room string) { handle(ns, room) })
}

// OnJoinRoom sets a handler for sockets of this node that have joined a room. For a socket's own
// room, and for all rooms of one that is recovered, it is called before the client is told that it is
// connected, and before [Namespace.OnConnect]: nothing can be sent to the socket then, and
// FetchSockets does not show it yet. See [Namespace.OnCreateRoom].
func (h *hooks) OnJoinRoom(handle func(s *Socket, room string)) (stop func()) {
	return h.onRoom(cluster.JoinRoom, ofSocket(handle))
}

// OnLeaveRoom sets a handler for sockets of this node that have left a room. When a socket
// disconnects, it is called between the handlers of OnDisconnecting and OnDisconnect, for all its
// rooms in the order of [Socket.Rooms], which is empty then. See [Namespace.OnCreateRoom].
func (h *hooks) OnLeaveRoom(handle func(s *Socket, room string)) (stop func()) {
	return h.onRoom(cluster.LeaveRoom, ofSocket(handle))
}

// OnDeleteRoom sets a handler for rooms whose last socket on this node has left, called after those
// of OnLeaveRoom. See [Namespace.OnCreateRoom].
func (h *hooks) OnDeleteRoom(handle func(ns *Namespace, room string)) (stop func()) {
	return h.onRoom(cluster.DeleteRoom, func(ns *Namespace, _ *Socket, room string) { handle(ns, room) })
}

// ofSocket is handle for the seats that sockets sit on.
func ofSocket(handle func(s *Socket, room string)) func(*Namespace, *Socket, string) {
	return func(_ *Namespace, s *Socket, room string) {
		if s != nil {
			handle(s, room)
		}
	}
}

func (h *hooks) onRoom(kind cluster.RoomEventKind, handle func(*Namespace, *Socket, string)) (stop func()) {
	remove := attach(&h.mu, &h.room, roomHook{kind, handle})
	h.listen()
	return func() {
		remove()
		h.listen()
	}
}

func (ns *Namespace) roomHooks() list[roomHook] {
	return collect(ns, func(h *hooks) list[roomHook] { return h.room })
}

// listenToRooms has the namespace's rooms tell of their events while there is somebody who wants to
// know. server.mu must be held.
func (ns *Namespace) listenToRooms() {
	switch wanted := len(ns.roomHooks()) > 0; {
	case wanted && ns.unlisten == nil:
		ns.unlisten = ns.rooms.Listen(ns.tell)
	case !wanted && ns.unlisten != nil:
		ns.unlisten()
		ns.unlisten = nil
	}
}

// tell tells the handlers of a room event.
func (ns *Namespace) tell(e cluster.RoomEvent) {
	s := e.Member.(*member).socket()
	for _, hook := range ns.roomHooks() {
		if hook.kind == e.Kind {
			ns.server.shield(s, e.Kind.String(), func() { hook.handle(ns, s, e.Room) })
		}
	}
}
