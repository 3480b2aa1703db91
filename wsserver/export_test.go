package wsserver

// PendingAcks is the number of acknowledgements that s waits for.
func (s *Socket) PendingAcks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acks)
}
