package wsserver

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// conn is a client's connection: one Engine.IO session, with a socket for each namespace that the client is in.
//
// The transport calls Message from one goroutine at a time, which for most connections is the poller's: nothing here blocks.
type conn struct {
	server  *Server
	remote  string
	query   string // raw
	ws      transport.WebSocket
	decoder packet.Decoder // used by Message alone
	awaited bool           // attachments are to come; used by Message and Fed alone
	whole   bool           // a packet was completed since the last Fed; used by Message and Fed alone
	partial bool           // a packet has begun and is not complete; changed by Fed alone, under mu

	beat  engineio.Deadline // of the session: a ping, or its answer
	limit engineio.Deadline // of the first CONNECT, then of whatever packet is incomplete, then of the closing handshake

	mu      sync.Mutex // guards what follows. May be taken inside Socket.mu, never the other way round
	session engineio.Session
	sockets []*Socket
	live    int      // sockets whose handlers have not ended, those in sockets among them
	left    []string // namespaces that the server has disconnected: packets for them may still be on their way
	pauses  int      // how many sockets cannot take more events
	greeted bool     // a namespace was joined in time
	closed  bool
	told    bool // all sockets have been told so
	gone    bool // nothing is left in the transport
}

// newConn makes a connection for a request; nil if the server is closed. It counts as a handler until Closed, or until drop.
func (srv *Server) newConn(r *http.Request) *conn {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return nil
	}
	srv.handlers.Add(1)
	return &conn{server: srv, remote: r.RemoteAddr, query: r.URL.RawQuery, decoder: srv.codec.NewDecoder(&srv.limits)}
}

// drop ends what newConn began, if it came to nothing.
func (c *conn) drop() { c.server.handlers.Done() }

// open begins the session. early is what the client sent behind its request.
func (c *conn) open(nc net.Conn, early []byte) {
	srv := c.server
	srv.transports.Serve(&c.ws, nc, c)
	srv.mu.Lock() // before anything is sent, for that may fail, and then Closed follows
	closed := srv.closed
	srv.conns[c] = struct{}{}
	srv.mu.Unlock()
	open := engineio.Open{
		SID:          engineio.NewSID(),
		PingInterval: srv.cfg.PingInterval,
		PingTimeout:  srv.cfg.PingTimeout,
		MaxPayload:   srv.cfg.MaxPayload,
	}
	c.ws.Send(&outbox.Frame{Bytes: transport.AppendFrame(nil, transport.OpText, open.Packet())})
	if closed {
		c.close(ErrShutdown)
	}
	c.mu.Lock()
	if !c.closed {
		srv.pingDelay.Arm(&c.beat, c)
		srv.connectDelay.Arm(&c.limit, c)
	}
	c.mu.Unlock()
	c.ws.Start(early)
}

// Message implements [transport.Receiver].
func (c *conn) Message(op transport.Opcode, payload []byte) error {
	binary := op == transport.OpBinary
	c.mu.Lock()
	event, payload, err := c.session.Receive(binary, payload)
	if event == engineio.EventPong {
		c.server.pingDelay.Arm(&c.beat, c)
	}
	c.mu.Unlock()
	if err != nil {
		return c.breach(err)
	}
	switch event {
	case engineio.EventClose:
		c.close(ErrTransportClose)
	case engineio.EventMessage:
		var p *packet.Packet
		if binary {
			p, err = c.decoder.Binary(payload)
		} else {
			p, err = c.decoder.Text(payload)
		}
		c.awaited = p == nil
		if err == nil && p != nil {
			c.whole = true
			err = c.route(p)
		}
		if err != nil {
			return c.breach(err)
		}
	}
	return nil
}

// breach is err as the reason of a disconnection: the client broke the rules of Engine.IO or Socket.IO.
func (c *conn) breach(err error) error {
	if errors.Is(err, engineio.ErrDirection) {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	return fmt.Errorf("%w: %w", ErrParse, err)
}

// Fed implements [transport.Receiver]: a packet that has begun may not take for ever.
func (c *conn) Fed(partial bool) {
	partial = partial || c.awaited
	if partial == c.partial && !(partial && c.whole) {
		c.whole = false
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partial, c.whole = partial, false
	c.limitMessage()
}

// limitMessage moves the limit to what is incomplete, if that can be completed: not while the server does not read. c.mu must be held.
func (c *conn) limitMessage() {
	switch {
	case c.closed || !c.greeted: // another limit runs
	case c.partial && c.pauses == 0:
		c.server.messageDelay.Arm(&c.limit, c)
	default:
		c.server.deadlines.Stop(&c.limit)
	}
}

// pause says that a socket cannot take more events: the connection is not read until resume was called as often.
func (c *conn) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses++
	if c.pauses == 1 && !c.closed {
		c.wait(c.session.Pause())
		c.limitMessage()
		c.ws.Pause()
	}
}

func (c *conn) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses--
	if c.pauses == 0 && !c.closed {
		c.wait(c.session.Resume())
		c.limitMessage()
		c.ws.Resume()
	}
}

// wait moves the session's deadline. c.mu must be held.
func (c *conn) wait(w engineio.Wait) {
	switch w {
	case engineio.WaitPing:
		c.server.pingDelay.Arm(&c.beat, c)
	case engineio.WaitPong:
		c.server.pongDelay.Arm(&c.beat, c)
	case engineio.WaitNothing:
		c.server.deadlines.Stop(&c.beat)
	}
}

var pingFrame = &outbox.Frame{Bytes: transport.AppendFrame(nil, transport.OpText, []byte{byte(engineio.PacketPing)})}

// Expired implements [engineio.Expirer].
func (c *conn) Expired(d *engineio.Deadline) {
	c.mu.Lock()
	if !c.server.deadlines.Confirm(d) {
		c.mu.Unlock()
		return
	}
	closed, greeted := c.closed, c.greeted
	var ping bool
	var err error
	if d == &c.beat && !closed {
		var next engineio.Wait
		ping, next, err = c.session.Expired()
		c.wait(next)
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		c.close(ErrPingTimeout)
	case ping:
		c.ws.Send(pingFrame)
	case d == &c.beat:
	case closed:
		c.ws.Abort()
	case !greeted:
		c.close(ErrConnectTimeout)
	default:
		c.close(fmt.Errorf("%w: a message was not completed in time", ErrTransport))
	}
}

// Closing implements [transport.Receiver]: nothing more will come, for a reason that Message returned or that the transport found.
func (c *conn) Closing(err error) {
	switch {
	case errors.Is(err, ErrParse), errors.Is(err, ErrTransport):
	case errors.Is(err, transport.ErrPeerClosed):
		err = ErrTransportClose
	case errors.Is(err, outbox.ErrTooSlow):
		err = fmt.Errorf("%w: %w", ErrTooSlow, err)
	default:
		err = fmt.Errorf("%w: %w", ErrTransport, err)
	}
	c.end(err)
}

// Closed implements [transport.Receiver]: nothing is left of the connection.
func (c *conn) Closed() {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	c.mu.Lock()
	c.gone = true
	c.server.deadlines.Stop(&c.limit)
	last := c.told
	c.mu.Unlock()
	if last {
		c.server.handlers.Done() // the goroutines of its sockets count for themselves
	}
}

// close ends the connection: what was sent to the client before still reaches it, if it reads.
func (c *conn) close(reason error) {
	if c.end(reason) {
		c.ws.Close(transport.CloseNoStatus)
	}
}

// end ends the session and all sockets. It reports false if that was done before.
func (c *conn) end(reason error) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	c.session.End()
	c.server.deadlines.Stop(&c.beat)
	if !c.gone {
		c.server.closeDelay.Arm(&c.limit, c)
	}
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	c.server.cfg.Logger.Debug("belfry: connection ends", "remote", c.remote, "reason", reason)
	for _, s := range sockets {
		s.finish(reason, nil)
	}
	c.mu.Lock()
	c.told = true
	last := c.gone
	c.mu.Unlock()
	if last {
		c.server.handlers.Done() // Closed came meanwhile, from another goroutine
	}
	return true
}
