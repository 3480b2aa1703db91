package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// told are the events that a client has got, each with its first argument, in a bubble: the last one
// is the offset, and not a program's.
func told(c *wstest.Client) []string {
	synctest.Wait()
	var events []string
	for _, e := range c.Pending() {
		var arg any
		_ = e.Decode(&arg)
		events = append(events, fmt.Sprint(e.Name, " ", arg))
	}
	return events
}

func wantTold(t *testing.T, what string, c *wstest.Client, want ...string) {
	t.Helper()
	kit.EqualSlices(t, told(c), want, what)
}

// wantBack checks whether a client that is back was recovered, with the id that it had.
func wantBack(t *testing.T, what string, c *wstest.Client, id string, recovered bool) {
	t.Helper()
	if c.Recovered() != recovered || (c.ID() == id) != recovered {
		t.Fatalf("%s: recovered %v with id %s; want %v, id was %s", what, c.Recovered(), c.ID(), recovered, id)
	}
}

// newRecovering returns a server with recovery, its namespace, and a client, in a bubble.
func newRecovering(t *testing.T, r wsserver.Recovery) (*wsserver.Server, *wsserver.Namespace, *wstest.Client) {
	t.Helper()
	srv := newServer(t, wsserver.Config{Recovery: &r})
	c := wstest.Dial(t, srv, wstest.Config{})
	synctest.Wait() // the handlers of the connection that there will be are not for it
	return srv, srv.Of("/"), c
}

// drop breaks the connection of a client, and has the server notice.
func drop(c *wstest.Client) {
	c.Abort()
	synctest.Wait()
}

// TestRecovery: a client that comes back has its id, rooms and data, and gets what it has missed,
// again and again.
func TestRecovery(t *testing.T) {
	for name, codec := range map[string]packet.Codec{"JSON": nil, "MessagePack": msgpack.Codec{}} {
		kit.Bubble(t, name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Codec: codec, Recovery: &wsserver.Recovery{}})
			var recovered []bool
			srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				recovered = append(recovered, s.Recovered())
				return nil
			})
			c := wstest.Dial(t, srv, wstest.Config{Codec: codec})
			id, s := c.ID(), socketOf(t, srv, c)
			kit.OK(t, s.Join(t.Context(), "x", "y"))
			s.SetData(map[string]int{"a": 1})
			n, want := 0, []string(nil)
			emit := func(due bool, emit func(ctx context.Context, event string, args ...any) error) {
				t.Helper()
				n++
				kit.OK(t, emit(t.Context(), "e", n, []byte{1}))
				if due {
					want = append(want, fmt.Sprint("e ", n))
				}
			}
			for round := range 3 {
				emit(true, s.Emit)
				emit(true, srv.To("x").Emit)
				wantTold(t, "connected", c, want...)
				drop(c)
				want = nil
				emit(true, srv.To("x").Emit)
				emit(false, srv.To("z").Emit)
				emit(true, srv.To("x", "y").Emit)
				emit(false, srv.To("x").Except("y").Emit)
				emit(true, srv.All().Emit)
				emit(false, srv.All().Except(id).Emit)
				emit(true, srv.To(id).Emit)
				emit(true, srv.To("x").Compress(false).Emit)
				emit(false, srv.To("x").Volatile().Emit)
				emit(false, srv.Of("/other").Emit)
				c.Return(srv)
				wantBack(t, fmt.Sprint("return ", round), c, id, true)
				wantTold(t, "missed", c, want...)
				s = socketOf(t, srv, c)
				kit.Check(t, s.Recovered(), "the socket is not recovered")
				kit.EqualSlices(t, s.Rooms(), []string{id, "x", "y"}, "rooms")
				kit.Equal(t, fmt.Sprint(s.Data()), "map[a:1]", "data")
				want = nil
			}
			kit.EqualSlices(t, recovered, []bool{false, true, true, true}, "OnConnect: recovered")
			kit.Equal(t, srv.Stats().Recovery.Here, 3, "recovered here")
		})
	}
}

// TestRecoverable: for which ends of a connection a client has a session.
func TestRecoverable(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(t *testing.T, c *wstest.Client, s *wsserver.Socket)
		reason error
		back   bool
	}{
		{"broken", func(_ *testing.T, c *wstest.Client, _ *wsserver.Socket) { c.Abort() }, wsserver.ErrTransportClose, true},
		{"closed", func(_ *testing.T, c *wstest.Client, _ *wsserver.Socket) { c.Close() }, wsserver.ErrTransportClose, true},
		{"silent", func(_ *testing.T, c *wstest.Client, _ *wsserver.Socket) {
			c.Stall()
			time.Sleep(time.Minute)
		}, wsserver.ErrPingTimeout, true},
		{"CloseTransport", func(_ *testing.T, _ *wstest.Client, s *wsserver.Socket) { s.CloseTransport() }, wsserver.ErrForcedClose, true},
		{"Disconnect", func(_ *testing.T, _ *wstest.Client, s *wsserver.Socket) { s.Disconnect() }, wsserver.ErrServerDisconnect, false},
		{"Close", func(_ *testing.T, _ *wstest.Client, s *wsserver.Socket) { s.Close() }, wsserver.ErrServerClose, false},
		{"by the client", func(_ *testing.T, c *wstest.Client, _ *wsserver.Socket) { c.Disconnect() }, wsserver.ErrClientDisconnect, false},
		{"DisconnectSockets", func(t *testing.T, c *wstest.Client, s *wsserver.Socket) {
			kit.OK(t, s.Namespace().To(c.ID()).DisconnectSockets(t.Context(), false))
		}, wsserver.ErrServerDisconnect, false},
		{"DisconnectSockets, closing", func(t *testing.T, c *wstest.Client, s *wsserver.Socket) {
			kit.OK(t, s.Namespace().All().DisconnectSockets(t.Context(), true))
		}, wsserver.ErrServerClose, false},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv, ns, c := newRecovering(t, wsserver.Recovery{})
			gone := farewells(ns)
			id, s := c.ID(), socketOf(t, srv, c)
			test.end(t, c, s)
			if f := next(t, gone); !errors.Is(f.reason, test.reason) {
				t.Errorf("it ended with %v, want %v", f.reason, test.reason)
			}
			synctest.Wait()
			away := 0
			if test.back {
				away = 1
			}
			kit.Equal(t, srv.Stats().Recovery.Away, away, "away")
			kit.Equal(t, len(ns.Sockets()), 0, "sockets")
			kit.Check(t, s.Rooms() == nil, "it is in rooms: %v", s.Rooms())
			kit.OK(t, ns.Emit(t.Context(), "missed", 1))
			c.Return(srv)
			wantBack(t, "return", c, id, test.back)
			if test.back {
				wantTold(t, "missed", c, "missed 1")
			}
			kit.Equal(t, int(srv.Stats().Recovery.Refused.Unknown), 1-away, "refused")
			kit.Equal(t, srv.Stats().Recovery.Away, 0, "away")
		})
	}
}

// TestRecoverySeen: nothing but Stats shows a session, and rooms tell of leaves and joins.
func TestRecoverySeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		var n notes
		parent := srv.OfFunc(func(name string) bool { return name == "/child" })
		for name, h := range map[string]hooked{"": ns, "parent ": parent} {
			h.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				n.add("%sconnect %v", name, s.Recovered())
				return nil
			})
			h.OnDisconnect(func(context.Context, *wsserver.Socket, error) { n.add("%sdisconnect", name) })
			h.OnJoinRoom(func(s *wsserver.Socket, room string) {
				n.add("%sjoin %s", name, shortened(s, room))
			})
			h.OnLeaveRoom(func(s *wsserver.Socket, room string) {
				n.add("%sleave %s", name, shortened(s, room))
			})
		}
		kit.OK(t, socketOf(t, srv, c).Join(t.Context(), "x"))
		n.want(t, "join", "join x")
		drop(c)
		n.want(t, "away", "leave id", "leave x", "disconnect")
		fetched := kit.Must(ns.All().FetchSockets(t.Context()))(t)
		count := kit.Must(ns.All().Count(t.Context()))(t)
		rooms := kit.Must(ns.AllRooms(t.Context()))(t)
		kit.Check(t, len(fetched)+count+len(rooms)+len(ns.Rooms()) == 0, "seen: %v, %d, %v, %v", fetched, count, rooms, ns.Rooms())
		c.Return(srv)
		n.want(t, "back", "join id", "join x", "connect true")

		child := c.Of("/child", nil)
		n.want(t, "child", "parent join id", "parent connect false")
		id := child.ID()
		drop(c)
		n.steps = nil
		time.Sleep(time.Minute)
		kit.Equal(t, len(parent.Namespaces()), 1, "children with a session")
		kit.OK(t, parent.Namespaces()[0].Emit(t.Context(), "missed", 1))
		c.Return(srv)
		wantBack(t, "child", child, id, true)
		wantTold(t, "child", child, "missed 1")
		n.steps = nil
		drop(c)
		time.Sleep(3 * time.Minute)
		kit.Equal(t, len(parent.Namespaces()), 0, "children after MaxAway")
		kit.Equal(t, srv.Stats().Recovery.Away, 0, "away after MaxAway")
		c.Return(srv)
		kit.Check(t, !c.Recovered() && !child.Recovered(), "recovered after MaxAway")
		kit.Equal(t, int(srv.Stats().Recovery.Refused.Unknown), 2, "refused as unknown")
	})
}

func shortened(s *wsserver.Socket, room string) string {
	if room == s.ID() {
		return "id"
	}
	return room
}

// TestRecoveryOff: without recovery, a client is told nothing of it.
func TestRecoveryOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{Auth: map[string]string{"pid": "p", "offset": "o"}})
		kit.Equal(t, c.PID(), "", "pid")
		kit.OK(t, socketOf(t, srv, c).Emit(t.Context(), "e", 1))
		kit.OK(t, srv.Of("/").Emit(t.Context(), "e", "text"))
		wantEvents(t, "c", c, `["e",1]`, `["e","text"]`)
		drop(c)
		c.Return(srv)
		kit.Check(t, !c.Recovered(), "recovered")
		kit.Equal(t, srv.Stats().Recovery, wsserver.RecoveryStats{}, "stats")
	})
}

// TestRecoveryOfEach: each namespace of a connection comes back, and each has events of its own.
func TestRecoveryOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, c := newRecovering(t, wsserver.Recovery{})
		srv.Of("/a")
		srv.Of("/b")
		all := []*wstest.Client{c, c.Of("/a", nil), c.Of("/b", nil)}
		var ids []string
		for _, c := range all {
			ids = append(ids, c.ID())
		}
		drop(c)
		for i, name := range []string{"/", "/a", "/b"} {
			kit.OK(t, srv.Of(name).Emit(t.Context(), "e", i))
		}
		c.Return(srv)
		for i, c := range all {
			wantBack(t, fmt.Sprint(i), c, ids[i], true)
			wantTold(t, fmt.Sprint(i), c, fmt.Sprint("e ", i))
		}
		kit.Check(t, slices.IsSorted([]int{0, srv.Stats().Recovery.LogEntries}), "no entries")
	})
}
