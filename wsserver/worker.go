package wsserver

import (
	"context"
	"errors"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// A socket has one goroutine at a time, its worker, which exists only while there is something to
// do: connect, handle the events in their order, leave.

// over, run, pause and resume implement [inboxOwner].
func (s *Socket) over() bool { return s.life.over() }
func (s *Socket) run()       { s.conn.server.workers.run(task{(*Socket).serve, s}) }
func (s *Socket) pause()     { s.conn.session.Pause() }
func (s *Socket) resume()    { s.conn.session.Resume() }

// push queues an event for the handlers.
func (s *Socket) push(p *packet.Packet) { s.inbox.push(p, s, s.conn.server.inboxes.Load()) }

// serve is the worker.
func (s *Socket) serve() { s.persist(s.work) }

// persist does something with the program's handlers. If one of them ends the goroutine, as a
// test's Fatal does, the socket is disconnected as after a panic, and another goroutine does what
// is left.
func (s *Socket) persist(do func()) {
	returned := false
	defer func() {
		if !returned {
			s.Disconnect()
			s.run()
		}
	}()
	do()
	returned = true
}

// work handles what there is, in order.
func (s *Socket) work() {
	for {
		p, last := s.inbox.next(s, s.conn.server.inboxes.Load())
		if p == nil {
			if last {
				s.leave()
			}
			return
		}
		e := &Event{socket: s, packet: p, name: p.Event()}
		handle := func() error { return e.refuse(s.receive(e)) }
		if times := s.conn.server.handled; times != nil {
			begun := time.Now()
			s.protect(e.name, handle)
			times.add(time.Since(begun))
			continue
		}
		s.protect(e.name, handle)
	}
}

// end ends the socket: nothing more is received or delivered, and its worker does what is left,
// in the end leave. last is what the client is told, nil if it knows. Events that still wait are
// handled if it is the client that has gone, and dropped if it was sent away.
func (s *Socket) end(reason error, last *engine.Frame) { s.endBefore(ended, reason, last) }

// endBefore is end for a socket that has not come to before. It reports whether there was one.
func (s *Socket) endBefore(before stage, reason error, last *engine.Frame) bool {
	sent := last != nil || reason == ErrServerClose || reason == ErrShutdown || errors.Is(reason, ErrOverBudget)
	ended := s.life.end(before, reason, func(greeted bool) {
		if greeted {
			s.conn.server.recovery.noteSure(s)
		}
		// In this order: from removeSocket on, Ended and so Server.Close do not know of s, and its worker
		// has to count for itself.
		s.conn.server.counts.discarded.Add(uint64(s.inbox.close(s, s.conn.server.inboxes.Load(), sent)))
		s.conn.removeSocket(s, last, last != nil && greeted)
	})
	if ended {
		s.forgetAll()
	}
	return ended
}

// leave is the last thing that a worker does. Another one goes on with it where the first was ended
// by a handler.
func (s *Socket) leave() {
	greeted := s.life.wasGreeted()
	ns := s.seat.ns
	if ns == nil { // it has entered none
		s.conn.socketDone(s)
		return
	}
	if s.life.at() == ended {
		s.life.advance(parting)
		if greeted {
			s.runEndHandlers("disconnecting", ns.onDisconnecting(), s.handlers.rest().disconnecting)
		}
	}
	if s.life.at() < parted {
		s.life.advance(leaving)
		if s.life.seated() && !s.park() {
			s.seat.leave()
		}
		s.inbox.unpause(s)
		ns.rooms.Told(context.Background()) // the listeners are not to block
		s.life.advance(parted)
		if greeted {
			s.runEndHandlers("disconnect", ns.onDisconnect(), s.handlers.rest().disconnect)
		}
	}
	s.life.advance(gone)
	s.conn.server.recovery.gone(s)
	s.conn.server.exit(ns)
	s.conn.socketDone(s)
}
