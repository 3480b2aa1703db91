package engine

import (
	"github.com/belfry-io/belfry/adapter/shrink"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// An ending says how a session ends, as far as its client is concerned.
type ending uint8

const (
	endOrderly   ending = iota // what was sent to the client before still reaches it, if it receives
	endShutdown                // likewise, but little time is left: none for a client that polls, does not at the moment, and has missed nothing
	endGoingAway               // likewise, and the client is to connect elsewhere: one that polls gets the close packet when it asks next
	endSilent                  // the client does not answer: one that polls will fetch nothing more
	endDismissed               // the client has closed the session itself (Engine.IO 4, "Protocol", packet close)
	endAborted                 // nothing that waits is kept
	endCarrier                 // the carrier has ended, or will by itself
)

// end ends the session for a reason, unless it has ended, and then what carries it.
func (s *Session) end(err error, how ending) {
	c := s.carrier()
	first := s.markEnded(err, s.patience(c, how))
	// From here on, no other carrier takes over.
	c = s.carrier()
	switch {
	case how == endAborted:
		c.Abort()
	case !first && how == endShutdown:
		s.shortenEnd()
	case !first, how == endCarrier:
	case how == endDismissed:
		c.Dismiss()
	case how == endGoingAway:
		c.GoAway()
	case how == endSilent && polls(c), how == endShutdown && c.Idle():
		c.Abort()
	default:
		c.Close()
	}
}

// patience is for how long what carries the session may take to end.
func (s *Session) patience(c Carrier, how ending) *engineio.Delay {
	switch {
	case polls(c) && how == endOrderly:
		return s.server.pollCloseDelay
	case polls(c) && how == endShutdown:
		return s.server.pollShutDelay
	}
	return s.server.closeDelay
}

// shortenEnd is for a session that has ended, and waits for its client to fetch what is left, when the server shuts down.
func (s *Session) shortenEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if polls(s.carrier()) && !s.gone {
		s.armLimit(s.server.pollShutDelay)
	}
}

// markEnded ends the session, but for what carries it, which has delay to do so, and tells the owner. It reports false if that was done
// before.
func (s *Session) markEnded(err error, delay *engineio.Delay) bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	s.ended = true
	s.state.End()
	s.server.cfg.Budget.Release(int(s.parts))
	s.server.deadlines.Stop(&s.beat)
	if s.throttle != nil {
		s.server.deadlines.Stop(&s.throttle.look)
	}
	if !s.gone {
		s.armLimit(delay)
	}
	probe := s.probe()
	s.setProbe(nil)
	s.mu.Unlock()
	if probe != nil {
		probe.sessionEnded()
	}
	why, err := reasonOf(err)
	s.owner.Ended(why, err)
	s.mu.Lock()
	s.told = true
	last := s.gone
	s.mu.Unlock()
	if last {
		s.lastStep() // markGone came meanwhile, from another goroutine
	}
	return true
}

// markGone says that nothing is left of what carried the session.
func (s *Session) markGone() {
	if s.carried.Load() != nil {
		s.server.carried(s.Transport()).Add(-1)
	}
	s.server.mu.Lock()
	delete(s.server.sessions, s.sid)
	s.server.sessions = shrink.Map(s.server.sessions, &s.server.peakSessions)
	s.server.mu.Unlock()
	s.mu.Lock()
	s.gone = true
	s.stopLimit()
	last := s.told
	s.mu.Unlock()
	if last {
		s.lastStep()
	}
}

// lastStep is for a session whose owner knows of its end, and of which nothing is left.
func (s *Session) lastStep() {
	s.owner.Gone()
	s.server.live.Done()
}

// endUnopened ends a session that came to nothing before it was known, and had no carrier.
func (s *Session) endUnopened(err error) {
	s.markEnded(err, s.server.closeDelay)
	s.markGone()
}
