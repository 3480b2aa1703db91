package wsserver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// handlers are what a program has set on one socket. Their zero value is empty.
type handlers struct {
	outgoing atomic.Pointer[list[func(*OutgoingEvent)]] // of OnAnyOutgoing; nil while nobody listens; changes under mu

	mu    sync.Mutex    // guards what follows
	named *namedHandler // the first one
	more  *moreHandlers // nil for none; never another
}

// A namedHandler is a handler of one event. Most sockets have a few, or none: a chain takes the
// least memory.
type namedHandler struct {
	event  string
	handle Handler
	next   *namedHandler
}

// moreHandlers are what most sockets have none of: their namespaces have such handlers.
type moreHandlers struct {
	data          any // of SetData
	middlewares   list[middleware]
	any           list[Handler]
	disconnecting list[func(context.Context, error)]
	disconnect    list[func(context.Context, error)]
}

// A middleware is one of [Socket.Use].
type middleware struct {
	number int // higher than that of those before it
	handle Handler
}

// extended returns more, and makes it first if need be.
func (h *handlers) extended() *moreHandlers {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == nil {
		h.more = new(moreHandlers)
	}
	return h.more
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

// appendOn appends the handlers of an event.
func (h *handlers) appendOn(own list[Handler], event string) list[Handler] {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := h.named; n != nil; n = n.next {
		if n.event == event {
			own = append(own, &n.handle)
		}
	}
	return own
}

// add adds a handler behind the others.
func (h *handlers) add(n *namedHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := &h.named
	for *at != nil {
		at = &(*at).next
	}
	*at = n
}

// remove takes a handler out, if it is there.
func (h *handlers) remove(n *namedHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at := &h.named; *at != nil; at = &(*at).next {
		if *at == n {
			*at = n.next
			return
		}
	}
}

// SetData sets the program's data of the socket, such as its user: in a middleware, say, for the
// handlers. See [Socket.Data] and [DataOf].
//
// FetchSockets of any node converts the data to JSON, as encoding/json does, at any time and on any
// goroutine. So nothing that data refers to may be changed from then on, unless it has a
// MarshalJSON that is safe for that: to change something, set other data. If data cannot become
// JSON, that is reported to Config.OnError, and the socket is fetched without it.
func (s *Socket) SetData(data any) {
	h := s.handlers.extended()
	s.handlers.mu.Lock()
	defer s.handlers.mu.Unlock()
	h.data = data
}

// Data returns what SetData has set last; nil before that.
func (s *Socket) Data() any { return s.handlers.rest().data }

// On sets a handler for an event. Several handlers of one event run in the order in which they were
// set. Names that Socket.IO reserves, such as "disconnect", never come as events: see OnDisconnect.
func (s *Socket) On(event string, handle Handler) (stop func()) {
	n := &namedHandler{event: event, handle: handle}
	s.handlers.add(n)
	return func() { s.handlers.remove(n) }
}

// Use wraps a middleware around everything that handles the socket's events, including the handlers
// of its namespace and of OnAny. wrap is called once, and returns the Handler to call for each
// event in place of next. The first middleware that was added is the outermost.
//
// next runs the handlers, or the middleware that was added after this one. It returns their errors,
// joined if there are several; a panic becomes a *PanicError. The error of the outermost middleware
// is reported as a handler's error is, so a middleware may keep an error from being reported. A
// middleware that does not call next drops the event.
func (s *Socket) Use(wrap func(next Handler) Handler) (stop func()) {
	m := new(middleware)
	m.handle = wrap(func(ctx context.Context, e *Event) error { return s.pass(m.number, ctx, e) })
	h, mu := s.handlers.extended(), &s.handlers.mu
	mu.Lock()
	defer mu.Unlock()
	m.number = 1
	if n := len(h.middlewares); n > 0 {
		m.number += h.middlewares[n-1].number
	}
	h.middlewares.add(m)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		h.middlewares.remove(m)
	}
}

// OnAny sets a handler for all events. It runs before the handlers of the event's name.
func (s *Socket) OnAny(handle Handler) (stop func()) {
	return attach(&s.handlers.mu, &s.handlers.extended().any, handle)
}

// OnAnyOutgoing sets a function that is called for every event on its way to the client, after the
// functions of the namespace: see [Namespace.OnAnyOutgoing].
func (s *Socket) OnAnyOutgoing(listen func(e *OutgoingEvent)) (stop func()) {
	return attachShared(&s.handlers.mu, &s.handlers.outgoing, listen)
}

// OnDisconnecting sets a handler that runs when the socket has disconnected and is still in its
// rooms. reason is the cause of Context. ctx is not Context, which has ended: it ends with the ctx
// of Server.Close.
func (s *Socket) OnDisconnecting(handle func(ctx context.Context, reason error)) (stop func()) {
	return attach(&s.handlers.mu, &s.handlers.extended().disconnecting, handle)
}

// OnDisconnect sets a handler that runs when the socket has disconnected and left all its rooms.
// ctx and reason are those of OnDisconnecting.
func (s *Socket) OnDisconnect(handle func(ctx context.Context, reason error)) (stop func()) {
	return attach(&s.handlers.mu, &s.handlers.extended().disconnect, handle)
}

// pass hands an event to the middleware behind the one with this number, or behind the last of them
// to the handlers.
func (s *Socket) pass(number int, ctx context.Context, e *Event) error {
	for _, m := range s.handlers.rest().middlewares {
		if m.number > number {
			return m.handle(ctx, e)
		}
	}
	return s.dispatch(ctx, e)
}

// dispatch runs the handlers of an event, those for all events first, and returns their errors.
func (s *Socket) dispatch(ctx context.Context, e *Event) error {
	var errs []error
	handled := false
	run := func(handlers list[Handler]) {
		handled = handled || len(handlers) > 0
		for _, handle := range handlers {
			if err := s.guard(func() error { return e.refuse((*handle)(ctx, e)) }); err != nil && !s.onlyEnded(err) {
				errs = append(errs, err)
			}
		}
	}
	run(s.seat.ns.onAny())
	run(s.handlers.rest().any)
	run(s.seat.ns.on(e.name))
	var few [4]*Handler // seldom are there more, and these need no memory
	run(s.handlers.appendOn(few[:0], e.name))
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
	defer onPanic(func(panicked error) {
		err = panicked
		s.Disconnect()
	})
	return handle()
}

// onlyEnded reports whether err only says that the socket has disconnected meanwhile. What a
// broadcast could not do is more than that: it concerns others.
func (s *Socket) onlyEnded(err error) bool {
	reason := s.life.reason()
	var broadcast *sockets.Error
	return reason != nil && !errors.As(err, &broadcast) &&
		(errors.Is(err, reason) || errors.Is(err, context.Canceled) || errors.Is(err, cluster.ErrMember))
}

// runEndHandlers runs handlers of the end, those of the namespace first.
func (s *Socket) runEndHandlers(event string, shared list[func(context.Context, *Socket, error)], own list[func(context.Context, error)]) {
	ctx, reason := s.conn.server.ctx, s.life.reason()
	for _, handle := range shared {
		s.protect(event, func() error { (*handle)(ctx, s, reason); return nil })
	}
	for _, handle := range own {
		s.protect(event, func() error { (*handle)(ctx, reason); return nil })
	}
}
