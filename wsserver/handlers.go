package wsserver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// handlers are what a program has set on one socket. Their zero value is empty.
type handlers struct {
	outgoing atomic.Pointer[[]func(*OutgoingEvent)] // of OnAnyOutgoing; nil while nobody listens; changes under mu

	mu    sync.Mutex // guards what follows
	named []namedHandler
	more  *moreHandlers // nil for none
}

type namedHandler struct {
	event  string
	handle Handler
}

// moreHandlers are what most sockets have none of: their namespaces have such handlers. Slices are replaced, not changed.
type moreHandlers struct {
	data          any       // of SetData
	middlewares   []Handler // as Use has wrapped them
	any           []Handler
	disconnecting []func(context.Context, error)
	disconnect    []func(context.Context, error)
}

// extend calls add with what is to be added to.
func (h *handlers) extend(add func(*moreHandlers)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == nil {
		h.more = new(moreHandlers)
	}
	add(h.more)
}

// rest returns a copy of more.
func (h *handlers) rest() moreHandlers {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == nil {
		return moreHandlers{}
	}
	return *h.more
}

// on returns the handlers of an event.
func (h *handlers) on(event string) (own []Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.named {
		if n.event == event {
			own = append(own, n.handle)
		}
	}
	return own
}

// SetData sets the program's data of the socket, such as its user: in a middleware, say, for the
// handlers. See [Socket.Data] and [DataOf].
//
// FetchSockets of any node converts the data to JSON, as encoding/json does, at any time and on any
// goroutine. So nothing that data refers to may be changed from then on, unless it has a
// MarshalJSON that is safe for that: to change something, set other data. If data cannot become
// JSON, that is reported to Config.OnError, and the socket is fetched without it.
func (s *Socket) SetData(data any) {
	s.handlers.extend(func(h *moreHandlers) { h.data = data })
}

// Data returns what SetData has set last; nil before that.
func (s *Socket) Data() any { return s.handlers.rest().data }

// On sets a handler for an event. Several handlers of one event run in the order in which they were
// set. Names that Socket.IO reserves, such as "disconnect", never come as events: see OnDisconnect.
func (s *Socket) On(event string, handle Handler) {
	s.handlers.mu.Lock()
	defer s.handlers.mu.Unlock()
	s.handlers.named = append(s.handlers.named, namedHandler{event, handle})
}

// Use wraps a middleware around all that handles the events of the socket, the handlers of its namespace and those of OnAny among them.
// middleware is called once, and returns what is to be called for each event in place of next. The first that was added is the outermost.
//
// next runs the handlers, or the middleware that was added after this one, and returns their errors, joined if there are several; a panic
// is a [*PanicError] among them. What the outermost middleware returns is reported as a handler's error is, so that an error which is
// not passed on is not reported. A middleware that does not call next drops the event.
func (s *Socket) Use(middleware func(next Handler) Handler) {
	var behind int // the number of the next one; set before there are events to handle
	handle := middleware(func(ctx context.Context, e *Event) error { return s.pass(behind, ctx, e) })
	s.handlers.extend(func(h *moreHandlers) {
		h.middlewares = append(slices.Clip(h.middlewares), handle)
		behind = len(h.middlewares)
	})
}

// OnAny sets a handler for all events. It runs before the handlers of the event's name.
func (s *Socket) OnAny(handle Handler) {
	s.handlers.extend(func(h *moreHandlers) { h.any = append(slices.Clip(h.any), handle) })
}

// OnAnyOutgoing sets a function that is told of every event on its way to the client, after those of the namespace: see
// [Namespace.OnAnyOutgoing].
func (s *Socket) OnAnyOutgoing(listen func(e *OutgoingEvent)) {
	h := &s.handlers
	h.mu.Lock()
	defer h.mu.Unlock()
	var listeners []func(*OutgoingEvent)
	if old := h.outgoing.Load(); old != nil {
		listeners = slices.Clip(*old)
	}
	listeners = append(listeners, listen)
	h.outgoing.Store(&listeners)
}

// OnDisconnecting sets a handler that runs when the socket has disconnected and is still in its
// rooms. reason is the cause of Context. ctx is not Context, which has ended: it ends with the ctx
// of Server.Close.
func (s *Socket) OnDisconnecting(handle func(ctx context.Context, reason error)) {
	s.handlers.extend(func(h *moreHandlers) { h.disconnecting = append(slices.Clip(h.disconnecting), handle) })
}

// OnDisconnect sets a handler that runs when the socket has disconnected and left all its rooms.
// ctx and reason are those of OnDisconnecting.
func (s *Socket) OnDisconnect(handle func(ctx context.Context, reason error)) {
	s.handlers.extend(func(h *moreHandlers) { h.disconnect = append(slices.Clip(h.disconnect), handle) })
}

// pass hands an event to the middleware of this number, or behind the last of them to the handlers.
func (s *Socket) pass(number int, ctx context.Context, e *Event) error {
	if middlewares := s.handlers.rest().middlewares; number < len(middlewares) {
		return middlewares[number](ctx, e)
	}
	return s.dispatch(ctx, e)
}

// dispatch runs the handlers of an event, those for all events first, and returns their errors.
func (s *Socket) dispatch(ctx context.Context, e *Event) error {
	var errs []error
	handled := false
	run := func(handlers []Handler) {
		handled = handled || len(handlers) > 0
		for _, handle := range handlers {
			if err := s.guard(func() error { return e.refuse(handle(ctx, e)) }); err != nil && !s.onlyEnded(err) {
				errs = append(errs, err)
			}
		}
	}
	run(s.seat.ns.onAny())
	run(s.handlers.rest().any)
	run(s.seat.ns.on(e.name))
	run(s.handlers.on(e.name))
	if !handled {
		s.conn.server.counts.unhandled.Add(1)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// protect runs a handler. What goes wrong is reported; after a panic the socket is disconnected.
func (s *Socket) protect(event string, handle func() error) error {
	err := s.guard(handle)
	if err != nil && !s.onlyEnded(err) {
		s.conn.server.report(s, event, err)
	}
	return err
}

// guard runs a handler. A panic is an error, and disconnects the socket.
func (s *Socket) guard(handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
			s.Disconnect()
		}
	}()
	return handle()
}

// onlyEnded reports whether err only says that the socket has disconnected meanwhile. What a broadcast could not do is more than that: it
// concerns others.
func (s *Socket) onlyEnded(err error) bool {
	reason := s.life.reason()
	var broadcast *sockets.Error
	return reason != nil && !errors.As(err, &broadcast) &&
		(errors.Is(err, reason) || errors.Is(err, context.Canceled) || errors.Is(err, cluster.ErrMember))
}

// farewell runs handlers of the end, those of the namespace first.
func (s *Socket) farewell(event string, shared []func(context.Context, *Socket, error), own []func(context.Context, error)) {
	ctx, reason := s.conn.server.ctx, s.life.reason()
	for _, handle := range shared {
		s.protect(event, func() error { handle(ctx, s, reason); return nil })
	}
	for _, handle := range own {
		s.protect(event, func() error { handle(ctx, reason); return nil })
	}
}
