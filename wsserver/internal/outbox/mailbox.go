package outbox

import "sync"

// A Mailbox is the outgoing queue of a peer that fetches what is for it. It begins with Init and is not copied; while empty it owns no
// memory besides itself. Its methods may be called concurrently.
//
// It has the bounds of a [Queue], with one difference: nothing shows how a peer gets on between two fetches, so that it is too slow only
// when its mailbox exceeds HardCap times the limit. A peer is blocked, and gets no volatile frames, unless a fetch waits.
type Mailbox struct {
	group *Group
	owner Owner

	arrived chan struct{} // holds a value when there may be something for Take: a frame, or the end

	mu      sync.Mutex // guards what follows
	frames  []*Frame
	bytes   int
	waiting bool   // a fetch found nothing and waits
	heir    *Queue // takes all that comes; nil until MoveTo
	state   state  // volatile, closing, closed
}

// Init makes m ready to be used. The owner is told Failed as that of a [Queue] is, from a goroutine of g, and never Flushed: Take says so.
func (m *Mailbox) Init(g *Group, owner Owner) {
	m.group, m.owner = g, owner
	m.arrived = make(chan struct{}, 1)
}

// Arrived is readable when there may be something for Take. It is for one goroutine at a time.
func (m *Mailbox) Arrived() <-chan struct{} { return m.arrived }

// Append queues f. It returns false if f was not queued: the mailbox is closed, or f is volatile and was dropped.
func (m *Mailbox) Append(f *Frame) bool {
	m.mu.Lock()
	if heir := m.heir; heir != nil {
		m.mu.Unlock()
		return heir.Append(f)
	}
	defer m.mu.Unlock()
	if m.state&(closing|closed) != 0 || !m.admit(f) {
		return false
	}
	m.push(f)
	return true
}

// admit decides whether f may be queued, and makes room. mu must be held.
func (m *Mailbox) admit(f *Frame) bool {
	counters := &m.group.queues.counters
	if f.Volatile && !m.waiting {
		counters.dropped.Add(1)
		return false
	}
	limit, size := m.group.queues.limit, len(f.Bytes)
	if m.bytes == 0 || size <= limit-m.bytes {
		return true
	}
	if m.state&volatile != 0 {
		m.dropVolatile()
	}
	switch {
	case m.bytes == 0:
	case f.Volatile && size > limit-m.bytes:
		counters.dropped.Add(1)
		return false
	case size > HardCap*limit-m.bytes:
		counters.lost.Add(1)
		counters.tooSlow.Add(1)
		m.close()
		m.group.start(func() { m.owner.Failed(ErrTooSlow) })
		return false
	}
	return true
}

// push appends f. mu must be held.
func (m *Mailbox) push(f *Frame) {
	m.frames = append(m.frames, f)
	m.bytes += len(f.Bytes)
	if f.Volatile {
		m.state |= volatile
	}
	m.wake()
}

// wake makes Arrived readable.
func (m *Mailbox) wake() {
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

// dropVolatile drops the volatile frames. mu must be held.
func (m *Mailbox) dropVolatile() {
	kept := m.frames[:0]
	for _, f := range m.frames {
		if f.Volatile {
			m.bytes -= len(f.Bytes)
			m.group.queues.counters.dropped.Add(1)
		} else {
			kept = append(kept, f)
		}
	}
	clear(m.frames[len(kept):])
	m.frames = kept
	m.state &^= volatile
}

// Take takes all frames, in their order, for a fetch to carry away. If there are none, the fetch counts as waiting, until a later Take
// finds some or Leave. The frame of CloseAfterFlush is taken by itself, after all others: the official client would forget what came
// with it. last reports that it is taken, and closes the mailbox, or that the mailbox was closed before.
func (m *Mailbox) Take() (frames []*Frame, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	frames = m.frames
	if n := len(frames); m.state&closing != 0 && n > 1 {
		m.frames, frames = frames[n-1:], frames[:n-1:n-1]
		m.bytes = len(m.frames[0].Bytes)
		m.count(frames)
		m.wake()
		return frames, false
	}
	m.count(frames)
	m.frames, m.bytes = nil, 0
	m.state &^= volatile
	m.waiting = len(frames) == 0
	if m.state&closing != 0 {
		m.state |= closed
	}
	return frames, m.state&closed != 0
}

// count counts frames that were taken.
func (m *Mailbox) count(frames []*Frame) {
	if len(frames) == 0 {
		return
	}
	c := &m.group.queues.counters
	c.writes.Add(1)
	c.frames.Add(uint64(len(frames)))
	for _, f := range frames {
		c.bytes.Add(uint64(len(f.Bytes)))
	}
}

// Bytes returns how many bytes are queued.
func (m *Mailbox) Bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Leave says that the fetch that waits goes away with nothing.
func (m *Mailbox) Leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = false
}

// CloseAfterFlush queues f as the last frame; it is always accepted. It returns false, and does nothing, if the mailbox is closing or
// closed already.
func (m *Mailbox) CloseAfterFlush(f *Frame) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heir != nil || m.state&(closing|closed) != 0 {
		return false
	}
	m.state |= closing
	m.push(f)
	return true
}

// Close drops what is queued. A second Close does nothing.
func (m *Mailbox) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state&closed == 0 {
		m.close()
	}
}

// close closes m and drops what is queued. mu must be held.
func (m *Mailbox) close() {
	m.group.queues.counters.lost.Add(uint64(len(m.frames)))
	m.frames, m.bytes = nil, 0
	m.state |= closed
	m.wake()
}

// MoveTo hands all frames to q, and from then on all that comes: the peer has changed its transport. What was appended before comes
// before what is appended to q from then on. It returns false, and does nothing, if m is closing or closed.
func (m *Mailbox) MoveTo(q *Queue) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state&(closing|closed) != 0 {
		return false
	}
	q.adopt(m.frames)
	m.frames, m.bytes = nil, 0
	m.heir = q
	m.state |= closed
	m.wake()
	return true
}
