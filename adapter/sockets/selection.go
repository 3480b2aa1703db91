package sockets

import (
	"context"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// What a Broadcast can do with the sockets that it selects, other than emit to them. All of it asks the other nodes, unless the Broadcast
// is Local.

func (b Broadcast) selection() cluster.Selection {
	return cluster.Selection{Rooms: b.rooms, Except: b.except, Local: b.local}
}

// FetchSockets returns the selected sockets of all nodes, those of a server's own first and in the same form; where Socket.IO
// has live sockets for those, the Socket method of a server's namespace has. It waits for the nodes that are alive, until ctx ends; without a
// deadline in ctx, no longer than [cluster.CallTimeout]. With an error come the sockets of the nodes that have answered; it wraps an
// [*cluster.PartialError] that names the others.
//
// A socket's data comes as JSON: see SetData of wsserver.Socket. With it comes all of its handshake, credentials among them, through the
// adapter's broker; the server's Config.HTTP.KeepHeaders bounds what that is.
func (b Broadcast) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	if err := b.ns.usable(); err != nil || b.nobody() {
		return nil, wrap("fetch sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return nil, wrap("fetch sockets", err)
	}
	members, err := b.ns.rooms.Fetch(ctx, b.selection())
	sockets := make([]RemoteSocket, 0, len(members))
	for _, m := range members {
		if s, ok := b.ns.remote(m); ok {
			sockets = append(sockets, s)
		}
	}
	return sockets, wrap("fetch sockets", err)
}

// Count returns how many sockets are selected on all nodes, without fetching them, which takes a fraction of the time. Those that are about
// to connect or to leave may be among them. Errors are those of FetchSockets, with the number of the sockets that were counted.
func (b Broadcast) Count(ctx context.Context) (int, error) {
	if err := b.ns.usable(); err != nil || b.nobody() {
		return 0, wrap("count sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return 0, wrap("count sockets", err)
	}
	n, err := b.ns.rooms.Count(ctx, b.selection())
	return n, wrap("count sockets", err)
}

// SocketsJoin puts the selected sockets of all nodes into rooms, and waits until that is done, as Socket.IO does not: nil means that every broadcast to the rooms
// that any live node emits from now on reaches them, as with a socket's own Join. On each node it keeps its place among what this goroutine emits:
// what was emitted before selects its sockets by the rooms of before, and what comes later by those of after.
//
// An error that wraps an [*cluster.PartialError] names the nodes that have not done it, or not said so, until ctx ended or they were given
// up; without a deadline in ctx, that is after [cluster.CallTimeout] at the latest. One that wraps an [*cluster.UnfencedError] alone means
// that all sockets have joined, but that not all nodes may know yet. On a server's own node they have joined whatever the error, unless it
// is [cluster.ErrRoomName]: nobody has.
func (b Broadcast) SocketsJoin(ctx context.Context, rooms ...string) error {
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("join sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.JoinMembers(ctx, b.selection(), rooms...)
	}
	return wrap("join sockets", err)
}

// SocketsLeave takes the selected sockets of all nodes out of rooms, and waits until that is done, as SocketsJoin does and in its place
// likewise. Rooms that a socket is not in are left alone.
func (b Broadcast) SocketsLeave(ctx context.Context, rooms ...string) error {
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("leave rooms", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.LeaveMembers(ctx, b.selection(), rooms...)
	}
	return wrap("leave rooms", err)
}

// DisconnectSockets disconnects the selected sockets of all nodes and leaves their clients connected for other namespaces, or, if close is
// true, ends the clients' connections, with their sockets in all namespaces. What this goroutine has emitted to them before reaches
// them first, on every node; of what the broker has lost meanwhile, which is sent again, what was emitted to the same selection does.
//
// nil means that no node delivers anything to them any more; their handlers of the disconnection may still run. An error wraps an
// [*cluster.PartialError] that names the nodes which have not done it, or not said so, as that of SocketsJoin does.
func (b Broadcast) DisconnectSockets(ctx context.Context, close bool) error {
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("disconnect sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.DisconnectMembers(ctx, b.selection(), close)
	}
	return wrap("disconnect sockets", err)
}
