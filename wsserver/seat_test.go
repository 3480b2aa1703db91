package wsserver_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestReseat: while broadcasts run, on two nodes, connections take over a seat from each other, from hand to hand and after a time in which
// their client was away. Each broadcast reaches one of them, in order; the rooms hear nothing, and the other node sees one socket.
func TestReseat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const passes = 30
		srvs := newCluster(t, 2, wsserver.Config{})
		ns := srvs[0].Of("/")
		var events, connects atomic.Int32
		count := func(*wsserver.Socket, string) { events.Add(1) }
		ns.OnJoinRoom(count)
		ns.OnLeaveRoom(count)
		ns.OnCreateRoom(func(*wsserver.Namespace, string) { events.Add(1) })
		ns.OnDeleteRoom(func(*wsserver.Namespace, string) { events.Add(1) })
		gone := farewells(ns)
		ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			connects.Add(1)
			return nil
		})
		clients := []*wstest.Client{wstest.Dial(t, srvs[0], wstest.Config{})}
		id := clients[0].ID()
		kit.OK(t, socketOf(t, srvs[0], clients[0]).Join(t.Context(), "red"))
		before := events.Load()

		said := make([]int, 4)
		ticks := make([]chan struct{}, len(said)) // each has an emitter emit for a while
		var wg sync.WaitGroup
		for e := range said {
			ticks[e] = make(chan struct{}, passes)
			wg.Go(func() {
				to := []sockets.Broadcast{srvs[e%2].To("red"), srvs[e%2].To(id), srvs[e%2].Of("/").Except("blue")}
				for range ticks[e] {
					for range 40 {
						if err := to[said[e]%len(to)].Emit(t.Context(), "n", e, said[e]); err != nil {
							t.Error(err)
						}
						said[e]++
						runtime.Gosched()
					}
				}
			})
		}
		for i := range passes {
			for _, tick := range ticks {
				tick <- struct{}{}
			}
			old := socketOf(t, srvs[0], clients[i])
			if i%2 == 0 {
				srvs[0].KeptBy(old)
			} else {
				keeper := wsserver.KeepFor(old)
				old.CloseTransport()
				<-clients[i].Done()
				srvs[0].KeptBy(keeper)
			}
			clients = append(clients, wstest.Dial(t, srvs[0], wstest.Config{}))
			if got := clients[i+1].ID(); got != id {
				t.Fatalf("client %d is %q, want %q", i+1, got, id)
			}
			<-clients[i].Done()
			if f := next(t, gone); f.id != id || !errors.Is(f.reason, wsserver.ErrForcedClose) {
				t.Errorf("OnDisconnect of client %d: got %v of %q", i, f.reason, f.id)
			}
			if err := old.Join(t.Context(), "blue"); err == nil || len(old.Rooms()) > 0 {
				t.Errorf("a socket that has yielded its seat joins (%v), and is in %q", err, old.Rooms())
			}
		}
		for _, tick := range ticks {
			close(tick)
		}
		wg.Wait()
		synctest.Wait()

		heard := make([]int, len(said))
		for i, c := range clients {
			for _, event := range c.Pending() {
				var e, n int
				if err := event.Decode(&e, &n); err != nil || n != heard[e] {
					t.Fatalf("client %d got %s (%v), want number %d of it", i, event, err, heard[e])
				}
				heard[e]++
			}
		}
		kit.Check(t, slices.Equal(heard, said) && slices.Min(said) == 40*passes,
			"got %v broadcasts of each emitter, want %v", heard, said)
		if got := events.Load() - before; got != 0 || connects.Load() != passes+1 {
			t.Errorf("got %d events of rooms, want none; OnConnect ran %d times, want %d", got, connects.Load(), passes+1)
		}
		kit.WantList(t, socketOf(t, srvs[0], clients[passes]).Rooms(), []string{id, "red"},
			"the last socket is in")
		fetched, err := srvs[1].Of("/").All().FetchSockets(t.Context())
		kit.Check(t, err == nil && len(fetched) == 1 && fetched[0].ID == id,
			"the other node sees %v, %v, want one socket", fetched, err)

		clients[passes].Disconnect()
		next(t, gone)
		if n, err := srvs[1].Of("/").All().Count(t.Context()); n != 0 || err != nil || events.Load()-before != 4 || len(ns.Rooms()) > 0 {
			t.Errorf("when the last has left: %d sockets (%v), %d events, rooms %q; want none, 4, none", n, err, events.Load()-before, ns.Rooms())
		}
	})
}

// TestReseatTooLate: whoever cannot have the seat any more, since its socket has left or was sent away, gets a new one under the same id.
func TestReseatTooLate(t *testing.T) {
	for name, end := range map[string]func(c *wstest.Client, s *wsserver.Socket){
		"left":         func(c *wstest.Client, s *wsserver.Socket) { c.Disconnect() },
		"disconnected": func(c *wstest.Client, s *wsserver.Socket) { s.Disconnect() },
		"kicked":       func(c *wstest.Client, s *wsserver.Socket) { s.Kick() },
		"gone":         func(c *wstest.Client, s *wsserver.Socket) { c.Abort() },
	} {
		kit.Bubble(t, name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			c := wstest.Dial(t, srv, wstest.Config{})
			s := socketOf(t, srv, c)
			_ = s.Join(t.Context(), "red")
			end(c, s)
			synctest.Wait()
			srv.KeptBy(s)
			c = wstest.Dial(t, srv, wstest.Config{})
			if got := strings.Join(socketOf(t, srv, c).Rooms(), " "); c.ID() != s.ID() || got != s.ID() {
				t.Errorf("got a socket %s in %s, want %s in its own room alone", c.ID(), got, s.ID())
			}
		})
	}
}

// TestKickFindsTheSeat: a disconnection that has selected a socket ends whoever has taken over its seat meanwhile; one that comes as the
// socket ends by itself has nobody take over.
func TestKickFindsTheSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		gone := farewells(srv.Of("/"))
		c := wstest.Dial(t, srv, wstest.Config{})
		old := socketOf(t, srv, c)
		srv.KeptBy(old)
		wstest.Dial(t, srv, wstest.Config{})
		next(t, gone)
		old.Kick()
		if f := next(t, gone); f.reason != wsserver.ErrServerDisconnect || len(srv.Of("/").Sockets()) > 0 {
			t.Errorf("got %v, want that the kick has ended the new socket", f.reason)
		}

		srv.KeptBy(nil)
		c = wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		blocked, release := make(chan struct{}), make(chan struct{})
		s.OnDisconnecting(func(context.Context, error) { close(blocked); <-release })
		s.CloseTransport()
		<-blocked
		s.Kick()
		kit.Check(t, wsserver.KeepFor(s) == nil, "a socket that was kicked has yielded its seat")
		close(release)
	})
}
