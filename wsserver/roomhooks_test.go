package wsserver_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestRoomHooks: handlers of a kind are told of that kind, in the order in which they were set, once each, and of this node alone.
func TestRoomHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		srv, other := newServer(t, wsserver.Config{Adapter: memory}), newServer(t, wsserver.Config{Adapter: memory})
		for _, srv := range []*wsserver.Server{srv, other} {
			kit.OK(t, srv.Ready(t.Context()))
		}
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var n notes
		ns := srv.Of("/")
		ns.OnJoinRoom(func(s *wsserver.Socket, room string) { n.add("first: %s", room) })
		kit.OK(t, s.Join(t.Context(), "x"))
		n.want(t, "one handler", "first: x")
		ns.OnJoinRoom(func(s *wsserver.Socket, room string) { n.add("second: %s", room) })
		ns.OnDeleteRoom(func(ns *wsserver.Namespace, room string) { n.add("deleted %s, %d left", room, len(ns.Rooms())) })
		kit.OK(t, s.Join(t.Context(), "y"))
		s.Leave("x")
		n.want(t, "three handlers", "first: y", "second: y", "deleted x, 1 left")

		far := wstest.Dial(t, other, wstest.Config{})
		kit.OK(t, socketOf(t, other, far).Join(t.Context(), "y", "z"))
		far.Disconnect()
		srv.Of("/other").OnJoinRoom(func(*wsserver.Socket, string) { t.Error("another namespace was told") })
		kit.OK(t, s.Join(t.Context(), "z"))
		n.want(t, "the other node's", "first: z", "second: z")
	})
}

// TestRoomHooksMayChangeRooms: a handler joins, leaves, emits and disconnects.
func TestRoomHooksMayChangeRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		ns := srv.Of("/")
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		var n notes
		listenTo(&n, ns)
		ns.OnJoinRoom(func(s *wsserver.Socket, room string) {
			switch room {
			case "x":
				if err := s.Join(t.Context(), "y"); err != nil {
					t.Error(err)
				}
				s.Leave("x")
			case "y":
				if err := ns.To("y").Emit(t.Context(), "in y"); err != nil {
					t.Error(err)
				}
			case "z":
				s.Disconnect()
			}
		})
		kit.OK(t, s.Join(t.Context(), "x"))
		n.want(t, "x leads to y", "/ create x", "/ join x", "/ create y", "/ join y", "/ leave x", "/ delete x")
		wantEvents(t, "the client", c, `["in y"]`)
		_ = s.Join(t.Context(), "z")
		<-c.Disconnected()
		n.want(t, "z leads away", "/ create z", "/ join z", "/ leave its own", "/ delete its own", "/ leave y", "/ delete y", "/ leave z", "/ delete z")
	})
}

// TestRoomHooksOfParents: children have their parent's handlers before their own, and also those that are set when they are there.
func TestRoomHooksOfParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		parent := srv.OfFunc(isRoom)
		silent := wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"}) // from before anybody listens
		var n notes
		child := parent.Namespaces()[0]
		s, _ := child.Socket(silent.ID())
		join := func(room string) {
			t.Helper()
			kit.OK(t, s.Join(t.Context(), room))
		}
		join("w")
		parent.OnJoinRoom(func(s *wsserver.Socket, room string) { n.add("parent: %s %s", s.Namespace().Name(), room) })
		join("x")
		n.want(t, "a child that was there", "parent: /room-1 x")
		child.OnJoinRoom(func(s *wsserver.Socket, room string) { n.add("child: %s", room) })
		join("y")
		n.want(t, "with a handler of its own", "parent: /room-1 y", "child: y")
		c := silent.Of("/room-2", nil)
		n.want(t, "a new child", "parent: /room-2 "+c.ID())
		parent.OnLeaveRoom(func(s *wsserver.Socket, room string) { n.add("left: %s %s", s.Namespace().Name(), room) })
		s.Leave("x")
		c.Disconnect()
		n.want(t, "leaves", "left: /room-1 x", "left: /room-2 "+c.ID())
		made := srv.Of("/room-3")
		c = silent.Of("/room-3", nil)
		if s, ok := made.Socket(c.ID()); !ok || s.Join(t.Context(), "z") != nil {
			t.Fatal("no socket in /room-3")
		}
		n.want(t, "a child that the program has made", "parent: /room-3 "+c.ID(), "parent: /room-3 z")
	})
}

// TestPanicInRoomHook: it is reported, and neither the change nor the other handlers suffer.
func TestPanicInRoomHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type report struct {
			s     *wsserver.Socket
			event string
			err   error
		}
		reports := make(chan report, 100)
		srv := newServer(t, wsserver.Config{OnError: func(s *wsserver.Socket, event string, err error) { reports <- report{s, event, err} }})
		ns := srv.Of("/")
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		ns.OnCreateRoom(func(*wsserver.Namespace, string) { panic("create") })
		ns.OnJoinRoom(func(*wsserver.Socket, string) { panic("join") })
		ns.OnLeaveRoom(func(*wsserver.Socket, string) { panic("leave") })
		ns.OnDeleteRoom(func(*wsserver.Namespace, string) { panic("delete") })
		var n notes
		listenTo(&n, ns)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		kit.OK(t, s.Join(ctx, "x"))
		s.Leave("x")
		n.want(t, "the other handlers", "/ create x", "/ join x", "/ leave x", "/ delete x")
		for _, want := range []string{"create-room", "join-room", "leave-room", "delete-room"} {
			var panicked *wsserver.PanicError
			if r := <-reports; r.s != s || r.event != want || !errors.As(r.err, &panicked) || panicked.Value.(string)+"-room" != want {
				t.Errorf("reported %s: %v, want the panic of %s", r.event, r.err, want)
			}
		}
		if got := srv.Stats().Failures; got != 4 || !s.Connected() {
			t.Errorf("%d failures, connected %v, want 4 and true", got, s.Connected())
		}
	})
}

// TestRoomHooksBesideOthers has many sockets come and go at once: whoever tells of their rooms, each socket's own is told of before
// OnConnect, and its leave before OnDisconnect.
func TestRoomHooksBesideOthers(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	ns := srv.Of("/")
	var in sync.Map
	ns.OnJoinRoom(func(s *wsserver.Socket, room string) {
		in.Store(s.ID(), true)
		runtime.Gosched()
	})
	ns.OnLeaveRoom(func(s *wsserver.Socket, room string) { in.Delete(s.ID()) })
	ns.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
		if _, ok := in.Load(s.ID()); !ok {
			t.Error("OnConnect before OnJoinRoom")
		}
		return nil
	})
	var gone atomic.Int32
	ns.OnDisconnect(func(_ context.Context, s *wsserver.Socket, _ error) {
		gone.Add(1)
		if _, ok := in.Load(s.ID()); ok {
			t.Error("OnDisconnect before OnLeaveRoom")
		}
	})
	const clients, rounds = 20, 20
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds {
				wstest.Dial(t, srv, wstest.Config{}).Abort()
			}
		})
	}
	wg.Wait()
	kit.Eventually(t, "the end of all sockets", func() bool { return gone.Load() == clients*rounds })
}
