package engine

import (
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A connection is a carrier that brings messages by itself, such as a WebSocket, and what it is to its session: it carries it, or it probes
// (Engine.IO 4, "Upgrade"), or it was refused.
type connection struct {
	session *Session
	stray   *stray          // what it is while it does not carry the session; guarded by session.mu
	state   connectionState // guarded by session.mu; changes only once, and only of one that probes
	upgrade bool            // it came to take over a session, and counts in the server's live by itself

	probing bool // used by Message, Fed and Held alone, as is what follows
	probe   engineio.Probe
}

// A stray is the carrier of a connection that does not carry its session.
type stray struct {
	Carrier
	limit engineio.Deadline // of the probe, and of the end once it is refused
}

// A webSocket is a connection and its WebSocket in one piece of memory.
type webSocket struct {
	connection
	ws transport.WebSocket
}

// init says what c is: that of a carrier which came to take a session over, or, if carrier is nil, of the session's first.
func (c *connection) init(s *Session, carrier Carrier) {
	c.session = s
	if carrier != nil {
		c.upgrade, c.stray = true, &stray{Carrier: carrier}
	} else {
		c.state = connectionOpen
	}
}

type connectionState uint8

const (
	connectionProbes connectionState = iota
	connectionOpen
	connectionRefused
)

var probePong = transport.NewFrame(false, []byte(engineio.ProbePongPacket))

// carry begins the session of c, with its carrier, and sends the client the open packet.
func (c *connection) carry(carrier Carrier) {
	c.session.start(carrier)
	carrier.Send(transport.NewFrame(false, c.session.open(nil)))
}

// offer has c probe, to take over its session. A session has one such at a time: another is closed at once, and the session knows nothing
// of it (Engine.IO 4, "WebSocket"). The server has counted c as live.
func (c *connection) offer() {
	s := c.session
	s.server.setStray(c, true)
	s.mu.Lock()
	if s.ended || s.probe() != nil || s.polling() == nil {
		c.state = connectionRefused
	} else {
		c.probing = true
		s.setProbe(c)
		s.server.upgradeDelay.Arm(&c.stray.limit, c)
	}
	refused := c.state == connectionRefused
	s.mu.Unlock()
	if refused {
		c.close()
	}
}

// sessionEnded closes a connection that probes, since its session has ended.
func (c *connection) sessionEnded() {
	c.session.mu.Lock()
	c.state = connectionRefused
	c.session.mu.Unlock()
	c.close()
}

// endProbe ends a probe. The session polls on, and may be upgraded by another.
func (c *connection) endProbe() {
	s := c.session
	s.mu.Lock()
	probed := s.probe() == c
	if probed {
		s.setProbe(nil)
		c.state = connectionRefused
		s.polling().Probe(false) // before another may probe
	}
	s.mu.Unlock()
	if probed {
		c.close()
	}
}

// close closes a connection that carries no session.
func (c *connection) close() {
	s := c.session
	s.mu.Lock()
	s.server.closeDelay.Arm(&c.stray.limit, c)
	s.mu.Unlock()
	c.stray.Close() // it stays a stray
}

// Expired implements [engineio.Expirer].
func (c *connection) Expired(d *engineio.Deadline) {
	s := c.session
	s.mu.Lock()
	passed := s.server.deadlines.Confirm(d)
	probes := s.probe() == c
	s.mu.Unlock()
	switch {
	case !passed:
	case probes:
		c.endProbe()
	default:
		c.abort()
	}
}

// abort ends a connection that carries no session, at once.
func (c *connection) abort() {
	c.session.mu.Lock()
	stray := c.stray
	c.session.mu.Unlock()
	if stray != nil {
		stray.Abort()
	}
}

// Message implements [transport.Receiver].
func (c *connection) Message(binary bool, payload []byte) error {
	s := c.session
	if !c.probing {
		return s.receiveMessage(binary, payload)
	}
	switch c.probe.Receive(binary, payload) {
	case engineio.ProbePong:
		c.stray.Send(probePong)
		s.mu.Lock()
		if s.probe() == c {
			s.polling().Probe(true)
		}
		s.mu.Unlock()
	case engineio.ProbeSwitch:
		if c.takeOver() {
			c.probing = false
			s.server.setStray(c, false)
			s.owner.Moved()
			return nil
		}
		fallthrough
	default:
		c.endProbe()
	}
	return nil
}

// takeOver makes the connection carry the session.
func (c *connection) takeOver() bool {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	polling := s.polling()
	if s.probe() != c || !polling.MoveTo(c.stray.Carrier.(outbox.Heir)) {
		return false
	}
	s.setProbe(nil)
	c.state = connectionOpen
	s.server.deadlines.Stop(&c.stray.limit)
	carrier := c.stray.Carrier
	c.stray = nil
	s.server.carried(polling.Kind()).Add(-1)
	s.server.carried(carrier.Kind()).Add(1)
	s.carried.Store(&carrier)
	if s.halted {
		carrier.Pause()
		polling.Resume() // a POST that waits came before
	}
	return true
}

// Fed implements [transport.Receiver].
func (c *connection) Fed(n int, partial bool) {
	if !c.probing && c.state == connectionOpen {
		s := c.session
		s.receiving.Lock()
		s.fed(n, partial)
		s.receiving.Unlock()
	}
}

// HungUp implements [transport.Receiver].
func (c *connection) HungUp() { c.session.hungUp() }

// Large implements [transport.Receiver].
func (c *connection) Large() { c.session.large() }

// Held implements [transport.Holder].
func (c *connection) Held(held bool) {
	if !c.probing && c.state == connectionOpen {
		c.session.inflating(held)
	}
}

// Closing implements [transport.Receiver].
func (c *connection) Closing(err error) {
	c.endProbe() // from here on, it does not take over the session
	s := c.session
	s.mu.Lock()
	carries := c.state == connectionOpen
	s.mu.Unlock()
	if carries {
		s.end(err, endCarrier)
	}
}

// Closed implements [transport.Receiver].
func (c *connection) Closed() {
	s := c.session
	s.mu.Lock()
	carries := c.state == connectionOpen
	if c.stray != nil {
		s.server.deadlines.Stop(&c.stray.limit)
	}
	s.mu.Unlock()
	if carries {
		s.markGone()
	}
	if c.upgrade {
		s.server.setStray(c, false)
		s.server.live.Done()
	}
}
