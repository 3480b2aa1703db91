package engine

import (
	"math"
	"time"
)

const (
	// mostUnread is more than the kernels of both ends hold of what a client has sent and the server has not read, in bytes: of a client that
	// has sent more than that since a ping, something was sent after it.
	mostUnread = 16 << 20

	// untilEnd reads on for as long as anything comes: the client has closed its side.
	untilEnd = math.MaxInt32
)

// Pause stops receiving until Resume was called as often: what the client sends stays in the network, and in the end with the client. A
// little may still come, and more while a ping is out: what is not read counts against nobody, so that the session reads on until the pong
// shows, or that the client has gone.
func (s *Session) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause()
}

// pause is Pause, with mu held.
func (s *Session) pause() {
	s.pauses++
	if s.pauses > 1 || s.ended {
		return
	}
	s.state.Pause()
	s.limitMessage()
	if s.state.Pinged() {
		s.readOn(mostUnread)
	} else {
		s.readOn(0)
	}
}

// Resume undoes a Pause.
func (s *Session) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resume()
}

// resume is Resume, with mu held.
func (s *Session) resume() {
	s.pauses--
	if s.pauses == 0 && !s.ended {
		s.wait(s.state.Resume())
		s.limitMessage()
		s.readOn(0)
	}
}

// readOn says how many bytes a session that is paused still reads, as far as the budget allows. mu must be held.
func (s *Session) readOn(n int32) {
	if n == mostUnread && s.server.cfg.Budget.Share() == 0 {
		n = 0
	}
	s.onward = n
	halt := s.pauses > 0 && n == 0
	if s.halted != halt {
		s.halted = halt
		if halt {
			s.carrier().Pause()
		} else {
			s.carrier().Resume()
		}
	}
}

// hungUp says that the client has closed its side: what it has sent before is the last, and waits for its handlers like all else.
func (s *Session) hungUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pauses > 0 && !s.ended {
		s.readOn(untilEnd)
	}
}

// inflating says whether what has come waits to be inflated, and nothing is read meanwhile.
func (s *Session) inflating(behind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = behind
	s.limitMessage()
}

// fed follows the messages that arrived at once, as n bytes: one that has begun has to go on. receiving must be held.
func (s *Session) fed(n int, partial bool) {
	partial = partial || s.more
	whole := s.whole
	s.whole = false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if partial {
		s.arrived = int32(min(int(s.arrived)+n, math.MaxInt32))
	}
	if partial != s.partial || partial && whole {
		s.partial = partial
		s.began = millis()
		s.limitMessage()
	}
	if s.onward > 0 && s.onward != untilEnd {
		s.fedOn(n)
	}
	s.spend(n)
	if s.server.cfg.Budget.Full() {
		s.server.warden.hold(s)
	}
}

var epoch = time.Now()

// millis is a monotonic time in milliseconds, which begins again after 49 days.
func millis() uint32 { return uint32(time.Since(epoch).Milliseconds()) }

// incomplete returns how many bytes the owner has of a message that is not complete, and how long ago it began. mu must be held.
func (s *Session) incomplete() (bytes int, age time.Duration) {
	if s.partial {
		age = time.Duration(millis()-s.began) * time.Millisecond
	}
	return int(s.parts), age
}

// fedOn follows what a session that is paused has read on. mu must be held.
func (s *Session) fedOn(n int) {
	left := s.onward - int32(min(n, mostUnread))
	if left > 0 && s.server.cfg.Budget.Share() > 0 {
		s.onward = left
		return
	}
	s.wait(s.state.Forgive())
	s.readOn(0)
}

// assemble counts against the budget what the owner has of a message that is not complete. receiving must be held.
func (s *Session) assemble(n int) {
	if !s.more && s.parts == 0 { // which changes here alone
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
	case s.more:
		s.server.cfg.Budget.Add(n)
		s.parts += int32(n)
	case s.parts > 0:
		s.server.cfg.Budget.Release(int(s.parts))
		s.parts = 0
	}
}

// limitMessage moves the limit to what is incomplete, if that can be completed: not while the server does not receive. mu must be held.
func (s *Session) limitMessage() {
	switch {
	case s.ended || !s.accepted: // another limit runs
	case s.partial && s.pauses == 0 && !s.behind:
		s.arrived = 0
		s.armLimit(s.server.messageDelay)
	default:
		s.stopLimit()
	}
}

// tooSlow reports whether a message that is incomplete has come too slowly since the limit was armed; otherwise it arms the limit again. mu must
// be held.
func (s *Session) tooSlow() bool {
	if int(s.arrived) < s.server.pace.Bytes() {
		return true
	}
	s.limitMessage()
	return false
}
