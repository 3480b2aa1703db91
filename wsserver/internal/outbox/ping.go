package outbox

import (
	"math"
	"slices"
)

// A ping on its way through a queue, and what the peer has taken.

// Taken is how many bytes the peer has taken in all: what it has acknowledged, of a sink that is an [Acknowledger], or what was written.
// It wraps: differences count.
func (q *Queue) Taken() uint32 {
	q.mu.Lock()
	written := q.written
	q.mu.Unlock()
	return written - uint32(q.unacknowledged())
}

// PingTaken reports whether the peer has got the last ping.
func (q *Queue) PingTaken() bool {
	q.mu.Lock()
	waits, after := q.state&pinging != 0, q.after
	q.mu.Unlock()
	return !waits && q.unacknowledged() <= uint64(after)
}

// unacknowledged is how much of what was written the peer has not acknowledged yet. It asks the sink: mu must not be held.
func (q *Queue) unacknowledged() uint64 {
	if sink, ok := q.sink.(Acknowledger); ok {
		return uint64(max(0, sink.Unacknowledged()))
	}
	return 0
}

// queuePing queues a ping ahead of what waits. mu must be held.
func (q *Queue) queuePing(f *Frame) bool {
	if q.state&pinging != 0 {
		return true
	}
	if !q.schedule() {
		return false
	}
	q.state |= pinging
	q.bytes += len(f.Bytes)
	q.more().ping = f
	if q.inFlight == 0 {
		q.placePing()
	}
	return true
}

// placePing puts the ping that waits for it at the next end of a message. mu must be held, and no writer may be reading frames.
func (q *Queue) placePing() {
	f := q.rare.ping
	q.rare.ping = nil
	q.less()
	q.reserve()
	at := int(q.head)
	if q.offset > 0 {
		head := q.frames[at]
		if end := q.lane.nextEnd(head.Bytes, int(q.offset)); end < len(head.Bytes) {
			first, second := head.cut(end)
			q.frames[at] = first
			q.setFrames(slices.Insert(q.frames, at+1, second))
		}
		at++
	}
	q.setFrames(slices.Insert(q.frames, at, f))
}

// count counts n bytes that were written. pinged says that a ping was completed among them, and after how many of them came behind it. mu
// must be held.
func (q *Queue) count(n, after uint64, pinged bool) {
	q.written += uint32(n)
	if pinged {
		q.after, n = 0, after
		q.state &^= pinging
	}
	q.after = uint32(min(uint64(q.after)+n, math.MaxUint32))
}
