package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestPacketMiddlewares: Socket.Use wraps all handlers of an event, the first outermost (socket.io, socket.ts use).
func TestPacketMiddlewares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		var steps []string
		broken, other := errors.New("broken"), errors.New("other")
		note := func(step string, err error) wsserver.Handler {
			return func(ctx context.Context, e *wsserver.Event) error { steps = append(steps, step); return err }
		}
		srv.Of("/").OnAny(note("namespace any", nil))
		srv.Of("/").On("x", note("namespace x", nil))
		srv.Of("/").On("fails", note("namespace fails", broken))
		srv.Of("/").On("panics", func(context.Context, *wsserver.Event) error { panic("bang") })
		type key struct{}
		wrapped := 0
		wrap := func(name string, after func(e *wsserver.Event, err error) error) func(wsserver.Handler) wsserver.Handler {
			return func(next wsserver.Handler) wsserver.Handler {
				wrapped++
				return func(ctx context.Context, e *wsserver.Event) error {
					steps = append(steps, name)
					if e.Name() == "dropped" {
						return nil
					}
					err := after(e, next(context.WithValue(ctx, key{}, name), e))
					steps = append(steps, name+" ends")
					return err
				}
			}
		}
		var seen []error
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.On("fails", note("socket fails", other))
			s.Use(wrap("outer", func(e *wsserver.Event, err error) error {
				if e.Name() == "swallowed" {
					return nil
				}
				return err
			}))
			s.OnAny(func(ctx context.Context, e *wsserver.Event) error {
				steps = append(steps, fmt.Sprintf("socket any, ctx of %v", ctx.Value(key{})))
				return nil
			})
			s.On("swallowed", note("swallowed", broken))
			s.Use(wrap("inner", func(e *wsserver.Event, err error) error { seen = append(seen, err); return err }))
			s.On("x", note("socket x", nil))
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		around := func(handlers ...string) []string {
			return slices.Concat([]string{"outer", "inner", "namespace any", "socket any, ctx of inner"}, handlers, []string{"inner ends", "outer ends"})
		}
		for _, test := range []struct {
			event string
			steps []string
			errs  []error
		}{
			{"x", around("namespace x", "socket x"), nil},
			{"unknown", around(), nil},
			{"dropped", []string{"outer"}, nil},
			{"swallowed", around("swallowed"), nil},
			{"fails", around("namespace fails", "socket fails"), []error{broken, other}},
		} {
			steps, seen = nil, nil
			c.Emit(test.event)
			synctest.Wait()
			kit.WantList(t, steps, test.steps, test.event)
			if len(test.errs) == 0 {
				if len(failures) > 0 {
					t.Errorf("%s: OnError got %v", test.event, <-failures)
				}
				continue
			}
			f := <-failures
			for _, want := range test.errs {
				if !errors.Is(f.err, want) || !errors.Is(seen[0], want) || f.event != test.event || len(failures) > 0 {
					t.Errorf("%s: OnError got %v, and the inner middleware %v, want %v", test.event, f, seen, want)
				}
			}
		}
		kit.Want(t, wrapped, 2, "makings of middlewares")
		c.Emit("panics")
		<-c.Disconnected()
		synctest.Wait()
		var panicked *wsserver.PanicError
		if f := <-failures; !errors.As(f.err, &panicked) || panicked.Value != "bang" || len(failures) > 0 {
			t.Errorf("panic: OnError got %v, want the PanicError once", f.err)
		}
	})
}

// TestPanicInMiddleware: a panic of a middleware for events is one of a handler.
func TestPanicInMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.Use(func(wsserver.Handler) wsserver.Handler {
				return func(context.Context, *wsserver.Event) error { panic("bang") }
			})
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Emit("x")
		<-c.Disconnected()
		var panicked *wsserver.PanicError
		if f := <-failures; !errors.As(f.err, &panicked) || f.event != "x" {
			t.Errorf("OnError: got %v, want a PanicError", f)
		}
	})
}

// TestPanicInOnError: a panic of Config.OnError is recovered and logged.
func TestPanicInOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log kit.Log
		srv := newServer(t, wsserver.Config{Logger: log.Logger(), OnError: func(*wsserver.Socket, string, error) { panic("bang in OnError") }})
		srv.Of("/").On("x", func(context.Context, *wsserver.Event) error { return errors.New("broken") })
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Emit("x")
		c.EmitWithAck("echo") // the socket lives
		if got := log.String(); !strings.Contains(got, "bang in OnError") || !strings.Contains(got, "broken") {
			t.Errorf("log: got %q, want the panic and what was to be reported", got)
		}
		kit.Want(t, srv.Stats().Failures, 1, "Stats.Failures")
	})
}
