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
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// conn is a client's connection: one Engine.IO session, with a socket for each namespace that the
// client is in.
//
// The engine calls Message from one goroutine at a time, which for most connections is the
// poller's: nothing here blocks.
type conn struct {
	server    *Server
	session   *engine.Session
	handshake handshake
	decoder   packet.Decoder // used by Message alone
	visitor   *visitor       // whose it is, as the gate has counted it; nil for nobody in particular

	mu       sync.Mutex // guards what follows. May be taken inside life.mu, never the other way round
	sockets  []*Socket
	left     *[]string // namespaces that the server has disconnected: packets for them may still be on their way; nil for none
	auth     int       // bytes that sockets whose handlers have not ended have as their auth
	live     int32     // how many these are
	closed   bool
	moving   bool               // a drain has come to it
	farewell farewell           // how its client has gone
	carried  engineio.Transport // by which its sockets count in their namespaces; 0 before the first
}

// errState is a packet that has no place here: Socket.IO closes the connection.
var errState = errors.New("wsserver: unexpected packet")

// newConn makes the owner of a session; nil if the server is closed. It counts as a handler until
// Ended has returned.
func (srv *Server) newConn(r *http.Request, s *engine.Session) *conn {
	c := &conn{server: srv, session: s, handshake: srv.handshake(r), decoder: srv.codec.NewDecoder(&srv.limits)}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return nil
	}
	srv.workers.running.Add(1)
	return c
}

// Message implements [engine.Owner].
func (c *conn) Message(binary bool, payload []byte) (more bool, err error) {
	var p *packet.Packet
	if binary {
		p, err = c.decoder.Binary(payload)
	} else {
		p, err = c.decoder.Text(payload)
	}
	if err == nil && p != nil {
		if p.Type != packet.Ack {
			c.session.CountEvent()
		}
		err = c.route(p)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrParse, err)
	}
	return p == nil, nil
}

// route gives a packet to whom it is for.
func (c *conn) route(p *packet.Packet) error {
	if p.Type == packet.Connect {
		return c.connect(p)
	}
	c.mu.Lock()
	i := slices.IndexFunc(c.sockets, func(s *Socket) bool { return s.name == p.Namespace })
	var s *Socket
	if i >= 0 {
		s = c.sockets[i]
	}
	late := c.hasLeft(p.Namespace)
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed, s == nil && late:
		return nil
	case s == nil, s.life.at() == connecting:
		return fmt.Errorf("%w: %v for a namespace that is not connected", errState, p.Type)
	}
	switch p.Type {
	case packet.Event:
		c.server.counts.events.Add(1)
		s.push(p)
	case packet.Ack:
		if call := s.forget(p.ID); call != nil {
			call(p.Args, true) // one that nothing waits for, or without an id, is ignored, as Socket.IO does
		}
	case packet.Disconnect:
		s.end(ErrClientDisconnect, nil)
	default:
		return fmt.Errorf("%w: %v", errState, p.Type)
	}
	return nil
}

// connect makes a socket, which finds out whether it may connect on a goroutine of its own. A
// client that is connected already, or about to be, stays so: a second CONNECT, of a program that
// calls connect() once too often, is ignored. The reference closes the connection.
//
// Sockets count until their handlers have ended: a client that connects and disconnects again and
// again, while handlers block, cannot make goroutines without end.
func (c *conn) connect(p *packet.Packet) error {
	if !c.server.known(p.Namespace) {
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "Invalid namespace")))
		return nil
	}
	switch why, ok := c.begin(newSocket(c, p.Namespace, p.Data), len(p.Data)); {
	case ok:
		return nil
	case why == declinedSockets:
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "too many namespaces on one connection")))
		c.server.decline(why, "remote", c.handshake.remote())
	default:
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "auth too large")))
		c.server.decline(why, "remote", c.handshake.remote())
	}
	return nil
}

// begin has a socket connect, whose auth has so many bytes, unless its namespace has one. It reports
// false if there may be no more, because of which limit.
func (c *conn) begin(s *Socket, auth int) (why declined, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.moving || slices.ContainsFunc(c.sockets, func(o *Socket) bool { return o.name == s.name }) {
		return 0, true
	}
	limits := c.server.bounds.Load()
	switch {
	case int(c.live) >= limits.MaxSockets:
		return declinedSockets, false
	case c.auth+auth > limits.HandshakeBytes:
		return declinedAuth, false
	}
	if c.hasLeft(s.name) {
		*c.left = slices.DeleteFunc(*c.left, func(name string) bool { return name == s.name })
	}
	c.sockets = append(c.sockets, s)
	c.live++
	c.auth += auth
	s.inbox.running = true // nobody else knows s yet
	c.server.workers.run(task{(*Socket).connect, s})
	return 0, true
}

// socketDone says that the handlers of a socket have ended.
func (c *conn) socketDone(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live--
	if s.auth != nil {
		c.auth -= len(*s.auth)
	}
}

// refusal is the packet that refuses a namespace for a reason of the server's own.
func (srv *Server) refusal(namespace, message string) packet.Encoded {
	return srv.plain(&packet.Packet{Type: packet.ConnectError, Namespace: namespace, Data: refusalData(message)})
}

// maxLeft bounds what a connection remembers of namespaces that the server has disconnected.
const maxLeft = 256

// removeSocket says that s has ended. last is what the client is told, nil if it knows. It is queued
// before the client can connect anew, so that it does not concern the next socket; and once the
// client has it, s is not in its way. late says that packets for s may be on their way.
func (c *conn) removeSocket(s *Socket, last *engine.Frame, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last != nil {
		c.session.Append(last)
	}
	c.sockets = slices.DeleteFunc(c.sockets, func(o *Socket) bool { return o == s })
	if s.counted {
		s.counted = false
		s.seat.ns.carried(c.carried).Add(-1)
	}
	if late && !c.hasLeft(s.name) {
		if c.left == nil {
			c.left = new([]string)
		}
		if len(*c.left) == maxLeft {
			*c.left = slices.Delete(*c.left, 0, 1)
		}
		*c.left = append(*c.left, s.name)
	}
}

// hasLeft reports whether a namespace is one of left. c.mu must be held.
func (c *conn) hasLeft(namespace string) bool {
	return c.left != nil && slices.Contains(*c.left, namespace)
}

// count counts a socket whose client is told that it is connected, until removeSocket.
func (c *conn) count(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carried == 0 {
		c.carried = c.session.Transport()
	}
	s.counted = true
	s.seat.ns.carried(c.carried).Add(1)
}

// Moved implements [engine.Owner].
func (c *conn) Moved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := c.session.Transport()
	for _, s := range c.sockets {
		if s.counted && c.carried != to {
			s.seat.ns.carried(c.carried).Add(-1)
			s.seat.ns.carried(to).Add(1)
		}
	}
	if c.carried != 0 {
		c.carried = to
	}
}

// Ended implements [engine.Owner].
func (c *conn) Ended(why engine.Reason, err error) {
	defer c.server.workers.running.Done() // the tasks of its sockets count for themselves
	if why == engine.ReasonOwner && errors.Is(err, ErrParse) {
		why = engine.ReasonParse // of Socket.IO's rules
	}
	reason := reasonOf(why, err)
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.server.endings.note(c.server.cfg.Logger, c.handshake.remote(), why, reason)
	for _, s := range c.all() {
		s.end(reason, nil)
	}
}

// Gone implements [engine.Owner].
func (c *conn) Gone() {
	c.mu.Lock()
	c.farewell = farewellGone
	if c.session.HeardAll() {
		c.farewell = farewellHeard
	}
	c.mu.Unlock()
	var v visitor
	if c.visitor != nil {
		v = *c.visitor
	}
	c.server.gate.leave(v)
}

// all returns the sockets, in a list of its own.
func (c *conn) all() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sockets)
}

// Waiting implements [engine.Owner].
func (c *conn) Waiting() (bytes int, oldest time.Duration) {
	for _, s := range c.all() {
		n, waits := s.inbox.load()
		bytes += n
		oldest = max(oldest, waits)
	}
	return bytes, oldest
}

// close ends the connection, after it has told the client so in each namespace.
func (c *conn) close() {
	for _, s := range c.all() {
		if s.life.at() == connected {
			s.end(ErrServerClose, s.disconnectFrame())
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
	case engine.ReasonTooFast:
		reason = ErrTooFast
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
