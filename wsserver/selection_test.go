package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestSelections: what fetches, counts, moves and disconnects sockets selects them as Emit does, on all nodes (socket.io-adapter,
// fetchSockets, addSockets, delSockets, disconnectSockets).
func TestSelections(t *testing.T) {
	for _, test := range selections {
		kit.Bubble(t, test.rule, func(t *testing.T) {
			w := newWorld(t, wsserver.Config{})
			b := test.selection(w)
			kit.Want(t, w.fetched(t, b), test.want, "FetchSockets")
			kit.Want(t, kit.Must(b.Count(t.Context()))(t), len(test.want), "Count")
			kit.OK(t, b.SocketsJoin(t.Context(), "new", "newer"), "SocketsJoin")
			in := func(room string) string {
				var ids []string
				for _, srv := range w.srvs {
					for _, s := range srv.Of("/").SocketsIn(room) {
						ids = append(ids, s.ID())
					}
				}
				return w.who(ids...)
			}
			if got, newer := in("new"), in("newer"); got != test.want || newer != test.want {
				t.Errorf("after SocketsJoin: got %q and %q, want %q", got, newer, test.want)
			}
			kit.OK(t, w.ns.Except("x").SocketsLeave(t.Context(), "new", "never joined"), "SocketsLeave")
			kit.Want(t, in("new"), strings.Trim(test.want, "cd"), "after SocketsLeave")
			kit.OK(t, b.DisconnectSockets(t.Context(), false), "DisconnectSockets")
			synctest.Wait()
			var left []string
			for _, m := range members {
				if w.sockets[m.name].Connected() {
					left = append(left, m.name)
					continue
				}
				<-w.clients[m.name].Disconnected()
				kit.Want(t, context.Cause(w.sockets[m.name].Context()), wsserver.ErrServerDisconnect,
					m.name, "disconnected since")
			}
			for _, name := range left {
				kit.Check(t, !slices.Contains([]byte(test.want), name[0]),
					"DisconnectSockets has left %s", name)
			}
			kit.Check(t, len(left) == len(members)-len(test.want),
				"DisconnectSockets: left are %q, want all but %q", left, test.want)
		})
	}
}

// TestSocketsJoinIsLive: when SocketsJoin has returned nil, what any node emits reaches the sockets, and with each node's emits it keeps
// its place.
func TestSocketsJoinIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		for i := range 20 {
			room := fmt.Sprint("room", i)
			w.ns.To(room).Emit(t.Context(), "too early", i)
			kit.OK(t, w.ns.To("y").SocketsJoin(t.Context(), room))
			for j, srv := range w.srvs {
				srv.To(room).Emit(t.Context(), "live", i, j)
			}
			synctest.Wait() // the two nodes' events are in no order
			kit.OK(t, w.ns.To("y").SocketsLeave(t.Context(), room))
			for _, srv := range w.srvs {
				srv.To(room).Emit(t.Context(), "too late", i)
			}
			for _, name := range []string{"b", "c"} {
				got := received(w.clients[name])
				slices.Sort(got)
				if want := []string{fmt.Sprintf(`["live",%d,0]`, i), fmt.Sprintf(`["live",%d,1]`, i)}; !slices.Equal(got, want) {
					t.Fatalf("%s: got %q, want %q", name, got, want)
				}
			}
		}
		wantEvents(t, "a", w.clients["a"])
		for _, name := range []string{"\xff", string(make([]byte, cluster.MaxRoomName+1))} {
			kit.WantErr(t, w.ns.All().SocketsJoin(t.Context(), "fine", name), cluster.ErrRoomName,
				"SocketsJoin of a room that cannot be")
		}
		kit.Want(t, w.fetched(t, w.ns.To("fine")), "", "after a SocketsJoin that failed, joined")
	})
}

// TestJoinKeepsItsPlace: without waiting for anything, what one goroutine emits before SocketsJoin and after SocketsLeave does not reach the
// sockets of another node, and what it emits in between does.
func TestJoinKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		w.sockets["d"].Join(t.Context(), "new") // so that the node gets all of it
		ended, end := context.WithCancel(t.Context())
		end() // nothing is waited for
		var want []string
		for i := range 50 {
			w.ns.To("new").Emit(t.Context(), "before", i)
			w.ns.To(w.id("c")).SocketsJoin(ended, "new")
			w.ns.To("new").Emit(t.Context(), "member", i)
			want = append(want, fmt.Sprintf(`["member",%d]`, i))
			w.ns.To(w.id("c")).SocketsLeave(ended, "new")
		}
		wantEvents(t, "c", w.clients["c"], want...)
		kit.Want(t, len(received(w.clients["d"])), 100, "d events")
	})
}

// TestEmitThenDisconnect: what is emitted before DisconnectSockets reaches every socket on every node before its end (socket.io-adapter,
// "sends a packet before all socket instances disconnect").
func TestEmitThenDisconnect(t *testing.T) {
	for _, close := range []bool{false, true} {
		for _, local := range []bool{false, true} {
			kit.Bubble(t, fmt.Sprintf("close %t, local %t", close, local), func(t *testing.T) {
				srvs := newCluster(t, 3, wsserver.Config{})
				var clients, admins []*wstest.Client
				for i := range 30 {
					srv := srvs[i%3]
					srv.Of("/admin")
					c := wstest.Dial(t, srv, wstest.Config{})
					clients = append(clients, c)
					admins = append(admins, c.Of("/admin", nil))
					socketOf(t, srv, c).Join(t.Context(), "lobby")
				}
				b := srvs[0].To("lobby")
				if local {
					b = b.Local()
				}
				for i := range 100 {
					b.Emit(t.Context(), "last words", i)
				}
				kit.OK(t, b.DisconnectSockets(t.Context(), close))
				b.Emit(t.Context(), "too late")
				synctest.Wait()
				for i, c := range clients {
					got := c.Pending()
					gone, adminGone := isClosed(c.Disconnected()), isClosed(admins[i].Disconnected())
					if local && i%3 != 0 {
						kit.Require(t, len(got) == 0 && !gone && !adminGone,
							"client %d of another node: got %d events, gone: %t", i, len(got), gone)
						continue
					}
					if len(got) != 100 || got[99].String() != `["last words",99]` {
						t.Fatalf("client %d: got %d events, the last one %v, want 100", i, len(got), got[max(0, len(got)-1):])
					}
					if !gone || adminGone != close {
						t.Errorf("client %d: gone: %t, from the other namespace: %t, want true, %t", i, gone, adminGone, close)
					}
				}
				for i, srv := range srvs {
					want := 10
					if i == 0 || !local {
						want = 0
					}
					kit.Want(t, len(srv.Of("/").Sockets()), want, "node", i, "has sockets")
				}
			})
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestAllRooms: each room of any node once, without those of the sockets' own (redis-adapter, allRooms).
func TestAllRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		w.sockets["d"].Join(t.Context(), w.id("a")) // still is a's own
		for _, srv := range w.srvs {
			rooms, err := srv.Of("/").AllRooms(t.Context())
			slices.Sort(rooms)
			kit.Check(t, err == nil && slices.Equal(rooms, []string{"x", "y"}),
				"got %q, %v, want x and y", rooms, err)
			kit.Want(t, srv.ServerCount(), 2, "ServerCount")
		}
		w.clients["c"].Disconnect()
		w.clients["b"].Disconnect()
		synctest.Wait()
		kit.WantList(t, kit.Must(w.ns.AllRooms(t.Context()))(t), []string{"x"},
			"after the last one of y has gone (x)")
	})
}

// TestAlone: one node without an adapter is a cluster of one.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.On("q", func(wstest.Event) []any { return []any{"a"} })
		kit.OK(t, srv.All().SocketsJoin(t.Context(), "x"))
		sockets, err := srv.To("x").FetchSockets(t.Context())
		if err != nil || len(sockets) != 1 || sockets[0].ID != c.ID() || sockets[0].Node != srv.Node() {
			t.Fatalf("FetchSockets: got %+v, %v", sockets, err)
		}
		if n, err := srv.All().Count(t.Context()); n != 1 || err != nil || srv.ServerCount() != 1 {
			t.Errorf("Count: got %d, %v; ServerCount: %d", n, err, srv.ServerCount())
		}
		kit.WantList(t, kit.Must(srv.Of("/").AllRooms(t.Context()))(t), []string{"x"}, "AllRooms")
		if got, err := srv.All().EmitWithAck(t.Context(), "q"); err != nil || len(got) != 1 || got[0].Socket != c.ID() || got[0].Node != srv.Node() {
			t.Errorf("EmitWithAck: got %v, %v", got, err)
		}
		kit.OK(t, srv.Of("/").ServerSideEmit(t.Context(), "x"))
		if got, err := srv.Of("/").ServerSideEmitWithAck(t.Context(), "x"); err != nil || len(got) > 0 {
			t.Errorf("ServerSideEmitWithAck: got %v, %v, want none", got, err)
		}
		if err := errors.Join(srv.All().SocketsLeave(t.Context(), "x"), srv.All().DisconnectSockets(t.Context(), true)); err != nil {
			t.Error(err)
		}
		<-c.Done()
		if n, err := srv.All().Count(t.Context()); err != nil || n > 1 {
			t.Errorf("Count: got %d, %v", n, err)
		}
	})
}

// TestSilentNode: a node that does not answer is named, and what the others say is there; a call ends with its ctx.
func TestSilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := new(deafAdapter)
		srvs := newCluster(t, 2, wsserver.Config{Adapter: &slow.Memory})
		deaf := newServer(t, wsserver.Config{Adapter: slow})
		kit.OK(t, deaf.Ready(t.Context()))
		for _, srv := range append(srvs, deaf) {
			srv.Of("/").OnServerSide("q", func(ctx context.Context, e *wsserver.ServerEvent) error { return e.Ack(1) })
			c := wstest.Dial(t, srv, wstest.Config{})
			c.On("q", func(wstest.Event) []any { return []any{1} })
			socketOf(t, srv, c).Join(t.Context(), "x")
		}
		time.Sleep(time.Second)
		hears := make(chan struct{})
		slow.deaf.Store(&hears)
		ns := srvs[0].Of("/")
		for _, test := range []struct {
			name string
			call func(ctx context.Context) (int, error)
			want int
		}{
			{"FetchSockets", func(ctx context.Context) (int, error) { s, err := ns.All().FetchSockets(ctx); return len(s), err }, 2},
			{"Count", ns.All().Count, 2},
			{"AllRooms", func(ctx context.Context) (int, error) { s, err := ns.AllRooms(ctx); return len(s), err }, 1},
			{"EmitWithAck", func(ctx context.Context) (int, error) { s, err := ns.All().EmitWithAck(ctx, "q"); return len(s), err }, 2},
			{"ServerSideEmitWithAck", func(ctx context.Context) (int, error) {
				s, err := ns.ServerSideEmitWithAck(ctx, "q")
				return len(s), err
			}, 1},
			{"SocketsJoin", func(ctx context.Context) (int, error) { return 0, ns.All().SocketsJoin(ctx, "x") }, 0},
			{"SocketsLeave", func(ctx context.Context) (int, error) { return 0, ns.All().SocketsLeave(ctx, "z") }, 0},
			{"DisconnectSockets", func(ctx context.Context) (int, error) { return 0, ns.To("nobody").DisconnectSockets(ctx, false) }, 0},
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			got, err := test.call(ctx)
			cancel()
			var partial *cluster.PartialError
			if got != test.want || !errors.As(err, &partial) || !slices.Equal(partial.Nodes, []string{deaf.Node()}) || partial.Clients != 0 {
				t.Errorf("%s: got %d, %v, want %d without node %s", test.name, got, err, test.want, deaf.Node())
			}
			if got := time.Since(start); got > 500*time.Millisecond {
				t.Errorf("%s took %v", test.name, got)
			}
		}
		close(hears)
		slow.deaf.Store(nil)
		time.Sleep(10 * time.Second)
		kit.Want(t, kit.Must(ns.All().Count(t.Context()))(t), 3, "when the node hears again")
	})
}
