package mesh

import "time"

// Receive takes any other message of the node from, which was sent to this node or to all.
func (m *Machine[T, O, B, W]) Receive(now time.Duration, from string, message Message) []Effect {
	if from == m.cfg.Node {
		return nil
	}
	m.now = now
	p := m.contact(from)
	if _, bye := message.(*Bye); p.standing == StandingLeft && !bye {
		return m.finish()
	}
	switch msg := message.(type) {
	case *Fence:
		m.identifyAt(p, msg.About, msg.Sent)
		m.rename(p, msg.Name)
		m.setDistance(p, msg.RoundTrip)
		if m.up() {
			ack := &Ack{About: m.about(), Fence: msg.Number, Sent: m.handed(), Members: m.Members(),
				Echo: msg.Age, RoundTrip: m.broker.RoundTrip, Patience: m.farthest()}
			if msg.Hello {
				ack.Gossip, ack.Name = m.gossipFor(p), m.cfg.Name
			}
			m.emit(Send{To: from, Message: ack})
		}
		if msg.Hello && p.started {
			m.resync(p)
		}
	case *Ack:
		m.identifyAt(p, msg.About, msg.Sent)
		m.rename(p, msg.Name)
		if msg.Fence > m.fence {
			break
		}
		m.setDistance(p, msg.RoundTrip)
		m.measureRoundTrip(p, msg.Echo)
		m.welcomed = m.welcomed || !m.fresh || !msg.Fresh
		for _, id := range msg.Members {
			if id != m.cfg.Node {
				m.await(m.discover(id))
				m.hintPatience(m.peers[id], msg.Patience)
			}
		}
		m.handleAnswer(p, msg.Fence, msg.Sent)
		m.mergeGossip(msg.Gossip)
	case *Heartbeat:
		m.identify(p, msg.About)
		if p.started {
			m.handleHeartbeat(p, msg)
			m.askName(p)
		}
		if !msg.Asked {
			p.noteAnnounced(msg.Upto)
		} else {
			p.noteUnannounced(msg.Tails)
		}
		m.mergeGossip(msg.Gossip)
	case *Resync:
		m.identify(p, msg.About)
		if !m.up() {
			break
		}
		for _, beat := range m.heartbeats(msg.After, m.handed()) {
			beat.Asked = true
			m.emit(Send{To: from, Message: beat})
		}
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Nack:
		m.handleNack(from, msg)
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Gone:
		if p.started {
			m.handleGone(p, msg)
		}
	case *Bye:
		m.handleBye(p, msg)
	case *Confirm:
		p.confirmed = m.life != staying
	}
	m.drain(p)
	m.returned(p)
	m.endWaits()
	return m.finish()
}
