package wsserver

import (
	"context"
	"errors"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// A Listener takes handlers for events: a [*Socket] for its own, a [*Namespace] or a
// [*ParentNamespace] for those of all its sockets, at no cost per socket.
type Listener interface {
	On(event string, handle Handler) (stop func())
}

// On sets a handler for events with one argument, which is converted to A as [Event.Decode] does. s
// is the socket that received the event.
//
// As JavaScript's handlers may get more arguments than they name, or fewer, further arguments are
// ignored, and a missing one has A's zero value. If an argument does not fit, the event fails with
// an error, as if the handler had returned it.
func On[A any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A) error) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		if err := decodeSome(e, &a); err != nil {
			return err
		}
		return handle(ctx, e.Socket(), a)
	})
}

// On2 is [On] for events with two arguments.
func On2[A, B any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A, b B) error) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		var b B
		if err := decodeSome(e, &a, &b); err != nil {
			return err
		}
		return handle(ctx, e.Socket(), a, b)
	})
}

// On3 is [On] for events with three arguments.
func On3[A, B, C any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A, b B, c C) error) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		var b B
		var c C
		if err := decodeSome(e, &a, &b, &c); err != nil {
			return err
		}
		return handle(ctx, e.Socket(), a, b, c)
	})
}

// OnAck is On for events that the client wants acknowledged: with the handler's result. After an
// error no acknowledgement is sent, and the client waits until its own timeout, with two
// exceptions. An [*AckError] is the client's answer. An [*cluster.UnfencedError] of [Socket.Join]
// is reported like other errors, but the membership stands, so the client gets the result. An event
// whose client does not want an acknowledgement is handled all the same.
func OnAck[A, R any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A) (R, error)) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		if err := decodeSome(e, &a); err != nil {
			return err
		}
		return e.answer(handle(ctx, e.Socket(), a))
	})
}

// OnAck2 is [OnAck] for events with two arguments.
func OnAck2[A, B, R any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A, b B) (R, error)) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		var b B
		if err := decodeSome(e, &a, &b); err != nil {
			return err
		}
		return e.answer(handle(ctx, e.Socket(), a, b))
	})
}

// OnAck3 is [OnAck] for events with three arguments.
func OnAck3[A, B, C, R any](l Listener, event string, handle func(ctx context.Context, s *Socket, a A, b B, c C) (R, error)) (stop func()) {
	return l.On(event, func(ctx context.Context, e *Event) error {
		var a A
		var b B
		var c C
		if err := decodeSome(e, &a, &b, &c); err != nil {
			return err
		}
		return e.answer(handle(ctx, e.Socket(), a, b, c))
	})
}

// DataOf returns the socket's data, which [Socket.SetData] has set, if it is a T.
func DataOf[T any](s *Socket) (data T, ok bool) {
	data, ok = s.Data().(T)
	return data, ok
}

// decodeSome converts the arguments that there are.
func decodeSome(e interface {
	Len() int
	Decode(dst ...any) error
}, dst ...any) error {
	return e.Decode(dst[:min(len(dst), e.Len())]...)
}

// answer acknowledges an event with a handler's result, unless err is in the way.
func (e *Event) answer(result any, err error) error {
	if err != nil && !stands(err) {
		return err
	}
	if err := e.Ack(result); err != nil {
		return err
	}
	return err
}

// stands reports whether err only says that a membership, which stands, may not be known everywhere
// yet.
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
