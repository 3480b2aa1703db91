package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// failure is a call of Config.OnError.
type failure struct {
	event string
	err   error
}

// collectErrors makes an OnError that collects.
func collectErrors() (onError func(*wsserver.Socket, string, error), failures <-chan failure) {
	c := make(chan failure, 100)
	return func(s *wsserver.Socket, event string, err error) { c <- failure{event, err} }, c
}

// TestEventOrder: the events of a socket are handled in order and one at a time (Handler).
func TestEventOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		var running atomic.Int32
		var got []int
		srv.Of("/").On("n", func(ctx context.Context, e *wsserver.Event) error {
			kit.Want(t, running.Add(1), 1, "two handlers of a socket run at once")
			defer running.Add(-1)
			var n int
			if err := e.Decode(&n); err != nil {
				return err
			}
			if n%7 == 0 {
				time.Sleep(time.Millisecond) // lets the events gather
			}
			got = append(got, n)
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		var want []int
		for i := range 1000 {
			c.Emit("n", i)
			want = append(want, i)
		}
		c.EmitWithAck("echo")
		kit.WantList(t, got, want, "(0 to 999)")
	})
}

// TestHandlerOrder: handlers of the namespace run before those of the socket, each in the order in which they were set, and events wait
// until OnConnect has returned.
func TestHandlerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		var got []string
		note := func(who string) wsserver.Handler {
			return func(ctx context.Context, e *wsserver.Event) error { got = append(got, who); return nil }
		}
		ns := srv.Of("/")
		ns.On("x", note("namespace 1"))
		ns.On("x", note("namespace 2"))
		ns.On("y", note("another"))
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.On("x", note("socket 1"))
			time.Sleep(time.Second)
			s.On("x", note("socket 2"))
			got = append(got, "connected")
			return nil
		})
		wstest.Dial(t, srv, wstest.Config{}).Emit("x")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := []string{"connected", "namespace 1", "namespace 2", "socket 1", "socket 2"}
		kit.WantList(t, got, want)
	})
}

// TestBlockedHandler: a handler that never returns holds up its own socket alone, and Close does not wait for it beyond its ctx
// (faults, F18).
func TestBlockedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wsserver.New(wsserver.Config{Limits: wsserver.Limits{MaxEvents: 4}})
		release := make(chan struct{})
		srv.Of("/").On("echo", echo)
		srv.Of("/").On("block", func(ctx context.Context, e *wsserver.Event) error {
			<-release
			return nil
		})
		blocked, other := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
		for range 100 {
			blocked.Emit("block")
		}
		for i := range 100 {
			if got, want := string(other.EmitWithAck("echo", i).JSON()), fmt.Sprintf("[%d]", i); got != want {
				t.Fatalf("the other socket: got %s, want %s", got, want)
			}
		}
		srv.Emit(t.Context(), "all")
		wantEvents(t, "the other socket", other, `["all"]`)
		wantEvents(t, "the blocked socket", blocked, `["all"]`)

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		kit.WantErr(t, srv.Close(ctx), context.DeadlineExceeded, "Close")
		kit.Want(t, time.Since(start), 10*time.Second, "Close took")
		for _, c := range []*wstest.Client{blocked, other} {
			if got := c.Wait(); got.Code != 1005 {
				t.Errorf("the end of a client: got %v, want a Close frame", got)
			}
		}
		close(release)
	})
}

// TestPanic: a panic is reported, ends its socket, and nothing else (faults, F17).
func TestPanic(t *testing.T) {
	for _, where := range []string{"event", "connect", "disconnecting", "disconnect"} {
		kit.Bubble(t, where, func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError})
			ns := srv.Of("/")
			gone := farewells(ns)
			var armed atomic.Bool
			bang := func(at string) {
				if at == where && armed.CompareAndSwap(true, false) {
					panic("bang")
				}
			}
			ns.On("event", func(ctx context.Context, e *wsserver.Event) error { bang("event"); return nil })
			ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { bang("connect"); return nil })
			ns.OnDisconnecting(func(ctx context.Context, s *wsserver.Socket, reason error) { bang("disconnecting") })
			ns.OnDisconnect(func(ctx context.Context, s *wsserver.Socket, reason error) { bang("disconnect") })
			other := wstest.Dial(t, srv, wstest.Config{})
			armed.Store(true)
			c := wstest.Dial(t, srv, wstest.Config{})
			c.Emit("event")
			if where == "disconnect" || where == "disconnecting" {
				c.Disconnect()
			}
			f := <-failures
			var panicked *wsserver.PanicError
			if !errors.As(f.err, &panicked) || panicked.Value != "bang" || !strings.Contains(string(panicked.Stack), "events_test.go") {
				t.Errorf("OnError: got %v, want a PanicError with its stack", f.err)
			}
			kit.Want(t, f.event, where, "OnError: event")
			<-c.Disconnected()
			kit.Want(t, (<-gone).id, c.ID(), "OnDisconnect")
			synctest.Wait()
			if _, ok := ns.Socket(c.ID()); ok {
				t.Error("the socket is still there")
			}
			kit.Want(t, string(other.EmitWithAck("echo", 1).JSON()), "[1]", "the other socket")
		})
	}
}

// TestOnConnectError: an error of OnConnect disconnects the socket; what it has sent meanwhile is not handled, and no further OnConnect.
func TestOnConnectError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError, Limits: wsserver.Limits{MaxEvents: 2}})
		gone := farewells(srv.Of("/"))
		refused := errors.New("not you")
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			time.Sleep(time.Second)
			return refused
		})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			t.Error("the second OnConnect was called")
			return nil
		})
		srv.Of("/").On("secret", func(ctx context.Context, e *wsserver.Event) error {
			t.Error("an event of a refused socket was handled")
			return nil
		})
		admin := srv.Of("/admin")
		admin.On("echo", echo)
		c := wstest.Dial(t, srv, wstest.Config{})
		for range 5 {
			c.Emit("secret")
		}
		if f := <-failures; !errors.Is(f.err, refused) || f.event != "connect" {
			t.Errorf("OnError: got %v, want %v", f, refused)
		}
		<-c.Disconnected()
		kit.Want(t, (<-gone).reason, wsserver.ErrServerDisconnect, "reason")
		c.Of("/admin", nil).EmitWithAck("echo") // the connection lives, and is read
	})
}

// TestEmitErrors: what cannot be sent is an error, and nothing is sent of it.
func TestEmitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, test := range []struct {
			name string
			emit func(ctx context.Context, event string, args ...any) error
		}{{"Socket", s.Emit}, {"Namespace", srv.Of("/").Emit}, {"Server", srv.Emit}, {"Broadcast", srv.To(s.ID()).Emit}} {
			if err := test.emit(ended, "late"); err != nil {
				t.Errorf("%s.Emit with a ctx that has ended: got %v", test.name, err)
			}
			if err := test.emit(t.Context(), "disconnect"); !errors.Is(err, packet.ErrReserved) {
				t.Errorf("%s.Emit of a reserved name: got %v, want packet.ErrReserved", test.name, err)
			}
			if err := test.emit(t.Context(), "x", make(chan int)); err == nil {
				t.Errorf("%s.Emit of a channel: got no error", test.name)
			}
			if err := test.emit(t.Context(), test.name, 1, []byte("two"), nil); err != nil {
				t.Errorf("%s.Emit: got %v", test.name, err)
			}
		}
		if _, err := s.EmitWithAck(ended, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("Socket.EmitWithAck with a ctx that has ended: got %v, want context.Canceled", err)
		}
		const late = `["late"]`
		wantEvents(t, "the client", c,
			late, `["Socket",1,{"_placeholder":true,"num":0},null]`, late, `["Namespace",1,{"_placeholder":true,"num":0},null]`,
			late, `["Server",1,{"_placeholder":true,"num":0},null]`, late, `["Broadcast",1,{"_placeholder":true,"num":0},null]`)
	})
}

// TestVolatile: a volatile packet passes over a socket whose connection is busy, and no other.
func TestVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		slow, other := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
		slow.Stall()
		big := strings.Repeat("x", 100_000) // more than the network takes
		srv.Emit(t.Context(), "big", big)
		time.Sleep(time.Second)
		for range 10 {
			srv.All().Volatile().Emit(t.Context(), "now")
		}
		srv.Emit(t.Context(), "must")
		synctest.Wait()
		kit.Want(t, len(other.Pending()), 12, "the other events")
		slow.Resume()
		synctest.Wait()
		var names []string
		for _, e := range slow.Pending() {
			names = append(names, e.Name)
		}
		kit.WantList(t, names, []string{"big", "must"}, "the slow one")
		kit.Want(t, srv.Stats().Dropped, 10, "Stats.Dropped")
	})
}
