package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// SocketsJoin puts the selected members into rooms, in one step on each node, in its place among
// the broadcasts of this goroutine: earlier broadcasts select members by the earlier rooms, later
// ones by the new rooms. If the broker has lost some of them, this holds for those that have a room
// in common with the selection.
//
// nil means that it is done and live everywhere, as for [Rooms.Join]. An error that is or wraps an
// [*UnfencedError] means that the members have joined, but may not be live on all nodes; see also
// [PartialError]. After [ErrRoomName] nothing was joined. On this node the members join before
// SocketsJoin waits for others, whatever the error.
func (r *Rooms) SocketsJoin(ctx context.Context, s Selection, rooms ...string) error {
	if !validNames(rooms) {
		return ErrRoomName
	}
	return r.moveSockets(ctx, envelope.KindSocketsJoin, s, rooms)
}

// SocketsLeave takes the selected members out of rooms, in its place as SocketsJoin. nil means that
// it is done everywhere.
func (r *Rooms) SocketsLeave(ctx context.Context, s Selection, rooms ...string) error {
	return r.moveSockets(ctx, envelope.KindSocketsLeave, s, rooms)
}

func (r *Rooms) moveSockets(ctx context.Context, kind envelope.Kind, s Selection, rooms []string) error {
	if len(rooms) == 0 {
		return nil
	}
	var arg []byte
	for _, name := range rooms {
		arg = envelope.AppendString(arg, name)
	}
	return r.changeSockets(ctx, kind, s, arg, func(b *envelope.Body, late bool) *joining { return r.moveHere(b, rooms, late) })
}

// serveSocketsMove is SocketsJoin or SocketsLeave for another node.
func (h *Hub) serveSocketsMove(b *envelope.Broadcast) {
	names, err := envelope.Strings(b.Arg)
	if err == nil && b.Kind == envelope.KindSocketsJoin && !validNames(names) {
		err = ErrRoomName
	}
	if err != nil {
		h.ask.Refuse(b, envelope.Failed, err.Error())
		return
	}
	h.serveChange(b, func(r *Rooms) *joining { return r.moveHere(&b.Body, names, false) })
}

// moveHere has the members on this node that b selects join or leave rooms, in one step. The result
// is for fenced. What listeners are to be told is left to tellAll. If late is true, it is sessions alone.
func (r *Rooms) moveHere(b *envelope.Body, names []string, late bool) (wait *joining) {
	r = r.lock(false)
	defer r.mu.Unlock()
	ids, away := r.index.SelectIDs(nil, b.Rooms, b.Except), r.away.SelectIDs(nil, b.Rooms, b.Except)
	if late {
		ids = nil
	}
	if len(ids)+len(away) == 0 {
		return nil
	}
	joins := b.Kind == envelope.KindSocketsJoin
	for _, name := range names {
		for _, id := range ids {
			m, _ := r.index.Get(id)
			if joins {
				if joined, created := r.index.Join(id, name); joined {
					r.noteJoin(id, m, name, created)
					r.hub.history.changed(r.namespace, id, name, true)
				}
			} else if left, deleted := r.index.Leave(id, name); left {
				r.noteLeave(id, m, name, deleted)
				r.hub.history.changed(r.namespace, id, name, false)
			}
		}
		for _, id := range away {
			changed := false
			if joins {
				changed, _ = r.away.Join(id, name)
			} else {
				changed, _ = r.away.Leave(id, name)
			}
			if changed {
				r.hub.history.changed(r.namespace, id, name, joins)
			}
		}
	}
	if joins {
		return r.interest(r.needed(nil, names...)...)
	}
	r.unused(names...)
	return nil
}
