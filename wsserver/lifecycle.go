package wsserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// The life of a socket: connect, then the events in their order, then leave. All of it runs on one goroutine at a time, which exists only
// while there is something to run.

// maxEventBytes bounds the events of a socket that wait for its handlers, besides Config.MaxEvents. One is always accepted.
const maxEventBytes = 1 << 20

// acknowledge gives the client's answer to the EmitWithAck that waits for it. One that nobody waits for, or a second one, is ignored, as
// Socket.IO does.
func (s *Socket) acknowledge(p *packet.Packet) {
	s.mu.Lock()
	answer := s.acks[p.ID]
	delete(s.acks, p.ID)
	s.mu.Unlock()
	if answer != nil {
		answer <- Response{p.Args}
	}
}

// push queues an event for the handlers.
func (s *Socket) push(p *packet.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return // nobody would handle it, nor undo a pause
	}
	s.events = append(s.events, p)
	s.waiting += size(p)
	if !s.pausing && (len(s.events) >= s.ns.server.cfg.MaxEvents || s.waiting >= maxEventBytes) {
		s.pausing = true
		s.conn.session.Pause()
	}
	s.start()
}

// size is what an event takes while it waits, in bytes.
func size(p *packet.Packet) int {
	n := len(p.Args.JSON())
	for _, a := range p.Args.Attachments() {
		n += len(a)
	}
	return n
}

// start sees to it that a goroutine handles what there is. s.mu must be held.
func (s *Socket) start() {
	if !s.running {
		s.running = true
		s.ns.server.handlers.Go(s.run)
	}
}

// run handles what there is, in order, and ends.
func (s *Socket) run() {
	for {
		s.mu.Lock()
		var p *packet.Packet
		if len(s.events) > 0 {
			p = s.events[0]
			s.events[0] = nil
			s.events = s.events[1:]
			s.waiting -= size(p)
			if s.pausing && len(s.events) <= s.ns.server.cfg.MaxEvents/2 && s.waiting <= maxEventBytes/2 {
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

// connect is the first thing that a socket's goroutine does.
func (s *Socket) connect() {
	err := s.ns.rooms.Add(s.ctx, s.id, s)
	var unfenced *adapter.UnfencedError
	if err != nil && !errors.As(err, &unfenced) && s.ctx.Err() == nil {
		// A hub that is closed, or a clash of ids: the client may try again.
		s.finish(ErrServerDisconnect, newFrame(s.conn.server.refusal(s.ns.name, "server unavailable")))
	}
	open := packet.Packet{Type: packet.Connect, Namespace: s.ns.name, Data: fmt.Appendf(nil, `{"sid":%q}`, s.id)}
	frame := newFrame(s.ns.server.plain(&open))
	s.mu.Lock()
	if socketState(s.state.Load()) == connecting {
		// In this order, and in one step, nothing is delivered before the client knows of its connection, and everything after.
		s.conn.session.Append(frame)
		s.state.Store(uint32(connected))
		s.greeted = true
	}
	greeted := s.greeted
	s.mu.Unlock()
	if !greeted {
		s.run()
		return
	}
	s.ns.mu.RLock()
	handlers := s.ns.connect
	s.ns.mu.RUnlock()
	for _, handle := range handlers {
		if err := s.protect("connect", func() error { return handle(s.ctx, s) }); err != nil {
			s.Disconnect()
			break
		}
	}
	s.run()
}

// handle runs the handlers of an event.
func (s *Socket) handle(p *packet.Packet) {
	e := &Event{socket: s, packet: p, name: p.Event()}
	for _, handle := range s.ns.handlersOf(e.name) {
		s.protect(e.name, func() error { return handle(s.ctx, e) })
	}
	s.mu.Lock()
	var own []Handler
	for _, h := range s.handlers {
		if h.event == e.name {
			own = append(own, h.handle)
		}
	}
	s.mu.Unlock()
	for _, handle := range own {
		s.protect(e.name, func() error { return handle(s.ctx, e) })
	}
}

// protect runs a handler. What goes wrong is reported; after a panic the socket is disconnected.
func (s *Socket) protect(event string, handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
			s.ns.server.report(s, event, err)
			s.Disconnect()
		}
	}()
	if err = handle(); err != nil && !s.ended(err) {
		s.ns.server.report(s, event, err)
	}
	return err
}

// ended reports whether err only says that the socket has disconnected meanwhile.
func (s *Socket) ended(err error) bool {
	reason := context.Cause(s.ctx)
	return reason != nil && (errors.Is(err, reason) || errors.Is(err, context.Canceled) || errors.Is(err, adapter.ErrMember))
}

// finish ends the socket: nothing more is received or delivered, and its goroutine runs what is left, in the end leave. last is what the
// client is told, nil if it knows. It is queued before the client can connect anew, so that it does not concern the next socket. Events that
// still wait are handled if it is the client that has gone, and dropped if it was sent away.
func (s *Socket) finish(reason error, last *outbox.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return
	}
	s.state.Store(uint32(disconnected))
	s.end(reason)
	if last != nil || reason == ErrServerClose || reason == ErrShutdown {
		s.events, s.waiting = nil, 0
	}
	if last != nil {
		s.conn.session.Append(last)
	}
	s.conn.forget(s, last != nil)
	s.start()
}

// leave is the last thing that a socket's goroutine does.
func (s *Socket) leave() {
	defer s.conn.forgotten()
	s.farewell("disconnecting", &s.ns.disconnecting, &s.disconnecting)
	s.ns.rooms.Remove(s.id)
	s.mu.Lock()
	pausing := s.pausing
	s.pausing = false
	s.mu.Unlock()
	if pausing {
		s.conn.session.Resume()
	}
	s.farewell("disconnect", &s.ns.disconnect, &s.disconnect)
}

// farewell runs the handlers of the end, those of the namespace first, for a socket whose client knew that it was connected.
func (s *Socket) farewell(event string, ofAll *[]func(*Socket, error), ofOne *[]func(error)) {
	reason := context.Cause(s.ctx)
	s.ns.mu.RLock()
	shared := *ofAll
	s.ns.mu.RUnlock()
	s.mu.Lock()
	own, greeted := slices.Clip(*ofOne), s.greeted
	s.mu.Unlock()
	if !greeted {
		return
	}
	for _, handle := range shared {
		s.protect(event, func() error { handle(s, reason); return nil })
	}
	for _, handle := range own {
		s.protect(event, func() error { handle(reason); return nil })
	}
}
