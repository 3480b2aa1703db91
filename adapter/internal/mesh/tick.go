package mesh

import "time"

// Tick does what is due. It is to be called at the time of Next, and may be called at any other.
func (m *Machine[T, O, B, W]) Tick(now time.Duration) []Effect {
	m.now = now
	m.stalled(now - m.ticked - HeartbeatInterval)
	m.ticked = now
	m.expireInterests() // first: what is delivered below is judged by what is received after this step
	for _, p := range m.order {
		if now-p.heardAt >= SuspectAfter || now >= m.due(p) {
			m.suspect(p)
		}
		m.probe(p)
		if p.expired(now) {
			m.apply(p, dies)
			m.counts.Deaths++
			m.abandon(p)
			m.gossipAbout(p)
		}
		if p.standing.parting() && now >= p.leaveBy {
			m.markLeft(p)
		}
		if !p.started && p.present(now) && now-p.helloAt >= FenceTimeout {
			m.hello(p)
		}
		m.requestRepairs(p)
	}
	m.resolveDoubts()
	if m.calling() && now >= m.callAt {
		// Of two nodes that open at once on different brokers, neither may have heard the first hello of the other.
		m.callAt = now + helloInterval
		m.emit(Send{Message: m.fenceMessage(true)})
	}
	if now >= m.heartbeatAt {
		m.heartbeatAt = now + HeartbeatInterval
		m.ring.expire(now, m.handed())
		if m.up() && m.life == staying {
			m.sendHeartbeat() // while broadcasts are held back, too: silence would make this node suspect
		}
	}
	if m.life == closing && m.up() && now >= m.byeAt {
		m.byeAt = now + byeInterval
		m.emit(Send{Message: &Bye{About: m.about(), Last: m.ring.newest}})
	}
	m.endWaits()
	return m.finish()
}

// calling reports whether this node is new and has been answered by nobody.
func (m *Machine[T, O, B, W]) calling() bool { return m.up() && m.opening && !m.welcomed }

// sendHeartbeat tells all nodes the ends of the topics used since the last heartbeat, as far as they were handed to the link.
func (m *Machine[T, O, B, W]) sendHeartbeat() {
	upto := m.handed()
	beats := m.heartbeats(m.announced, upto)
	beats[0].Gossip = m.nextGossip()
	for _, beat := range beats {
		m.emit(Send{Message: beat})
	}
	m.announced = upto
}

// handed is the last number of which it is certain that it goes over the link before what is sent now.
func (m *Machine[T, O, B, W]) handed() uint64 {
	if m.link != linkFlowing {
		return m.sent
	}
	return m.ring.newest
}

// Next is the time at which Tick is due.
func (m *Machine[T, O, B, W]) Next() time.Duration {
	next := m.heartbeatAt
	if m.opening {
		next = min(next, m.readyAt)
	}
	if m.calling() {
		next = min(next, m.callAt)
	}
	if m.life == closing {
		next = min(next, m.byeAt, m.closeAt)
	}
	if m.link == linkHolding {
		next = min(next, max(m.upAt+maxHold, m.readyAt))
	}
	longest := m.longest()
	if m.fencing != fenceIdle {
		next = min(next, m.fencedAt+longest)
	}
	if !m.opening {
		for fence := range m.waits {
			next = min(next, m.deadline(fence, longest))
		}
	}
	if len(m.doubts) > 0 && m.up() {
		next = min(next, m.upAt+DeadAfter)
	}
	if len(m.lingering) > 0 {
		next = min(next, m.lingering[0].until)
	}
	next = min(next, m.settles.next())
	for _, p := range m.order {
		next = min(next, m.due(p), m.probeAt(p))
		switch {
		case p.alive():
			next = min(next, p.heardAt+SuspectAfter)
		case p.standing == StandingSuspect:
			next = min(next, p.heardAt+DeadAfter)
		}
		if !p.started && p.present(m.now) {
			next = min(next, p.helloAt+FenceTimeout)
		}
		if p.standing.parting() {
			next = min(next, p.leaveBy)
		}
		if at, ok := m.nackAt(p); ok {
			next = min(next, at)
		}
	}
	return next
}
