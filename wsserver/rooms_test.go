package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// members are the clients of TestBroadcast, by name, with their rooms. Of two servers, the first has a and b.
var members = []struct {
	name  string
	rooms []string
}{{"a", []string{"x"}}, {"b", []string{"x", "y"}}, {"c", []string{"y"}}, {"d", nil}}

// TestBroadcast: Socket.IO 5, "Broadcasting events" and "Rooms"; socket.io-adapter, BroadcastOptions.
func TestBroadcast(t *testing.T) {
	type world struct {
		srv     *wsserver.Server
		ns      *wsserver.Namespace
		sockets map[string]*wsserver.Socket
		id      func(name string) string
	}
	for _, test := range []struct {
		rule      string
		selection func(w world) sockets.Broadcast
		want      string
		wantLocal string // on two servers, if that is another
	}{
		{"without To, all", func(w world) sockets.Broadcast { return w.ns.Except() }, "abcd", ""},
		{"a room", func(w world) sockets.Broadcast { return w.ns.To("x") }, "ab", ""},
		{"a socket's id is its room", func(w world) sockets.Broadcast { return w.ns.To(w.id("d")) }, "d", ""},
		{"the sender is left out", func(w world) sockets.Broadcast { return w.sockets["a"].Broadcast() }, "bcd", ""},
		{"the sender is left out of its room", func(w world) sockets.Broadcast { return w.sockets["a"].To("x") }, "b", ""},
		{"the sender's In", func(w world) sockets.Broadcast { return w.sockets["b"].In("x", "y") }, "ac", ""},
		{"the sender's Except", func(w world) sockets.Broadcast { return w.sockets["a"].Except("y") }, "d", ""},
		{"the sender's own room", func(w world) sockets.Broadcast { return w.sockets["a"].To(w.id("a")) }, "", ""},
		{"one socket to another", func(w world) sockets.Broadcast { return w.sockets["a"].To(w.id("c")) }, "c", ""},
		{"the namespace includes whoever called", func(w world) sockets.Broadcast { return w.sockets["a"].Namespace().To("x") }, "ab", ""},
		{"the server's", func(w world) sockets.Broadcast { return w.srv.To("y") }, "bc", ""},
		{"the server's In", func(w world) sockets.Broadcast { return w.srv.In("y").To("x") }, "abc", ""},
		{"the server's Except", func(w world) sockets.Broadcast { return w.srv.Except("y") }, "ad", ""},
		{"local", func(w world) sockets.Broadcast { return w.ns.All().Local() }, "abcd", "ab"},
		{"local, of a socket", func(w world) sockets.Broadcast { return w.sockets["a"].To("y").Local() }, "bc", "b"},
		{"the server's Local", func(w world) sockets.Broadcast { return w.srv.All().Local().Except("y") }, "ad", "a"},
	} {
		for _, servers := range []int{1, 2} {
			kit.Bubble(t, fmt.Sprintf("%s/%d", test.rule, servers), func(t *testing.T) {
				memory := new(adapter.Memory)
				var srvs []*wsserver.Server
				for range servers {
					srv := newServer(t, wsserver.Config{Adapter: memory})
					kit.OK(t, srv.Ready(t.Context()))
					srvs = append(srvs, srv)
				}
				w := world{srv: srvs[0], ns: srvs[0].Of("/"), sockets: make(map[string]*wsserver.Socket)}
				clients := make(map[string]*wstest.Client)
				w.id = func(name string) string { return clients[name].ID() }
				for i, m := range members {
					srv := srvs[i*servers/len(members)]
					clients[m.name] = wstest.Dial(t, srv, wstest.Config{})
					w.sockets[m.name] = socketOf(t, srv, clients[m.name])
					kit.OK(t, w.sockets[m.name].Join(t.Context(), m.rooms...))
				}
				kit.OK(t, test.selection(w).Emit(t.Context(), "said", "hi"))
				synctest.Wait()
				want := test.want
				if servers == 2 && test.wantLocal != "" {
					want = test.wantLocal
				}
				for _, m := range members {
					var events []string
					if slices.Contains([]byte(want), m.name[0]) {
						events = []string{`["said","hi"]`}
					}
					wantEvents(t, m.name, clients[m.name], events...)
				}
			})
		}
	}
}

// TestRooms: a socket is in the room of its own id; socket.io-adapter addAll, del, delAll.
func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		want := func(rooms ...string) {
			t.Helper()
			kit.WantList(t, s.Rooms(), rooms, "Rooms")
		}
		want(s.ID())
		kit.OK(t, s.Join(t.Context(), "x", "y"))
		kit.OK(t, s.Join(t.Context(), "y"), "a second Join")
		want(s.ID(), "x", "y")
		s.Leave("x", "never joined")
		want(s.ID(), "y")
		kit.WantErr(t, s.Join(t.Context(), "\xff"), cluster.ErrRoomName, "Join of a room that cannot be")
		if err := s.Join(t.Context(), "z", string(make([]byte, cluster.MaxRoomName+1))); !errors.Is(err, cluster.ErrRoomName) {
			t.Errorf("Join of a room too long: got %v, want ErrRoomName", err)
		}
		want(s.ID(), "y")

		ns := srv.Of("/")
		other := wstest.Dial(t, srv, wstest.Config{})
		socketOf(t, srv, other).Join(t.Context(), s.ID()) // still is the socket's own
		all, err := ns.AllRooms(t.Context())
		if got := ns.Rooms(); !slices.Equal(got, []string{"y"}) || !slices.Equal(all, got) || err != nil {
			t.Errorf("Namespace.Rooms: got %q, AllRooms: got %q, %v, want y", got, all, err)
		}
		kit.Want(t, ns.SocketCount(), 2, "Namespace.SocketCount")
		other.Disconnect()
		synctest.Wait()
		for room, want := range map[string]int{"y": 1, "x": 0, s.ID(): 1} {
			if got := ns.SocketsIn(room); len(got) != want || want == 1 && got[0] != s {
				t.Errorf("Namespace.SocketsIn(%q): got %d, want %d", room, len(got), want)
			}
		}
		if got := ns.Sockets(); len(got) != 1 || got[0] != s {
			t.Errorf("Namespace.Sockets(): got %v, want the socket", got)
		}

		c.Abort()
		synctest.Wait()
		want()
		if err := s.Join(t.Context(), "x"); !errors.Is(err, cluster.ErrMember) || !errors.Is(err, wsserver.ErrTransportClose) {
			t.Errorf("Join after the disconnection: got %v, want ErrMember and the reason", err)
		}
		kit.WantErr(t, s.Emit(t.Context(), "x"), wsserver.ErrTransportClose, "Emit after the disconnection")
		kit.WantErr(t, context.Cause(s.Context()), wsserver.ErrTransportClose, "cause of the context")
		kit.Check(t, !s.Connected(), "Connected: got true after the disconnection")
		if _, ok := ns.Socket(s.ID()); ok || len(ns.Rooms()) > 0 || ns.SocketCount() > 0 {
			t.Errorf("the namespace after the disconnection: got rooms %q, want none", ns.Rooms())
		}
	})
}

// TestDisconnectHandlers: socket.io, events "disconnecting", with the rooms still there, and "disconnect", without (_onclose).
func TestDisconnectHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		var steps []string
		note := func(who string) func(ctx context.Context, s *wsserver.Socket, reason error) {
			return func(ctx context.Context, s *wsserver.Socket, reason error) {
				steps = append(steps, fmt.Sprintf("%s: %d rooms, connected %v, %v", who, len(s.Rooms()), s.Connected(), reason))
			}
		}
		ns := srv.Of("/")
		ns.OnDisconnecting(note("namespace disconnecting"))
		ns.OnDisconnect(note("namespace disconnect"))
		ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.OnDisconnecting(func(ctx context.Context, reason error) { note("socket disconnecting")(ctx, s, reason) })
			s.OnDisconnect(func(ctx context.Context, reason error) { note("socket disconnect")(ctx, s, reason) })
			return s.Join(ctx, "x")
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		synctest.Wait()
		c.Disconnect()
		synctest.Wait()
		want := []string{
			"namespace disconnecting: 2 rooms, connected false, client namespace disconnect",
			"socket disconnecting: 2 rooms, connected false, client namespace disconnect",
			"namespace disconnect: 0 rooms, connected false, client namespace disconnect",
			"socket disconnect: 0 rooms, connected false, client namespace disconnect",
		}
		kit.WantList(t, steps, want)
	})
}

// TestNamespaces: namespaces share a connection and nothing else (Socket.IO 5, "Namespaces").
func TestNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		root, admin := srv.Of("/"), srv.Of("admin")
		if got := srv.Of("/admin"); got != admin || got.Name() != "/admin" {
			t.Errorf(`Of("/admin"): got %q, want what Of("admin") gave`, got.Name())
		}
		admin.On("echo", echo)
		gone := farewells(root)
		a := wstest.Dial(t, srv, wstest.Config{})
		b := a.Of("/admin", map[string]int{"level": 3})
		sa := socketOf(t, srv, a)
		sb, ok := admin.Socket(b.ID())
		kit.Require(t, ok && sb.ID() != sa.ID(), "sockets: got %q and %q, want two", sa.ID(), b.ID())
		if got := string(sb.Handshake().Auth); got != `{"level":3}` || sa.Handshake().Auth != nil {
			t.Errorf("auth: got %q and %q, want none and the admin's", sa.Handshake().Auth, got)
		}
		sa.Join(t.Context(), "x")
		sb.Join(t.Context(), "x")
		root.To("x").Emit(t.Context(), "root")
		admin.To("x").Emit(t.Context(), "admin")
		wantEvents(t, "root", a, `["root"]`)
		wantEvents(t, "admin", b, `["admin"]`)
		admin.To(sa.ID()).Emit(t.Context(), "admin")
		wantEvents(t, "root", a)

		a.Disconnect()
		kit.WantErr(t, (<-gone).reason, wsserver.ErrClientDisconnect, "reason")
		kit.Want(t, string(b.EmitWithAck("echo", "still").JSON()), `["still"]`,
			"the other namespace (its answer)")
		a = a.Of("/", nil)
		if got := socketOf(t, srv, a); got.ID() == sa.ID() {
			t.Error("a new CONNECT got the old socket")
		}
	})
}

// TestHandshake: what the client said when it connected.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{Auth: map[string]string{"token": "abc"}, Query: map[string][]string{"room": {"x", "y"}}})
		h := socketOf(t, srv, c).Handshake()
		if string(h.Auth) != `{"token":"abc"}` || !slices.Equal(h.Query["room"], []string{"x", "y"}) || len(h.Query) != 1 {
			t.Errorf("got auth %s and query %v", h.Auth, h.Query)
		}
		kit.Want(t, h.RemoteAddr, "192.0.2.1:1234", "RemoteAddr")
	})
}

// deafAdapter joins a node through a Memory, and holds up what it receives while deaf holds a channel, until that is closed.
type deafAdapter struct {
	adapter.Memory
	deaf atomic.Pointer[chan struct{}]
}

func (a *deafAdapter) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	return a.Memory.Open(ctx, func(msg []byte) {
		if hears := a.deaf.Load(); hears != nil {
			<-*hears
		}
		recv(msg)
	})
}

// onItsWay connects a client whose socket is in the namespace "/" already, and waits for its CONNECT
// packet: the other node does not confirm that it knows of the socket.
func onItsWay(t *testing.T) (ns *wsserver.Namespace, c *wsrig.Conn, id string) {
	slow := new(deafAdapter)
	srv := newServer(t, wsserver.Config{Adapter: &slow.Memory})
	other := newServer(t, wsserver.Config{Adapter: slow})
	for _, s := range []*wsserver.Server{srv, other} {
		kit.OK(t, s.Ready(t.Context()))
	}
	time.Sleep(time.Second)
	hears := make(chan struct{})
	slow.deaf.Store(&hears) // the other node will not confirm within 250 ms
	t.Cleanup(func() { close(hears) })
	ids := make(chan string, 1)
	srv.Use(func(_ context.Context, s *wsserver.Socket) error { ids <- s.ID(); return nil })
	c = wsrig.Dial(t, srv, wsrig.Config{Early: []string{"40"}})
	c.Read() // open
	time.Sleep(100 * time.Millisecond)
	ns = srv.Of("/")
	kit.Require(t, ns.SocketCount() == 1 && len(ns.Sockets()) == 0,
		"the test is wrong: %d sockets, want one to be on its way", ns.SocketCount())
	return ns, c, <-ids
}

// TestNothingBeforeConnect: no packet comes before the CONNECT packet (socket.io, namespace.ts _doConnect), although the socket is in its
// namespace already, while the rest of the cluster has not confirmed that yet.
func TestNothingBeforeConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns, c, id := onItsWay(t)
		kit.OK(t, ns.Emit(t.Context(), "early"))
		for _, s := range ns.Sockets() {
			s.Emit(t.Context(), "earlier")
		}
		if got := len(ns.Sockets()); got > 0 {
			t.Errorf("Sockets: got %d, want none before it is connected", got)
		}
		if _, ok := ns.Socket(id); ok {
			t.Error("Socket: got it before it is connected")
		}
		if got := c.Read(); got[:2] != "40" {
			t.Errorf("first packet: got %q, want CONNECT", got)
		}
		ns.Emit(t.Context(), "later")
		kit.Want(t, c.Read(), `42["later"]`, "second packet")
	})
}
