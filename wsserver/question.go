package wsserver

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// A Question is an event that the client was asked to acknowledge, by [Socket.Ask]. Its methods may be called concurrently, and again.
type Question struct {
	event    string
	done     chan struct{}
	response sockets.Response // this and err are set before done is closed
	err      error
}

// Done is closed when there is a response, or when it is certain that there will be none: [Question.Response] does not wait then.
func (q *Question) Done() <-chan struct{} { return q.done }

// Response waits for the client's acknowledgement until ctx ends, which does not end the question: Response may be called again.
// The error wraps the cause of ctx, or says why there will be no acknowledgement, as that of [Socket.EmitWithAck] does.
func (q *Question) Response(ctx context.Context) (sockets.Response, error) {
	select {
	case <-q.done:
		return q.response, q.err
	default:
	}
	select {
	case <-q.done:
		return q.response, q.err
	case <-ctx.Done():
		return sockets.Response{}, q.unanswered(context.Cause(ctx))
	}
}

// end is called once.
func (q *Question) end(r sockets.Response, err error) {
	q.response, q.err = r, err
	close(q.done)
}

func (q *Question) unanswered(reason error) error {
	return fmt.Errorf("wsserver: emit %q: no acknowledgement: %w", q.event, reason)
}

// Ask sends an event to the client at once, in its place among what is emitted, and returns a [Question] that waits for the client's
// acknowledgement. A handler may return meanwhile, so that further events of the socket are handled.
//
// The question is open until ctx ends; without a deadline in ctx, no longer than Config.AckTimeout. So ctx is not one that is
// canceled when the handler returns; the handler's own ends with the socket. If the socket disconnects, the question ends with the reason.
//
// After an error nothing was sent; it wraps the cause of ctx, or is one of [Socket.Emit]. [ErrTooManyAcks] means that 1,024
// acknowledgements are waited for already, those of broadcasts among them.
func (s *Socket) Ask(ctx context.Context, event string, args ...any) (*Question, error) {
	ctx, cancel := s.conn.server.ackContext(ctx)
	q := &Question{event: event, done: make(chan struct{})}
	id := s.conn.server.newAckID()
	// Whoever takes the question out of the socket's acks ends it.
	stop := context.AfterFunc(ctx, func() {
		cancel()
		if s.acks.remove(id) != nil {
			q.end(sockets.Response{}, q.unanswered(context.Cause(ctx)))
		}
	})
	err := s.acks.add(&s.life, id, func(args packet.Args, ok bool) {
		stop()
		cancel()
		if ok {
			q.end(sockets.NewResponse(args), nil)
		} else {
			q.end(sockets.Response{}, q.unanswered(s.life.reason()))
		}
	})
	if err == nil {
		err = context.Cause(ctx) // if it has ended before, there was nothing to take out yet
	}
	if err != nil {
		err = fmt.Errorf("wsserver: emit %q: %w", event, err)
	} else {
		err = s.emit(&packet.Packet{Type: packet.Event, Namespace: s.name, ID: id, HasID: true}, false, event, args)
	}
	if err != nil {
		stop()
		cancel()
		s.acks.remove(id)
		return nil, err
	}
	return q, nil
}

// EmitWithAck is [Socket.Ask] that waits for the response, until ctx ends; without a deadline in ctx, no longer than Config.AckTimeout.
// An error wraps that of ctx, which is context.DeadlineExceeded after the time-out too, or the reason of the disconnection; or it is
// one of Ask, and nothing was sent.
//
// A handler may wait for it. But a client that emits so much meanwhile that Config.Limits.MaxEvents is reached is not read, nor is its
// acknowledgement: a handler of such a client gives ctx a deadline that it can bear, or asks by Ask and returns.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (sockets.Response, error) {
	q, err := s.Ask(ctx, event, args...)
	if err != nil {
		return sockets.Response{}, err
	}
	<-q.done // with ctx at the latest
	return q.response, q.err
}
