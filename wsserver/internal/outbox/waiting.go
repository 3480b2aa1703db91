package outbox

import "time"

// Waiting is what a queue or a mailbox holds.
type Waiting struct {
	Bytes   int           // queued
	Writing int           // of these, in bytes: they are given up only when the write, or the read, that is under way has returned
	Oldest  time.Duration // how long the first of the frames has been waiting, here or elsewhere; zero if it waits for the server's own turn
}

// Waiting returns what the queue holds.
func (q *Queue) Waiting() Waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := Waiting{Bytes: q.bytes}
	if q.waitsForPeer() {
		w.Oldest = oldest(q.frames[q.head:])
	}
	for _, f := range q.frames[q.head : q.head+q.inFlight] {
		w.Writing += len(f.Bytes)
	}
	return w
}

// oldest is how long the first frame has been waiting, in this queue or in another.
func oldest(frames []*Frame) time.Duration {
	for _, f := range frames {
		if !f.Ping {
			return time.Duration(now() - f.born.Load())
		}
	}
	return 0
}
