package wsserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// conn is a client's connection: one Engine.IO session, with a socket for each namespace that the client is in.
//
// The engine calls Message from one goroutine at a time, which for most connections is the poller's: nothing here blocks.
type conn struct {
	server    *Server
	session   *engine.Session
	handshake handshake
	decoder   packet.Decoder // used by Message alone

	mu      sync.Mutex // guards what follows. May be taken inside Socket.mu, never the other way round
	sockets []*Socket
	left    []string // namespaces that the server has disconnected: packets for them may still be on their way
	live    int32    // sockets whose handlers have not ended, those in sockets among them
	auth    int      // bytes that these have as their auth
	closed  bool
}

// newConn makes the owner of a session; nil if the server is closed. It counts as a handler until Ended has returned.
func (srv *Server) newConn(r *http.Request, s *engine.Session) engine.Receiver {
	c := &conn{server: srv, session: s, handshake: srv.handshake(r), decoder: srv.codec.NewDecoder(&srv.limits)}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return nil
	}
	srv.handlers.Add(1)
	return c
}

// Message implements [engine.Receiver].
func (c *conn) Message(binary bool, payload []byte) (more bool, err error) {
	var p *packet.Packet
	if binary {
		p, err = c.decoder.Binary(payload)
	} else {
		p, err = c.decoder.Text(payload)
	}
	if err == nil && p != nil {
		err = c.route(p)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrParse, err)
	}
	return p == nil, nil
}

// Ended implements [engine.Receiver].
func (c *conn) Ended(why engine.Reason, err error) {
	defer c.server.handlers.Done() // the goroutines of its sockets count for themselves
	if why == engine.ReasonOwner && errors.Is(err, ErrParse) {
		why = engine.ReasonParse // of Socket.IO's rules
	}
	reason := reasonOf(why, err)
	c.mu.Lock()
	c.closed = true
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	c.server.endings.note(c.server.cfg.Logger, c.handshake.remote, why, reason)
	for _, s := range sockets {
		s.finish(reason, nil)
	}
}

// Waiting implements [engine.Receiver].
func (c *conn) Waiting() (bytes int, oldest time.Duration) {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		n, waits := s.inbox()
		bytes += n
		oldest = max(oldest, waits)
	}
	return bytes, oldest
}

// close ends the connection, after it has told the client so in each namespace.
func (c *conn) close() {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		if s.now() == connected {
			s.finish(ErrServerClose, s.goodbye())
		}
	}
	c.session.Close(ErrServerClose)
}

// reasonOf is the end of a session as the reason of a disconnection.
func reasonOf(why engine.Reason, err error) error {
	var reason error
	switch why {
	case engine.ReasonOwner:
		return err
	case engine.ReasonClient:
		return ErrTransportClose
	case engine.ReasonPingTimeout:
		return ErrPingTimeout
	case engine.ReasonNotAccepted:
		return ErrConnectTimeout
	case engine.ReasonParse:
		reason = ErrParse
	case engine.ReasonTooSlow, engine.ReasonBehind:
		reason = ErrTooSlow
	case engine.ReasonOverBudget:
		reason = ErrOverBudget
	default:
		reason = ErrTransport
	}
	if errors.Is(err, reason) {
		return err
	}
	return fmt.Errorf("%w: %w", reason, err)
}
