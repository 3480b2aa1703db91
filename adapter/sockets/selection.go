package sockets

import (
	"context"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// What a Broadcast can do with the sockets that it selects, other than emit to them. All of it asks
// the other nodes, unless the Broadcast is Local.

func (b Broadcast) selection() cluster.Selection {
	return cluster.Selection{Rooms: b.rooms, Except: b.except, Local: b.local}
}

// FetchSockets returns the selected sockets of all nodes, those of a server's own node first. (A
// server's namespace has the live sockets of its node, too.) It waits until all nodes that are
// alive have answered, or ctx ends; without a deadline in ctx, at most [cluster.CallTimeout]. With
// an error come the sockets of the nodes that have answered; it wraps an [*cluster.PartialError]
// that names the others.
//
// A socket's data comes as JSON: see SetData of wsserver.Socket. Its handshake comes with all
// credentials in it, through the adapter's broker; the server's Config.HTTP.KeepHeaders says which
// headers.
func (b Broadcast) FetchSockets(ctx context.Context) (sockets []RemoteSocket, err error) {
	ctx, sp := b.begins(ctx, "fetch sockets", "", true)
	defer func() { sp.over(err) }()
	if err := b.ns.usable(); err != nil || b.nobody() {
		return nil, wrap("fetch sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return nil, wrap("fetch sockets", err)
	}
	members, err := b.ns.rooms.FetchSockets(ctx, b.selection())
	sockets = make([]RemoteSocket, 0, len(members))
	for _, m := range members {
		if s, ok := b.ns.remote(m); ok {
			sockets = append(sockets, s)
		}
	}
	return sockets, wrap("fetch sockets", err)
}

// Count returns how many sockets are selected on all nodes. It takes a fraction of the time of
// FetchSockets, next to none for all sockets or for one room, and may count sockets that are about
// to connect or to leave. With an error, which is one of FetchSockets, comes the number for the
// nodes that have answered.
func (b Broadcast) Count(ctx context.Context) (n int, err error) {
	ctx, sp := b.begins(ctx, "count sockets", "", true)
	defer func() { sp.over(err) }()
	if err := b.ns.usable(); err != nil || b.nobody() {
		return 0, wrap("count sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return 0, wrap("count sockets", err)
	}
	n, err = b.ns.rooms.Count(ctx, b.selection())
	return n, wrap("count sockets", err)
}

// SocketsJoin puts the selected sockets of all nodes into rooms, and waits until that is done,
// while Socket.IO does not wait. nil means that the sockets receive every broadcast to the rooms
// that any live node emits from now on, as with a socket's own Join. It keeps its place among what
// this goroutine emits: earlier broadcasts select sockets by the earlier rooms, later ones by the
// new rooms.
//
// It waits until ctx ends; without a deadline in ctx, at most [cluster.CallTimeout]. An error that
// wraps an [*cluster.PartialError] names the nodes that have not confirmed. An error that wraps
// only an [*cluster.UnfencedError] means that all sockets have joined, while some nodes may not
// know that yet. The sockets of a server's own node have joined whatever the error, except
// [cluster.ErrRoomName], after which none has.
func (b Broadcast) SocketsJoin(ctx context.Context, rooms ...string) (err error) {
	ctx, sp := b.begins(ctx, "join sockets", "", true)
	defer func() { sp.over(err) }()
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("join sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.SocketsJoin(ctx, b.selection(), rooms...)
	}
	return wrap("join sockets", err)
}

// SocketsLeave takes the selected sockets of all nodes out of rooms. It waits, keeps its place and
// fails as SocketsJoin does. Rooms that a socket is not in are ignored.
func (b Broadcast) SocketsLeave(ctx context.Context, rooms ...string) (err error) {
	ctx, sp := b.begins(ctx, "leave rooms", "", true)
	defer func() { sp.over(err) }()
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("leave rooms", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.SocketsLeave(ctx, b.selection(), rooms...)
	}
	return wrap("leave rooms", err)
}

// DisconnectSockets disconnects the selected sockets of all nodes. If close is false, their clients
// stay connected in other namespaces; if it is true, the clients' connections end, with their
// sockets in all namespaces. The sockets first receive what this goroutine has emitted to them
// before. If the broker loses that and it is sent again, this holds for broadcasts to the same
// selection.
//
// nil means that no node delivers anything to them any more; their handlers of the disconnection
// may still run. An error wraps an [*cluster.PartialError] that names the nodes which have not
// confirmed.
func (b Broadcast) DisconnectSockets(ctx context.Context, close bool) (err error) {
	ctx, sp := b.begins(ctx, "disconnect sockets", "", true)
	defer func() { sp.over(err) }()
	if err := b.ns.usable(); err != nil || b.nobody() {
		return wrap("disconnect sockets", err)
	}
	ctx, cancel, err := b.ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err == nil {
		err = b.ns.rooms.DisconnectSockets(ctx, b.selection(), close)
	}
	return wrap("disconnect sockets", err)
}
