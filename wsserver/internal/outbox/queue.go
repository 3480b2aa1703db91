package outbox

import (
	"slices"
	"sync"
	"time"
)

// A Queue is the outgoing queue of one socket. It is embedded by value and begins with Init; it is not copied. While empty it owns no
// memory besides itself. The methods other than Init may be called concurrently and never wait for a sink of Shards; frames are written
// whole, in the order of the calls that queued them.
type Queue struct {
	lane  *lane
	sink  Sink
	owner Owner

	mu       sync.Mutex // guards what follows; not held while a sink or the owner is called
	frames   []*Frame   // pending from head on; nil or empty when nothing is
	bytes    int        // not written yet, that of a Send under way included
	rare     *rare      // nil while it would be empty, unless the sink blocks
	offset   int32      // bytes of frames[head] that are written
	written  uint32     // in all, in bytes; it wraps
	after    uint32     // bytes written after the last ping, as far as it can count
	head     int32
	inFlight int32 // frames from head on that a writer is reading
	state    state
}

// rare is what few queues have at any time.
type rare struct {
	backlog *backlog // nil unless the queue is over its limit
	ping    *Frame   // goes ahead of what waits as soon as no writer reads frames
	since   int64    // start of the running Write of a blocking sink
}

// more returns rare, to be changed. mu must be held.
func (q *Queue) more() *rare {
	if q.rare == nil {
		q.rare = new(rare)
	}
	return q.rare
}

// less drops rare if it is empty. mu must be held.
func (q *Queue) less() {
	if q.rare != nil && q.rare.backlog == nil && q.rare.ping == nil && !q.lane.blocking {
		q.rare = nil
	}
}

type state uint16

const (
	dirty    state = 1 << iota // handed to the runner; neither flushing nor blocked
	flushing                   // a goroutine writes
	blocked                    // the sink is full; Writable goes on
	woken                      // Writable came while flushing
	stalled                    // the last write was cut short
	volatile                   // volatile frames may be pending
	pinging                    // a ping is queued and not written whole
	asked                      // the owner was told of the large frame that is next
	closing                    // CloseAfterFlush was called
	closed
)

// Init makes q ready to be used, before anything else is done with it.
func (q *Queue) Init(s Scheduler, sink Sink, owner Owner) {
	q.lane, q.sink, q.owner = s.lane(), sink, owner
	if q.lane.blocking {
		q.rare = new(rare)
	}
}

// Append queues f. It writes nothing itself, so that it costs a broadcast next to nothing. It returns false if f was not queued: the
// queue is closed, or f is volatile and was dropped.
func (q *Queue) Append(f *Frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queue(f)
}

// queue queues f. mu must be held.
func (q *Queue) queue(f *Frame) bool {
	switch {
	case q.state&(closing|closed) != 0:
		return false
	case f.Ping:
		return q.queuePing(f)
	}
	return q.admit(f) && q.push(f)
}

// Send queues f as Append does, or writes it on the caller's goroutine if nothing is ahead of it and the sink never waits: that spares a
// single frame the way through another goroutine. An error of the sink goes to the owner.
func (q *Queue) Send(f *Frame) bool {
	q.mu.Lock()
	if q.lane.blocking || q.bytes > 0 || q.state&(dirty|flushing|blocked|closing|closed) != 0 || len(f.Bytes) == 0 {
		defer q.mu.Unlock()
		return q.queue(f)
	}
	q.bytes = len(f.Bytes)
	q.state |= flushing
	if f.Ping {
		q.state |= pinging
	}
	q.mu.Unlock()

	n, err := q.sink.Write(f.Bytes)
	n, err = checkCount(n, len(f.Bytes), err)

	q.mu.Lock()
	defer q.mu.Unlock()
	c := &q.lane.counters
	c.writes.Add(1)
	c.bytes.Add(uint64(n))
	offered := len(f.Bytes)
	switch {
	case n == offered:
		c.frames.Add(1)
		q.bytes -= n
		q.count(uint64(n), 0, f.Ping)
		n, offered = 0, 0
	case q.state&closed != 0:
		c.lost.Add(1)
		q.bytes -= n
		n, offered = 0, 0
	default:
		// What was queued meanwhile waits behind the rest of f.
		q.reserve()
		f.acquire(q.lane.budget)
		q.setFrames(slices.Insert(q.frames, int(q.head), f))
		if f.Volatile {
			q.state |= volatile
		}
	}
	_, more := q.wrote(n, offered, err, nil)
	if err != nil && q.fail() {
		c.failed.Add(1)
		q.lane.report(q, err)
	} else if more || q.state&closing != 0 {
		q.schedule()
	}
	return true
}

// Writable says that a sink of Shards takes bytes again.
func (q *Queue) Writable() {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.state&closed != 0:
	case q.state&flushing != 0:
		q.state |= woken
	case q.state&blocked != 0:
		q.state &^= blocked
		q.schedule()
	}
}

// Adopt queues frames that were admitted elsewhere.
func (q *Queue) Adopt(frames []*Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range frames {
		switch {
		case q.state&(closing|closed) != 0:
			q.lane.counters.lost.Add(1)
		case f.Ping:
			q.queuePing(f)
		default:
			q.push(f)
		}
	}
	q.watch()
}

// Bytes returns how many bytes are queued.
func (q *Queue) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// DropVolatile drops the volatile frames that wait.
func (q *Queue) DropVolatile() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state&volatile != 0 && q.state&closed == 0 {
		q.dropVolatile()
	}
}

// admit decides whether f may be queued, and makes room. mu must be held.
func (q *Queue) admit(f *Frame) bool {
	if f.Volatile && (q.isBlocked() || q.lane.budget.Full()) {
		q.lane.counters.dropped.Add(1)
		return false
	}
	size := len(f.Bytes)
	if q.fits(size) {
		return true
	}
	if q.state&volatile != 0 {
		q.dropVolatile()
	}
	if !q.fits(size) && f.Volatile {
		q.lane.counters.dropped.Add(1)
		return false
	}
	return true
}

// fits reports whether size more bytes are within the limit. mu must be held.
func (q *Queue) fits(size int) bool { return q.bytes == 0 || size <= q.lane.limit-q.bytes }

// push appends f and has it written. mu must be held.
func (q *Queue) push(f *Frame) bool {
	if !q.schedule() {
		q.lane.counters.lost.Add(1)
		return false
	}
	q.reserve()
	f.acquire(q.lane.budget)
	if len(q.frames) < cap(q.frames) {
		q.frames = append(q.frames, f)
	} else {
		q.setFrames(append(q.frames, f))
	}
	q.bytes += len(f.Bytes)
	if f.Volatile {
		q.state |= volatile
	}
	if q.bytes > q.lane.limit {
		q.watch()
		q.rare.backlog.in += uint64(len(f.Bytes))
	}
	return true
}

// countedSlots is from how many frames on a queue's slice counts against the budget: what the lane keeps for all is bounded by itself.
const countedSlots = 1 << 10

// setFrames replaces the slice of frames, which counts against the budget. mu must be held.
func (q *Queue) setFrames(frames []*Frame) {
	const slot = 8 // bytes
	before, after := cap(q.frames), cap(frames)
	q.frames = frames
	if before == after || max(before, after) < countedSlots {
		return
	}
	counted := func(n int) int {
		if n < countedSlots {
			return 0
		}
		return n * slot
	}
	q.lane.budget.Add(counted(after) - counted(before))
}

// schedule hands q to the runner, unless it is there, being written or blocked. A queue whose runner is closed is closed too: schedule then
// returns false. mu must be held.
func (q *Queue) schedule() bool {
	if q.state&(dirty|flushing|blocked|closed) != 0 {
		return true
	}
	if !q.lane.ready(q) {
		q.close()
		return false
	}
	q.state |= dirty
	return true
}

// reserve makes sure that frames has been taken from the lane. mu must be held.
func (q *Queue) reserve() {
	if cap(q.frames) == 0 {
		q.lane.mu.Lock()
		frames := q.lane.take()
		q.lane.mu.Unlock()
		q.setFrames(frames)
	}
}

// dropVolatile drops the pending volatile frames, save those that are being written or partly written. mu must be held.
func (q *Queue) dropVolatile() {
	keep := int(q.head + q.inFlight)
	if q.inFlight == 0 && q.offset > 0 {
		keep++
	}
	kept := q.frames[:keep]
	dropped := 0
	for _, f := range q.frames[keep:] {
		if f.Volatile {
			q.bytes -= len(f.Bytes)
			f.release(q.lane.budget, 1)
			dropped++
		} else {
			kept = append(kept, f)
		}
	}
	clear(q.frames[len(kept):])
	q.frames = kept
	q.state &^= volatile
	q.lane.counters.dropped.Add(uint64(dropped))
}

// isEmpty reports whether no frame is pending. mu must be held.
func (q *Queue) isEmpty() bool { return int(q.head) == len(q.frames) }

// isBlocked reports whether the socket takes nothing at present. mu must be held.
func (q *Queue) isBlocked() bool {
	if q.lane.blocking {
		return q.state&flushing != 0 && now()-q.rare.since >= int64(BlockedAfter)
	}
	return q.state&blocked != 0
}

var epoch = time.Now()

// now returns a monotonic time in nanoseconds, to be compared with others only.
func now() int64 { return int64(time.Since(epoch)) }
