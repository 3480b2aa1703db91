package wsserver

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// A Question is an event that a client was asked to acknowledge, by [Socket.Ask]. Its methods may
// be called concurrently, and any number of times.
type Question struct {
	event    string
	done     chan struct{}
	response sockets.Response // this and err are set before done is closed
	err      error
}

// Done returns a channel that is closed when the question has ended: there is a response, or there
// will be none. [Question.Response] does not wait then.
func (q *Question) Done() <-chan struct{} { return q.done }

// Response waits for the client's acknowledgement, until ctx ends. The error then wraps the cause
// of ctx, the question goes on, and Response may be called again. If the question has ended without
// an acknowledgement, the error is that of [Socket.EmitWithAck].
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

// Ask sends an event to the client, in order with all other events, and returns without waiting for
// the client's acknowledgement: the [Question] has it later. So a handler can ask and return, and
// further events of the socket are handled meanwhile.
//
// The question ends with ctx; if ctx has no deadline, after Config.AckTimeout. So ctx must not be
// canceled when the handler returns; the ctx of a handler is not, but ends with the socket. When
// the socket disconnects, the question ends with the reason.
//
// After an error nothing was sent. It wraps the cause of ctx, or is one of [Socket.Emit].
// [ErrTooManyAcks] means that the socket waits for 1,024 acknowledgements already, including those
// of broadcasts.
func (s *Socket) Ask(ctx context.Context, event string, args ...any) (*Question, error) {
	ctx, cancel := s.conn.server.ackContext(ctx)
	q := &Question{event: event, done: make(chan struct{})}
	id := s.conn.server.newAckID()
	// Whoever takes the question out of the socket's acks ends it.
	stop := context.AfterFunc(ctx, func() {
		cancel()
		if s.forget(id) != nil {
			q.end(sockets.Response{}, q.unanswered(context.Cause(ctx)))
		}
	})
	err := s.expect(id, func(args packet.Args, ok bool) {
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
		p := &packet.Packet{Type: packet.Event, Namespace: s.name, ID: id, HasID: true}
		err = Emission{socket: s}.emit(p, event, args)
	}
	if err != nil {
		stop()
		cancel()
		s.forget(id)
		return nil, err
	}
	return q, nil
}

// EmitWithAck is [Socket.Ask] that waits for the response: until ctx ends; if ctx has no deadline,
// at most Config.AckTimeout. The error wraps the cause of ctx, context.DeadlineExceeded after the
// timeout, or the reason of the disconnection; or it is one of Ask, and nothing was sent.
//
// A handler may call it. But once the client has sent Config.Limits.MaxEvents events meanwhile, it
// is not read any more, and neither is its acknowledgement. Give ctx a short deadline for such
// clients, or call Ask and return.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (sockets.Response, error) {
	q, err := s.Ask(ctx, event, args...)
	if err != nil {
		return sockets.Response{}, err
	}
	<-q.done // with ctx at the latest
	return q.response, q.err
}
