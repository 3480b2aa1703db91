package engine

import "github.com/belfry-io/belfry/wsserver/internal/engineio"

// rare is what few sessions have at any time. The session's mu guards it.
type rare struct {
	limit   engineio.Deadline // of Accept, then of a message that is not complete, then of the end
	limited bool              // limit was armed and not stopped since
	probe   *connection       // the WebSocket that probes
}

// needed returns rare, to be changed. mu must be held, here and below.
func (s *Session) needed() *rare {
	if s.rare == nil {
		s.rare = new(rare)
	}
	return s.rare
}

// spare drops rare if it is empty.
func (s *Session) spare() {
	if !s.rare.limited && s.rare.probe == nil {
		s.rare = nil
	}
}

// probe returns the WebSocket that probes, nil if none does.
func (s *Session) probe() *connection {
	if s.rare == nil {
		return nil
	}
	return s.rare.probe
}

// setProbe says which WebSocket probes, nil for none.
func (s *Session) setProbe(c *connection) {
	if c == s.probe() {
		return
	}
	s.needed().probe = c
	s.spare()
}

// armLimit moves the limit to a duration from now.
func (s *Session) armLimit(d *engineio.Delay) {
	r := s.needed()
	r.limited = true
	d.Arm(&r.limit, s)
}

// stopLimit ends the limit.
func (s *Session) stopLimit() {
	if s.rare == nil {
		return
	}
	s.server.deadlines.Stop(&s.rare.limit)
	s.rare.limited = false
	s.spare()
}
