package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// connect is the first thing that a socket's worker does: it finds the namespace, asks the
// middlewares, sits down in the cluster, greets the client and runs the handlers of the connection,
// in this order. A client that goes away meanwhile ends it at the next step.
func (s *Socket) connect() {
	s.persist(func() {
		if s.enter() {
			back := s.comeBack()
			if s.admits(back) && s.sit(back) {
				s.welcome()
			}
		}
		s.work()
	})
}

// enter finds the namespace.
func (s *Socket) enter() bool {
	ns, refusal := s.conn.server.enter(s.name, s.conn.visitor)
	if ns == nil {
		s.refuse(refusalData(refusal))
		return false
	}
	s.seat.ns = ns
	return true
}

// admit runs the middlewares.
func (s *Socket) admit() bool {
	for _, middleware := range s.seat.ns.middlewares() {
		if s.life.ctx.Err() != nil {
			return false
		}
		if data := s.runMiddleware(*middleware); data != nil {
			s.refuse(data)
			return false
		}
	}
	return true
}

// runMiddleware runs a middleware. It returns what the client is told if that refuses.
func (s *Socket) runMiddleware(middleware func(context.Context, *Socket) error) (data []byte) {
	defer onPanic(func(err error) {
		s.conn.server.report(s, "connect", err)
		data = refusalData("internal error")
	})
	err := middleware(&s.life.ctx, s)
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

// refusalData is the payload of a packet that refuses a client (Socket.IO 5, "Connection to a
// namespace").
func refusalData(message string) []byte {
	data, _ := json.Marshal(struct { // a struct of a string always becomes JSON
		Message string `json:"message"`
	}{message})
	return data
}

// refuse ends a socket that is not connected, and tells the client why. It reports false, and does
// nothing, if there is no such socket any more.
func (s *Socket) refuse(data []byte) bool {
	p := &packet.Packet{Type: packet.ConnectError, Namespace: s.name, Data: data}
	encoded, err := s.conn.server.codec.Encode(p)
	if err != nil { // what a program's data may do, if it is nested as deeply as nobody reads
		s.conn.server.report(s, "connect", err)
		p.Data = refusalData("internal error")
		encoded = s.conn.server.plain(p)
	}
	return s.endBefore(connected, ErrServerDisconnect, newFrame(encoded))
}

// join makes the socket a member of its namespace, in the whole cluster.
func (s *Socket) join() bool {
	if s.life.ctx.Err() != nil {
		return false
	}
	err := s.seat.occupy(&s.life.ctx, (*member)(s))
	var unfenced *cluster.UnfencedError
	if err != nil && !errors.As(err, &unfenced) && s.life.ctx.Err() == nil {
		// A hub that is closed, or a clash of ids: the client may try again.
		s.refuse(refusalData("server unavailable"))
		return false
	}
	s.seat.ns.rooms.Told(&s.life.ctx)
	return true
}

// greet tells the client that it is connected.
func (s *Socket) greet() (greeted bool) {
	if s.conn.server.recovery == nil {
		return s.tellConnected(fmt.Appendf(nil, `{"sid":%q}`, s.seat.id), nil)
	}
	s.seat.ns.rooms.InOrder(func(_ *cluster.Rooms, last uint64) {
		s.from = last
		pid := s.conn.server.keys.sign(s.name, s.seat.id, last)
		greeted = s.tellConnected(fmt.Appendf(nil, `{"sid":%q,"pid":%q}`, s.seat.id, pid), nil)
	})
	return greeted
}

// tellConnected sends the client its CONNECT packet and what it has missed, in one step. It reports
// false if the socket has ended.
func (s *Socket) tellConnected(data []byte, missed []*delivery) bool {
	frame := newFrame(s.conn.server.plain(&packet.Packet{Type: packet.Connect, Namespace: s.name, Data: data}))
	return s.life.greet(func() bool {
		s.conn.count(s)
		// Nothing is delivered before the client knows of its connection, and everything after:
		// first what it has missed.
		s.conn.session.Append(frame)
		for _, d := range missed {
			s.conn.session.Append(d.frame)
		}
		s.conn.session.Accept()
		return true
	})
}

// welcome runs the handlers of the connection.
func (s *Socket) welcome() {
	for _, handle := range s.seat.ns.onConnect() {
		if err := s.protect("connect", func() error {
			return s.traced(Handling{Op: "connect"}, func(ctx context.Context) error { return (*handle)(ctx, s) })
		}); err != nil && !stands(err) {
			s.Disconnect()
			break
		}
	}
}
