package mesh

import (
	"maps"
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// interest is a topic that this node is subscribed to.
type interest[T comparable] struct {
	topic   T
	hash    uint64
	fence   uint64        // the first fence sent after the Subscribe
	members bool          // false while it lingers after the last leave
	until   time.Duration // the end of the linger

	// Topics whose hashes are equal are one stream: it began with the first of them.
	streamFence uint64       // of the first in the list: the fence of the stream
	next        *interest[T] // another topic of the stream
}

// lingering is an entry of the queue of interests that may end. All linger equally long, so the queue is in order.
type lingering[T comparable] struct {
	in    *interest[T]
	until time.Duration
}

// wait is a Join that has not returned.
type wait[W any] struct {
	ref     W
	excused []string      // nodes that were suspect already when it began
	from    time.Duration // when it began
}

// deadline is when those end that wait for a fence, whoever returns meanwhile, where an answer is waited for so long.
func (m *Machine[T, O, B, W]) deadline(fence uint64, longest time.Duration) time.Duration {
	from := m.waits[fence][0].from
	if fence == m.fence { // it may have been sent when the one before had ended
		from = max(from, m.fencedAt)
	}
	return from + longest
}

// find returns the interest in a topic, or nil.
func (m *Machine[T, O, B, W]) find(hash uint64, topic T) *interest[T] {
	in := m.interests[hash]
	for in != nil && in.topic != topic {
		in = in.next
	}
	return in
}

// Join makes this node receive topics, and ends with a [Joined] that carries ref: when every live node has answered a fence sent
// after the Subscribe, or, at the latest when nobody has patience for them any more, with the nodes that have not. Behind a fence that is under way it may take
// twice as long.
func (m *Machine[T, O, B, W]) Join(now time.Duration, topics []T, ref W) []Effect {
	m.now = now
	var fence uint64
	var fresh []T
	for _, topic := range topics {
		if m.cfg.Own(topic) {
			continue
		}
		h := m.cfg.Hash(topic)
		in := m.find(h, topic)
		if in == nil {
			in = &interest[T]{topic: topic, hash: h, fence: m.fence + 1}
			if first := m.interests[h]; first != nil {
				in.next, first.next = first.next, in
			} else {
				m.interests[h] = in
				if !m.cfg.Mine(h) { // else the stream has begun long ago
					in.streamFence = in.fence
					m.batches[in.fence] = append(m.batches[in.fence], h)
				}
			}
			fresh = append(fresh, topic)
		} else if !in.members {
			m.counts.Rejoins++
		}
		in.members = true
		fence = max(fence, in.fence)
	}
	if fresh != nil {
		m.emit(Subscribe[T]{Topics: fresh})
		if m.fencing != fenceIdle {
			m.fencing = fenceBehind
		} else {
			m.sendFence(false)
		}
	}
	w := wait[W]{ref: ref, from: now}
	for _, p := range m.order {
		if p.standing.silent() && p.answered < fence {
			w.excused = append(w.excused, p.id)
		}
	}
	m.waits[fence] = append(m.waits[fence], w)
	m.endWaits()
	return m.finish()
}

// Leave says that topic has no local member any more. It stays subscribed for [Linger], in case that somebody joins again.
func (m *Machine[T, O, B, W]) Leave(now time.Duration, topic T) {
	in := m.find(m.cfg.Hash(topic), topic)
	if in == nil || !in.members {
		return
	}
	in.members, in.until = false, now+Linger
	m.lingering = append(m.lingering, lingering[T]{in: in, until: in.until})
}

// expireInterests ends the interests that have lingered long enough.
func (m *Machine[T, O, B, W]) expireInterests() {
	var topics []T
	for len(m.lingering) > 0 && m.lingering[0].until <= m.now {
		l := m.lingering[0]
		m.lingering = m.lingering[1:]
		if l.in.members || l.in.until != l.until {
			continue
		}
		l.in.until = 0 // it may be in the queue twice
		m.removeInterest(l.in)
		topics = append(topics, l.in.topic)
	}
	if len(m.lingering) == 0 {
		m.lingering = nil
	}
	if topics == nil {
		return
	}
	m.emit(Unsubscribe[T]{Topics: topics})
	for _, p := range m.order {
		p.recheck() // what waited for something on these topics
		m.drain(p)
	}
}

// removeInterest takes an interest out of its list, and forgets the stream with the last one.
func (m *Machine[T, O, B, W]) removeInterest(in *interest[T]) {
	h := in.hash
	first := m.interests[h]
	switch {
	case first != in:
		for first.next != in {
			first = first.next
		}
		first.next = in.next
	case in.next != nil:
		in.next.streamFence = in.streamFence
		m.interests[h] = in.next
	default:
		delete(m.interests, h)
		m.interests = shrink.Map(m.interests, &m.peakInterests)
		if m.cfg.Mine(h) {
			return
		}
		for _, p := range m.peers {
			delete(p.gaps, h)
			delete(p.lows, h)
			p.shrink()
		}
	}
}

// tracked reports whether broadcasts on the stream with this hash concern this node, and the fence from which on.
func (m *Machine[T, O, B, W]) tracked(h uint64) (fence uint64, ok bool) {
	if in := m.interests[h]; in != nil {
		return in.streamFence, true
	}
	return 0, m.cfg.Mine(h)
}

// sendFence sends the next fence to all. It covers every topic subscribed before.
func (m *Machine[T, O, B, W]) sendFence(hello bool) {
	m.fence++
	m.fencing, m.fencedAt = fenceSent, m.now
	for _, p := range m.order {
		if p.standing.silent() {
			m.suspect(p)
		}
	}
	if m.up() {
		m.emit(Send{Message: m.fenceMessage(hello)})
	}
}

// fenceMessage is the last fence as a message.
func (m *Machine[T, O, B, W]) fenceMessage(hello bool) *Fence {
	return &Fence{About: m.about(), Number: m.fence, Sent: m.handed(), Hello: hello, RoundTrip: m.broker.RoundTrip}
}

// handleAnswer takes the answer of p to our fence f: x is the baseline of every topic that it covers.
func (m *Machine[T, O, B, W]) handleAnswer(p *peer[B], fence, x uint64) {
	if !p.started {
		if fence < p.presumed {
			return // the topics of the fences between are not told apart any more; a later answer comes
		}
		p.presumed = fence
		m.markComplete(p, m.now)
		p.start(x)
		m.changed = true
	}
	p.answered = max(p.answered, fence)
	moved := p.presumed < fence
	for ; p.presumed < fence; p.presumed++ {
		for _, h := range m.batches[p.presumed+1] {
			if in := m.interests[h]; in == nil || in.streamFence != p.presumed+1 || x <= p.low {
				continue
			}
			p.advance(h, x)
		}
	}
	if p.standing.silent() { // Joins have not waited for it: if it is known only now, its answers to their fences are presumed only now
		moved = moved || p.presumed < m.fence
		m.suspect(p)
	}
	if moved {
		p.recheck()
	}
	m.trust(p, fence)
}

// endWaits ends what has nothing left to wait for: the opening, the holding back of broadcasts, the fence in flight, Joins, and the leaving.
func (m *Machine[T, O, B, W]) endWaits() {
	overdue := m.fencing != fenceIdle && m.now >= m.fencedAt+m.longest()
	if overdue {
		m.suspectOverdue() // before the next fence gives them more time
	}
	real, acked := ^uint64(0), m.fence
	for _, p := range m.order {
		if p.alive() {
			real = min(real, p.answered)
		}
		if p.standing != StandingLeft && (p.started || !p.standing.silent()) {
			acked = min(acked, p.presumed)
		}
	}
	for fence := range m.batches {
		if fence <= acked {
			delete(m.batches, fence)
		}
	}
	for m.fencing != fenceIdle && (real >= m.fence || overdue) {
		overdue = false
		if m.fencing == fenceBehind {
			m.sendFence(false)
		} else {
			m.fencing = fenceIdle
		}
	}
	if m.opening && (m.welcomed && real >= m.openFence || m.now >= m.readyAt) {
		m.opening = false
		if m.up() {
			m.fresh = false
			m.emit(Ready{})
		}
	}
	if m.life == closing && (m.now >= m.closeAt || !m.up() || !m.needed()) {
		m.life = closed
		m.emit(Closed{})
	}
	if m.opening {
		return
	}
	if m.link == linkHolding && (m.reunited() || m.now >= m.upAt+maxHold) {
		m.release()
	}
	for _, fence := range slices.Sorted(maps.Keys(m.waits)) {
		waits := m.waits[fence]
		if fence > min(real, m.fence) && m.now < m.deadline(fence, m.longest()) {
			continue
		}
		delete(m.waits, fence)
		for _, w := range waits {
			m.emit(Joined[W]{Wait: w.ref, Missing: m.unanswered(fence, w)})
		}
	}
}

// release has the broadcasts sent that were held back.
func (m *Machine[T, O, B, W]) release() {
	if m.link == linkHolding {
		m.ring.renew(m.now, m.sent)
		m.link = linkFlowing
		m.emit(Release{})
	}
}

// unanswered are the nodes that have not answered a fence: those that were silent before the Join are left out, unless they are back.
func (m *Machine[T, O, B, W]) unanswered(fence uint64, w wait[W]) []string {
	var missing []string
	for _, p := range m.order {
		if p.answered < fence && !(p.standing.silent() && slices.Contains(w.excused, p.id)) && !p.standing.parted() {
			missing = append(missing, p.id)
		}
	}
	return missing
}
