package wsserver

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// acks are the acknowledgements that a socket waits for: by their ids, what is called with one, or, with ok false, when there will be none
// since the socket has disconnected. It is called once, without a lock, by the goroutine that receives from the client among others: it
// does not block. The map is nil while nothing is waited for, since most sockets wait for nothing most of the time.
type acks map[uint64]func(answer packet.Args, ok bool)

// maxAcks bounds the acknowledgements that a socket waits for at a time.
const maxAcks = 1024

// expect has answered called with the acknowledgement of this id. An error is [ErrTooManyAcks], or why the socket has disconnected.
func (s *Socket) expect(id uint64, answered func(answer packet.Args, ok bool)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return context.Cause(s.ctx)
	}
	if len(s.acks) >= maxAcks {
		return ErrTooManyAcks
	}
	if s.acks == nil {
		s.acks = make(acks)
	}
	s.acks[id] = answered
	return nil
}

// expected ends the wait for the acknowledgement of this id. The result is what was to be called with it; nil if nobody waits for it.
func (s *Socket) expected(id uint64) func(answer packet.Args, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answered := s.acks[id]
	if answered == nil {
		return nil
	}
	if delete(s.acks, id); len(s.acks) == 0 {
		s.acks = nil
	}
	return answered
}

// acknowledge gives the client's answer to whoever waits for it. One that nobody waits for, a second one, or one without an id, which is that of
// nobody, is ignored, as Socket.IO does.
func (s *Socket) acknowledge(p *packet.Packet) {
	if answered := s.expected(p.ID); answered != nil {
		answered(p.Args, true)
	}
}

// newAckID returns an id for an acknowledgement, never 0. No two of a server are the same, so that one id serves all sockets of a broadcast.
func (srv *Server) newAckID() uint64 { return srv.lastAck.Add(1) }

// ackContext gives ctx the deadline of Config.AckTimeout if it has none.
func (srv *Server) ackContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, srv.cfg.AckTimeout)
}

// EmitWithAck sends an event to the client and waits for its acknowledgement, until ctx ends; without a deadline in ctx, no longer than
// Config.AckTimeout. An error wraps that of ctx, which is context.DeadlineExceeded after the time-out too, or the reason of the
// disconnection. [ErrTooManyAcks] means that 1,024 are waited for already, those of broadcasts among them, and that nothing was sent.
//
// A handler may wait for it. But a client that emits so much meanwhile that Config.MaxEvents is reached is not read, nor is its
// acknowledgement: a handler of such a client gives ctx a deadline that it can bear.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (sockets.Response, error) {
	if err := context.Cause(ctx); err != nil {
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	ctx, cancel := s.conn.server.ackContext(ctx)
	defer cancel()
	answer := make(chan sockets.Response, 1)
	id := s.conn.server.newAckID()
	err := s.expect(id, func(args packet.Args, ok bool) {
		if ok {
			answer <- sockets.NewResponse(args)
		}
	})
	if err != nil {
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	defer func() { _ = s.expected(id) }()
	p := &packet.Packet{Type: packet.Event, Namespace: s.name, ID: id, HasID: true}
	if err := s.emit(p, false, event, args); err != nil {
		return sockets.Response{}, err
	}
	var reason error
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-s.ctx.Done():
		reason = context.Cause(s.ctx)
	}
	select {
	case r := <-answer: // it has come as well
		return r, nil
	default:
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: no acknowledgement: %w", event, reason)
	}
}
