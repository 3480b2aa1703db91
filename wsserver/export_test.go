package wsserver

import "github.com/belfry-io/belfry/adapter/packet"

// PendingAcks is the number of acknowledgements that s waits for.
func (s *Socket) PendingAcks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acks)
}

// Expect is what a broadcast does that asks s, and finds out meanwhile that it has ended.
func (s *Socket) Expect() error { return s.expect(0, func(packet.Args, bool) {}) }
