package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestMaxEventBytes: few events that are large stop the reading of their connection as many small ones do.
func TestMaxEventBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		release := make(chan struct{})
		handled := 0
		srv.Of("/").On("big", func(ctx context.Context, e *wsserver.Event) error {
			<-release
			handled++
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		filler := strings.Repeat("x", 500_000)
		for range 20 {
			c.Emit("big", filler)
		}
		synctest.Wait()
		if got := srv.Stats().Events; got > 5 {
			t.Errorf("taken in: got %d events of 500 kB, want hardly more than 1 MiB", got)
		}
		close(release)
		c.EmitWithAck("echo")
		kit.Want(t, handled, 20, "handled")
	})
}

// TestMaxSockets: a client that connects and disconnects while handlers block is refused before it has made goroutines without end, and closed
// when it goes on as if it had not been.
func TestMaxSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		release := make(chan struct{})
		sockets := 0
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			sockets++
			<-release
			return nil
		})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		for range 2_000 {
			c.Send("40")
			synctest.Wait() // until the server has answered
			c.Send("41")
			synctest.Wait()
		}
		c.Wait()
		close(release)
		kit.Check(t, sockets >= 100 && sockets <= 300,
			"one connection had %d sockets whose handlers had not ended, want 100 to 300", sockets)
	})
}

// TestErrorsOfTheEnd: a handler that fails since its own socket has gone is no failure.
func TestErrorsOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		other := errors.New("something else")
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.On("wait", func(ctx context.Context, e *wsserver.Event) error {
				<-ctx.Done()
				return fmt.Errorf("waiting: %w", context.Cause(ctx))
			})
			s.On("late", func(ctx context.Context, e *wsserver.Event) error { return s.Emit(ctx, "x") })
			s.On("join", func(ctx context.Context, e *wsserver.Event) error { return other })
			return nil
		})
		gone := farewells(srv.Of("/"))
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Emit("wait")
		c.Emit("late")
		c.Emit("join")
		synctest.Wait()
		c.Abort()
		next(t, gone)
		kit.WantErr(t, (<-failures).err, other, "all that is reported")
		time.Sleep(time.Second)
		select {
		case f := <-failures:
			t.Errorf("reported too: %v", f.err)
		default:
		}
	})
}
