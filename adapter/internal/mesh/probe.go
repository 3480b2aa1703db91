package mesh

import (
	"time"
)

// Linked says what the link that is about to be up knows of its broker. It is called before LinkUp.
func (m *Machine[T, O, B, W]) Linked(b Broker) { m.broker = b }

// Unreachable says that the broker knows of nobody who receives what is for the node id. The node is suspect, and no more than that: it may
// have died, reconnect at the moment, or be behind a route that is broken. One that has not been met is waited for: the broker may not have heard of it
// either. So are all while the link is new: they may have lost their brokers, too.
func (m *Machine[T, O, B, W]) Unreachable(now time.Duration, id string) []Effect {
	m.now, m.receivedAt = now, now
	if p := m.peers[id]; p != nil {
		p.probingSince = 0
		if m.up() && !m.opening && p.started && p.alive() {
			m.suspect(p)
		}
	}
	m.endWaits()
	return m.finish()
}

// probeAt is when the broker is to be asked next whether p is there.
func (m *Machine[T, O, B, W]) probeAt(p *peer[B]) time.Duration {
	switch {
	case !m.broker.Probes || !m.up() || m.opening || !p.started || !p.present(m.now):
	case p.standing == StandingSuspect:
		return p.probed + suspectProbeInterval
	case p.answered < m.fence:
		return max(max(m.fencedAt, p.since)+max(probeInterval, p.rtt), p.probed+probeInterval)
	}
	return forever
}

// probe asks the broker whether p is there, if that is due.
func (m *Machine[T, O, B, W]) probe(p *peer[B]) {
	if m.now < m.probeAt(p) {
		return
	}
	p.probed = m.now
	if p.standing == StandingSuspect && m.now-p.probingSince >= probeGrace {
		p.vouchedAt, p.probingSince = max(p.vouchedAt, p.probingSince), m.now
	}
	m.emit(Probe{Node: p.id})
}

// Named returns those of Suspects, without clients, that calls name as missing: until the broker has not known them for so long, or, where it does not tell, nothing
// was heard of them for so long. A node that reconnects, or a route that is mended, takes less. After it calls count without them.
func (m *Machine[T, O, B, W]) Named(now time.Duration) []string {
	return m.list(func(p *peer[B]) bool {
		return m.silent(p) && !p.client && now-max(p.heardAt, p.vouchedAt) < m.cfg.NameSuspects
	})
}
