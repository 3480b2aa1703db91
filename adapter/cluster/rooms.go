package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/rooms"
	"github.com/belfry-io/belfry/adapter/shrink"
)

// Errors of Rooms.
var (
	ErrMember   = errors.New("cluster: no member with this id")
	ErrMemberID = errors.New("cluster: the id is in use already")
	ErrTooMany  = errors.New("cluster: the member would be in too many rooms")
	ErrRoomName = fmt.Errorf("cluster: the name of a room is more than %d bytes, or not valid UTF-8", MaxRoomName)
)

// An UnfencedError is returned by a Join that stands on this node, but may not be live everywhere.
type UnfencedError struct {
	// Nodes did not answer in time: what they emit in the next moments may miss the member. Nothing
	// waits for them again until they answer.
	Nodes []string
	Names []string // of Nodes, one each; empty where it is not known

	// Broker says why the broker does not bring the member's broadcasts to this node; nil if it
	// does. It wraps [adapter.ErrRefused] and names the permission if one is missing, and
	// [adapter.ErrUnavailable] if the broker has not answered in time.
	Broker error
}

func (e *UnfencedError) Error() string {
	text := "cluster: joined, but not confirmed by " + labels(e.Nodes, e.Names)
	switch {
	case e.Broker == nil:
		return text
	case len(e.Nodes) == 0:
		return "cluster: joined on this node only: " + e.Broker.Error()
	}
	return text + ": " + e.Broker.Error()
}

// Unwrap returns Broker.
func (e *UnfencedError) Unwrap() error { return e.Broker }

// A Member is a socket, as Rooms know it. No method blocks.
type Member interface {
	// Deliver takes a broadcast, in the form that the namespace's Framer made of it. All members
	// share frame, and must not change it. Deliver reports whether the member has taken it: not if
	// it has left, say, or skips it. It is called from many goroutines; the broadcasts of one
	// goroutine, and those of one other node, come in order.
	Deliver(frame any) bool

	// DeliverWithAck is Deliver for a broadcast that asks for an answer, in the same order. The
	// member calls answer with its answer, from any goroutine, also within DeliverWithAck; or with
	// ok false if it will have none, because it has left or cannot be asked. Calls after the first,
	// or after CancelAck, are ignored. answer does not block, and keeps payload.
	DeliverWithAck(frame any, answer func(payload []byte, ok bool))

	// CancelAck ends the wait for the answer to DeliverWithAck. frame is the same value, made for
	// one broadcast alone. It may come after the answer.
	CancelAck(frame any)

	// Describe returns what FetchSockets returns as the member's Data. It must not be changed
	// afterwards.
	Describe() []byte

	// Disconnect ends the member, which calls [Rooms.Remove] in its own time, after it has sent
	// what was delivered before. If close is true its connection ends, too.
	Disconnect(close bool)
}

// A Framer turns the payload of a broadcast into the form that the members of a namespace take,
// once for all of them. If volatile is true, busy members skip it. It is called concurrently. It
// may keep parts of payload, and must not change it. An error means that the payload cannot be read
// here; it is logged. Servers and emitters give one to [Hub.Rooms].
//
// What it returns may have a method For(members int), which is told how many members are to have it
// before the first does, and a method Delivered(), which is called when all of them do.
type Framer func(payload []byte, volatile bool) (any, error)

// A Broadcast is a packet for the members of any of Rooms, or for all members if Rooms is empty,
// without the members of any of Except. Each gets it once. A socket's id is a room with that socket
// in it.
type Broadcast struct {
	Rooms    []string
	Except   []string
	Volatile bool   // busy members skip it
	Local    bool   // for this node alone
	Payload  []byte // opaque; the caller must not change it any more
	Trace    []byte // the context of a trace, of at most MaxTrace bytes, for HubConfig.OnDelivery; a longer one is left out
}

// Rooms are the rooms of one namespace. Their methods may be called concurrently.
//
// A membership, its consequences for the cluster, its events, and a leave or join that races with
// it are one step each. No lock is held while anything outside is called. See [Rooms.Listen] for
// the events.
//
// Discarded Rooms stand for whatever rooms their namespace has at the time of a call, so they may
// be kept and used.
type Rooms struct {
	hub       *Hub
	namespace string
	frame     Framer

	delivering sync.Mutex // with recovery, held for a step among the deliveries. Taken before mu

	mu        sync.Mutex // guards what follows, and the order of the index's changes in the mesh
	index     rooms.Index[Member]
	away      rooms.Index[Away] // sessions whose client is away
	receipts  allReceipts       // of those that have come from other nodes
	events    events
	discarded bool // the Hub has forgotten these; they stay empty
}

// lock returns the rooms that the namespace has now, with mu held: r, unless it was discarded.
// Where the Hub has none, the result is empty and nobody else's, or is made the Hub's first if they
// are to be kept.
func (r *Rooms) lock(keep bool) *Rooms {
	for {
		r.mu.Lock()
		if !r.discarded {
			return r
		}
		r.mu.Unlock()
		h, namespace, frame := r.hub, r.namespace, r.frame
		if keep {
			r = h.Rooms(namespace, frame)
		} else if r = h.lookup(namespace); r == nil {
			r = &Rooms{hub: h, namespace: namespace, frame: frame}
		}
	}
}

// Discard makes the Hub forget r if it has no member and no session, so that this node keeps nothing of the
// namespace. It reports whether it has. [Hub.Rooms] and Add make new ones; the frame of that call
// of Hub.Rooms then counts. Package wsserver calls it when the last client has left a namespace that
// clients have made.
func (r *Rooms) Discard() bool {
	r.hub.roomsMu.Lock()
	defer r.hub.roomsMu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.discarded || r.index.Len() > 0 || r.away.Len() > 0 {
		return false
	}
	r.discarded = true
	delete(r.hub.rooms, r.namespace)
	r.hub.rooms = shrink.Map(r.hub.rooms, &r.hub.peakRooms)
	return true
}

// Add adds a member with an id of [Hub.NewID], and waits as [Rooms.Join] does. The member is then
// in the room of its own id, and broadcasts to the whole namespace reach it.
func (r *Rooms) Add(ctx context.Context, id string, m Member) error {
	r = r.lock(true)
	if !r.index.Add(id, m) {
		r.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrMemberID, id)
	}
	r.noteJoin(id, m, id, r.index.Empty(id))
	wait := r.interest(r.needed([]adapter.Topic{r.topic()}, id)...)
	r.unlock()
	return r.hub.fenced(ctx, wait)
}

// Remove takes a member out of all its rooms, in the order of [Rooms.Of], and out of the namespace;
// or a session that is away. It ignores an unknown id.
func (r *Rooms) Remove(id string) {
	r = r.lock(false)
	defer r.unlock()
	var left []string
	if m, ok := r.index.Get(id); ok {
		r.index.Remove(id, func(name string, deleted bool) {
			r.noteLeave(id, m, name, deleted)
			left = append(left, name)
		})
	} else if left = r.away.RoomsOf(id); !r.away.Remove(id, nil) {
		return
	}
	r.forsake(id, left)
}

// forsake notes that a member or a session has left all its rooms for good. r.mu must be held.
func (r *Rooms) forsake(id string, left []string) {
	r.hub.history.forget(r.namespace, id)
	delete(r.receipts.byID, id)
	r.unused(left...)
	if r.index.Len() == 0 && r.away.Len() == 0 {
		r.disinterest(r.topic())
	}
}

// Join puts a member into rooms. On this node the membership stands at once. Join then waits until
// it is live everywhere: nil means that the member receives every broadcast that any live node
// emits from now on.
//
// The wait is short. A node that does not answer within two round trips, at least 250 ms and at
// most 2 s, is not waited for, and named in an [*UnfencedError]; behind a fence of earlier joins it
// may take twice that. The membership stands nevertheless. It also stands if ctx ends first, and if
// the broker denies the subscription, which UnfencedError.Broker then says. While the broker is out
// of reach Join does not wait.
//
// After [ErrRoomName] or [ErrMember] nothing was joined.
func (r *Rooms) Join(ctx context.Context, id string, names ...string) error {
	return r.JoinUpTo(ctx, id, 0, names...)
}

// JoinUpTo is Join for a member that may be in most rooms, besides its own: beyond that it joins
// none of names, and the error is [ErrTooMany]. Zero means no bound.
func (r *Rooms) JoinUpTo(ctx context.Context, id string, most int, names ...string) error {
	if !validNames(names) {
		return ErrRoomName
	}
	r = r.lock(false)
	m, ok := r.index.Get(id)
	if !ok {
		r.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrMember, id)
	}
	if most > 0 && r.index.WouldHave(id, names) > most {
		r.mu.Unlock()
		return ErrTooMany
	}
	for _, name := range names {
		if joined, created := r.index.Join(id, name); joined {
			r.noteJoin(id, m, name, created)
			r.hub.history.changed(r.namespace, id, name, true)
		}
	}
	wait := r.interest(r.needed(make([]adapter.Topic, 0, len(names)), names...)...)
	r.unlock()
	return r.hub.fenced(ctx, wait)
}

// Leave takes a member, or a session, out of rooms, at once. Rooms that it is not in are ignored.
func (r *Rooms) Leave(id string, names ...string) {
	r = r.lock(false)
	defer r.unlock()
	m, member := r.index.Get(id)
	for _, name := range names {
		left, deleted := false, false
		if member {
			left, deleted = r.index.Leave(id, name)
		} else {
			left, _ = r.away.Leave(id, name)
		}
		if !left {
			continue
		}
		if member {
			r.noteLeave(id, m, name, deleted)
		}
		r.hub.history.changed(r.namespace, id, name, false)
		r.unused(name)
	}
}

// topic is the namespace's.
func (r *Rooms) topic() adapter.Topic {
	return adapter.Topic{Kind: adapter.Namespace, Namespace: r.namespace}
}

// needed are the topics of rooms, without those of this node's own, on which it receives anyway.
func (r *Rooms) needed(topics []adapter.Topic, names ...string) []adapter.Topic {
	for _, name := range names {
		if t := roomTopic(r.namespace, name); t.Node != r.hub.node {
			topics = append(topics, t)
		}
	}
	return topics
}

// unused tells the mesh that the topics of rooms are of no use any more, if nobody here is in them.
// r.mu must be held.
func (r *Rooms) unused(names ...string) {
	for _, name := range names {
		if r.index.Empty(name) && r.away.Empty(name) && !r.index.Owned(name) && !r.away.Owned(name) {
			r.disinterest(roomTopic(r.namespace, name))
		}
	}
}

// interest tells the mesh that topics have members. The result is for fenced. r.mu must be held.
func (r *Rooms) interest(topics ...adapter.Topic) *joining {
	h := r.hub
	if h.machine == nil || len(topics) == 0 {
		return nil
	}
	fence := make(chan []string, 1)
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	h.apply(h.machine.Join(h.age(), topics, fence))
	return &joining{fence: fence, tickets: h.confirms.pending(topics)}
}

// disinterest tells the mesh that a topic has no member any more. r.mu must be held.
func (r *Rooms) disinterest(topic adapter.Topic) {
	h := r.hub
	if h.machine == nil {
		return
	}
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	h.machine.Leave(h.age(), topic)
	h.apply(nil)
}

// Closed returns [adapter.ErrClosed] when the Hub is closed, and nil before.
func (r *Rooms) Closed() error {
	if r.hub.ctx.Err() != nil {
		return adapter.ErrClosed
	}
	return nil
}

// Emit delivers b to the members on this node at once, whatever the broker does, and hands it
// to the cluster without waiting. Broadcasts of one goroutine reach each member in order, each at
// most once.
//
// An error means that b was delivered here, and that the cluster's part was refused. It wraps
// [ErrOverflow], [ErrTooLarge], [adapter.ErrRefused] or, when the Hub is closed,
// [adapter.ErrClosed].
func (r *Rooms) Emit(b Broadcast) error {
	body := envelope.Body{
		Route:     envelope.ByNamespace,
		Namespace: r.namespace,
		Rooms:     b.Rooms,
		Except:    b.Except,
		Payload:   b.Payload,
		Trace:     b.Trace,
	}
	if b.Volatile {
		body.Flags |= envelope.Volatile
	}
	r = r.enter()
	p := r.deliver(&body, "", 0)
	seq, err := r.publish(body, b.Local)
	r.hub.history.fill(p.number, r.hub.node, seq, b.Payload)
	r.leave()
	r.finish(p, r.hub.node, &body)
	r.unframed(p.err)
	if r.hub.history != nil && p.asked == 0 {
		if now := r.hub.lookup(r.namespace); now != nil && now != r { // it was made meanwhile
			now.handOver(&envelope.Broadcast{From: r.hub.node, Body: body}, seq)
		}
	}
	return err
}

// publish hands a broadcast to the cluster. It returns its number; 0 if there is none.
func (r *Rooms) publish(body envelope.Body, local bool) (seq uint64, err error) {
	if local || r.hub.machine == nil {
		return 0, r.Closed()
	}
	switch body.Rooms = distinct(body.Rooms); {
	case len(body.Rooms) > maxUnionTopics:
		body.Flags |= envelope.InRooms
	case len(body.Rooms) > 0:
		body.Route = envelope.ByRoom
	}
	return r.hub.publish(&body)
}

// distinct returns names without repetitions, in their order.
func distinct(names []string) []string {
	if len(names) < 2 {
		return names
	}
	out := make([]string, 0, len(names))
	if len(names) <= 16 {
		for _, name := range names {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out
	}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		if _, ok := seen[name]; !ok {
			seen[name] = struct{}{}
			out = append(out, name)
		}
	}
	return out
}
