package wsserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A ServerHandler handles the server-side events of one name, which other nodes emit by
// [Namespace.ServerSideEmit]. ctx ends when the emitter no longer waits, or with the server.
//
// An error or a panic is counted in Stats.Failures. If the emitter waits and has no answer yet, it
// gets the error's text; otherwise the error is logged here. Of a panic the emitter learns only
// that there was one.
type ServerHandler func(ctx context.Context, e *ServerEvent) error

// A ServerEvent is an event that the program of another node emitted. It may be kept, except for
// Ack and WantsAck, which are for its handlers.
type ServerEvent struct {
	node      string
	namespace string
	packet    *packet.Packet
	name      string
	wanted    bool
	acked     bool
	answer    []byte
}

// Name returns the event's name.
func (e *ServerEvent) Name() string { return e.name }

// Node returns the id of the node that emitted the event.
func (e *ServerEvent) Node() string { return e.node }

// Namespace returns the name of the namespace of the event. The namespace need not exist on this
// node: a parent may match it.
func (e *ServerEvent) Namespace() string { return e.namespace }

// Len returns the number of arguments.
func (e *ServerEvent) Len() int { return max(0, e.packet.Args.Len()-1) }

// Decode converts the arguments as [Event.Decode] does.
func (e *ServerEvent) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// Args converts all arguments as [Event.Args] does.
func (e *ServerEvent) Args() ([]any, error) { return e.packet.Values() }

// WantsAck reports whether the emitter waits for an answer.
func (e *ServerEvent) WantsAck() bool { return e.wanted && !e.acked }

// Ack answers an emitter that waits for an answer, when all handlers of the event have returned. If
// it does not wait, and after the first call, Ack does nothing. args are those of [Socket.Emit].
// Only a handler may call it, while it runs, and not concurrently with itself.
func (e *ServerEvent) Ack(args ...any) error {
	if !e.WantsAck() {
		return nil
	}
	values, err := payload.Limits.Marshal(args...)
	if err != nil {
		return fmt.Errorf("wsserver: acknowledge %q: %w", e.name, err)
	}
	e.acked = true
	e.answer = payload.AppendArgs(nil, values)
	return nil
}

// OnServerSide sets a handler for an event that the programs of other nodes emit: see
// [Namespace.ServerSideEmit]. Several handlers of one event run in the order in which they were
// set. Handlers of a parent are for all namespaces that it matches, even without a socket on this
// node, and run first.
func (h *hooks) OnServerSide(event string, handle ServerHandler) (stop func()) {
	return attachNamed(&h.mu, &h.serverSide, event, handle)
}

// OnServerSide sets a handler of ns, a [*Server], a [*Namespace] or a [*ParentNamespace], for
// server-side events with one argument of type T, as [On] does for clients' events.
func OnServerSide[T any](ns interface {
	OnServerSide(event string, handle ServerHandler) (stop func())
}, event string, handle func(ctx context.Context, arg T) error) (stop func()) {
	return ns.OnServerSide(event, func(ctx context.Context, e *ServerEvent) error {
		var arg T
		if err := decodeSome(e, &arg); err != nil {
			return err
		}
		return handle(ctx, arg)
	})
}

// OnServerSideAck is OnServerSide for events that are answered: with the handler's result, or with
// its error. An event whose emitter does not want an answer is handled all the same.
func OnServerSideAck[T, R any](ns interface {
	OnServerSide(event string, handle ServerHandler) (stop func())
}, event string, handle func(ctx context.Context, arg T) (R, error)) (stop func()) {
	return ns.OnServerSide(event, func(ctx context.Context, e *ServerEvent) error {
		var arg T
		if err := decodeSome(e, &arg); err != nil {
			return err
		}
		result, err := handle(ctx, arg)
		if err != nil {
			return err
		}
		return e.Ack(result)
	})
}

// Why a server-side event is not answered.
var (
	errNoAnswer = errors.New("wsserver: the handler of the server-side event has not answered it")
	errPanicked = errors.New("wsserver: the handler of the server-side event has panicked")
)

// serverEvent has the handlers take an event of another node, and returns their answer.
func (srv *Server) serverEvent(ctx context.Context, event cluster.ServerEvent) ([]byte, error) {
	args, err := payload.ParseArgs(event.Payload)
	if err != nil {
		return nil, err
	}
	p := &packet.Packet{Type: packet.Event, Args: args}
	e := &ServerEvent{node: event.Node, namespace: event.Namespace, packet: p, name: p.Event(), wanted: event.Answer}
	handlers := srv.serverHandlers(event.Namespace, e.name)
	if len(handlers) == 0 {
		srv.counts.unhandled.Add(1)
		return nil, fmt.Errorf("%w: no handler for the server-side event %q", cluster.ErrUnknown, e.name)
	}
	ctx, end := srv.handling(ctx, Handling{
		Op: "receive", Event: e.name, Namespace: e.namespace, From: e.node, Trace: event.Trace,
	})
	var errs []error
	defer func() { end(errors.Join(errs...)) }()
	for _, handle := range handlers {
		if err := srv.handleServerEvent(ctx, e, *handle); err != nil {
			srv.counts.failures.Add(1)
			errs = append(errs, err)
		}
	}
	err = errors.Join(errs...)
	switch {
	case !e.wanted || e.acked:
		if err != nil {
			srv.cfg.Logger.Warn("belfry: handler of a server-side event failed", "namespace", e.namespace, "event", e.name, "from", e.node, "error", err)
		}
		return e.answer, nil
	case err == nil:
		return nil, errNoAnswer
	}
	return nil, errors.New(err.Error()) // what it wraps is the handler's matter: cluster.ErrUnknown would mean that there is none
}

// handleServerEvent runs a handler. A panic is an error, and logged.
func (srv *Server) handleServerEvent(ctx context.Context, e *ServerEvent, handle ServerHandler) (err error) {
	defer onPanic(func(panicked error) {
		err = errPanicked
		srv.cfg.Logger.Error("belfry: handler of a server-side event panicked",
			"namespace", e.namespace, "event", e.name, "from", e.node, "error", panicked)
	})
	return handle(ctx, e)
}

// serverHandlers returns the handlers of a server-side event: those of the namespace, or, while
// that does not exist, those of the parent that matches it.
func (srv *Server) serverHandlers(namespace, event string) list[ServerHandler] {
	of := func(h *hooks) list[ServerHandler] { return h.serverSide[event] }
	srv.mu.Lock()
	ns, parents := srv.namespaces.byName[namespace], srv.parents
	srv.mu.Unlock()
	if ns != nil {
		return collect(ns, of)
	}
	if parent := srv.parentOf(parents, namespace); parent != nil {
		return read(&parent.hooks, of)
	}
	return nil
}
