package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// DisconnectSockets calls Disconnect of the selected members, in its place as SocketsJoin: they
// first get what was emitted before to the same selection, even if the broker has lost it and it is
// sent again. nil means that all nodes have called Disconnect; what that starts may still run.
func (r *Rooms) DisconnectSockets(ctx context.Context, s Selection, close bool) error {
	arg := []byte{0}
	if close {
		arg[0] = 1
	}
	return r.changeSockets(ctx, envelope.KindDisconnectSockets, s, arg, r.disconnectHere)
}

// serveDisconnectSockets is DisconnectSockets for another node.
func (h *Hub) serveDisconnectSockets(b *envelope.Broadcast) {
	h.serveChange(b, func(r *Rooms) *joining { return r.disconnectHere(&b.Body, false) })
}

// disconnectHere disconnects the members and sessions on this node that b selects. There is nothing
// to wait for. If late is true, it is sessions alone.
func (r *Rooms) disconnectHere(b *envelope.Body, late bool) *joining {
	close := len(b.Arg) > 0 && b.Arg[0] == 1
	r = r.lock(false)
	members, away := r.index.Select(nil, b.Rooms, b.Except), r.away.Select(nil, b.Rooms, b.Except)
	r.mu.Unlock()
	if late {
		members = nil
	}
	for _, m := range members {
		m.Disconnect(close)
	}
	for _, a := range away {
		a.Disconnect(close)
	}
	return nil
}
