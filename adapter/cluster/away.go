package cluster

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// An Away is a session: what stays of a member while its client is away. It is in the rooms of the
// member, and keeps what goes to them coming to this node. SocketsJoin, SocketsLeave and
// DisconnectSockets select it as they would the member; nothing else shows that it is there.
type Away interface {
	// Disconnect ends the session, which calls [Rooms.Remove].
	Disconnect(close bool)
}

// Park makes a member a session, in one step: the member leaves as by [Rooms.Remove], and the
// session has its rooms. It reports false, and does nothing, if there is no such member. It calls no
// listener, so that its caller may hold a lock: [Rooms.Told] is to follow.
func (r *Rooms) Park(id string, a Away) bool {
	r = r.lock(false)
	defer r.mu.Unlock()
	m, ok := r.index.Get(id)
	if !ok {
		return false
	}
	names := r.index.RoomsOf(id)
	r.index.Remove(id, func(name string, deleted bool) { r.noteLeave(id, m, name, deleted) })
	r.keep(id, names, a)
	return true
}

// keep puts a session into rooms. r.mu must be held.
func (r *Rooms) keep(id string, names []string, a Away) {
	r.away.Add(id, a)
	r.away.Leave(id, id)
	for _, name := range names {
		r.away.Join(id, name)
	}
}

// Return makes a session a member again, in the rooms that it has now. The error is [ErrMember] if
// there is no such session. As Park, it calls no listener.
func (r *Rooms) Return(id string, m Member) error {
	r = r.lock(false)
	defer r.mu.Unlock()
	names, ok := r.away.RoomsOf(id), r.away.Remove(id, nil)
	if !ok {
		return fmt.Errorf("%w: %s", ErrMember, id)
	}
	r.index.Add(id, m)
	if len(names) == 0 || names[0] != id {
		r.index.Leave(id, id)
	}
	for _, name := range names {
		joined, created := name == id, r.index.Empty(id)
		if name != id {
			joined, created = r.index.Join(id, name)
		}
		if joined {
			r.noteJoin(id, m, name, created)
		}
	}
	return nil
}

// Expect puts a session of another node into its rooms here, and waits as [Rooms.Join] does: what any
// live node emits from then on is in this node's log. If it is here already, it joins the rooms that
// it is not in. The error is [ErrMemberID] if a member or another session has the id.
func (r *Rooms) Expect(ctx context.Context, id string, names []string, a Away) error {
	// Among the deliveries: what this node has emitted to others before has its number now, so that who
	// settles with this node has it; and what it emits later is in the log.
	r = r.enterKept()
	r.mu.Lock()
	_, taken := r.index.Get(id)
	now, here := r.away.Get(id)
	if taken || here && now != a {
		r.mu.Unlock()
		r.leave()
		return fmt.Errorf("%w: %s", ErrMemberID, id)
	}
	if !here {
		r.keep(id, nil, a)
	}
	for _, name := range names {
		r.away.Join(id, name)
	}
	wait := r.interest(r.needed([]adapter.Topic{r.topic()}, names...)...)
	r.mu.Unlock()
	r.leave()
	return r.hub.fenced(ctx, wait)
}

// Drop removes a session, unless somebody else has its id by now, of which it reports false.
func (r *Rooms) Drop(id string, a Away) bool {
	r = r.lock(false)
	defer r.mu.Unlock()
	if now, ok := r.away.Get(id); !ok || now != a {
		return false
	}
	left := r.away.RoomsOf(id)
	r.away.Remove(id, nil)
	r.forsake(id, left)
	return true
}

// Unexpect takes an expected session out of rooms, as if it had never been in them: its holder knows
// what it has missed there.
func (r *Rooms) Unexpect(id string, names []string) {
	r = r.lock(false)
	defer r.unlock()
	for _, name := range names {
		if left, _ := r.away.Leave(id, name); left {
			r.unused(name)
		}
	}
}

// Session returns the session with this id, and its rooms.
func (r *Rooms) Session(id string) (a Away, names []string, ok bool) {
	r = r.lock(false)
	defer r.mu.Unlock()
	a, ok = r.away.Get(id)
	return a, r.away.RoomsOf(id), ok
}

// Disconnect disconnects whoever has this id on this node, a member or a session.
func (r *Rooms) Disconnect(id string, close bool) {
	r = r.lock(false)
	m, member := r.index.Get(id)
	a, away := r.away.Get(id)
	r.mu.Unlock()
	switch {
	case member:
		m.Disconnect(close)
	case away:
		a.Disconnect(close)
	}
}
