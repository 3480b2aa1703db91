package outbox

// next begins a write of what is next, unless the queue is closed. The owner is asked first whether something belongs before it.
func (q *Queue) next() (batch []*Frame, offset int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state &^= dirty
	if q.state&closed != 0 {
		return nil, 0, false
	}
	if q.largeIsNext() {
		q.state |= asked | flushing
		q.mu.Unlock()
		q.owner.Large()
		q.mu.Lock()
		q.state &^= flushing
		if q.state&closed != 0 {
			q.clear()
			return nil, 0, false
		}
	}
	batch, offset = q.begin()
	return batch, offset, true
}

// largeIsNext reports whether a large frame is the next to be begun. mu must be held.
func (q *Queue) largeIsNext() bool {
	return q.state&(asked|closing) == 0 && q.offset == 0 && !q.isEmpty() && len(q.frames[q.head].Bytes) >= Large
}

// begin starts the writing of the next batch, which it returns with what of its first frame is written already. mu must be held.
func (q *Queue) begin() (batch []*Frame, offset int) {
	batch = q.frames[q.head:]
	batch = batch[:min(len(batch), maxBatch)]
	size := 0
	for i, f := range batch {
		if size += len(f.Bytes); i > 0 && size > shardMax {
			batch = batch[:i]
			break
		}
	}
	q.inFlight = int32(len(batch))
	q.state |= flushing
	if q.lane.blocking {
		q.rare.since = now()
	}
	return batch, int(q.offset)
}

// wrote ends a write of which n bytes of those offered went out. It returns how many frames that completed and whether more can be written
// now. What it is done with goes to done, if it is not nil. mu must be held. If err is not nil, the caller has q fail.
func (q *Queue) wrote(n, offered int, err error, done *releases) (frames int, more bool) {
	wasWoken := q.state&woken != 0
	q.state &^= flushing | woken
	q.inFlight = 0
	frames = q.advance(n, done)
	if q.state&closed != 0 {
		q.clear()
		return frames, false
	}
	if err != nil {
		return frames, false
	}
	if q.rare != nil && q.rare.ping != nil {
		q.placePing()
	}
	q.state |= volatile // dropVolatile could not touch what was in flight
	if n < offered {
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
func (q *Queue) advance(n int, done *releases) (frames int) {
	q.bytes -= n
	all, after, pinged := uint64(n), uint64(0), false
	for place := 0; !q.isEmpty(); place++ {
		f := q.frames[q.head]
		left := len(f.Bytes) - int(q.offset)
		if n < left {
			q.offset += int32(n)
			break
		}
		n -= left
		if f.Ping {
			pinged, after = true, uint64(n)
		} else {
			q.state &^= asked // of the next one, if it is large, nobody was told yet
		}
		done.add(q.lane.budget, place, f)
		q.offset = 0
		q.frames[q.head] = nil
		q.head++
		if !f.part || f.of != nil {
			frames++
		}
	}
	q.count(all, after, pinged)
	// A queue that never becomes empty must not grow at one end for ever.
	if rest := len(q.frames) - int(q.head); rest <= int(q.head) {
		copy(q.frames, q.frames[q.head:])
		clear(q.frames[rest:])
		q.frames = q.frames[:rest]
		q.head = 0
	}
	return frames
}
