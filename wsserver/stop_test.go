package wsserver_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// calls are the names of the handlers that were called.
type calls struct {
	mu    sync.Mutex
	names []string
}

func (c *calls) note(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
}

// take returns the names since the last take, each once, in the order of the first calls.
func (c *calls) take() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, name := range c.names {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	c.names = nil
	return strings.Join(names, " ")
}

// A setter sets a handler that calls hit.
type setter func(hit func()) (stop func())

// hooked is what [wsserver.Namespace] and [wsserver.ParentNamespace] have in common.
type hooked interface {
	wsserver.Listener
	Use(func(context.Context, *wsserver.Socket) error) func()
	OnConnect(func(context.Context, *wsserver.Socket) error) func()
	OnDisconnecting(func(context.Context, *wsserver.Socket, error)) func()
	OnDisconnect(func(context.Context, *wsserver.Socket, error)) func()
	OnAny(wsserver.Handler) func()
	OnAnyOutgoing(func(*wsserver.Socket, *wsserver.OutgoingEvent)) func()
	OnCreateRoom(func(*wsserver.Namespace, string)) func()
	OnJoinRoom(func(*wsserver.Socket, string)) func()
	OnLeaveRoom(func(*wsserver.Socket, string)) func()
	OnDeleteRoom(func(*wsserver.Namespace, string)) func()
	OnServerSide(string, wsserver.ServerHandler) func()
}

func handler(hit func()) wsserver.Handler {
	return func(context.Context, *wsserver.Event) error { hit(); return nil }
}

func onSocket(hit func()) func(context.Context, *wsserver.Socket) error {
	return func(context.Context, *wsserver.Socket) error { hit(); return nil }
}

func onEnd(hit func()) func(context.Context, *wsserver.Socket, error) {
	return func(context.Context, *wsserver.Socket, error) { hit() }
}

// socket is short for what handlers get.
type socket = *wsserver.Socket

// listeners are the setters of what has On.
func listeners(l wsserver.Listener) map[string]setter {
	type ctx = context.Context
	return map[string]setter{
		"On": func(hit func()) func() { return l.On("x", handler(hit)) },
		"On[A]": func(hit func()) func() {
			return wsserver.On(l, "x", func(ctx, socket, int) error { hit(); return nil })
		},
		"On2": func(hit func()) func() {
			return wsserver.On2(l, "x", func(_ ctx, _ socket, _, _ int) error { hit(); return nil })
		},
		"On3": func(hit func()) func() {
			return wsserver.On3(l, "x", func(_ ctx, _ socket, _, _, _ int) error { hit(); return nil })
		},
		"OnAck": func(hit func()) func() {
			return wsserver.OnAck(l, "x", func(ctx, socket, int) (int, error) { hit(); return 0, nil })
		},
		"OnAck2": func(hit func()) func() {
			return wsserver.OnAck2(l, "x", func(_ ctx, _ socket, _, _ int) (int, error) { hit(); return 0, nil })
		},
		"OnAck3": func(hit func()) func() {
			return wsserver.OnAck3(l, "x", func(_ ctx, _ socket, _, _, _ int) (int, error) { hit(); return 0, nil })
		},
	}
}

// hooks are the setters of a namespace.
func hooks(h hooked) map[string]setter {
	all := listeners(h)
	all["Use"] = func(hit func()) func() { return h.Use(onSocket(hit)) }
	all["OnConnect"] = func(hit func()) func() { return h.OnConnect(onSocket(hit)) }
	all["OnDisconnecting"] = func(hit func()) func() { return h.OnDisconnecting(onEnd(hit)) }
	all["OnDisconnect"] = func(hit func()) func() { return h.OnDisconnect(onEnd(hit)) }
	all["OnAny"] = func(hit func()) func() { return h.OnAny(handler(hit)) }
	all["OnAnyOutgoing"] = func(hit func()) func() {
		return h.OnAnyOutgoing(func(*wsserver.Socket, *wsserver.OutgoingEvent) { hit() })
	}
	all["OnCreateRoom"] = func(hit func()) func() {
		return h.OnCreateRoom(func(*wsserver.Namespace, string) { hit() })
	}
	all["OnJoinRoom"] = func(hit func()) func() { return h.OnJoinRoom(func(socket, string) { hit() }) }
	all["OnLeaveRoom"] = func(hit func()) func() { return h.OnLeaveRoom(func(socket, string) { hit() }) }
	all["OnDeleteRoom"] = func(hit func()) func() {
		return h.OnDeleteRoom(func(*wsserver.Namespace, string) { hit() })
	}
	all["OnServerSide"] = func(hit func()) func() {
		return h.OnServerSide("x", func(context.Context, *wsserver.ServerEvent) error { hit(); return nil })
	}
	all["OnServerSide[T]"] = func(hit func()) func() {
		return wsserver.OnServerSide(h, "x", func(context.Context, int) error { hit(); return nil })
	}
	all["OnServerSideAck"] = func(hit func()) func() {
		return wsserver.OnServerSideAck(h, "x", func(context.Context, int) (int, error) { hit(); return 0, nil })
	}
	return all
}

// TestStop: whatever sets a handler returns what takes it back, and nothing but that handler.
func TestStop(t *testing.T) {
	for owner, name := range map[string]string{
		"server": "/", "namespace": "/plain", "parent": "/made", "socket": "/plain",
	} {
		kit.Bubble(t, owner, func(t *testing.T) {
			srvs := newCluster(t, 2, wsserver.Config{})
			srv := srvs[0]
			parent := srv.OfFunc(func(name string) bool { return name == "/made" })
			srv.Of("/plain")
			c := wstest.Dial(t, srv, wstest.Config{Namespace: name})
			ns, _ := srv.Lookup(name)
			s, _ := ns.Socket(c.ID())
			var all map[string]setter
			switch owner {
			case "server":
				all = map[string]setter{
					"Use":       func(hit func()) func() { return srv.Use(onSocket(hit)) },
					"OnConnect": func(hit func()) func() { return srv.OnConnect(onSocket(hit)) },
					"OnServerSide": func(hit func()) func() {
						return srv.OnServerSide("x", func(context.Context, *wsserver.ServerEvent) error { hit(); return nil })
					},
				}
			case "namespace":
				all = hooks(ns)
			case "parent":
				all = hooks(parent)
			case "socket":
				all = listeners(s)
				all["OnAny"] = func(hit func()) func() { return s.OnAny(handler(hit)) }
				all["OnAnyOutgoing"] = func(hit func()) func() {
					return s.OnAnyOutgoing(func(*wsserver.OutgoingEvent) { hit() })
				}
				all["Use"] = func(hit func()) func() {
					return s.Use(func(next wsserver.Handler) wsserver.Handler {
						return func(ctx context.Context, e *wsserver.Event) error { hit(); return next(ctx, e) }
					})
				}
			}
			everything := func() { // happens
				other := wstest.Dial(t, srv, wstest.Config{Namespace: name})
				if err := s.Join(t.Context(), "room"); err != nil {
					t.Error(err)
				}
				s.Leave("room")
				c.Emit("x", 1, 2, 3)
				if err := s.Emit(t.Context(), "y"); err != nil {
					t.Error(err)
				}
				if err := srvs[1].Of(name).ServerSideEmit(t.Context(), "x", 1); err != nil {
					t.Error(err)
				}
				other.Close()
			}
			for kind, set := range all {
				var calls calls
				stops := make(map[string]func())
				for _, name := range []string{"a", "b", "c"} {
					stops[name] = set(func() { calls.note(name) })
				}
				expect := func(want string) {
					t.Helper()
					everything()
					kit.Want(t, calls.take(), want, kind, "called were")
				}
				expect("a b c")
				stops["b"]()
				stops["b"]() // nothing
				expect("a c")
				stops["d"] = set(func() { calls.note("d") })
				stops["b"]()
				expect("a c d")
				stops["a"]()
				stops["d"]()
				stops["c"]()
				expect("")
				kit.Check(t, !ns.Listening(), "%s: the rooms still tell of their events", kind)
			}
		})
	}
}

// TestStopEnds: the handlers of the end of one socket are taken back, too.
func TestStopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var calls calls
		end := func(name string) func(context.Context, error) {
			return func(context.Context, error) { calls.note(name) }
		}
		s.OnDisconnecting(end("a"))
		s.OnDisconnecting(end("b"))()
		s.OnDisconnect(end("c"))()
		s.OnDisconnect(end("d"))
		c.Disconnect()
		kit.Want(t, calls.take(), "a d", "called were")
	})
}

// TestStopInHandler: stop does not wait for the handler, which may call it. A middleware that is
// taken back while it runs goes on with those behind it.
func TestStopInHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		root := srv.Of("/")
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var calls calls
		note := func(name string) wsserver.Handler {
			return handler(func() { calls.note(name) })
		}
		var stopOnce, stopOwn, stopJoin, stopFirst func()
		stopOnce = root.On("x", handler(func() { calls.note("once"); stopOnce() }))
		stopOwn = s.On("x", handler(func() { calls.note("own"); stopOwn() }))
		s.On("x", note("last"))
		stopJoin = root.OnJoinRoom(func(*wsserver.Socket, string) { calls.note("joined"); stopJoin() })
		running, release := make(chan struct{}, 1), make(chan struct{}, 1)
		wrap := func(name string) func(wsserver.Handler) wsserver.Handler {
			return func(next wsserver.Handler) wsserver.Handler {
				return func(ctx context.Context, e *wsserver.Event) error {
					calls.note(name)
					if name == "first" {
						running <- struct{}{}
						<-release
					}
					return next(ctx, e)
				}
			}
		}
		stopFirst = s.Use(wrap("first"))
		s.Use(wrap("second"))
		c.Emit("x")
		<-running
		stopFirst()
		s.Use(wrap("third")) // may or may not be called for the event that is handled
		release <- struct{}{}
		switch got := calls.take(); got {
		case "first second third once own last", "first second once own last":
		default:
			t.Errorf("called were %q", got)
		}
		for range 2 {
			kit.OK(t, s.Join(t.Context(), "red"))
			s.Leave("red")
			c.Emit("x")
		}
		kit.Want(t, calls.take(), "joined second third last", "later: called were")
	})
}

// TestStopStress: handlers come and go while events are handled.
func TestStopStress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		root := srv.Of("/")
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				var stops []func()
				for range 200 {
					for _, all := range []map[string]setter{hooks(root), listeners(s)} {
						for _, set := range all {
							stops = append(stops, set(func() {}))
						}
					}
					if i%2 == 0 {
						c.Emit("x", 1)
					}
					for _, stop := range stops {
						stop()
					}
					stops = stops[:0]
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		unhandled := srv.Stats().Unhandled
		c.Emit("x")
		synctest.Wait()
		kit.Want(t, srv.Stats().Unhandled-unhandled, 1, "a handler is left: unhandled events")
	})
}
