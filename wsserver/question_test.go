package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// ask asks a socket, which may be asked.
func ask(t *testing.T, ctx context.Context, s *wsserver.Socket, event string) *wsserver.Question {
	t.Helper()
	q := kit.Must(s.Ask(ctx, event))(t)
	return q
}

// isOpen reports whether a question waits for its answer.
func isOpen(q *wsserver.Question) bool {
	synctest.Wait()
	select {
	case <-q.Done():
		return false
	default:
		return true
	}
}

// TestAskInHandler: a handler that asks may return. What comes meanwhile is handled, and what is
// sent keeps its order.
func TestAskInHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 2}})
		asked := make(chan *wsserver.Question, 1)
		wsserver.OnAck(srv.Of("/"), "begin", func(ctx context.Context, s *wsserver.Socket, _ int) (string, error) {
			q, err := s.Ask(ctx, "sure?", 1, []byte{2})
			asked <- q
			return "begun", errors.Join(err, s.Emit(ctx, "next"))
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		if got := string(c.EmitWithAck("begin").JSON()); got != `["begun"]` {
			t.Fatalf("the handler said %s", got)
		}
		for i := range 10 { // many more than may wait for a handler
			c.EmitWithAck("echo", i)
		}
		q := <-asked
		kit.Require(t, isOpen(q), "the question has ended without an answer")
		sure := c.Next("")
		if next := c.Next(""); sure.Name != "sure?" || !sure.WantsAck() || next.Name != "next" {
			t.Errorf("got %v and %v, want the question and what came next", sure, next)
		}
		sure.Ack("yes", []byte{3})
		for range 2 { // Response may be called again
			r, err := q.Response(t.Context())
			var yes string
			var three []byte
			if err == nil {
				err = r.Decode(&yes, &three)
			}
			kit.Check(t, err == nil && yes == "yes" && slices.Equal(three, []byte{3}),
				"got %q, %v, %v", yes, three, err)
		}
		if got := socketOf(t, srv, c).PendingAcks(); got != 0 || isOpen(q) {
			t.Errorf("%d answers are waited for, and the question is open: %v", got, isOpen(q))
		}
	})
}

// TestAskMany: answers may come in any order.
func TestAskMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		const n = 100
		var questions []*wsserver.Question
		for range n {
			questions = append(questions, ask(t, t.Context(), s, "q"))
		}
		synctest.Wait()
		events := c.Pending()
		for i, e := range slices.Backward(events) {
			e.Ack(i)
			if i%2 == 0 {
				e.Ack("again") // is ignored
			}
			if i == n/2 && (isOpen(questions[i]) || !isOpen(questions[i-1])) {
				t.Error("the wrong question has ended")
			}
		}
		for i, q := range questions {
			r, err := q.Response(t.Context())
			var got int
			if err := errors.Join(err, r.Decode(&got)); err != nil || got != i {
				t.Errorf("question %d: got %d, %v", i, got, err)
			}
		}
		kit.Want(t, s.PendingAcks(), 0, "answers are still waited for")
	})
}

// TestAskEnds: a question ends with its ctx, in time and without a goroutine that waits for it, or
// with its socket; and a place for another is free.
func TestAskEnds(t *testing.T) {
	errCause := errors.New("cause")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	for _, test := range []struct {
		name  string
		ctx   func(s *wsserver.Socket) (context.Context, context.CancelFunc)
		after func(s *wsserver.Socket, c *wstest.Client) // is called after a second
		want  error
		at    time.Duration
	}{
		{name: "AckTimeout", want: context.DeadlineExceeded, at: 5 * time.Second},
		{
			name: "a longer deadline", want: context.DeadlineExceeded, at: time.Minute,
			ctx: func(*wsserver.Socket) (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), time.Minute)
			},
		},
		{
			name: "a shorter deadline", want: errCause, at: time.Millisecond,
			ctx: func(*wsserver.Socket) (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(context.Background(), time.Millisecond, errCause)
			},
		},
		{
			name: "canceled", want: errCause, at: time.Second,
			ctx: func(*wsserver.Socket) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(context.Background())
				time.AfterFunc(time.Second, func() { cancel(errCause) })
				return ctx, func() { cancel(nil) }
			},
		},
		{
			name: "ended before, without its end", want: wsserver.ErrTransportClose, at: time.Second,
			ctx: func(*wsserver.Socket) (context.Context, context.CancelFunc) {
				return context.WithoutCancel(canceled), func() {}
			},
			after: func(_ *wsserver.Socket, c *wstest.Client) { c.Abort() },
		},
		{
			name: "the socket's ctx", want: wsserver.ErrClientDisconnect, at: time.Second,
			ctx: func(s *wsserver.Socket) (context.Context, context.CancelFunc) {
				return s.Context(), func() {}
			},
			after: func(_ *wsserver.Socket, c *wstest.Client) { c.Disconnect() },
		},
		{
			name: "disconnected by the server", want: wsserver.ErrServerDisconnect, at: time.Second,
			after: func(s *wsserver.Socket, _ *wstest.Client) { s.Disconnect() },
		},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{AckTimeout: 5 * time.Second})
			c := wstest.Dial(t, srv, wstest.Config{})
			s := socketOf(t, srv, c)
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if test.ctx != nil {
				ctx, cancel = test.ctx(s)
			}
			defer cancel()
			q := ask(t, ctx, s, "q")
			start := time.Now()
			if test.after != nil {
				time.AfterFunc(time.Second, func() { test.after(s, c) })
			}
			_, err := q.Response(context.Background())
			if got := time.Since(start); !errors.Is(err, test.want) || got != test.at {
				t.Errorf("got %v after %v, want %v after %v", err, got, test.want, test.at)
			}
			kit.Want(t, s.PendingAcks(), 0, "answers are still waited for")
			if test.after == nil {
				c.Next("q").Ack("late") // is ignored
				c.EmitWithAck("echo")
			}
			if _, again := q.Response(canceled); again == nil || again.Error() != err.Error() {
				t.Errorf("later: got %v, want %v", again, err)
			}
		})
	}
}

// TestResponseEnds: the end of Response is not the end of the question.
func TestResponseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		q := ask(t, t.Context(), socketOf(t, srv, c), "q")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Response(ctx); !errors.Is(err, context.DeadlineExceeded) || !isOpen(q) {
			t.Errorf("got %v, and the question is open: %v", err, isOpen(q))
		}
		c.Next("q").Ack(1)
		synctest.Wait()
		if r, err := q.Response(ctx); err != nil || r.Len() != 1 { // there is an answer, though ctx has ended
			t.Errorf("later: got %d arguments, %v", r.Len(), err)
		}
	})
}

// TestAskRefused: after an error nothing was sent, and no answer is waited for.
func TestAskRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		errCause := errors.New("cause")
		early := make(chan error, 1)
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
			_, err := s.Ask(ctx, "q")
			early <- err
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		kit.WantErr(t, <-early, wsserver.ErrNotConnected, "in a middleware")
		s := socketOf(t, srv, c)
		canceled, cancel := context.WithCancelCause(t.Context())
		cancel(errCause)
		refused := func(ctx context.Context, want error, event string, args ...any) {
			t.Helper()
			q, err := s.Ask(ctx, event, args...)
			if q != nil || err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%q: got %v, %v, want no question and %v", event, q, err, want)
			}
		}
		for range 2000 { // more than may be waited for
			refused(canceled, errCause, "q")
			refused(t.Context(), packet.ErrReserved, "disconnect")
			refused(t.Context(), nil, "q", math.NaN())
		}
		for range 1024 {
			ask(t, t.Context(), s, "q")
		}
		refused(t.Context(), wsserver.ErrTooManyAcks, "one more")
		synctest.Wait()
		kit.Want(t, len(c.Pending()), 1024, "the client events")
		time.Sleep(time.Minute)
		q := ask(t, t.Context(), s, "q")
		c.Disconnect()
		synctest.Wait()
		refused(t.Context(), wsserver.ErrClientDisconnect, "q")
		want := fmt.Sprintf("wsserver: emit %q: no acknowledgement: %v", "q", wsserver.ErrClientDisconnect)
		if isOpen(q) {
			t.Error("a question is open whose socket has ended")
		} else if _, err := q.Response(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
