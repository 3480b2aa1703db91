package cluster

import (
	"context"
	"fmt"
	"slices"
)

// A RoomEventKind says what has happened to a room on this node.
type RoomEventKind uint8

// The kinds of a [RoomEvent]. Their texts are Socket.IO's names for them.
const (
	CreateRoom RoomEventKind = 1 + iota // the room has its first member; before the JoinRoom of that member
	JoinRoom                            // a member has joined
	LeaveRoom                           // a member has left
	DeleteRoom                          // the room has no member any more; after the LeaveRoom of the last one
)

func (k RoomEventKind) String() string {
	switch k {
	case CreateRoom:
		return "create-room"
	case JoinRoom:
		return "join-room"
	case LeaveRoom:
		return "leave-room"
	case DeleteRoom:
		return "delete-room"
	}
	return fmt.Sprintf("RoomEventKind(%d)", uint8(k))
}

// A RoomEvent is a change of a room by a member on this node. Members on other nodes make no events
// here. The room of a member's own id has events, too.
type RoomEvent struct {
	Kind   RoomEventKind
	Room   string
	ID     string // of the member that joined or left; for CreateRoom the first one, for DeleteRoom the last
	Member Member // of that id
}

// Listen calls listen for every later change of rooms on this node, one at a time and in the order
// of the changes. It may also be called for changes that are being reported right now. stop removes
// it: it is not called for later changes. stop does not wait for a call that runs, and listen may
// call it; a second call does nothing. A listener also goes when the rooms are discarded. Without
// listeners, changes cost nothing more.
//
// The call that makes a change reports it before it returns, on its own goroutine; a Join reports
// before it waits for the cluster. If another goroutine is reporting, that one goes on with the
// change: [Rooms.Told] waits for it. No lock is held meanwhile. listen sees the rooms as they are
// after the change, or later. It may join and leave rooms, and is called for that after it has
// returned. But it must not block or wait for the cluster: the call that made the change waits for
// it, and so do all later changes.
//
// Changes by another node ([Rooms.SocketsJoin] and the like) are reported on a goroutine of the
// Hub, which Close waits for, before that node is told that they are done. No broadcast waits for
// that.
//
// If more than 4,096 events wait, those that undo each other are left out, and counted in
// Stats.Elided: joins and leaves of one member in one room, and the creations and deletions of the
// room that they caused. If there is one more join than leaves, or the reverse, the last one stays.
// So the memberships bound what waits, not how often they change.
//
// A panic of listen is recovered and logged.
func (r *Rooms) Listen(listen func(RoomEvent)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events.listeners = append(slices.Clip(r.events.listeners), &listen)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if i := slices.Index(r.events.listeners, &listen); i >= 0 {
			r.events.listeners = slices.Concat(r.events.listeners[:i], r.events.listeners[i+1:])
		}
	}
}

// maxEvents is how many events wait before those that cancel out are looked for.
const maxEvents = 4096

// events are what the listeners of Rooms have yet to be told.
type events struct {
	listeners []*func(RoomEvent) // replaced, not changed
	queue     []noted
	last      uint64 // the number of the last event
	telling   bool   // a goroutine calls the listeners
	limit     int    // twice what was left of the queue when it was looked through last
	waiting   []untold
}

// noted is an event in the queue.
type noted struct {
	RoomEvent
	number uint64
}

// untold is somebody who waits until all events up to a number are told.
type untold struct {
	number uint64
	told   chan struct{}
}

// noteJoin notes that a member has joined a room, whose first it may be. It belongs to the step of
// the change: r.mu must be held.
func (r *Rooms) noteJoin(id string, m Member, room string, created bool) {
	if len(r.events.listeners) == 0 {
		return
	}
	if created {
		r.note(RoomEvent{CreateRoom, room, id, m})
	}
	r.note(RoomEvent{JoinRoom, room, id, m})
}

// noteLeave notes that a member has left a room, whose last it may have been. r.mu must be held.
func (r *Rooms) noteLeave(id string, m Member, room string, deleted bool) {
	if len(r.events.listeners) == 0 {
		return
	}
	r.note(RoomEvent{LeaveRoom, room, id, m})
	if deleted {
		r.note(RoomEvent{DeleteRoom, room, id, m})
	}
}

func (r *Rooms) note(event RoomEvent) {
	e := &r.events
	e.last++
	e.queue = append(e.queue, noted{event, e.last})
	if before := len(e.queue); before > max(e.limit, maxEvents) {
		e.queue = elide(e.queue)
		e.limit = 2 * len(e.queue) // looking through it costs each event the same, however many are left
		r.hub.elided.Add(uint64(before - len(e.queue)))
	}
}

// elide returns the events that are left when those have gone that cancel out. The two kinds that
// concern a member and a room take turns, and so do the two of the room itself: an even number of
// them changes nothing, and of an odd number the last tells it all. The order is right: whoever is
// in a room has joined after it was created last, and has left before it was deleted last.
func elide(queue []noted) []noted {
	type subject struct {
		room, id string
		whole    bool // the room itself, whatever member has made or deleted it
	}
	of := func(e noted) subject {
		if e.Kind == CreateRoom || e.Kind == DeleteRoom {
			return subject{room: e.Room, whole: true}
		}
		return subject{room: e.Room, id: e.ID}
	}
	total := make(map[subject]int)
	for _, e := range queue {
		total[of(e)]++
	}
	seen := make(map[subject]int, len(total))
	var left []noted
	for _, e := range queue {
		s := of(e)
		if seen[s]++; seen[s] == total[s] && total[s]%2 == 1 {
			left = append(left, e)
		}
	}
	return left
}

// unlock unlocks r.mu and tells the listeners what there is to tell, unless another goroutine is at
// it, which then goes on with that.
func (r *Rooms) unlock() {
	if r.events.telling || len(r.events.queue) == 0 {
		r.mu.Unlock()
		return
	}
	r.events.telling = true
	defer func() {
		r.events.telling = false
		r.unlock() // there is something left if a listener has ended its goroutine, as a test's Fatal does
	}()
	for len(r.events.queue) > 0 {
		r.tell()
	}
	r.events.queue, r.events.limit = nil, 0
	r.events.wake(r.events.last)
}

// wake lets those go on who wait for events up to a number. Rooms.mu must be held.
func (e *events) wake(number uint64) {
	for len(e.waiting) > 0 && e.waiting[0].number <= number {
		close(e.waiting[0].told)
		e.waiting = e.waiting[1:]
	}
}

// Told waits until the listeners have been called for all changes up to now, or ctx ends. A
// listener must not call it: it would wait for itself. Package wsserver calls it before a client
// hears that it is connected, and before the handlers of its disconnection.
func (r *Rooms) Told(ctx context.Context) {
	r = r.lock(false)
	if !r.events.telling {
		r.unlock()
		return
	}
	w := untold{r.events.last, make(chan struct{})}
	r.events.waiting = append(r.events.waiting, w)
	r.mu.Unlock()
	select {
	case <-w.told:
	case <-ctx.Done():
	}
}

// tellAll tells the listeners what there is to tell.
func (r *Rooms) tellAll() {
	r = r.lock(false)
	r.unlock()
}

// tell tells the listeners of the next event. r.mu must be held, and is meanwhile not.
func (r *Rooms) tell() {
	e, listeners := r.events.queue[0], r.events.listeners
	r.events.queue[0] = noted{}
	r.events.queue = r.events.queue[1:]
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.events.wake(e.number)
	}()
	for _, listen := range listeners {
		r.call(*listen, e.RoomEvent)
	}
}

// call tells a listener of an event.
func (r *Rooms) call(listen func(RoomEvent), e RoomEvent) {
	if p := guard(func() { listen(e) }); p != nil {
		r.hub.log.Error("belfry: a listener to room events failed", "namespace", r.namespace,
			"event", e.Kind, "room", e.Room, "error", p, "stack", string(p.stack))
	}
}
