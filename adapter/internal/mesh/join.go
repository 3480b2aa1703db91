package mesh

import (
	"maps"
	"slices"
	"time"
)

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
			var first bool
			in, first = m.subscribe(h, topic, m.fence+1)
			if first && !m.cfg.Mine(h) { // else the stream has begun long ago
				in.streamFence = in.fence
				m.cover(in.fence, h)
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
		m.fenceOff()
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
	m.linger(in, now+Linger)
}

// expireInterests ends the interests that have lingered long enough.
func (m *Machine[T, O, B, W]) expireInterests() {
	var topics []T
	for _, in := range m.expired(m.now) {
		topics = append(topics, in.topic)
		if m.remove(in) && !m.cfg.Mine(in.hash) {
			m.forgetStream(in.hash)
		}
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

// forgetStream drops what is kept of a stream that has ended.
func (m *Machine[T, O, B, W]) forgetStream(h uint64) {
	for _, p := range m.peers {
		delete(p.gaps, h)
		delete(p.lows, h)
		p.shrink()
	}
}

// tracked reports whether broadcasts on the stream with this hash concern this node, and the fence from which on.
func (m *Machine[T, O, B, W]) tracked(h uint64) (fence uint64, ok bool) {
	if in := m.interests[h]; in != nil {
		return in.streamFence, true
	}
	return 0, m.cfg.Mine(h)
}

// fenceOff has the next fence sent: at once, or behind the one that is under way.
func (m *Machine[T, O, B, W]) fenceOff() {
	if m.fencing != fenceIdle {
		m.fencing = fenceBehind
	} else {
		m.sendFence(false)
	}
}

// sendFence sends the next fence to all. It covers every topic subscribed before.
func (m *Machine[T, O, B, W]) sendFence(hello bool) {
	m.next(m.now)
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
	f := &Fence{About: m.about(), Number: m.fence, Sent: m.handed(), Hello: hello, RoundTrip: m.broker.RoundTrip}
	if hello {
		f.Name = m.cfg.Name
	}
	return f
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
	m.settles.answered(p, fence, x)
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
	m.uncover(acked)
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
