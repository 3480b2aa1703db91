package wsserver

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
)

// TestClosedDuringEnd: a connection still counts while a goroutine tells its sockets of their end, so that Close waits for their handlers.
func TestClosedDuringEnd(t *testing.T) {
	srv := New(Config{Logger: slog.New(slog.DiscardHandler)})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil).(*conn)
	s := newSocket(c, "/", nil)
	s.ns = srv.Of("/")
	s.greeted = true
	handled := make(chan struct{})
	s.OnDisconnect(func(error) { close(handled) })
	c.sockets = append(c.sockets, s)

	s.mu.Lock() // holds up end
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Ended(ErrTransport)
	}()
	for closed := false; !closed; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		closed = c.closed
		c.mu.Unlock()
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		srv.handlers.Wait()
	}()
	select {
	case <-waited:
		t.Error("nothing is waited for, and a handler is to come")
	case <-time.After(50 * time.Millisecond):
	}
	s.mu.Unlock()
	<-ended
	<-handled
	<-waited
	if err := srv.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestEventAfterEnd: an event that arrives while its socket ends, after the goroutine of the socket has looked for events the last time,
// neither waits for ever nor keeps the connection from being read.
func TestEventAfterEnd(t *testing.T) {
	srv := New(Config{MaxEvents: 1, Logger: slog.New(slog.DiscardHandler)})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil).(*conn) // a Pause of its session would panic
	s := newSocket(c, "/", nil)
	s.ns = srv.Of("/")
	s.finish(ErrServerDisconnect, nil)
	srv.handlers.Done() // that of the connection, which is not one
	srv.handlers.Wait()
	s.push(&packet.Packet{Type: packet.Event})
	if len(s.events) != 0 {
		t.Errorf("got %d events, want none", len(s.events))
	}
	if err := srv.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
