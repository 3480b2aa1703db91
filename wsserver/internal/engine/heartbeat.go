package engine

import (
	"math"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// maxStall is how long a WebSocket may take nothing, besides the ping timeout, while a ping waits for it.
const maxStall = 4 * time.Second

// look is how long after a ping its session looks whether the client has got it, and how often if not.
func (c Config) look() time.Duration { return min(c.PingTimeout/4, time.Second) }

var pingFrame = func() *outbox.Frame {
	f := transport.NewFrame(false, []byte{byte(engineio.PacketPing)})
	f.Ping = true
	return f
}()

// Expired implements [engineio.Expirer].
func (s *Session) Expired(d *engineio.Deadline) {
	s.mu.Lock()
	if !s.server.deadlines.Confirm(d) {
		s.mu.Unlock()
		return
	}
	ended, accepted, slow := s.ended, s.accepted, false
	var ping bool
	var err error
	switch {
	case ended:
	case d == &s.beat:
		var next engineio.Wait
		e := s.evidence()
		ping, next, err = s.state.Expired(e)
		s.wait(next)
		if e.NotHeard && err == nil {
			s.readOn(mostUnread) // there may be room by now
		}
	case accepted:
		slow = s.tooSlow()
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		s.end(err, endSilent)
	case ping:
		s.ping()
	case d == &s.beat:
	case ended:
		s.Abort()
	case !accepted:
		s.end(errNotAccepted, endOrderly)
	case slow:
		s.end(errIncomplete, endOrderly)
	}
}

// ping sends a ping, which state knows of.
func (s *Session) ping() {
	taken := s.carrier().Taken()
	s.mu.Lock()
	s.taken, s.looks = taken, 0
	if s.pauses > 0 && !s.ended {
		s.readOn(mostUnread)
	}
	s.mu.Unlock()
	s.carrier().Send(pingFrame)
}

// evidence is what is known of a client that has not answered a ping. mu must be held.
func (s *Session) evidence() engineio.Evidence {
	if !s.state.Pinged() {
		return engineio.Evidence{}
	}
	c := s.carrier()
	e := engineio.Evidence{Taken: c.PingTaken(), Partial: s.partial, NotHeard: s.halted || s.behind}
	if e.Taken {
		return e
	}
	if taken := c.Taken(); taken != s.taken {
		s.taken, s.looks = taken, 0
	} else if s.looks < math.MaxUint8 {
		s.looks++
	}
	patience := s.server.cfg.PingTimeout
	if !polls(c) {
		patience += maxStall
	}
	e.Silent = time.Duration(s.looks)*s.server.cfg.look() >= patience
	return e
}

// large sends a ping ahead of a large message: the client can get none while that comes, and closes the connection by itself if it has had none
// for long (setTimeout of pingInterval + pingTimeout in engine.io-client/lib/socket.ts, which a ping alone resets).
func (s *Session) large() {
	s.mu.Lock()
	recent := s.server.deadlines.Left(&s.beat) > s.server.cfg.PingInterval*3/4
	ping := !s.ended && !s.state.Pinged() && !recent
	if ping {
		s.wait(s.state.Ping())
	}
	s.mu.Unlock()
	if ping {
		s.ping()
	}
}

// answered takes a pong. mu must be held.
func (s *Session) answered() {
	s.server.pingDelay.Arm(&s.beat, s)
	s.readOn(0)
}

// wait moves the deadline of the heartbeat. mu must be held.
func (s *Session) wait(w engineio.Wait) {
	switch w {
	case engineio.WaitPing:
		s.server.pingDelay.Arm(&s.beat, s)
	case engineio.WaitTaken:
		s.server.takenDelay.Arm(&s.beat, s)
	case engineio.WaitRest:
		s.server.restDelay.Arm(&s.beat, s)
	case engineio.WaitPong:
		s.server.pongDelay.Arm(&s.beat, s)
	case engineio.WaitNothing:
		s.server.deadlines.Stop(&s.beat)
	}
}
