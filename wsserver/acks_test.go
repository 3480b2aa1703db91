package wsserver_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// forAckTimeouts runs a test for what says how long answers are waited for: AckTimeout, or the deadline
// of a ctx. It gets timed, which checks that ask gives up when it should.
func forAckTimeouts(t *testing.T, run func(t *testing.T, cfg wsserver.Config, timed func(ask func(context.Context) error))) {
	for _, test := range []struct {
		name string
		cfg  time.Duration
		ctx  time.Duration // 0 for none
		want time.Duration
	}{
		{"default", 0, 0, 30 * time.Second},
		{"configured", 5 * time.Second, 0, 5 * time.Second},
		{"a longer deadline", 5 * time.Second, time.Minute, time.Minute},
		{"a shorter deadline", 5 * time.Second, time.Second, time.Second},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			run(t, wsserver.Config{AckTimeout: test.cfg}, func(ask func(context.Context) error) {
				ctx := t.Context()
				if test.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.ctx)
					defer cancel()
				}
				start := time.Now()
				err := ask(ctx)
				kit.WantErr(t, err, context.DeadlineExceeded)
				kit.Want(t, time.Since(start), test.want, "time waited")
			})
		})
	}
}

// TestAckTimeout: without a deadline EmitWithAck waits for as long as the configuration says; with one, for that.
func TestAckTimeout(t *testing.T) {
	forAckTimeouts(t, func(t *testing.T, cfg wsserver.Config, timed func(ask func(context.Context) error)) {
		srv := newServer(t, cfg)
		c := wstest.Dial(t, srv, wstest.Config{})
		timed(func(ctx context.Context) error {
			_, err := socketOf(t, srv, c).EmitWithAck(ctx, "q")
			return err
		})
		c.Next("q").Ack("late") // is ignored
		c.EmitWithAck("echo")
	})
}

// TestTooManyAcks: a client that never answers makes the server keep so many answers' places and no more, and they are free again when
// they are not waited for.
func TestTooManyAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var wg sync.WaitGroup
		for range 1024 {
			wg.Go(func() {
				if _, err := s.EmitWithAck(t.Context(), "q"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want DeadlineExceeded", err)
				}
			})
		}
		synctest.Wait()
		if _, err := s.EmitWithAck(t.Context(), "one more"); !errors.Is(err, wsserver.ErrTooManyAcks) || !strings.Contains(err.Error(), "1024") {
			t.Errorf("beyond the bound: got %v, want ErrTooManyAcks", err)
		}
		wg.Wait()
		kit.Want(t, len(c.Pending()), 1024, "the client events")
		c.On("q", func(wstest.Event) []any { return []any{1} })
		kit.Must(s.EmitWithAck(t.Context(), "q"))(t, "later")
	})
}

// TestSocketVolatile: it is dropped if the client does not take it at once, which is no error but is counted.
func TestSocketVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		volatile := func(event string) {
			t.Helper()
			if err := s.Volatile().Emit(t.Context(), event, 1, []byte("two")); err != nil {
				t.Errorf("Volatile: %v", err)
			}
		}
		volatile("at once")
		c.Next("at once")
		c.Stall()
		s.Emit(t.Context(), "big", strings.Repeat("x", 100_000)) // more than the network takes
		time.Sleep(time.Second)
		for range 10 {
			volatile("too late")
		}
		s.Emit(t.Context(), "must")
		c.Resume()
		synctest.Wait()
		volatile("again")
		var names []string
		synctest.Wait()
		for _, e := range c.Pending() {
			names = append(names, e.Name)
		}
		kit.Want(t, strings.Join(names, ", "), "big, must, again")
		kit.Want(t, srv.Stats().Dropped, 10, "Stats.Dropped")
		if err := s.Volatile().Emit(t.Context(), "connect"); err == nil {
			t.Error("a reserved name: got no error")
		}
		c.Abort()
		synctest.Wait()
		kit.WantErr(t, s.Volatile().Emit(t.Context(), "x"), wsserver.ErrTransportClose, "after the end")
	})
}
