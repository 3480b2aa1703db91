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
	offset   int        // bytes of frames[head] that are written
	bytes    int        // not written yet, that of a Send under way included
	since    int64      // last progress of a stalled queue; start of the running Write of a blocking sink
	head     int32
	inFlight int32 // frames from head on that a writer is reading
	state    state
}

type state uint16

const (
	dirty    state = 1 << iota // handed to the runner; neither flushing nor blocked
	flushing                   // a goroutine writes
	blocked                    // the sink is full; Writable goes on
	woken                      // Writable came while flushing
	stalled                    // the last write was cut short
	volatile                   // volatile frames may be pending
	watched                    // over the limit and in the lane's watch
	closing                    // CloseAfterFlush was called
	closed
)

// Init makes q ready to be used, before anything else is done with it.
func (q *Queue) Init(s Scheduler, sink Sink, owner Owner) {
	q.lane, q.sink, q.owner = s.lane(), sink, owner
}

// Append queues f. It writes nothing itself, so that it costs a broadcast next to nothing. It returns false if f was not queued: the
// queue is closed, or f is volatile and was dropped.
func (q *Queue) Append(f *Frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state&(closing|closed) == 0 && q.admit(f) && q.push(f)
}

// Send queues f as Append does, or writes it on the caller's goroutine if nothing is ahead of it and the sink never waits: that spares a
// single frame the way through another goroutine. An error of the sink goes to the owner.
func (q *Queue) Send(f *Frame) bool {
	q.mu.Lock()
	if q.lane.blocking || q.bytes > 0 || q.state&(dirty|flushing|blocked|closing|closed) != 0 || len(f.Bytes) == 0 {
		defer q.mu.Unlock()
		return q.state&(closing|closed) == 0 && q.admit(f) && q.push(f)
	}
	q.bytes = len(f.Bytes)
	q.state |= flushing
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
		n, offered = 0, 0
	case q.state&closed != 0:
		c.lost.Add(1)
		q.bytes -= n
		n, offered = 0, 0
	default:
		// What was queued meanwhile waits behind the rest of f.
		q.reserve()
		q.frames = slices.Insert(q.frames, 0, f)
		if f.Volatile {
			q.state |= volatile
		}
	}
	_, more := q.wrote(n, offered, err)
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

// adopt queues frames that were admitted elsewhere.
func (q *Queue) adopt(frames []*Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range frames {
		if q.state&(closing|closed) == 0 {
			q.push(f)
		} else {
			q.lane.counters.lost.Add(1)
		}
	}
}

// CloseAfterFlush queues f, unless it is nil, as the last frame: from now on Append and Send return false, and once all is written the
// owner is told Flushed and the queue is closed. f counts as one that is always accepted. It returns false, and does nothing, if the queue
// is closing or closed already.
func (q *Queue) CloseAfterFlush(f *Frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state&(closing|closed) != 0 {
		return false
	}
	q.state |= closing
	if f != nil {
		return q.push(f)
	}
	return q.schedule()
}

// Close drops what is queued. Nothing is written from now on, except by a write that is already under way. A second Close does nothing.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state&closed == 0 {
		q.close()
	}
}

// Bytes returns how many bytes are queued.
func (q *Queue) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// admit decides whether f may be queued, and makes room. mu must be held.
func (q *Queue) admit(f *Frame) bool {
	if f.Volatile && q.isBlocked() {
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
	switch {
	case q.fits(size):
	case f.Volatile:
		q.lane.counters.dropped.Add(1)
		return false
	case size > HardCap*q.lane.limit-q.bytes:
		q.lane.counters.lost.Add(1)
		q.tooSlow()
		return false
	case q.state&watched == 0:
		q.state |= watched
		q.lane.slow.add(q)
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
	q.frames = append(q.frames, f)
	q.bytes += len(f.Bytes)
	if f.Volatile {
		q.state |= volatile
	}
	return true
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
		q.frames = q.lane.take()
		q.lane.mu.Unlock()
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

// begin starts the writing of the next batch, which it returns with what of its first frame is written already. mu must be held.
func (q *Queue) begin() (batch []*Frame, offset int) {
	batch = q.frames[q.head:]
	batch = batch[:min(len(batch), maxBatch)]
	q.inFlight = int32(len(batch))
	q.state |= flushing
	if q.lane.blocking {
		q.since = now()
	}
	return batch, q.offset
}

// wrote ends a write of which n bytes of those offered went out. It returns how many frames that completed and whether more can be written
// now. mu must be held. If err is not nil, the caller has q fail.
func (q *Queue) wrote(n, offered int, err error) (frames int, more bool) {
	wasWoken := q.state&woken != 0
	q.state &^= flushing | woken
	q.inFlight = 0
	frames = q.advance(n)
	if q.state&closed != 0 {
		q.release()
		return frames, false
	}
	if err != nil {
		return frames, false
	}
	q.state |= volatile // dropVolatile could not touch what was in flight
	if n < offered {
		if n > 0 || q.state&stalled == 0 {
			q.since = now()
		}
		q.state |= stalled
		if !wasWoken {
			q.state |= blocked
		}
		return frames, wasWoken
	}
	q.state &^= stalled
	return frames, !q.isEmpty()
}

// advance takes n written bytes off the queue and returns how many frames they complete. mu must be held, and no writer may be reading
// frames.
func (q *Queue) advance(n int) (frames int) {
	q.bytes -= n
	for !q.isEmpty() {
		left := len(q.frames[q.head].Bytes) - q.offset
		if n < left {
			q.offset += n
			break
		}
		n -= left
		q.offset = 0
		q.frames[q.head] = nil
		q.head++
		frames++
	}
	// A queue that never becomes empty must not grow at one end for ever.
	if rest := len(q.frames) - int(q.head); rest <= int(q.head) {
		copy(q.frames, q.frames[q.head:])
		clear(q.frames[rest:])
		q.frames = q.frames[:rest]
		q.head = 0
	}
	return frames
}

// isEmpty reports whether no frame is pending. mu must be held.
func (q *Queue) isEmpty() bool { return int(q.head) == len(q.frames) }

// fail closes q if it is open and reports whether it was. mu must be held.
func (q *Queue) fail() bool {
	if q.state&closed != 0 {
		return false
	}
	q.close()
	return true
}

// tooSlow has q fail with ErrTooSlow. mu must be held.
func (q *Queue) tooSlow() {
	if q.fail() {
		q.lane.counters.tooSlow.Add(1)
		q.lane.report(q, ErrTooSlow)
	}
}

// close closes q and drops what is queued. mu must be held.
func (q *Queue) close() {
	q.state |= closed
	if q.state&flushing == 0 {
		q.release()
	}
}

// release drops what is queued in a closed queue. mu must be held, and no writer may be reading frames.
func (q *Queue) release() {
	q.lane.counters.lost.Add(uint64(len(q.frames) - int(q.head)))
	q.frames, q.head, q.offset, q.bytes = nil, 0, 0, 0
}

// isBlocked reports whether the socket takes nothing at present. mu must be held.
func (q *Queue) isBlocked() bool {
	if q.lane.blocking {
		return q.state&flushing != 0 && now()-q.since >= int64(BlockedAfter)
	}
	return q.state&blocked != 0
}

// checkSlow has q fail if it is over its limit and has made no progress for too long, and reports whether it needs no more checks.
func (q *Queue) checkSlow() (done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state&closed != 0 || q.bytes <= q.lane.limit {
		q.state &^= watched
		return true
	}
	// Otherwise the queue waits for the runner, not for its peer.
	waiting := q.state&stalled != 0 || q.lane.blocking && q.state&flushing != 0
	if waiting && now()-q.since >= int64(SlowAfter) {
		q.tooSlow()
		return true
	}
	return false
}

var epoch = time.Now()

// now returns a monotonic time in nanoseconds, to be compared with others only.
func now() int64 { return int64(time.Since(epoch)) }
