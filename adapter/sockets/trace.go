package sockets

import "context"

// A Tracer makes traces of what a program sends by a [Namespace]: package wsserver/tracing has one
// for OpenTelemetry. Its methods may be called concurrently, and must neither block nor panic.
type Tracer interface {
	// Send is called when the program begins to send, or to ask. trace is what other nodes are given
	// of ctx, of at most [cluster.MaxTrace] bytes; nil for nothing. They may keep it. end is called
	// when the call returns, with its error.
	Send(ctx context.Context, s Sending) (sending context.Context, trace []byte, end func(error))
}

// A Sending is an operation of a [Broadcast], a [RemoteSocket] or a [Namespace], or of a socket of
// package wsserver.
type Sending struct {
	Op        string // as in [Error], such as "emit" and "fetch sockets"
	Event     string // the event's name, as in Error
	Node      string // this node's id
	Namespace string
	Rooms     int    // how many were selected; 0 for the whole namespace
	Socket    string // the id of the only socket that it is for, if it is one of this node
	Waits     bool   // for answers
}

// A span is one that a [Tracer] has begun. The zero value is none.
type span struct {
	trace []byte
	end   func(error)
}

// over ends the span. It returns err.
func (s span) over(err error) error {
	if s.end != nil {
		s.end(err)
	}
	return err
}

// begins has the Tracer, if there is one, begin a span. ns may be nil.
func (ns *Namespace) begins(ctx context.Context, s Sending) (context.Context, span) {
	if ns == nil || ns.tracer == nil {
		return ctx, span{}
	}
	s.Node, s.Namespace = ns.node, ns.name
	ctx, trace, end := ns.tracer.Send(ctx, s)
	return ctx, span{trace, end}
}

// begins is that of the namespace.
func (b Broadcast) begins(ctx context.Context, op, event string, waits bool) (context.Context, span) {
	return b.ns.begins(ctx, Sending{Op: op, Event: event, Rooms: len(b.rooms), Waits: waits})
}
