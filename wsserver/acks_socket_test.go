package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestAckWhileHandlerWaits: acks do not wait behind events, so a handler may wait for one.
func TestAckWhileHandlerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Of("/").On("ask me", func(ctx context.Context, e *wsserver.Event) error {
			var sum int
			for i := range 3 {
				answer, err := e.Socket().EmitWithAck(ctx, "question", i, []byte{byte(i)})
				if err != nil {
					return err
				}
				var n int
				if err := answer.Decode(&n); err != nil {
					return err
				}
				sum += n
			}
			return e.Ack(sum)
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.On("question", func(e wstest.Event) []any {
			var n int
			var b []byte
			if err := e.Decode(&n, &b); err != nil || len(b) != 1 {
				t.Errorf("question: got %s, %v", e, err)
			}
			return []any{n*10 + int(b[0])}
		})
		kit.Want(t, string(c.EmitWithAck("ask me").JSON()), "[33]")
	})
}

// TestAckIgnored: an ack that nobody waits for, and a second one, are ignored (socket.io, socket.ts onack).
func TestAckIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		wsrig.Under(c).Send(`43999["unknown"]`, `430["never given"]`)
		c.On("q", func(e wstest.Event) []any {
			e.Ack("first")
			return []any{"second"}
		})
		for range 3 {
			answer, err := s.EmitWithAck(t.Context(), "q")
			var got string
			if err == nil {
				err = answer.Decode(&got)
			}
			kit.Check(t, err == nil && got == "first" && answer.Len() == 1,
				"got %q of %d, %v, want first", got, answer.Len(), err)
		}
		// Two answers before anybody takes the first: what is behind them on the connection does not wait.
		_, err := s.EmitWithAck(t.Context(), "q", marshaler(func() {
			wsrig.Under(c).Send(`434["first"]`, `434["second"]`)
			c.EmitWithAck("echo")
		}))
		kit.OK(t, err, "answered early")
		synctest.Wait()
		kit.Check(t, s.Connected(), "the socket was disconnected")
	})
}

// TestEmitWithAckEnds: the wait ends with ctx, or with the socket.
func TestEmitWithAckEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := s.EmitWithAck(ctx, "q"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("deadline: got %v after %v, want DeadlineExceeded after 3s", err, time.Since(start))
		}
		c.Next("q").Ack("late")
		why := errors.New("changed my mind")
		cancelled, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { end(why) })
		if _, err := s.EmitWithAck(cancelled, "q"); !errors.Is(err, why) {
			t.Errorf("cancelled: got %v, want %v", err, why)
		}
		time.AfterFunc(time.Second, c.Abort)
		if _, err := s.EmitWithAck(t.Context(), "q"); !errors.Is(err, wsserver.ErrTransportClose) {
			t.Errorf("disconnected: got %v, want ErrTransportClose", err)
		}
		if _, err := s.EmitWithAck(t.Context(), "q"); !errors.Is(err, wsserver.ErrTransportClose) {
			t.Errorf("disconnected before: got %v, want ErrTransportClose", err)
		}
	})
}

// marshaler runs a function while it is encoded.
type marshaler func()

func (m marshaler) MarshalJSON() ([]byte, error) { m(); return []byte("1"), nil }

// TestAckBeatsDeadline: an answer that has come is returned, also if ctx has ended meanwhile. The answer is here before the wait begins.
func TestAckBeatsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		for id := 1; id <= 64; id++ { // a select among two that are ready takes either
			ctx, cancel := context.WithCancel(t.Context())
			_, err := s.EmitWithAck(ctx, "q", marshaler(func() {
				wsrig.Under(c).Send(fmt.Sprintf(`43%d["answer"]`, id))
				synctest.Wait()
				cancel()
			}))
			if err != nil {
				t.Fatalf("got %v, want the answer", err)
			}
		}
	})
}

// TestAcks: of OnAck, and of Event.Ack (Socket.IO 5, "Acknowledgement").
func TestAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		broken := errors.New("broken")
		var events int
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			wsserver.OnAck(s, "double", func(ctx context.Context, _ *wsserver.Socket, n int) (int, error) {
				events++
				if n < 0 {
					return 0, broken
				}
				return 2 * n, nil
			})
			wsserver.On(s, "plain", func(ctx context.Context, _ *wsserver.Socket, n int) error { events++; return nil })
			s.On("twice", func(ctx context.Context, e *wsserver.Event) error {
				if err := e.Ack("first"); err != nil {
					return err
				}
				return e.Ack("second")
			})
			return nil
		})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		c.Read()
		c.Read()
		for _, test := range []struct{ send, want, failure string }{
			{`421["double",4]`, `431[8]`, ""},
			{`422["double",5,"more"]`, `432[10]`, ""},
			{`42["double",6]`, "", ""},
			{`423["double",-1]`, "", "broken"},
			{`424["double","six"]`, "", packet.ErrArgument.Error()},
			{`425["double"]`, `435[0]`, ""},
			{`42["plain",{}]`, "", packet.ErrArgument.Error()},
			{`426["plain",1]`, "", ""},
			{`42["nobody handles it",1]`, "", ""},
			{`427["twice"]`, `437["first"]`, ""},
			{`42["twice"]`, "", ""},
			{`420["double",1]`, `430[2]`, ""},
		} {
			c.Send(test.send)
			if test.want != "" {
				kit.Want(t, c.Read(), test.want, test.send)
			}
			synctest.Wait()
			select {
			case f := <-failures:
				kit.Check(t, test.failure != "" && strings.Contains(f.err.Error(), test.failure),
					"%s: OnError got %v, want %q", test.send, f.err, test.failure)
			default:
				kit.Want(t, test.failure, "", test.send, "OnError was not called")
			}
		}
		c.Send(`429["double",9]`)
		kit.Want(t, c.Read(), `439[18]`, "in the end: something else was answered")
		if got := srv.Stats(); got.Failures != 3 || got.Events != 13 || got.Unhandled != 1 {
			t.Errorf("Stats: got %d failures, %d events and %d unhandled, want 3, 13 and 1", got.Failures, got.Events, got.Unhandled)
		}
		kit.Want(t, events, 8, "handlers calls")
	})
}
