package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
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
			if running.Add(1) != 1 {
				t.Error("two handlers of a socket run at once")
			}
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
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want 0 to 999", got)
		}
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
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
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
		if err := srv.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: got %v, want context.DeadlineExceeded", err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("Close took %v, want 10s", got)
		}
		for _, c := range []*wstest.Client{blocked, other} {
			if got := c.Wait(); got.Code != 1005 {
				t.Errorf("the end of a client: got %v, want a Close frame", got)
			}
		}
		close(release)
	})
}

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
		if got, want := string(c.EmitWithAck("ask me").JSON()), "[33]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
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
			if err != nil || got != "first" || answer.Len() != 1 {
				t.Errorf("got %q of %d, %v, want first", got, answer.Len(), err)
			}
		}
		// Two answers before anybody takes the first: what is behind them on the connection does not wait.
		_, err := s.EmitWithAck(t.Context(), "q", marshaler(func() {
			wsrig.Under(c).Send(`434["first"]`, `434["second"]`)
			c.EmitWithAck("echo")
		}))
		if err != nil {
			t.Errorf("answered early: got %v", err)
		}
		synctest.Wait()
		if !s.Connected() {
			t.Error("the socket was disconnected")
		}
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
				if got := c.Read(); got != test.want {
					t.Errorf("%s: got %s, want %s", test.send, got, test.want)
				}
			}
			synctest.Wait()
			select {
			case f := <-failures:
				if test.failure == "" || !strings.Contains(f.err.Error(), test.failure) {
					t.Errorf("%s: OnError got %v, want %q", test.send, f.err, test.failure)
				}
			default:
				if test.failure != "" {
					t.Errorf("%s: OnError was not called, want %q", test.send, test.failure)
				}
			}
		}
		c.Send(`429["double",9]`)
		if got := c.Read(); got != `439[18]` {
			t.Errorf("in the end: got %s, so something was answered that is not to be", got)
		}
		if got := srv.Stats(); got.Failures != 3 || got.Events != 13 || got.Unhandled != 1 {
			t.Errorf("Stats: got %d failures, %d events and %d unhandled, want 3, 13 and 1", got.Failures, got.Events, got.Unhandled)
		}
		if events != 8 {
			t.Errorf("handlers: got %d calls, want 8", events)
		}
	})
}

// TestPanic: a panic is reported, ends its socket, and nothing else (faults, F17).
func TestPanic(t *testing.T) {
	for _, where := range []string{"event", "connect", "disconnecting", "disconnect"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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
				if f.event != where {
					t.Errorf("OnError: got event %q, want %q", f.event, where)
				}
				<-c.Disconnected()
				if got := <-gone; got.id != c.ID() {
					t.Errorf("OnDisconnect: got %q, want %q", got.id, c.ID())
				}
				synctest.Wait()
				if _, ok := ns.Socket(c.ID()); ok {
					t.Error("the socket is still there")
				}
				if got := string(other.EmitWithAck("echo", 1).JSON()); got != "[1]" {
					t.Errorf("the other socket: got %s, want [1]", got)
				}
			})
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
		if got := (<-gone).reason; got != wsserver.ErrServerDisconnect {
			t.Errorf("reason: got %v, want ErrServerDisconnect", got)
		}
		c.Of("/admin", nil).EmitWithAck("echo") // the connection lives, and is read
	})
}

// TestMaxEvents: at the bound the server does not read, and nothing is lost (Config.Limits.MaxEvents).
func TestMaxEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 8}})
		release := make(chan struct{})
		var handled []int
		srv.Of("/").On("n", func(ctx context.Context, e *wsserver.Event) error {
			<-release
			var n int
			err := e.Decode(&n)
			handled = append(handled, n)
			return err
		})
		gone := farewells(srv.Of("/"))
		c := wstest.Dial(t, srv, wstest.Config{})
		filler := strings.Repeat("x", 1000)
		for i := range 200 {
			c.Emit("n", i, filler)
		}
		synctest.Wait()
		if got := wsrig.Under(c).Unread(); got < 150_000 {
			t.Errorf("unread: got %d bytes, want most of 200,000", got)
		}
		if got := srv.Stats().Events; got > 20 {
			t.Errorf("taken in: got %d events, want hardly more than 8", got)
		}
		// The pong is behind the events: no ping timeout runs while the server does not read (F18).
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		select {
		case f := <-gone:
			t.Fatalf("disconnected while not read: %v", f.reason)
		default:
		}
		close(release)
		c.EmitWithAck("echo")
		want := make([]int, 200)
		for i := range want {
			want[i] = i
		}
		if !slices.Equal(handled, want) {
			t.Errorf("handled: got %v, want 0 to 199", handled)
		}
		if got := wsrig.Under(c).Unread(); got != 0 {
			t.Errorf("unread in the end: got %d bytes, want 0", got)
		}
		time.Sleep(10 * time.Minute) // and heartbeats go on
		c.EmitWithAck("echo")
	})
}

// TestDisconnectWhilePaused: a socket that cannot take more events and ends leaves the connection to the others.
func TestDisconnectWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 1}})
		admin := srv.Of("/admin")
		admin.On("echo", echo)
		srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error {
			<-ctx.Done()
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		other := c.Of("/admin", nil)
		for range 10 {
			c.Emit("wait")
		}
		synctest.Wait()
		socketOf(t, srv, c).Disconnect()
		other.EmitWithAck("echo")
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
		if got := len(other.Pending()); got != 12 {
			t.Errorf("the other: got %d events, want 12", got)
		}
		slow.Resume()
		synctest.Wait()
		var names []string
		for _, e := range slow.Pending() {
			names = append(names, e.Name)
		}
		if want := []string{"big", "must"}; !slices.Equal(names, want) {
			t.Errorf("the slow one: got %q, want %q", names, want)
		}
		if got := srv.Stats().Dropped; got != 10 {
			t.Errorf("Stats.Dropped: got %d, want 10", got)
		}
	})
}

// TestEventsOfTheEnd: what a client sent before it went away is handled, and what waits when the server ends it is not.
func TestEventsOfTheEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(srv *wsserver.Server, s *wsserver.Socket, c *wstest.Client)
		want int
	}{
		{"the client leaves", func(_ *wsserver.Server, _ *wsserver.Socket, c *wstest.Client) { c.Disconnect() }, 3},
		{"the client closes", func(_ *wsserver.Server, _ *wsserver.Socket, c *wstest.Client) { c.Abort() }, 3},
		{"Disconnect", func(_ *wsserver.Server, s *wsserver.Socket, _ *wstest.Client) { s.Disconnect() }, 1},
		{"Close", func(_ *wsserver.Server, s *wsserver.Socket, _ *wstest.Client) { s.Close() }, 1},
		{"Server.Close", func(srv *wsserver.Server, _ *wsserver.Socket, _ *wstest.Client) { go srv.Close(context.Background()) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, wsserver.Config{})
				gone := farewells(srv.Of("/"))
				release, handled := make(chan struct{}), 0
				srv.Of("/").On("x", func(ctx context.Context, e *wsserver.Event) error {
					handled++
					<-release
					return nil
				})
				c := wstest.Dial(t, srv, wstest.Config{})
				s := socketOf(t, srv, c)
				for range 3 {
					c.Emit("x")
				}
				synctest.Wait()
				test.end(srv, s, c)
				synctest.Wait()
				close(release)
				next(t, gone)
				if handled != test.want {
					t.Errorf("got %d events handled, want %d", handled, test.want)
				}
			})
		})
	}
}

// TestCloseSaysGoodbye: a client whose connection the server closes is told so in each of its namespaces, or it would connect anew.
func TestCloseSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Of("/admin")
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read() // open
		for _, connect := range []string{"40", "40/admin,"} {
			c.Send(connect)
			c.Read()
		}
		srv.Of("/admin").Sockets()[0].Close()
		got := []string{c.Read(), c.Read()}
		if slices.Sort(got); !slices.Equal(got, []string{"41", "41/admin,"}) {
			t.Errorf("got %q, want a DISCONNECT for each namespace", got)
		}
		c.Wait()
	})
}
