package wsserver

import (
	"context"
	"errors"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A Tracer makes traces of what a server does. Its methods may be called concurrently, and must
// neither block nor panic.
type Tracer interface {
	// Handle is called before handlers run. They get handling as their ctx. end is called with the
	// error that is reported for them, a [*PanicError] after a panic.
	Handle(ctx context.Context, h Handling) (handling context.Context, end func(error))

	// Send is that of a [sockets.Tracer].
	Send(ctx context.Context, s sockets.Sending) (sending context.Context, trace []byte, end func(error))

	// Deliver is called when a broadcast that came with a trace was delivered on this node.
	Deliver(d Delivery)
}

// A Handling says which handlers run.
type Handling struct {
	Op        string // "receive" for an event, "connect" for one handler of OnConnect
	Event     string // the event's name; empty if only handlers of all events, or middlewares, take it
	Node      string // this node's id
	Namespace string
	Socket    string // its id; empty for a server-side event
	From      string // the id of the node that has emitted a server-side event
	Trace     []byte // what that node's [sockets.Tracer] has given; nil for none
}

// A Delivery says what has become of a broadcast on this node.
type Delivery struct {
	Node      string // this node's id
	From      string // the id of the node that has emitted it: this one, too
	Namespace string
	Rooms     int    // that it went to; 0 for the whole namespace
	Sockets   int    // on this node that have it queued
	Trace     []byte // what the [sockets.Tracer] of From has given
	Begun     time.Time
	Err       error // the broadcast could not be read

	server  *Server
	payload []byte
}

// Event decodes the broadcast, and returns the event's name; empty if that cannot be done.
func (d Delivery) Event() string {
	if d.server == nil {
		return ""
	}
	p, err := payload.Parse(d.payload, payload.Limits)
	if err != nil {
		return ""
	}
	decoded, err := decode(d.server.codec.NewDecoder(payload.Limits), p.Encoded)
	if err != nil {
		return ""
	}
	return decoded.Event()
}

// sends is Tracer for what is sent.
func (c Config) sends() sockets.Tracer {
	if c.Tracer == nil {
		return nil
	}
	return c.Tracer
}

// onDelivery has the Tracer, if there is one, told of deliveries.
func (srv *Server) onDelivery() func(cluster.Delivery) {
	if srv.cfg.Tracer == nil {
		return nil
	}
	return func(d cluster.Delivery) {
		srv.cfg.Tracer.Deliver(Delivery{
			Node: srv.Node(), From: d.From, Namespace: d.Namespace, Rooms: len(d.Rooms), Sockets: d.Members,
			Trace: d.Trace, Begun: d.Begun, Err: d.Err, server: srv, payload: d.Payload,
		})
	}
}

// handling has the Tracer, if there is one, begin a span.
func (srv *Server) handling(ctx context.Context, h Handling) (context.Context, func(error)) {
	if srv.cfg.Tracer == nil {
		return ctx, func(error) {}
	}
	h.Node = srv.Node()
	return srv.cfg.Tracer.Handle(ctx, h)
}

// errGoexit is the error of a handler that has ended its goroutine.
var errGoexit = errors.New("wsserver: the handler has ended its goroutine")

// traced runs a handler of the socket in a span, if there is a Tracer.
func (s *Socket) traced(h Handling, handle func(context.Context) error) (err error) {
	if s.conn.server.cfg.Tracer == nil {
		return handle(&s.life.ctx)
	}
	h.Namespace, h.Socket = s.name, s.seat.id
	ctx, end := s.conn.server.handling(&s.life.ctx, h)
	failed := errGoexit
	defer func() { end(failed) }()
	if err = s.guard(func() error { return handle(ctx) }); err == nil || s.onlyEnded(err) {
		failed = nil
	} else {
		failed = err
	}
	return err
}

// receive hands an event to what handles it. An event that nothing handles is no span, since its
// name is the client's.
func (s *Socket) receive(e *Event) error {
	if s.conn.server.cfg.Tracer == nil {
		return s.pass(0, &s.life.ctx, e)
	}
	h := Handling{Op: "receive"}
	if ns := s.seat.ns; len(ns.on(e.name))+len(s.handlers.appendOn(nil, e.name)) > 0 {
		h.Event = e.name
	} else if rest := s.handlers.rest(); len(ns.onAny())+len(rest.any)+len(rest.middlewares) == 0 {
		return s.pass(0, &s.life.ctx, e)
	}
	return s.traced(h, func(ctx context.Context) error { return s.pass(0, ctx, e) })
}
