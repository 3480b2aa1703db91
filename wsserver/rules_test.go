package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// The rules of Socket.IO's adapters that are about sockets, each with a test named after it. The table of all of them, and the others'
// tests, are in package adapter (rules_test.go).

// listenTo notes the room events of hooks, and returns what gives ids their names in it.
func listenTo(n *notes, h hooked) {
	// Ids are as long as no room's name here is.
	own := func(room string) string {
		if len(room) > 10 {
			return "its own"
		}
		return room
	}
	h.OnCreateRoom(func(ns *wsserver.Namespace, room string) { n.add("%s create %s", ns.Name(), own(room)) })
	h.OnJoinRoom(func(s *wsserver.Socket, room string) { n.add("%s join %s", s.Namespace().Name(), own(room)) })
	h.OnLeaveRoom(func(s *wsserver.Socket, room string) { n.add("%s leave %s", s.Namespace().Name(), own(room)) })
	h.OnDeleteRoom(func(ns *wsserver.Namespace, room string) { n.add("%s delete %s", ns.Name(), own(room)) })
}

// A socket is in its own room before its client knows that it is connected, and handlers of the connection run after that.
func TestRule09OwnRoomThenConnectPacketThenHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		var n notes
		ns := srv.Of("/")
		listenTo(&n, ns)
		ns.OnJoinRoom(func(s *wsserver.Socket, room string) {
			if err := s.Emit(t.Context(), "too early"); room != s.ID() || s.Connected() || !errors.Is(err, wsserver.ErrNotConnected) {
				t.Errorf("in the room %q: connected %v, Emit %v, want its own before it is connected", room, s.Connected(), err)
			}
			if _, ok := ns.Socket(s.ID()); ok || !slices.Equal(s.Rooms(), []string{s.ID()}) {
				t.Errorf("in its own room: listed %v, rooms %q", ok, s.Rooms())
			}
		})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			if _, ok := ns.Socket(s.ID()); !ok || !s.Connected() {
				t.Error("OnConnect: it is not connected")
			}
			n.add("connected")
			return s.Emit(ctx, "welcome")
		})
		c := wsrig.Dial(t, srv, wsrig.Config{Early: []string{"40"}})
		c.Read() // of Engine.IO
		if got := c.Read(); got[:2] != "40" {
			t.Errorf("first packet: got %q, want CONNECT", got)
		}
		kit.Want(t, c.Read(), `42["welcome"]`, "second packet (the handler's)")
		n.want(t, "connect", "/ create its own", "/ join its own", "connected")
	})
}

func TestRule10RoomsOfASocketThatDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		ns := srv.Of("/")
		stays, c := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		_ = socketOf(t, srv, stays).Join(t.Context(), "y")
		_ = s.Join(t.Context(), "x", "y")
		var n notes
		listenTo(&n, ns)
		ns.OnDisconnecting(func(_ context.Context, s *wsserver.Socket, _ error) {
			n.add("disconnecting from %d rooms, %d in y", len(s.Rooms()), len(ns.SocketsIn("y")))
		})
		ns.OnDisconnect(func(_ context.Context, s *wsserver.Socket, _ error) {
			_, ok := ns.Socket(s.ID())
			n.add("disconnected from %d rooms, %d in y, known %v", len(s.Rooms()), len(ns.SocketsIn("y")), ok)
			kit.WantErr(t, s.Join(t.Context(), "x"), cluster.ErrMember, "Join afterwards")
		})
		c.Abort()
		n.want(t, "the end", "disconnecting from 3 rooms, 2 in y",
			"/ leave its own", "/ delete its own", "/ leave x", "/ delete x", "/ leave y",
			"disconnected from 0 rooms, 1 in y, known false")
		kit.Want(t, len(ns.SocketsIn("x")), 0, "sockets in x")
	})
}

func TestRule11RefusedClientLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		parent := srv.OfFunc(isRoom)
		var n notes
		listenTo(&n, srv.Of("/"))
		listenTo(&n, parent)
		refuse := func(_ context.Context, s *wsserver.Socket) error {
			kit.WantErr(t, s.Join(t.Context(), "x"), wsserver.ErrNotConnected, "Join in a middleware")
			return errors.New("no")
		}
		srv.Use(refuse)
		parent.Use(refuse)
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		for _, name := range []string{"", "/room-1,"} {
			c.Send("40" + name)
			kit.Want(t, c.Read(), "44"+name+`{"message":"no"}`)
		}
		n.want(t, "two refusals")
		nothingLeft(t, srv.Of("/"))
		wantNames(t, parent)
	})
}

// encodes counts the packets that are encoded.
type encodes struct {
	packet.JSON
	n *atomic.Int32
}

func (e encodes) Encode(p *packet.Packet) (packet.Encoded, error) {
	e.n.Add(1)
	return e.JSON.Encode(p)
}

func TestRule15EncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var count, far atomic.Int32
		srv := newServer(t, wsserver.Config{Adapter: memory, Codec: encodes{n: &count}})
		other := newServer(t, wsserver.Config{Adapter: memory, Codec: encodes{n: &far}})
		for _, srv := range []*wsserver.Server{srv, other} {
			kit.OK(t, srv.Ready(t.Context()))
		}
		var told atomic.Int32
		srv.Of("/").OnAnyOutgoing(func(*wsserver.Socket, *wsserver.OutgoingEvent) { told.Add(1) })
		var clients []*wstest.Client
		for range 5 {
			clients = append(clients, wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, other, wstest.Config{}))
		}
		synctest.Wait()
		count.Store(0)
		far.Store(0)
		kit.OK(t, srv.Emit(t.Context(), "said", []byte("hi")))
		for i, c := range clients {
			wantEvents(t, fmt.Sprint("client ", i), c, `["said",{"_placeholder":true,"num":0}]`)
		}
		if count.Load() != 1 || far.Load() != 0 || told.Load() != 5 {
			t.Errorf("encoded %d times here and %d there, %d sockets told of; want 1, 0 and 5", count.Load(), far.Load(), told.Load())
		}
		for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
			if err := srv.Emit(t.Context(), name); err == nil {
				t.Errorf("Emit of %q, which Socket.IO keeps for itself: got no error", name)
			}
		}
		for i, c := range clients {
			wantEvents(t, fmt.Sprint("client ", i), c)
		}
	})
}

// Here on the sockets of this node, one by one; those of all nodes are in rules_cluster_test.go.
func TestRule16EmitThenDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		ends := map[string]func(*wsserver.Socket){"Disconnect": (*wsserver.Socket).Disconnect, "Close": (*wsserver.Socket).Close}
		for name, end := range ends {
			var clients []*wstest.Client
			for range 5 {
				c := wstest.Dial(t, srv, wstest.Config{})
				_ = socketOf(t, srv, c).Join(t.Context(), "x")
				clients = append(clients, c)
			}
			kit.OK(t, srv.To("x").Emit(t.Context(), "last words"))
			for _, s := range srv.Of("/").SocketsIn("x") {
				end(s)
			}
			_ = srv.To("x").Emit(t.Context(), "too late")
			for _, c := range clients {
				<-c.Disconnected()
				wantEvents(t, name, c, `["last words"]`)
			}
		}
	})
}

func TestRule25OneServerWithoutCluster(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	if got := srv.Stats().Adapter.Nodes; len(got) != 0 || srv.Node() == "" {
		t.Errorf("the server %q knows of %q, want none besides itself", srv.Node(), got)
	}
}

// The child's last events are told before it has gone, and a new one of the name begins anew.
func TestRule27DynamicNamespaceGoesWithItsLastSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		parent := srv.OfFunc(isRoom)
		var n notes
		listenTo(&n, parent)
		for range 2 {
			a, b := wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}), wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"})
			wantNames(t, parent, "/room-1")
			n.want(t, "two clients", "/room-1 create its own", "/room-1 join its own", "/room-1 create its own", "/room-1 join its own")
			child := parent.Namespaces()[0]
			a.Disconnect()
			wantNames(t, parent, "/room-1")
			b.Disconnect()
			wantNames(t, parent)
			n.want(t, "none", "/room-1 leave its own", "/room-1 delete its own", "/room-1 leave its own", "/room-1 delete its own")
			nothingLeft(t, child)
		}
	})
}

// In Socket.IO, a parent's emit reaches the children of its own node, and its fetchSockets is an error. In belfry a parent has no such
// methods: it lists its children, and each broadcasts to its sockets on all nodes.
func TestRule28ParentReachesItsChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		parent := srv.OfFunc(isRoom)
		clients := []*wstest.Client{wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}), wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}),
			wstest.Dial(t, srv, wstest.Config{Namespace: "/room-2"})}
		other := wstest.Dial(t, srv, wstest.Config{})
		for _, child := range parent.Namespaces() {
			kit.OK(t, child.Emit(t.Context(), "all", child.Name()))
		}
		for i, want := range []string{`["all","/room-1"]`, `["all","/room-1"]`, `["all","/room-2"]`} {
			wantEvents(t, fmt.Sprint("client ", i), clients[i], want)
		}
		wantEvents(t, "a client of no child", other)
	})
}
