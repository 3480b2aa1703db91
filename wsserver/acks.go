package wsserver

import (
	"context"
	"sync"

	"github.com/belfry-io/belfry/adapter/packet"
)

// maxAcks bounds the acknowledgements that a socket waits for at a time.
const maxAcks = 1024

// answered is called with an acknowledgement, or, with ok false, when there will be none since the
// socket has disconnected. It is called once, without a lock, by the goroutine that receives from
// the client among others: it does not block.
type answered func(answer packet.Args, ok bool)

// acks are the acknowledgements that a socket waits for. Its zero value waits for none.
type acks struct {
	mu      sync.Mutex
	waiting map[uint64]answered // by their ids; nil while there are none, since most sockets wait for nothing most of the time
}

// add has call be called with the acknowledgement of this id. An error is [ErrTooManyAcks], or the
// reason why l has ended.
func (a *acks) add(l *life, id uint64, call answered) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.over() { // removeAll may have been here: nothing would end the wait
		return l.reason()
	}
	if len(a.waiting) >= maxAcks {
		return ErrTooManyAcks
	}
	if a.waiting == nil {
		a.waiting = make(map[uint64]answered)
	}
	a.waiting[id] = call
	return nil
}

// remove ends the wait for the acknowledgement of this id. The result is what was to be called with
// it; nil if nothing waits for it.
func (a *acks) remove(id uint64) answered {
	a.mu.Lock()
	defer a.mu.Unlock()
	call := a.waiting[id]
	if call == nil {
		return nil
	}
	if delete(a.waiting, id); len(a.waiting) == 0 {
		a.waiting = nil
	}
	return call
}

// removeAll ends all waits, when the life has ended: there will be no acknowledgement. It returns
// how many they were.
func (a *acks) removeAll() int {
	a.mu.Lock()
	asks := a.waiting
	a.waiting = nil
	a.mu.Unlock()
	for _, call := range asks {
		call(packet.Args{}, false)
	}
	return len(asks)
}

// any reports whether an acknowledgement is waited for.
func (a *acks) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting != nil
}

// expect is acks.add for the socket, and counts what it waits for, as forget and forgetAll do.
func (s *Socket) expect(id uint64, call answered) error {
	waiting := &s.conn.server.counts.acks
	waiting.Add(1)
	err := s.acks.add(&s.life, id, call)
	if err != nil {
		waiting.Add(-1)
	}
	return err
}

// forget is acks.remove for the socket.
func (s *Socket) forget(id uint64) answered {
	call := s.acks.remove(id)
	if call != nil {
		s.conn.server.counts.acks.Add(-1)
	}
	return call
}

// forgetAll is acks.removeAll for the socket.
func (s *Socket) forgetAll() { s.conn.server.counts.acks.Add(int64(-s.acks.removeAll())) }

// newAckID returns an id for an acknowledgement, never 0. No two of a server are the same, so that
// one id serves all sockets of a broadcast.
func (srv *Server) newAckID() uint64 { return srv.lastAck.Add(1) }

// ackContext gives ctx the deadline of Config.AckTimeout if it has none.
func (srv *Server) ackContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, srv.cfg.AckTimeout)
}
