package cluster

import (
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/history"
)

// A RecoveryConfig has a node remember what its members were to get: see [Rooms.Missed].
type RecoveryConfig struct {
	LogBytes int           // of memory, for all namespaces together; the oldest goes first
	Keep     time.Duration // what is older goes
}

// Recoverable is what a Framer returns on a node with recovery, for what members can be given later.
// The log keeps the payload that it was made of.
type Recoverable interface {
	// Place says which number the broadcast has in this node's log, or, if it is volatile, which
	// number the last entry has. It is called before Deliver.
	Place(number uint64) error
}

// A Missed is an entry of the log that was due to a member.
type Missed struct {
	Number  uint64
	Origin  string // the node that has emitted it
	Key     uint64 // tells it from everything else of its origin; 0 for what only this node knows
	Payload []byte // of the broadcast, Note or EmitOnly. It must not be changed
}

// An eventLog is the log of what was due to members and sessions of this node, of all namespaces.
// nil is that of a node without recovery: it takes nothing.
type eventLog struct {
	opened time.Time

	mu  sync.Mutex // guards what follows. Taken last, within Rooms.mu too
	log *history.Log[[]byte]
}

func newEventLog(opened time.Time, cfg RecoveryConfig) *eventLog {
	return &eventLog{opened: opened, log: history.New[[]byte](cfg.LogBytes, cfg.Keep)}
}

// do is a step of the log.
func (c *eventLog) do(step func(log *history.Log[[]byte], now time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	step(c.log, time.Since(c.opened))
}

// begin begins the entry of a broadcast, if it is one for the log: it is recoverable, and members or
// sessions are to have it. What is volatile gets the number of the last entry, and none of its own.
// It belongs to the step that selects the members: r.mu must be held.
func (c *eventLog) begin(r *Rooms, b *envelope.Body, members bool) (number uint64, kept bool) {
	if c == nil || b.Kind == envelope.KindEmitWithAck {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Flags&envelope.Volatile != 0 {
		return c.log.Last(), false
	}
	if !members && (r.away.Len() == 0 || r.away.Count(b.Rooms, nil) == 0) {
		return 0, false
	}
	return c.log.Broadcast(time.Since(c.opened), r.namespace, b.Rooms, b.Except), true
}

// payloadOverhead is about what a payload takes in memory besides its bytes: blocks are rounded up.
const payloadOverhead = 16

// fill says what the entry with a number is, and how its origin calls it. 0 is none.
func (c *eventLog) fill(number uint64, origin string, key uint64, payload []byte) {
	if number == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Fill(number, origin, key, payload, len(payload)+payloadOverhead)
}

// changed notes that a member or a session has joined or left a room.
func (c *eventLog) changed(namespace, id, room string, joined bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Changed(time.Since(c.opened), namespace, id, room, joined)
}

// forget notes that neither a member nor a session has this id any more.
func (c *eventLog) forget(namespace, id string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Forget(namespace, id)
}

// requestKey tells a request that carries a broadcast from everything else of its asker.
func requestKey(id uint64) uint64 { return id | 1<<63 }

// enter begins a step among the deliveries to the members of a namespace, until leave. It returns
// the rooms that the namespace has now. Without recovery there are no such steps: deliveries run
// beside each other, and it does nothing.
func (r *Rooms) enter() *Rooms {
	if r.hub.history == nil {
		return r
	}
	for {
		r.delivering.Lock()
		r.mu.Lock()
		discarded := r.discarded
		r.mu.Unlock()
		if !discarded {
			return r
		}
		r.delivering.Unlock()
		h, namespace, frame := r.hub, r.namespace, r.frame
		if r = h.lookup(namespace); r == nil {
			r = &Rooms{hub: h, namespace: namespace, frame: frame}
		}
	}
}

// enterKept is enter for rooms that the Hub keeps from then on.
func (r *Rooms) enterKept() *Rooms {
	for {
		r = r.lock(true)
		r.mu.Unlock()
		if r = r.enter(); r.hub.lookup(r.namespace) == r {
			return r
		}
		r.leave()
	}
}

func (r *Rooms) leave() {
	if r.hub.history != nil {
		r.delivering.Unlock()
	}
}

// InOrder has do run as a step among the deliveries to the members of the namespace: what was
// delivered before has a number up to last, and everything later a higher one. do must not emit, and
// must not wait. The Hub must have recovery.
func (r *Rooms) InOrder(do func(rooms *Rooms, last uint64)) {
	r = r.enter()
	defer r.leave()
	var last uint64
	r.hub.history.do(func(log *history.Log[[]byte], _ time.Duration) { last = log.Last() })
	do(r, last)
}

// Missed returns what was due to a member or a session of this node above a number, ascending, by
// the rooms that it was in at each time. ok is false if that is not known completely any more: the
// log has forgotten some of it, or there is nobody with this id. It is for a step of InOrder.
func (r *Rooms) Missed(id string, after uint64) (due []Missed, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rooms := r.index.RoomsOf(id)
	if _, here := r.index.Get(id); !here {
		if _, away := r.away.Get(id); !away {
			return nil, false
		}
		rooms = r.away.RoomsOf(id)
	}
	r.hub.history.do(func(log *history.Log[[]byte], now time.Duration) {
		log.Expire(now)
		var entries []history.Entry[[]byte]
		entries, ok = log.Missed(r.namespace, id, rooms, after)
		for _, e := range entries {
			due = append(due, Missed{Number: e.N, Origin: e.Origin, Key: e.Seq, Payload: e.Payload})
		}
	})
	return due, ok
}

// Note enters a payload into the log that is due to one member alone, whatever rooms it is in, unless
// place, which is told its number, returns an error. The origin and its key are as in [Missed]. It is
// for a step of InOrder.
func (r *Rooms) Note(id, origin string, key uint64, payload []byte, place func(number uint64) error) {
	c := r.hub.history
	c.mu.Lock()
	n := c.log.Only(time.Since(c.opened), r.namespace, id)
	c.mu.Unlock()
	if place(n) == nil {
		c.fill(n, origin, key, payload)
	}
}

// A Sole is an event for one member alone.
type Sole interface {
	Recoverable

	// Send queues it for the member. It is called after Place, among the deliveries of the namespace.
	Send() error
}

// EmitOnly sends a member an event that is for it alone, in its place among the broadcasts, and enters
// its payload into the log, unless it is volatile: payload is nil then. After an error nothing was
// sent. The Hub must have recovery.
func (r *Rooms) EmitOnly(id string, payload []byte, e Sole) (err error) {
	r = r.enter()
	defer r.leave()
	c := r.hub.history
	var n uint64
	c.mu.Lock()
	if payload == nil {
		n = c.log.Last()
	} else {
		n = c.log.Only(time.Since(c.opened), r.namespace, id)
	}
	c.mu.Unlock()
	if err = e.Place(n); err == nil {
		err = e.Send()
	}
	if err == nil && payload != nil {
		c.fill(n, r.hub.node, 0, payload)
	}
	return err
}

// ExpireLog drops what the log has kept long enough, and returns what it takes, in entries and bytes.
func (h *Hub) ExpireLog() (entries, bytes int) {
	h.history.do(func(log *history.Log[[]byte], now time.Duration) {
		log.Expire(now)
		entries, bytes = log.Len(), log.Bytes()
	})
	return entries, bytes
}

// At returns the last number that was given so long ago; 0 if that is not known any more.
func (r *Rooms) At(ago time.Duration) (n uint64) {
	r.hub.history.do(func(log *history.Log[[]byte], now time.Duration) { n = log.At(now - ago) })
	return n
}

// Horizon is the number up to which this node's log has forgotten everything.
func (r *Rooms) Horizon() (n uint64) {
	r.hub.history.do(func(log *history.Log[[]byte], _ time.Duration) { n = log.Horizon() })
	return n
}
