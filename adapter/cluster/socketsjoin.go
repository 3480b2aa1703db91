package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter"
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
	return r.changeSockets(ctx, kind, s, arg, func(b *envelope.Body) *joining { return r.moveHere(b, rooms) })
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
	h.serveChange(b, func(r *Rooms) *joining { return r.moveHere(&b.Body, names) })
}

// moveHere has the members on this node that b selects join or leave rooms, in one step. The result
// is for fenced. What listeners are to be told is left to tellAll.
func (r *Rooms) moveHere(b *envelope.Body, names []string) (wait *joining) {
	r = r.lock(false)
	defer r.mu.Unlock()
	ids := r.index.SelectIDs(nil, b.Rooms, b.Except)
	var changed []adapter.Topic
	for _, name := range names {
		others, empty := false, false // there are members of which it is not the own room; the last of them has left
		for _, id := range ids {
			m, _ := r.index.Get(id)
			if b.Kind == envelope.KindSocketsJoin {
				if joined, created := r.index.Join(id, name); joined {
					r.noteJoin(id, m, name, created)
				}
				others = others || name != id
			} else if left, deleted := r.index.Leave(id, name); left {
				r.noteLeave(id, m, name, deleted)
				empty = empty || name != id && r.index.Empty(name)
			}
		}
		if others || empty {
			changed = append(changed, roomTopic(r.namespace, name))
		}
	}
	if b.Kind == envelope.KindSocketsJoin {
		return r.interest(changed...)
	}
	r.disinterest(changed...)
	return nil
}
