package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

var isRoom = regexp.MustCompile(`^/room-\d+$`).MatchString

// names are those of a parent's children, in order.
func names(p *wsserver.ParentNamespace) []string {
	list := []string{}
	for _, ns := range p.Namespaces() {
		list = append(list, ns.Name())
	}
	slices.Sort(list)
	return list
}

func wantNames(t *testing.T, p *wsserver.ParentNamespace, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := names(p); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("children: got %q, want %q", got, want)
	}
}

// TestParentNamespace: a child is made for the first client of its name and goes with the last (socket.io, parent-namespace.ts, option
// cleanupEmptyChildNamespaces); its handlers are the parent's and then its own.
func TestParentNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		rooms := srv.OfFunc(isRoom)
		var mu sync.Mutex // guards steps
		var steps []string
		step := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, fmt.Sprintf(format, args...))
		}
		rooms.Use(func(ctx context.Context, s *wsserver.Socket) error { step("use %s", s.Namespace().Name()); return nil })
		rooms.OnAny(func(ctx context.Context, e *wsserver.Event) error { step("any %s", e.Name()); return nil })
		rooms.On("echo", echo)
		rooms.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) { step("parent sends %s", e.Name()) })
		rooms.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			ns := s.Namespace()
			step("connect %s", ns.Name())
			if len(ns.Sockets()) == 1 {
				ns.On("x", func(context.Context, *wsserver.Event) error { step("child's x"); return nil })
				ns.OnAny(func(ctx context.Context, e *wsserver.Event) error { step("child's any"); return nil })
				ns.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) { step("child sends %s", e.Name()) })
				ns.OnDisconnecting(func(context.Context, *wsserver.Socket, error) { step("child's disconnecting") })
				ns.OnDisconnect(func(context.Context, *wsserver.Socket, error) { step("child's disconnect") })
			}
			return nil
		})
		rooms.OnDisconnecting(func(_ context.Context, s *wsserver.Socket, _ error) { step("disconnecting, %d rooms", len(s.Rooms())) })
		rooms.OnDisconnect(func(_ context.Context, s *wsserver.Socket, _ error) {
			step("disconnect, %d rooms", len(s.Rooms()))
			kit.Check(t, slices.Contains(rooms.Namespaces(), s.Namespace()),
				"OnDisconnect: the namespace has gone before the handlers of its last socket")
		})
		want := func(steps_ ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			kit.WantList(t, steps, steps_)
			steps = nil
		}
		wantNames(t, rooms)

		c := wstest.Dial(t, srv, wstest.Config{})
		a := c.Of("/room-1", nil)
		want("use /room-1", "connect /room-1")
		b := wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"})
		want("use /room-1", "connect /room-1")
		other := c.Of("/room-2", nil)
		want("use /room-2", "connect /room-2")
		wantNames(t, rooms, "/room-1", "/room-2")
		rooms.On("x", func(context.Context, *wsserver.Event) error { step("parent's late x"); return nil })
		a.Emit("x")
		want("any x", "child's any", "parent's late x", "child's x")
		var child *wsserver.Namespace
		for _, ns := range rooms.Namespaces() {
			if ns.Name() == "/room-1" {
				child = ns
			}
		}
		kit.Require(t, child != nil && len(child.Sockets()) == 2,
			"/room-1: got %v, want a namespace of two", child)
		kit.OK(t, child.Emit(t.Context(), "said", 1))
		want("parent sends said", "child sends said", "parent sends said", "child sends said")
		wantEvents(t, "a", a, `["said",1]`)
		wantEvents(t, "b", b, `["said",1]`)
		wantEvents(t, "the other namespace", other)

		a.Disconnect()
		want("disconnecting, 1 rooms", "child's disconnecting", "disconnect, 0 rooms", "child's disconnect")
		wantNames(t, rooms, "/room-1", "/room-2")
		b.Abort()
		want("disconnecting, 1 rooms", "child's disconnecting", "disconnect, 0 rooms", "child's disconnect")
		other.Disconnect()
		want("disconnecting, 1 rooms", "child's disconnecting", "disconnect, 0 rooms", "child's disconnect")
		wantNames(t, rooms)

		// A new child of the name has nothing of the old one, but for the parent's handlers; the old one reaches its sockets.
		a = c.Of("/room-1", nil)
		want("use /room-1", "connect /room-1")
		if now := rooms.Namespaces(); len(now) != 1 || now[0] == child {
			t.Errorf("a new child: got the old one")
		}
		kit.OK(t, child.To(a.ID()).Emit(t.Context(), "said", 2))
		want("parent sends said", "child sends said") // once: not by what was set on the old one
		wantEvents(t, "a", a, `["said",2]`)
		if got := child.Sockets(); len(got) != 1 || got[0].ID() != a.ID() {
			t.Errorf("Sockets of the old child: got %v, want the new one's", got)
		}
	})
}

// TestParentRefused: what is told a client whose namespace cannot be had.
func TestParentRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log kit.Log
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxNamespaces: 2}, Logger: log.Logger()})
		first := srv.OfFunc(isRoom)
		second := srv.OfFunc(func(name string) bool {
			switch name {
			case "/panic":
				panic("bang in match")
			case "/slow":
				time.Sleep(10 * time.Second)
				return true
			}
			return strings.HasPrefix(name, "/ro")
		})
		third := srv.OfFunc(func(name string) bool { return name == "/panic2" || name == "/slow" })
		locked := errors.New("locked")
		second.Use(func(context.Context, *wsserver.Socket) error { return locked })
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		for range 3 {
			for _, test := range []struct{ send, want string }{
				{`40/unknown`, `44/unknown,{"message":"Invalid namespace"}`},
				{`40/room-x,`, `44/room-x,{"message":"locked"}`},
				{`40/panic,{}`, `44/panic,{"message":"Invalid namespace"}`},
			} {
				c.Send(test.send)
				kit.Want(t, c.Read(), test.want, test.send)
				wantNames(t, first)
				wantNames(t, second) // made for a client that was then refused: gone
			}
		}
		if got := log.String(); strings.Count(got, "belfry: the function given to OfFunc failed") != 1 || !strings.Contains(got, "bang in match") {
			t.Errorf("log: got %q, want the panic, once in a minute", got)
		}
		kit.Want(t, srv.Stats().Failures, 3, "Stats.Failures")

		for i := range 2 {
			c.Send(fmt.Sprintf(`40/room-%d,`, i))
			if got, want := c.Read(), fmt.Sprintf(`40/room-%d,{"sid":`, i); !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		wantNames(t, first, "/room-0", "/room-1")
		for range 100 {
			c.Send(`40/room-2,`)
			kit.Want(t, c.Read(), `44/room-2,{"message":"too many namespaces"}`, "beyond the bound")
		}
		kit.Want(t, strings.Count(log.String(), "MaxNamespaces"), 1, "times logged that there are too many")
		d := wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}) // it is there
		c.Send(`41/room-0,`)
		synctest.Wait()
		d.Of("/room-2", nil)
		wantNames(t, first, "/room-1", "/room-2")
		// What the program asks for does not count, and stays.
		pinned := srv.Of("room-7")
		kit.Check(t, srv.Of("/room-2") != nil && pinned == srv.Of("/room-7"), "Of made another")
		wantNames(t, first, "/room-1", "/room-2", "/room-7")
		d.Of("/room-8", nil)
		d.Abort()
		c.Abort()
		wantNames(t, first, "/room-2", "/room-7")

		// A slow match holds up nobody but its client, and a client that has gone has no namespace.
		c = wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send(`40/slow,`, `40`)
		if got := c.Read(); !strings.HasPrefix(got, `40{`) {
			t.Errorf("behind a slow match: got %s, want CONNECT", got)
		}
		c.Send(`420["echo"]`)
		kit.Want(t, c.Read(), `430[]`, "behind a slow match")
		c.Abort()
		time.Sleep(time.Minute)
		wantNames(t, second)
		wantNames(t, third)

		c = wsrig.Dial(t, srv, wsrig.Config{})
		c.Send(`40/slow,`)
		time.Sleep(time.Second)
		c.Send(`40/slow,`) // while it is being decided
		c.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// TestParentTogether: clients that ask for a name at once are in one namespace, and so is the program.
func TestParentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		p := srv.OfFunc(func(string) bool { time.Sleep(time.Second); return true })
		var clients []*wsrig.Conn
		for range 3 {
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.Read()
			c.Send(`40/room,`)
			clients = append(clients, c)
		}
		ns := srv.Of("/room")
		for _, c := range clients {
			c.Read()
		}
		wantNames(t, p, "/room")
		kit.Want(t, len(ns.Sockets()), 3, "sockets of the program's namespace")
	})
}

// TestOfParent: a name that the program asks for has the first matching parent's handlers, and a namespace without a parent is as ever.
func TestOfParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		before := srv.Of("/room-1")
		before.On("echo", echo)
		rooms := srv.OfFunc(isRoom)
		rooms.On("who", func(ctx context.Context, e *wsserver.Event) error { return e.Ack("parent") })
		bad := srv.OfFunc(func(string) bool { panic("bang") })
		room2, plain := srv.Of("/room-2"), srv.Of("/plain")
		room2.On("echo", echo)
		wantNames(t, rooms, "/room-2")
		wantNames(t, bad)
		c := wstest.Dial(t, srv, wstest.Config{})
		a, b := c.Of("/room-1", nil), c.Of("/room-2", nil)
		c.Of("/plain", nil)
		kit.Want(t, len(plain.Sockets()), 1, "the client is in another namespace")
		a.EmitWithAck("echo")
		b.EmitWithAck("echo")
		kit.Want(t, string(b.EmitWithAck("who").JSON()), `["parent"]`, "the child (the parent's answer)")
		c.Abort()
		wantNames(t, rooms, "/room-2")
		kit.Check(t, srv.Of("/room-2") == room2 && srv.Of("/room-1") == before,
			"a namespace of the program's has gone")
	})
}

// TestParentAcrossNodes: children of a name are one namespace in the cluster. One that is kept after its last socket here has gone still
// reaches the sockets of other nodes.
func TestParentAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var srvs []*wsserver.Server
		var parents []*wsserver.ParentNamespace
		var clients []*wstest.Client
		for range 2 {
			srv := newServer(t, wsserver.Config{Adapter: memory})
			parents = append(parents, srv.OfFunc(isRoom))
			kit.OK(t, srv.Ready(t.Context()))
			srvs = append(srvs, srv)
			clients = append(clients, wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}))
		}
		child := parents[0].Namespaces()[0]
		clients[0].Abort()
		synctest.Wait()
		time.Sleep(2 * time.Second) // the interest has ended, too
		kit.OK(t, child.Emit(t.Context(), "said", "from a namespace without sockets"))
		time.Sleep(time.Second)
		wantEvents(t, "the other node's client", clients[1], `["said","from a namespace without sockets"]`)

		again := wstest.Dial(t, srvs[0], wstest.Config{Namespace: "/room-1"})
		kit.OK(t, parents[1].Namespaces()[0].Emit(t.Context(), "said", "to all"))
		time.Sleep(time.Second)
		wantEvents(t, "the client that is back", again, `["said","to all"]`)
		wantEvents(t, "the other node's client", clients[1], `["said","to all"]`)
	})
}

// TestParentRace has clients of two connections come to the same names and go, while the program emits to them. Whoever is connected is reached, and
// in the end nothing is left.
func TestParentRace(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	rooms := srv.OfFunc(isRoom)
	rooms.Use(func(ctx context.Context, s *wsserver.Socket) error {
		if string(s.Handshake().Auth) == `{"refuse":true}` {
			return errors.New("no")
		}
		return nil
	})
	var mu sync.Mutex
	kept := make(map[string]*wsserver.Namespace) // the first child of each name, long gone
	rooms.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		mu.Lock()
		defer mu.Unlock()
		if ns := s.Namespace(); kept[ns.Name()] == nil {
			kept[ns.Name()] = ns
		}
		return nil
	})
	rooms.On("all", func(ctx context.Context, e *wsserver.Event) error {
		mu.Lock()
		ns := kept[e.Socket().Namespace().Name()]
		mu.Unlock()
		return ns.To(e.Socket().ID()).Emit(ctx, "said")
	})
	dial := listen(t, srv, nil, false)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c := wsrig.New(t, dial(), wsrig.Config{})
			c.Read()
			for j := range 200 {
				name := fmt.Sprintf("/room-%d", (i+j)%3)
				switch j % 4 {
				case 0:
					c.Send("40" + name + `,{"refuse":true}`)
					if got, want := c.Read(), "44"+name+`,{"message":"no"}`; got != want {
						t.Errorf("got %s, want %s", got, want)
						return
					}
				default:
					c.Send("40" + name + `,`)
					if got := c.Read(); !strings.HasPrefix(got, "40"+name) {
						t.Errorf("got %s, want CONNECT of %s", got, name)
						return
					}
					c.Send("42" + name + `,["all"]`)
					if got, want := c.Read(), "42"+name+`,["said"]`; got != want {
						t.Errorf("got %s, want %s", got, want)
						return
					}
					c.Send("41" + name + ",")
				}
			}
			c.Abort()
		})
	}
	wg.Wait()
	kit.Eventually(t, "no children", func() bool { return len(rooms.Namespaces()) == 0 })
}
