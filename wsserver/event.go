package wsserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// A Handler takes the events of one name, or of all. The events of a socket are handled one at a time and in order, on a goroutine that exists only
// while there are any; a handler that blocks holds up its own socket alone. ctx ends when the socket disconnects.
//
// An error is given to Config.OnError; the socket stays connected, and no ack is sent on the handler's behalf. A panic is an error too,
// after which the socket is disconnected.
type Handler func(ctx context.Context, e *Event) error

// An Event is what a client emitted. It may be kept.
type Event struct {
	socket *Socket
	packet *packet.Packet
	name   string
	acked  bool
}

// Name is the event's name.
func (e *Event) Name() string { return e.name }

// Socket is the socket that received it.
func (e *Event) Socket() *Socket { return e.socket }

// Len is the number of arguments.
func (e *Event) Len() int { return max(0, e.packet.Args.Len()-1) }

// Decode converts the arguments into what dst points to, as encoding/json does, with binary arguments as []byte. Only those asked for
// are decoded: a nil in dst skips one. It is an error if there are fewer arguments than dst, or if one does not fit.
func (e *Event) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// Args converts all arguments to what they are without a type of the program's own: nil, bool, float64, string, []byte, []any and
// map[string]any. It is for those who pass them on, and takes many times the memory of what came: Decode converts what is needed.
func (e *Event) Args() ([]any, error) { return e.packet.Values() }

// WantsAck reports whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.packet.HasID }

// Ack sends the acknowledgement that the client waits for. Without one to wait, and after the first call, it does nothing.
// Its arguments are those of [Socket.Emit]. Ack must not be called concurrently with itself.
func (e *Event) Ack(args ...any) error {
	if !e.packet.HasID || e.acked {
		return nil
	}
	p := &packet.Packet{Type: packet.Ack, Namespace: e.packet.Namespace, ID: e.packet.ID, HasID: true}
	encoded, err := e.socket.conn.server.encode(p, "", args)
	if err != nil {
		return err
	}
	e.acked = true
	if err = e.socket.sendable(); err == nil {
		err = e.socket.conn.session.Send(newFrame(encoded))
	}
	if err != nil {
		return fmt.Errorf("wsserver: acknowledge %q: %w", e.name, err)
	}
	return nil
}

// first is the first argument of an event for a handler of one argument.
func first[T any](e interface {
	Len() int
	Decode(dst ...any) error
}) (arg T, err error) {
	if e.Len() > 0 {
		err = e.Decode(&arg)
	}
	return arg, err
}

// On sets a handler of s for events with one argument of type T. Further arguments are ignored; an event without any has T's zero value,
// as JavaScript's handler has undefined. An event whose argument does not fit is an error of the handler.
func On[T any](s *Socket, event string, handle func(ctx context.Context, arg T) error) {
	s.On(event, func(ctx context.Context, e *Event) error {
		arg, err := first[T](e)
		if err != nil {
			return err
		}
		return handle(ctx, arg)
	})
}

// OnAck is On for events that the client wants to be acknowledged: with the handler's result. If it returns an error, nothing is sent, and the
// client waits until its own time-out: what it is to know of belongs into R. The exception is an [*cluster.UnfencedError] of [Socket.Join],
// which is reported like others, but says that the membership stands: the client gets its answer. An event whose client does not want to be
// answered is handled all the same.
func OnAck[T, R any](s *Socket, event string, handle func(ctx context.Context, arg T) (R, error)) {
	s.On(event, func(ctx context.Context, e *Event) error {
		arg, err := first[T](e)
		if err != nil {
			return err
		}
		result, err := handle(ctx, arg)
		if err != nil && !stands(err) {
			return err
		}
		if err := e.Ack(result); err != nil {
			return err
		}
		return err
	})
}

// stands reports whether err only says that a membership, which stands, may not be known everywhere yet.
func stands(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err.(type) {
		case *cluster.UnfencedError:
			return true
		case *cluster.PartialError:
			return false // of SocketsJoin: some have not joined
		}
	}
	return false
}

// encode makes messages of p and its arguments.
func (srv *Server) encode(p *packet.Packet, event string, args []any) (packet.Encoded, error) {
	var err error
	if p.Type == packet.Event {
		p.Args, err = srv.limits.MarshalEvent(event, args...)
	} else {
		p.Args, err = srv.limits.Marshal(args...)
	}
	var encoded packet.Encoded
	if err == nil {
		encoded, err = srv.codec.Encode(p)
	}
	switch {
	case err == nil:
		return encoded, nil
	case p.Type == packet.Ack:
		return encoded, fmt.Errorf("wsserver: acknowledge: %w", err)
	}
	return encoded, fmt.Errorf("wsserver: emit %q: %w", event, err)
}
