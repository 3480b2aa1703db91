package transport

import (
	"net"
	"sync"
)

// streamBuffer is how much a stream reads at once, in bytes. Every stream has a buffer of its own.
const streamBuffer = 4 << 10

// stream reads a connection that has no descriptor to poll (TLS, a pipe, a wrapped listener) with a goroutine of its own.
type stream struct {
	conn net.Conn

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // paused or closed has changed
	paused  bool
	closed  bool
}

func newStream(conn net.Conn) *stream {
	s := &stream{conn: conn}
	s.changed.L = &s.mu
	return s
}

// read feeds w until the connection ends.
func (s *stream) read(w *WebSocket) {
	buf := make([]byte, streamBuffer)
	for s.wait() {
		n, err := s.conn.Read(buf)
		if n > 0 {
			w.feed(buf[:n])
		}
		if err != nil {
			w.readEnded(err)
			return
		}
	}
}

// wait returns when the stream may read; false if it is closed.
func (s *stream) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.paused && !s.closed {
		s.changed.Wait()
	}
	return !s.closed
}

func (s *stream) pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.changed.Broadcast()
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	s.conn.Close()
}
