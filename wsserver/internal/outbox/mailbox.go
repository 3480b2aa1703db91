package outbox

import (
	"slices"
	"sync"
	"time"
)

// A fetch carries about as much as its peer takes in a second, between these bounds, or one frame: so a ping never waits for long behind it.
const (
	minFetch   = 16 << 10
	firstFetch = 64 << 10
	maxFetch   = 1 << 20
)

// A Mailbox is the outgoing queue of a peer that fetches what is for it. It begins with Init and is not copied; while empty it owns no
// memory besides itself. Its methods may be called concurrently.
//
// It has the bounds of a [Queue]: what a peer takes is what [Mailbox.Wrote] says of its fetches. A peer is blocked, and gets no volatile
// frames, unless a fetch waits.
type Mailbox struct {
	group *Group
	owner MailboxOwner

	mu      sync.Mutex // guards what follows
	frames  []*Frame
	bytes   int
	waiting bool     // a fetch found nothing and waits
	heir    Heir     // takes all that comes; nil until MoveTo
	written uint32   // in all, in bytes; it wraps
	backlog *backlog // nil unless the mailbox is over its limit
	away    []*Frame // taken by a fetch that has not written them yet
	fetch   int      // how much the last fetch that left something could carry, in bytes
	fetched int64    // when that was; zero if the last one has left nothing
	state   state    // volatile, pinging, asked, closing, closed
}

// A MailboxOwner learns what happens in a [Mailbox].
type MailboxOwner interface {
	// Failed and Large are those of an [Owner]. Failed is called on a goroutine of the Group.
	Failed(err error)
	Large()

	// Arrived says that there may be something for Take: a frame has come, or the end. The mailbox is
	// locked: Arrived neither waits nor calls it.
	Arrived()
}

// Init makes m ready to be used.
func (m *Mailbox) Init(g *Group, owner MailboxOwner) { m.group, m.owner = g, owner }

// Append queues f. It returns false if f was not queued: the mailbox is closed, or f is volatile and was dropped.
func (m *Mailbox) Append(f *Frame) bool {
	m.mu.Lock()
	if heir := m.heir; heir != nil {
		m.mu.Unlock()
		return heir.Append(f)
	}
	defer m.mu.Unlock()
	switch {
	case m.state&(closing|closed) != 0:
		return false
	case f.Ping && m.state&pinging != 0:
		return true
	case f.Ping:
		m.state |= pinging
		m.frames = slices.Insert(m.frames, 0, f)
		m.bytes += len(f.Bytes)
		m.owner.Arrived()
		return true
	case !m.admit(f):
		return false
	}
	m.push(f)
	return true
}

// admit decides whether f may be queued, and makes room. mu must be held.
func (m *Mailbox) admit(f *Frame) bool {
	lane := &m.group.queues
	if f.Volatile && (!m.waiting || lane.budget.Full()) {
		lane.counters.dropped.Add(1)
		return false
	}
	fits := func() bool { return m.bytes == 0 || len(f.Bytes) <= lane.limit-m.bytes }
	if fits() {
		return true
	}
	if m.state&volatile != 0 {
		m.dropVolatile()
	}
	if !fits() && f.Volatile {
		lane.counters.dropped.Add(1)
		return false
	}
	return true
}

// push appends f. mu must be held.
func (m *Mailbox) push(f *Frame) {
	f.acquire(m.group.queues.budget)
	m.frames = append(m.frames, f)
	m.bytes += len(f.Bytes)
	if f.Volatile {
		m.state |= volatile
	}
	if m.backlog != nil {
		m.backlog.in += uint64(len(f.Bytes))
	} else if m.bytes > m.group.queues.limit {
		m.backlog = newBacklog(m.group.queues.pace, m.written)
		m.group.slow.add(m)
	}
	m.owner.Arrived()
}

// judge implements [watched].
func (m *Mailbox) judge() (done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lane := &m.group.queues
	if m.state&closed != 0 || m.bytes <= lane.limit {
		m.backlog = nil
		return true
	}
	why := m.backlog.judge(lane.pace, m.written, true)
	if why != nil {
		lane.counters.slow(why)
		m.close()
		m.group.Go(func() { m.owner.Failed(why) })
	}
	return why != nil
}

// dropVolatile drops the volatile frames. mu must be held.
func (m *Mailbox) dropVolatile() {
	kept := m.frames[:0]
	for _, f := range m.frames {
		if f.Volatile {
			m.bytes -= len(f.Bytes)
			f.release(m.group.queues.budget, 1)
			m.group.queues.counters.dropped.Add(1)
		} else {
			kept = append(kept, f)
		}
	}
	clear(m.frames[len(kept):])
	m.frames = kept
	m.state &^= volatile
}

// DropVolatile drops the volatile frames that wait.
func (m *Mailbox) DropVolatile() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state&volatile != 0 && m.state&closed == 0 {
		m.dropVolatile()
	}
}

// Take takes frames, in their order, for a fetch to carry away: all, or as many as it carries. The caller says what becomes of them: see
// Wrote and Done. If there are none, the fetch counts as waiting, until a later Take finds some or Leave. The frame of CloseAfterFlush is
// taken by itself, after all others: the official client would forget what came with it. last reports that it is taken, and closes the
// mailbox, or that the mailbox was closed before.
//
// The owner is told of a large frame before it is taken, if it is the next, as that of a [Queue] is.
func (m *Mailbox) Take() (frames []*Frame, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state&(asked|closing|closed) == 0 && len(m.frames) > 0 && len(m.frames[0].Bytes) >= Large {
		m.state |= asked
		m.mu.Unlock()
		m.owner.Large()
		m.mu.Lock()
	}
	carried, n, most := 0, 0, m.carries()
	for n < len(m.frames) && (n == 0 || carried+len(m.frames[n].Bytes) <= most) {
		if n > 0 && n == len(m.frames)-1 && m.state&closing != 0 {
			break
		}
		carried += len(m.frames[n].Bytes)
		n++
	}
	m.waiting = n == 0
	frames = m.frames[:n:n]
	m.frames = m.frames[n:]
	m.bytes -= carried
	m.away = frames
	m.count(frames)
	if len(m.frames) > 0 {
		m.fetch, m.fetched = most, now()
		return frames, false
	}
	m.frames, m.fetched = nil, 0
	m.state &^= volatile
	if m.state&closing != 0 {
		m.state |= closed
	}
	return frames, m.state&closed != 0
}

// carries is how many bytes the next fetch carries. How long the peer has taken since the last one tells it, if that has left something.
// mu must be held.
func (m *Mailbox) carries() int {
	if m.fetch == 0 {
		m.fetch = firstFetch
	}
	switch passed := time.Duration(now() - m.fetched); {
	case m.fetched == 0:
	case passed < time.Second/2:
		return min(2*m.fetch, maxFetch)
	case passed > 2*time.Second:
		return max(m.fetch/2, minFetch)
	}
	return m.fetch
}

// count counts frames that were taken. mu must be held.
func (m *Mailbox) count(frames []*Frame) {
	if len(frames) == 0 {
		return
	}
	c := &m.group.queues.counters
	c.writes.Add(1)
	c.frames.Add(uint64(len(frames)))
	for _, f := range frames {
		c.bytes.Add(uint64(len(f.Bytes)))
		if f.Ping {
			m.state &^= pinging
		} else {
			m.state &^= asked
		}
	}
}

// Wrote says that the peer has taken n more bytes of what a fetch carries.
func (m *Mailbox) Wrote(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written += uint32(n)
}

// Done ends the use of frames that were taken.
func (m *Mailbox) Done(frames []*Frame) {
	m.mu.Lock()
	if len(m.away) > 0 && len(frames) > 0 && m.away[0] == frames[0] {
		m.away = nil
	}
	m.mu.Unlock()
	m.release(frames)
}

func (m *Mailbox) release(frames []*Frame) {
	for _, f := range frames {
		f.release(m.group.queues.budget, 1)
	}
}

// Waiting returns what the mailbox holds, and what fetches carry at the moment.
func (m *Mailbox) Waiting() Waiting {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := Waiting{Bytes: m.bytes, Oldest: max(oldest(m.away), oldest(m.frames))}
	for _, f := range m.away {
		w.Writing += len(f.Bytes)
	}
	w.Bytes += w.Writing
	return w
}

// Taken is how many bytes the peer has taken in all. It wraps: differences count.
func (m *Mailbox) Taken() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written
}

// PingTaken reports whether a fetch has taken the last ping.
func (m *Mailbox) PingTaken() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state&pinging == 0
}

// StopWaiting says that the fetch that waits goes away with nothing.
func (m *Mailbox) StopWaiting() {
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
	m.release(m.frames)
	m.frames, m.bytes = nil, 0
	m.state |= closed
	m.owner.Arrived()
}

// An Heir takes over what is queued for a peer that changes its transport, such as a [Queue].
type Heir interface {
	Append(f *Frame) bool

	// Adopt queues frames that were admitted elsewhere. It neither keeps nor modifies the slice, and does not wait: locks are held.
	Adopt(frames []*Frame)
}

// MoveTo hands all frames to heir, and from then on all that comes. What was appended before comes before what is appended to heir from
// then on. It returns false, and does nothing, if m is closing or closed.
func (m *Mailbox) MoveTo(heir Heir) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state&(closing|closed) != 0 {
		return false
	}
	heir.Adopt(m.frames)
	m.release(m.frames) // heir holds them now
	m.frames, m.bytes = nil, 0
	m.heir = heir
	m.state |= closed
	m.owner.Arrived()
	return true
}
