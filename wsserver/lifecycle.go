package wsserver

import (
	"context"
	"errors"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// The life of a socket: connect, then the events in their order, then leave. All of it runs on one goroutine at a time, which exists only
// while there is something to run.

// maxEventBytes bounds the events of a socket that wait for its handlers, besides Config.MaxEvents. One is always accepted.
const maxEventBytes = 1 << 20

// push queues an event for the handlers.
func (s *Socket) push(p *packet.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return // nobody would handle it, nor undo a pause
	}
	srv := s.conn.server
	if len(s.events) == 0 && s.handling == 0 {
		s.since = now()
	}
	n := size(p)
	s.events = append(s.events, p)
	s.waiting += int32(n)
	srv.budget.Take(n)
	if !s.pausing && (len(s.events) >= srv.cfg.MaxEvents || int(s.waiting) >= srv.eventBytes()) {
		s.pausing = true
		s.conn.session.Pause()
	}
	s.start()
}

// eventBytes bounds the events of a socket that wait, in bytes: the less of the budget is left, the fewer may.
func (srv *Server) eventBytes() int { return min(maxEventBytes, srv.budget.Share()) }

// inbox returns the size of the events that wait or are handled, and for how long the handlers have taken none.
func (s *Socket) inbox() (bytes int, waits time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes = int(s.waiting) + int(s.handling); bytes > 0 {
		waits = time.Duration(now() - s.since)
	}
	return bytes, waits
}

var epoch = time.Now()

// now returns a monotonic time in nanoseconds, to be compared with others only.
func now() int64 { return int64(time.Since(epoch)) }

// eventOverhead is what an event takes besides its arguments, in bytes.
const eventOverhead = 256

// size is what an event takes while it waits, in bytes.
func size(p *packet.Packet) int {
	n := eventOverhead + len(p.Args.JSON())
	for _, a := range p.Args.Attachments() {
		n += len(a)
	}
	return n
}

// start sees to it that a goroutine handles what there is. s.mu must be held.
func (s *Socket) start() {
	if !s.running {
		s.running = true
		s.conn.server.handlers.Go(s.run)
	}
}

// run is the socket's goroutine.
func (s *Socket) run() { s.persist(s.work) }

// persist does something with the program's handlers. If one of them ends the goroutine, as a test's Fatal does, the socket is disconnected as after a
// panic, and another goroutine does what is left.
func (s *Socket) persist(do func()) {
	returned := false
	defer func() {
		if !returned {
			s.Disconnect()
			s.conn.server.handlers.Go(s.run)
		}
	}()
	do()
	returned = true
}

// work handles what there is, in order.
func (s *Socket) work() {
	for {
		s.mu.Lock()
		srv := s.conn.server
		srv.budget.Give(int(s.handling))
		s.handling = 0
		var p *packet.Packet
		if len(s.events) > 0 {
			p = s.events[0]
			s.events[0] = nil
			s.events = s.events[1:]
			s.handling = int32(size(p))
			s.waiting -= s.handling
			s.since = now()
			if s.pausing && len(s.events) <= srv.cfg.MaxEvents/2 && int(s.waiting) <= srv.eventBytes()/2 {
				s.pausing = false
				s.conn.session.Resume()
			}
		} else {
			s.events = nil
			if socketState(s.state.Load()) != disconnected {
				s.running = false
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
		if p == nil {
			s.leave()
			return
		}
		s.handle(p)
	}
}

// handle runs what handles an event.
func (s *Socket) handle(p *packet.Packet) {
	e := &Event{socket: s, packet: p, name: p.Event()}
	s.protect(e.name, func() error { return e.refuse(s.pass(0, s.ctx, e)) })
}

// pass hands an event to the middleware of this number, or behind the last of them to the handlers.
func (s *Socket) pass(number int, ctx context.Context, e *Event) error {
	s.mu.Lock()
	var middleware Handler
	if s.extras != nil && number < len(s.extras.middlewares) {
		middleware = s.extras.middlewares[number]
	}
	s.mu.Unlock()
	if middleware != nil {
		return middleware(ctx, e)
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
			if err := s.guard(func() error { return e.refuse(handle(ctx, e)) }); err != nil && !s.ended(err) {
				errs = append(errs, err)
			}
		}
	}
	run(s.ns.onAny())
	s.mu.Lock()
	var any []Handler
	if s.extras != nil {
		any = s.extras.any
	}
	s.mu.Unlock()
	run(any)
	run(s.ns.on(e.name))
	s.mu.Lock()
	var own []Handler
	for _, h := range s.handlers {
		if h.event == e.name {
			own = append(own, h.handle)
		}
	}
	s.mu.Unlock()
	run(own)
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
	if err != nil && !s.ended(err) {
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

// ended reports whether err only says that the socket has disconnected meanwhile. What a broadcast could not do is more than that: it
// concerns others.
func (s *Socket) ended(err error) bool {
	reason := context.Cause(s.ctx)
	var broadcast *sockets.Error
	return reason != nil && !errors.As(err, &broadcast) && (errors.Is(err, reason) || errors.Is(err, context.Canceled) || errors.Is(err, cluster.ErrMember))
}

// finish ends the socket: nothing more is received or delivered, and its goroutine runs what is left, in the end leave. last is what the
// client is told, nil if it knows. Events that still wait are handled if it is the client that has gone, and dropped if it was sent away.
func (s *Socket) finish(reason error, last *engine.Frame) {
	var asked acks
	s.mu.Lock()
	if socketState(s.state.Load()) != disconnected {
		s.finishNow(reason, last)
		asked, s.acks = s.acks, nil
	}
	s.mu.Unlock()
	for _, answered := range asked {
		answered(packet.Args{}, false)
	}
}

// finishNow is finish for a socket that has not ended. s.mu must be held.
func (s *Socket) finishNow(reason error, last *engine.Frame) {
	s.state.Store(uint32(disconnected))
	s.end(reason)
	s.conn.server.budget.Give(int(s.handling)) // from here on, it is the handler's own
	s.handling = 0
	if last != nil || reason == ErrServerClose || reason == ErrShutdown || errors.Is(reason, ErrOverBudget) {
		srv := s.conn.server
		srv.counts.discarded.Add(uint64(len(s.events)))
		srv.budget.Give(int(s.waiting))
		s.events, s.waiting = nil, 0
	}
	s.start() // before forget: from then on, Ended and so Server.Close do not know of s, and its goroutine has to count for itself
	s.conn.forget(s, last, last != nil && s.greeted)
}

// leave is the last thing that a socket's goroutine does. Another one goes on with it where the first was ended.
func (s *Socket) leave() {
	if s.ns == nil { // it has entered none
		s.conn.forgotten(s)
		return
	}
	s.mu.Lock()
	greeted := s.greeted
	s.mu.Unlock()
	if s.left == 0 {
		s.left++
		if greeted {
			s.farewell("disconnecting", s.ns.onDisconnecting(), func(r *extras) []func(context.Context, error) { return r.disconnecting })
		}
	}
	if s.left == 1 {
		s.ns.rooms.Remove(s.id)
		s.mu.Lock()
		pausing := s.pausing
		s.pausing = false
		s.mu.Unlock()
		if pausing {
			s.conn.session.Resume()
		}
		s.ns.rooms.Told(context.Background()) // the listeners are not to block
		s.left++
		if greeted {
			s.farewell("disconnect", s.ns.onDisconnect(), func(r *extras) []func(context.Context, error) { return r.disconnect })
		}
	}
	s.conn.server.exit(s.ns)
	s.conn.forgotten(s)
}

// farewell runs handlers of the end, those of the namespace first.
func (s *Socket) farewell(
	event string, shared []func(context.Context, *Socket, error), of func(*extras) []func(context.Context, error),
) {
	ctx, reason := s.conn.server.ctx, context.Cause(s.ctx)
	for _, handle := range shared {
		s.protect(event, func() error { handle(ctx, s, reason); return nil })
	}
	var own []func(context.Context, error)
	s.mu.Lock()
	if s.extras != nil {
		own = of(s.extras)
	}
	s.mu.Unlock()
	for _, handle := range own {
		s.protect(event, func() error { handle(ctx, reason); return nil })
	}
}
