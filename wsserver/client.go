package wsserver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter/packet"
)

// maxSockets bounds the sockets of a connection: a client that connects and disconnects again and again, while handlers block, cannot
// make goroutines without end.
const maxSockets = 256

// errState is a packet that has no place here: Socket.IO closes the connection.
var errState = errors.New("wsserver: packet out of place")

// route gives a packet to whom it is for.
func (c *conn) route(p *packet.Packet) error {
	if p.Type == packet.Connect {
		return c.connect(p)
	}
	c.mu.Lock()
	i := slices.IndexFunc(c.sockets, func(s *Socket) bool { return s.ns.name == p.Namespace })
	var s *Socket
	if i >= 0 {
		s = c.sockets[i]
	}
	late := slices.ContainsFunc(c.left, func(ns *Namespace) bool { return ns.name == p.Namespace })
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

// connect makes a socket, if there is such a namespace.
func (c *conn) connect(p *packet.Packet) error {
	ns := c.server.lookup(p.Namespace)
	if ns == nil {
		c.session.Send(newFrame(c.server.refusal(p.Namespace, "Invalid namespace")))
		return nil
	}
	s := newSocket(ns, c, p.Data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if slices.ContainsFunc(c.sockets, func(s *Socket) bool { return s.ns == ns }) {
		return fmt.Errorf("%w: connected already", errState)
	}
	if c.live >= maxSockets {
		return fmt.Errorf("%w: %d sockets whose handlers have not ended", errState, c.live)
	}
	c.left = slices.DeleteFunc(c.left, func(l *Namespace) bool { return l == ns })
	c.sockets = append(c.sockets, s)
	c.live++
	c.session.Accept()
	s.running = true // nobody else knows s yet
	c.server.handlers.Go(s.connect)
	return nil
}

// forgotten says that the handlers of a socket have ended.
func (c *conn) forgotten() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live--
}

// refusal is the packet that refuses a namespace.
func (srv *Server) refusal(namespace, message string) packet.Encoded {
	return srv.plain(&packet.Packet{Type: packet.ConnectError, Namespace: namespace, Data: fmt.Appendf(nil, `{"message":%q}`, message)})
}

// forget says that s has ended: by the server, if the client does not know yet.
func (c *conn) forget(s *Socket, byServer bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = slices.DeleteFunc(c.sockets, func(o *Socket) bool { return o == s })
	if byServer && !slices.Contains(c.left, s.ns) {
		c.left = append(c.left, s.ns)
	}
}
