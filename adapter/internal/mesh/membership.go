package mesh

import (
	"math"
	"slices"
	"time"
)

// hear notes that something came from id.
func (m *Machine[T]) hear(id string) *peer[T] {
	p := m.hearOf(id)
	p.heard = m.now
	return p
}

// hearOf returns the peer with this id. One never heard of is asked to answer.
func (m *Machine[T]) hearOf(id string) *peer[T] {
	p := m.peers[id]
	if p == nil {
		p = &peer[T]{id: id, since: m.now, heard: m.now, acked: m.f, last: make(map[uint64]uint64), done: make(map[uint64]struct{})}
		m.peers[id] = p
		m.order = append(m.order, p)
		m.bury()
		m.hello(p)
	}
	return p
}

// meet settles what the age of p settles: a node younger than this one cannot have sent anything before this one existed, so all that
// it ever sent concerns us. Of an older one nothing but its answer to our fence says where it stands, and that our broker's interest has
// reached it.
func (m *Machine[T]) meet(p *peer[T], age time.Duration) {
	if !p.known && age < m.now {
		p.acked = m.f
		p.start(0)
		m.release(p)
	}
}

// returned ends the suspicion of a node from which something came. It is asked to answer what it missed.
func (m *Machine[T]) returned(p *peer[T]) {
	if !p.suspect || p.gone || !m.up {
		return
	}
	p.suspect, p.since = false, m.now
	if p.gap {
		p.gap = false
		m.counts.Holes++
	}
	if p.real < m.f {
		m.hello(p)
	}
	if p.known {
		m.resync(p)
	}
}

// suspect says that p is not to be waited for. Its answer is presumed, so that what it sends meanwhile shows as missing when it is back.
func (m *Machine[T]) suspect(p *peer[T]) {
	p.suspect = true
	if p.known {
		p.acked = max(p.acked, m.f)
	}
}

func (m *Machine[T]) hello(p *peer[T]) {
	p.asked = m.now
	if m.up {
		m.emit(Send[T]{To: p.id, Message: &Fence{F: m.f, Sent: m.handed(), Age: m.now, Hello: true}})
	}
}

func (m *Machine[T]) resync(p *peer[T]) {
	if !m.up || p.resynced != 0 && m.now-p.resynced < resyncInterval {
		return
	}
	p.resynced = m.now
	m.emit(Send[T]{To: p.id, Message: &Resync{A: p.goal, Age: m.now}})
}

// bury forgets the oldest dead nodes beyond maxTombstones. The others are kept: one that hung and returns must not be met anew, or
// what it sent before would be delivered twice.
func (m *Machine[T]) bury() {
	dead := 0
	for _, p := range m.order {
		if p.gone || p.dead(m.now) {
			dead++
		}
	}
	m.order = slices.DeleteFunc(m.order, func(p *peer[T]) bool {
		if dead <= maxTombstones || !p.gone && !p.dead(m.now) {
			return false
		}
		dead--
		delete(m.peers, p.id)
		return true
	})
}

// due is when p is suspect unless it answers the last fence, or the hello that it was sent when it was met later.
func (m *Machine[T]) due(p *peer[T]) time.Duration {
	if p.suspect || p.real >= m.f {
		return math.MaxInt64
	}
	return max(m.fencedAt, p.since) + FenceTimeout
}

// reunited reports whether all nodes that are not given up have answered since the link came up.
func (m *Machine[T]) reunited() bool {
	return !slices.ContainsFunc(m.order, func(p *peer[T]) bool { return !p.gone && !p.dead(m.now) && p.real < m.openF })
}
