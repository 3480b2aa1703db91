package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// connect is the first thing that a socket's goroutine does: it finds the namespace, asks the middlewares, joins the cluster, greets the
// client and runs the handlers of the connection, in this order. A client that goes away meanwhile ends it at the next step.
func (s *Socket) connect() {
	s.persist(func() {
		if s.enter() && s.admit() && s.join() && s.greet() {
			s.welcome()
		}
		s.work()
	})
}

// enter finds the namespace.
func (s *Socket) enter() bool {
	ns, refusal := s.conn.server.enter(s.name)
	if ns == nil {
		s.refuse(refusalData(refusal))
		return false
	}
	s.ns = ns
	return true
}

// admit asks the middlewares.
func (s *Socket) admit() bool {
	for _, middleware := range s.ns.middlewares() {
		if s.ctx.Err() != nil {
			return false
		}
		if data := s.ask(middleware); data != nil {
			s.refuse(data)
			return false
		}
	}
	return true
}

// ask asks a middleware. It returns what the client is told if that refuses.
func (s *Socket) ask(middleware func(context.Context, *Socket) error) (data []byte) {
	defer func() {
		if p := recover(); p != nil {
			s.conn.server.report(s, "connect", newPanicError(p))
			data = refusalData("internal error")
		}
	}()
	err := middleware(s.ctx, s)
	if err == nil {
		return nil
	}
	var refusal *ConnectError
	if !errors.As(err, &refusal) || refusal == nil {
		return refusalData(err.Error())
	}
	data, err = json.Marshal(struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{refusal.Message, refusal.Data})
	if err != nil {
		s.conn.server.report(s, "connect", fmt.Errorf("wsserver: the data of a ConnectError: %w", err))
		return refusalData("internal error")
	}
	return data
}

// refusalData is the payload of a packet that refuses a client (Socket.IO 5, "Connection to a namespace").
func refusalData(message string) []byte {
	data, _ := json.Marshal(struct { // a struct of a string always becomes JSON
		Message string `json:"message"`
	}{message})
	return data
}

// refuse ends a socket that is not connected, and tells the client why. It reports false, and does nothing, if there is no such
// socket any more.
func (s *Socket) refuse(data []byte) bool {
	p := &packet.Packet{Type: packet.ConnectError, Namespace: s.name, Data: data}
	encoded, err := s.conn.server.codec.Encode(p)
	if err != nil { // what a program's data may do, if it is nested as deeply as nobody reads
		s.conn.server.report(s, "connect", err)
		p.Data = refusalData("internal error")
		encoded = s.conn.server.plain(p)
	}
	frame := newFrame(encoded)
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) != connecting {
		return false
	}
	s.finishNow(ErrServerDisconnect, frame)
	return true
}

// join makes the socket a member of its namespace, in the whole cluster.
func (s *Socket) join() bool {
	if s.ctx.Err() != nil {
		return false
	}
	err := s.ns.rooms.Add(s.ctx, s.id, (*member)(s))
	var unfenced *cluster.UnfencedError
	if err != nil && !errors.As(err, &unfenced) && s.ctx.Err() == nil {
		// A hub that is closed, or a clash of ids: the client may try again.
		s.refuse(refusalData("server unavailable"))
		return false
	}
	s.ns.rooms.Told(s.ctx)
	return true
}

// greet tells the client that it is connected.
func (s *Socket) greet() bool {
	open := packet.Packet{Type: packet.Connect, Namespace: s.name, Data: fmt.Appendf(nil, `{"sid":%q}`, s.id)}
	frame := newFrame(s.conn.server.plain(&open))
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) != connecting {
		return false
	}
	// In this order, and in one step, nothing is delivered before the client knows of its connection, and everything after.
	s.conn.session.Append(frame)
	s.state.Store(uint32(connected))
	s.greeted = true
	s.conn.session.Accept()
	return true
}

// welcome runs the handlers of the connection.
func (s *Socket) welcome() {
	for _, handle := range s.ns.onConnect() {
		if err := s.protect("connect", func() error { return handle(s.ctx, s) }); err != nil && !stands(err) {
			s.Disconnect()
			break
		}
	}
}
