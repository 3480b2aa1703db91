package engine

import (
	"net/http"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A channel is a WebSocket and what it is to its session: it carries it, or it probes (Engine.IO 4, "Upgrade"), or it was refused.
type channel struct {
	ws      transport.WebSocket
	session *Session
	limit   *engineio.Deadline // of a probe, and of the end of a refused one; guarded by session.mu
	state   channelState       // guarded by session.mu; changes only once, and only of one that probes
	upgrade bool               // it came to take over a session, and counts in the server's live by itself

	probing bool // used by Message, Fed and Held alone, as is what follows
	probe   engineio.Probe
}

type channelState uint8

const (
	channelProbes channelState = iota
	channelOpen
	channelRefused
)

var probePong = &outbox.Frame{Bytes: transport.AppendFrame(nil, transport.OpText, []byte(engineio.ProbePongPacket))}

// upgrade serves a request for a WebSocket that is to take over a session. A session has one such at a time: another is closed at once,
// and the session knows nothing of it (Engine.IO 4, "WebSocket").
func (s *Session) upgrade(w http.ResponseWriter, r *http.Request) {
	srv := s.server
	srv.mu.Lock()
	closed := srv.closed
	if closed == nil {
		srv.live.Add(1)
	}
	srv.mu.Unlock()
	if closed != nil {
		srv.shuttingDown(w)
		return
	}
	nc, early, deflated, err := transport.Upgrade(w, r, srv.cfg.CompressMessages > 0)
	if err != nil {
		srv.refused.Add(1)
		srv.cfg.Logger.Debug("belfry: upgrade refused", "remote", r.RemoteAddr, "error", err)
		srv.live.Done()
		return
	}
	c := &channel{session: s, upgrade: true, limit: new(engineio.Deadline)}
	srv.transports.Serve(&c.ws, nc, deflated, c)
	srv.stray(c, true)
	s.mu.Lock()
	if s.ended || s.probe != nil || s.ws.Load() != nil {
		c.state = channelRefused
	} else {
		c.probing = true
		s.probe = c
		srv.upgradeDelay.Arm(c.limit, c)
	}
	refused := c.state == channelRefused
	s.mu.Unlock()
	if refused {
		c.close()
	}
	c.ws.Start(early)
}

// refuse closes a WebSocket that probed, because of its session's end.
func (c *channel) refuse() {
	c.session.mu.Lock()
	c.state = channelRefused
	c.session.mu.Unlock()
	c.close()
}

// abandon ends a probe. The session polls on, and may be upgraded by another.
func (c *channel) abandon() {
	s := c.session
	s.mu.Lock()
	probed := s.probe == c
	if probed {
		s.probe = nil
		c.state = channelRefused
		s.polling.Load().Probe(false) // before another may probe
	}
	s.mu.Unlock()
	if probed {
		c.close()
	}
}

// close closes a WebSocket that carries no session.
func (c *channel) close() {
	s := c.session
	s.mu.Lock()
	s.server.closeDelay.Arm(c.limit, c)
	s.mu.Unlock()
	c.ws.Close(transport.CloseNoStatus)
}

// Expired implements [engineio.Expirer].
func (c *channel) Expired(d *engineio.Deadline) {
	s := c.session
	s.mu.Lock()
	passed := s.server.deadlines.Confirm(d)
	probes := s.probe == c
	s.mu.Unlock()
	switch {
	case !passed:
	case probes:
		c.abandon()
	default:
		c.ws.Abort()
	}
}

// Message implements [transport.Receiver].
func (c *channel) Message(op transport.Opcode, payload []byte) error {
	s := c.session
	binary := op == transport.OpBinary
	if !c.probing {
		return s.receive(binary, payload)
	}
	switch c.probe.Receive(binary, payload) {
	case engineio.ProbePong:
		c.ws.Send(probePong)
		s.mu.Lock()
		if s.probe == c {
			s.polling.Load().Probe(true)
		}
		s.mu.Unlock()
	case engineio.ProbeSwitch:
		if c.take() {
			c.probing = false
			s.server.stray(c, false)
			return nil
		}
		fallthrough
	default:
		c.abandon()
	}
	return nil
}

// take makes the channel carry the session.
func (c *channel) take() bool {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	polling := s.polling.Load()
	if s.probe != c || !polling.MoveTo(&c.ws) {
		return false
	}
	s.probe = nil
	c.state = channelOpen
	s.server.deadlines.Stop(c.limit)
	c.limit = nil
	s.ws.Store(&c.ws)
	s.polling.Store(nil) // after ws, so that there is always one of them
	if s.halted {
		c.ws.Pause()
		polling.Resume() // a POST that waits came before
	}
	return true
}

// Fed implements [transport.Receiver].
func (c *channel) Fed(n int, partial bool) {
	if !c.probing && c.state == channelOpen {
		s := c.session
		s.receiving.Lock()
		s.fed(n, partial)
		s.receiving.Unlock()
	}
}

// HungUp implements [transport.Receiver].
func (c *channel) HungUp() { c.session.hungUp() }

// Large implements [transport.Receiver].
func (c *channel) Large() { c.session.large() }

// Held implements [transport.Holder].
func (c *channel) Held(held bool) {
	if !c.probing && c.state == channelOpen {
		c.session.inflating(held)
	}
}

// Closing implements [transport.Receiver].
func (c *channel) Closing(err error) {
	c.abandon() // from here on, it does not take over the session
	s := c.session
	s.mu.Lock()
	carries := c.state == channelOpen
	s.mu.Unlock()
	if carries {
		s.closing(err)
	}
}

// Closed implements [transport.Receiver].
func (c *channel) Closed() {
	s := c.session
	s.mu.Lock()
	carries := c.state == channelOpen
	if c.limit != nil {
		s.server.deadlines.Stop(c.limit)
	}
	s.mu.Unlock()
	if carries {
		s.vanish()
	}
	if c.upgrade {
		s.server.stray(c, false)
		s.server.live.Done()
	}
}
