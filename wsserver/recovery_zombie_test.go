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

// comes is a client by hand that sends packets as the first thing.
func comes(t *testing.T, srv *wsserver.Server, packets ...string) *wsrig.Conn {
	t.Helper()
	c := wsrig.Dial(t, srv, wsrig.Config{})
	c.Read() // of Engine.IO
	c.Send(packets...)
	return c
}

// backAs is the CONNECT packet of a client that comes back, with more keys.
func backAs(c *wstest.Client, more string) string {
	return fmt.Sprintf(`40{"pid":%q%s}`, c.PID(), more)
}

// isBack reports whether a CONNECT packet of the server goes on with the session of c.
func isBack(c *wstest.Client, packet string) bool {
	return packet == fmt.Sprintf(`40{"sid":%q,"pid":%q}`, c.ID(), c.PID())
}

// TestZombie: a client that is back before the server has noticed that it was away gets its session,
// when the handlers of its earlier socket have ended.
func TestZombie(t *testing.T) {
	for _, test := range []struct {
		name           string
		event, end     time.Duration // how long the handlers take
		abort          bool          // the server has noticed, and the handlers of the end still run
		back           bool
		after          time.Duration
		busy, sessions int
	}{
		{name: "idle", back: true},
		{name: "in an event", event: 3 * time.Second, back: true, after: 3 * time.Second},
		{name: "in its end", end: 3 * time.Second, back: true, after: 3 * time.Second},
		{name: "in its end, which had begun", end: 3 * time.Second, abort: true, back: true, after: 3 * time.Second},
		{name: "for too long", event: 8 * time.Second, after: 5 * time.Second, busy: 1, sessions: 1},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv, ns, c := newRecovering(t, wsserver.Recovery{})
			var n notes
			ns.On("slow", func(context.Context, *wsserver.Event) error { time.Sleep(test.event); return nil })
			ns.OnDisconnect(func(_ context.Context, _ *wsserver.Socket, reason error) {
				time.Sleep(test.end)
				n.add("disconnect %v", errors.Is(reason, wsserver.ErrTransportClose))
			})
			ns.OnConnect(func(_ context.Context, s *wsserver.Socket) error { n.add("connect %v", s.Recovered()); return nil })
			id, s := c.ID(), socketOf(t, srv, c)
			kit.OK(t, s.Join(t.Context(), "x"))
			kit.OK(t, ns.To("x").Emit(t.Context(), "got", 1))
			wantTold(t, "connected", c, "got 1")
			c.Stall()
			c.Emit("slow", 1)
			if test.abort {
				drop(c)
			}
			synctest.Wait()
			kit.OK(t, ns.To("x").Emit(t.Context(), "missed", 2))
			if !test.abort {
				kit.OK(t, s.Emit(t.Context(), "missed", 3))
			}
			begin := time.Now()
			c.Return(srv)
			kit.Equal(t, time.Since(begin), test.after, "it took")
			wantBack(t, "zombie", c, id, test.back)
			switch {
			case test.back && !test.abort:
				wantTold(t, "back", c, "missed 2", "missed 3")
			case test.back:
				wantTold(t, "back", c, "missed 2")
			default:
				wantTold(t, "new", c)
			}
			if test.back {
				n.want(t, "handlers", "disconnect true", "connect true")
			}
			time.Sleep(10 * time.Second)
			r := srv.Stats().Recovery
			kit.Equal(t, int(r.Refused.Busy), test.busy, "busy")
			kit.Equal(t, r.Away, test.sessions, "away")
			kit.Equal(t, len(ns.Sockets()), 1, "sockets")
		})
	}
}

// TestTwiceAtOnce: of two connections that name one session at once, the one that came last gets it.
func TestTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		drop(c)
		kit.OK(t, ns.Emit(t.Context(), "missed", 1))
		pass := make(chan struct{})
		ns.Use(func(context.Context, *wsserver.Socket) error { <-pass; return nil })
		var all []*wsrig.Conn
		for range 4 {
			all = append(all, comes(t, srv, backAs(c, "")))
			synctest.Wait()
		}
		close(pass)
		for i, conn := range all[:3] {
			end := conn.Wait()
			kit.Check(t, end.Code == 1005 || end.Code == 1000, "connection %d: %v", i, end)
		}
		kit.Check(t, isBack(c, all[3].Read()), "the last is not back")
		kit.Check(t, strings.HasPrefix(all[3].Read(), `42["missed",1,`), "the last has not got what it missed")
		synctest.Wait()
		kit.Equal(t, len(ns.Sockets()), 1, "sockets")
		kit.Equal(t, srv.Stats().Recovery.Here, 1, "recovered")
	})
}

// TestBackInMiddleware: middlewares know who comes back. Who is refused keeps its session, and may
// try again, by the same connection too.
func TestBackInMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		id, s := c.ID(), socketOf(t, srv, c)
		s.SetData("its data")
		drop(c)
		kit.OK(t, ns.Emit(t.Context(), "missed", 1))
		ns.Use(func(_ context.Context, s *wsserver.Socket) error {
			kit.Check(t, s.Recovered() && s.ID() == id && s.Data() == "its data", "got %v, %q, %v", s.Recovered(), s.ID(), s.Data())
			var token struct{ Token string }
			if err := s.DecodeAuth(&token); err != nil || token.Token != "good" {
				return errors.New("revoked")
			}
			return nil
		})
		kit.Equal(t, string(c.TryReturn(srv)), `{"message":"revoked"}`, "refusal")
		drop(c)
		kit.Equal(t, srv.Stats().Recovery.Away, 1, "away")
		conn := comes(t, srv, backAs(c, `,"token":"bad"`))
		kit.Equal(t, conn.Read(), `44{"message":"revoked"}`, "refusal")
		conn.Send(backAs(c, `,"token":"good"`))
		kit.Check(t, isBack(c, conn.Read()), "it is not back")
		kit.Check(t, strings.HasPrefix(conn.Read(), `42["missed",1,`), "it has not got what it missed")
		synctest.Wait()
		conn.Send(`421["echo",5]`)
		kit.Equal(t, conn.Read(), `431[5]`, "echo")
	})
}

// TestSkipMiddlewares: by Recovery.SkipMiddlewares, those that are recovered connect without them.
func TestSkipMiddlewares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{SkipMiddlewares: true})
		calls := 0
		ns.Use(func(context.Context, *wsserver.Socket) error { calls++; return errors.New("no") })
		id := c.ID()
		drop(c)
		c.Return(srv)
		wantBack(t, "return", c, id, true)
		kit.Equal(t, calls, 0, "calls of the middleware")
		drop(c)
		time.Sleep(3 * time.Minute)
		kit.Equal(t, string(c.TryReturn(srv)), `{"message":"no"}`, "refusal of a new socket")
	})
}

// TestRefusedAfterMiddlewares: a client whose session is lost while its middlewares run connects as
// a new socket, which they see as such.
func TestRefusedAfterMiddlewares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		id, s := c.ID(), socketOf(t, srv, c)
		s.SetData("old")
		drop(c)
		var n notes
		stop := ns.Use(func(ctx context.Context, s *wsserver.Socket) error {
			n.add("%v %v %v", s.Recovered(), s.ID() == id, s.Data())
			if s.Recovered() {
				for range 3 {
					_ = ns.Emit(ctx, "much", strings.Repeat("x", 1<<19))
				}
			}
			return nil
		})
		c.Return(srv)
		wantBack(t, "return", c, id, false)
		n.want(t, "middleware", "true true old", "false false <nil>")
		kit.Equal(t, srv.Stats().Recovery.Refused.TooMuch, 1, "refused")
		stop()
		id = c.ID()
		drop(c)
		c.Return(srv)
		wantBack(t, "later", c, id, true)
	})
}
