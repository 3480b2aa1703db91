package wsserver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// kicks are how a program ends a socket, by its *Socket or by its room x.
var kicks = map[string]func(ctx context.Context, ns *wsserver.Namespace, s *wsserver.Socket) error{
	"DisconnectSockets of its id": func(ctx context.Context, ns *wsserver.Namespace, s *wsserver.Socket) error {
		return ns.To(s.ID()).DisconnectSockets(ctx, false)
	},
	"DisconnectSockets of a room, closing": func(ctx context.Context, ns *wsserver.Namespace, s *wsserver.Socket) error {
		return ns.To("x").DisconnectSockets(ctx, true)
	},
	"Socket.Disconnect": func(_ context.Context, _ *wsserver.Namespace, s *wsserver.Socket) error {
		s.Disconnect()
		return nil
	},
	"Socket.Close": func(_ context.Context, _ *wsserver.Namespace, s *wsserver.Socket) error {
		s.Close()
		return nil
	},
}

// TestKick: a client that is disconnected is not recovered, whenever that is.
func TestKick(t *testing.T) {
	// Each calls kick at its time, once. The client is dropped after it, and comes back.
	moments := map[string]func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()){
		"away": func(t *testing.T, _ *wsserver.Server, c *wstest.Client, kick func()) {
			drop(c)
			kick()
		},
		"before it has left": func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()) {
			stop := srv.Of("/").OnDisconnecting(func(context.Context, *wsserver.Socket, error) { kick() })
			drop(c)
			stop()
		},
		"when it leaves its rooms": func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()) {
			stop := srv.Of("/").OnLeaveRoom(func(_ *wsserver.Socket, room string) {
				if room == "x" {
					kick()
				}
			})
			drop(c)
			stop()
		},
		"before it has gone": func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()) {
			stop := srv.Of("/").OnDisconnect(func(context.Context, *wsserver.Socket, error) { kick() })
			drop(c)
			stop()
		},
		"in a middleware": func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()) {
			drop(c)
			stop := srv.Of("/").Use(func(context.Context, *wsserver.Socket) error { kick(); return nil })
			comes(t, srv, backAs(c, ""))
			synctest.Wait()
			stop()
		},
		"when it joins its rooms again": func(t *testing.T, srv *wsserver.Server, c *wstest.Client, kick func()) {
			drop(c)
			stop := srv.Of("/").OnJoinRoom(func(_ *wsserver.Socket, room string) {
				if room == "x" {
					kick()
				}
			})
			comes(t, srv, backAs(c, ""))
			synctest.Wait()
			stop()
		},
	}
	for moment, during := range moments {
		for name, kick := range kicks {
			kit.Bubble(t, moment+"/"+name, func(t *testing.T) {
				if moment == "when it joins its rooms again" && name[0] == 'S' {
					t.Skip("the earlier *Socket has nothing to do with the socket that sits there")
				}
				srv, ns, c := newRecovering(t, wsserver.Recovery{})
				id, s := c.ID(), socketOf(t, srv, c)
				kit.OK(t, s.Join(t.Context(), "x"))
				kicked := 0
				during(t, srv, c, func() { kicked++; kit.OK(t, kick(t.Context(), ns, s)) })
				synctest.Wait()
				kit.Equal(t, kicked, 1, "kicks")
				kit.Equal(t, srv.Stats().Recovery.Away, 0, "away")
				kit.Equal(t, len(ns.Sockets()), 0, "sockets")
				kit.Equal(t, len(ns.Rooms()), 0, "rooms")
				c.Return(srv)
				wantBack(t, "return", c, id, false)
				kit.EqualSlices(t, socketOf(t, srv, c).Rooms(), []string{c.ID()}, "rooms")
			})
		}
	}
}

// TestMovedWhileAway: SocketsJoin and SocketsLeave reach a session, and its events are those of the
// rooms that it was in.
func TestMovedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		other := wstest.Dial(t, srv, wstest.Config{})
		kit.OK(t, socketOf(t, srv, other).Join(t.Context(), "y"))
		id, s := c.ID(), socketOf(t, srv, c)
		kit.OK(t, s.Join(t.Context(), "x"))
		drop(c)
		for i := range 3 {
			kit.OK(t, ns.To("x").Emit(t.Context(), "x", i))
			kit.OK(t, ns.To("y").Emit(t.Context(), "y", i))
			switch i {
			case 0:
				kit.OK(t, ns.To("x").SocketsJoin(t.Context(), "y"))
			case 1:
				kit.OK(t, ns.To("y").SocketsLeave(t.Context(), "x"))
				kit.ErrorIs(t, s.Join(t.Context(), "z"), cluster.ErrMember, "join of a socket that is away")
			}
		}
		c.Return(srv)
		wantBack(t, "return", c, id, true)
		wantTold(t, "missed", c, "x 0", "x 1", "y 1", "y 2")
		kit.EqualSlices(t, socketOf(t, srv, c).Rooms(), []string{id, "y"}, "rooms")
	})
}

// TestEmitWhileAway: what is emitted to a socket that is away is refused, and not sent later.
func TestEmitWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		id, s := c.ID(), socketOf(t, srv, c)
		kit.OK(t, s.Emit(t.Context(), "before", 1))
		drop(c)
		if err := s.Emit(t.Context(), "away", 2); !errors.Is(err, wsserver.ErrTransportClose) {
			t.Errorf("Emit while away: %v", err)
		}
		kit.OK(t, ns.To(id).Emit(t.Context(), "to its id", 3))
		c.Return(srv)
		wantBack(t, "return", c, id, true)
		wantTold(t, "missed", c, "before 1", "to its id 3")
	})
}
