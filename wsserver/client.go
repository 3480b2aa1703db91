package wsserver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// errState is a packet that has no place here: Socket.IO closes the connection.
var errState = errors.New("wsserver: packet out of place")

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
	late := slices.Contains(c.left, p.Namespace)
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed, s == nil && late:
		return nil
	case s == nil, s.now() == connecting:
		return fmt.Errorf("%w: %v for a namespace that is not connected", errState, p.Type)
	}
	switch p.Type {
	case packet.Event:
		c.server.counts.events.Add(1)
		s.push(p)
	case packet.Ack:
		s.acknowledge(p)
	case packet.Disconnect:
		s.finish(ErrClientDisconnect, nil)
	default:
		return fmt.Errorf("%w: %v", errState, p.Type)
	}
	return nil
}

// connect makes a socket, which finds out whether it may connect on a goroutine of its own. A client that is connected already, or about to
// be, stays so: a second CONNECT, of a program that calls connect() once too often, is ignored. The reference closes the connection.
//
// Sockets count until their handlers have ended: a client that connects and disconnects again and again, while handlers block, cannot make
// goroutines without end.
func (c *conn) connect(p *packet.Packet) error {
	if !c.server.known(p.Namespace) {
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "Invalid namespace")))
		return nil
	}
	s := newSocket(c, p.Namespace, p.Data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if slices.ContainsFunc(c.sockets, func(s *Socket) bool { return s.name == p.Namespace }) {
		return nil
	}
	cfg := &c.server.cfg
	switch {
	case int(c.live) >= cfg.MaxSockets:
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "too many namespaces on one connection")))
		return nil
	case c.auth+len(p.Data) > cfg.HandshakeBytes:
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "auth too large")))
		return nil
	}
	c.left = slices.DeleteFunc(c.left, func(name string) bool { return name == p.Namespace })
	c.sockets = append(c.sockets, s)
	c.live++
	c.auth += len(s.auth)
	s.running = true // nobody else knows s yet
	c.server.handlers.Go(s.connect)
	return nil
}

// forgotten says that the handlers of a socket have ended.
func (c *conn) forgotten(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live--
	c.auth -= len(s.auth)
}

// refusal is the packet that refuses a namespace for a reason of the server's own.
func (srv *Server) refusal(namespace, message string) packet.Encoded {
	return srv.plain(&packet.Packet{Type: packet.ConnectError, Namespace: namespace, Data: refusalData(message)})
}

// maxLeft bounds what a connection remembers of namespaces that the server has disconnected.
const maxLeft = 256

// forget says that s has ended. last is what the client is told, nil if it knows. It is queued before the client can connect anew, so that
// it does not concern the next socket; and once the client has it, s is not in its way. late says that packets for s may be on their way.
func (c *conn) forget(s *Socket, last *engine.Frame, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last != nil {
		c.session.Append(last)
	}
	c.sockets = slices.DeleteFunc(c.sockets, func(o *Socket) bool { return o == s })
	if late && !slices.Contains(c.left, s.name) {
		if len(c.left) == maxLeft {
			c.left = slices.Delete(c.left, 0, 1)
		}
		c.left = append(c.left, s.name)
	}
}
