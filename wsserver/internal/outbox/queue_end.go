package outbox

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

// fail closes q if it is open and reports whether it was. mu must be held.
func (q *Queue) fail() bool {
	if q.state&closed != 0 {
		return false
	}
	q.close()
	return true
}

// close closes q and drops what is queued, but for what a writer is reading: that is dropped when it is done. mu must be held.
func (q *Queue) close() {
	q.state |= closed
	if q.state&flushing == 0 {
		q.clear()
		return
	}
	q.drop(int(q.head + q.inFlight))
}

// clear drops what is queued in a closed queue. mu must be held, and no writer may be reading frames.
func (q *Queue) clear() {
	q.drop(int(q.head))
	q.setFrames(nil)
	q.head, q.offset, q.bytes = 0, 0, 0
	if q.rare != nil {
		q.rare.ping = nil
		q.less()
	}
}

// drop drops the frames from this one on. mu must be held.
func (q *Queue) drop(from int) {
	dropped := q.frames[from:]
	q.lane.counters.lost.Add(uint64(len(dropped)))
	for _, f := range dropped {
		q.bytes -= len(f.Bytes)
		f.release(q.lane.budget, 1)
	}
	clear(dropped)
	q.frames = q.frames[:from]
}
