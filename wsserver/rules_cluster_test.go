package wsserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// The rules of Socket.IO's adapters that are about the sockets of several nodes: see rules_test.go.

// lossyAdapter is a node that misses as many messages as lose says of those with text in them.
type lossyAdapter struct {
	*adapter.Memory
	text string
	lose atomic.Int64
}

func (a *lossyAdapter) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	return a.Memory.Open(ctx, func(msg []byte) {
		if bytes.Contains(msg, []byte(a.text)) && a.lose.Add(-1) >= 0 {
			return
		}
		recv(msg)
	})
}

// On all nodes, and on the one that has missed the last words and has them sent again. Nothing comes after the end.
func TestRule16LastWordsOnAllNodes(t *testing.T) {
	for _, close := range []bool{false, true} {
		kit.Bubble(t, fmt.Sprint("close ", close), func(t *testing.T) {
			memory := new(adapter.Memory)
			lossy := &lossyAdapter{Memory: memory, text: "last words"}
			srvs := newCluster(t, 2, wsserver.Config{Adapter: memory})
			srvs = append(srvs, newCluster(t, 1, wsserver.Config{Adapter: lossy})...)
			var clients []*wstest.Client
			for i := range 6 {
				c := wstest.Dial(t, srvs[i%3], wstest.Config{})
				kit.OK(t, socketOf(t, srvs[i%3], c).Join(t.Context(), "x"))
				clients = append(clients, c)
			}
			synctest.Wait()
			lossy.lose.Store(3)
			var want []string
			for i := range 3 {
				kit.OK(t, srvs[0].To("x").Emit(t.Context(), "last words", i))
				want = append(want, fmt.Sprintf(`["last words",%d]`, i))
			}
			kit.OK(t, srvs[0].In("x").DisconnectSockets(t.Context(), close), "DisconnectSockets")
			kit.OK(t, srvs[0].To("x").Emit(t.Context(), "too late"))
			for i, c := range clients {
				<-c.Disconnected()
				wantEvents(t, fmt.Sprint("client ", i), c, want...)
			}
			if s := srvs[2].Stats(); lossy.lose.Load() > 0 || s.Adapter.Repaired == 0 {
				t.Errorf("%d are still to be lost, %d were repaired", lossy.lose.Load(), s.Adapter.Repaired)
			}
		})
	}
}

// What a client is told behind a broadcast to its room, and what moves it out of the room, come in this order, from another node as well.
func TestRule16ToARoomThenToOneThenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		c := wstest.Dial(t, srvs[1], wstest.Config{})
		kit.OK(t, socketOf(t, srvs[1], c).Join(t.Context(), "x"))
		ended, cancel := context.WithCancel(t.Context())
		cancel() // nothing is waited for
		var want []string
		for i := range 20 {
			_ = srvs[0].To("x").Emit(t.Context(), "all", i)
			_ = srvs[0].To(c.ID()).Emit(t.Context(), "one", i)
			_ = srvs[0].To("x").SocketsLeave(ended, "x")
			_ = srvs[0].To("x").Emit(t.Context(), "not any more", i)
			_ = srvs[0].To(c.ID()).SocketsJoin(ended, "x")
			want = append(want, fmt.Sprintf(`["all",%d]`, i), fmt.Sprintf(`["one",%d]`, i))
		}
		wantEvents(t, "the client", c, want...)
	})
}

// All sockets of a node are asked with one id in one frame, an answer counts for the socket that gives it, and a second one does not.
func TestRule19OneIDForAllSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		var clients []*wsrig.Conn
		var ids []string
		for i := range 6 {
			c := wsrig.Dial(t, srvs[i%2], wsrig.Config{})
			c.Read() // of Engine.IO
			c.Send("40")
			var open struct{ SID string }
			kit.OK(t, json.Unmarshal([]byte(c.Read()[2:]), &open))
			clients, ids = append(clients, c), append(ids, open.SID)
		}
		synctest.Wait()
		var responses []sockets.SocketResponse
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { responses, err = srvs[0].All().EmitWithAck(t.Context(), "q") })
		asked := make([]string, 2) // by node
		for i, c := range clients {
			q := c.Read()
			if asked[i%2] == "" {
				asked[i%2] = q
			}
			if q != asked[i%2] {
				t.Errorf("client %d was asked %q, another of its node %q", i, q, asked[i%2])
			}
			id, isEvent := cutEvent(q)
			kit.Require(t, isEvent, "client %d got %q", i, q)
			c.Send(fmt.Sprintf("43%s[%d]", id, i), fmt.Sprintf(`43%s["again"]`, id))
		}
		wg.Wait()
		kit.Require(t, err == nil && len(responses) == len(clients),
			"%d answers, %v; want %d", len(responses), err, len(clients))
		for _, r := range responses {
			i := slices.Index(ids, r.Socket)
			var got int
			if err := r.Decode(&got); err != nil || got != i || r.Node != srvs[i%2].Node() {
				t.Errorf("client %d is said to have answered %d on node %s, %v", i, got, r.Node, err)
			}
		}
		for _, srv := range srvs {
			for _, s := range srv.Of("/").Sockets() {
				kit.Want(t, s.PendingAcks(), 0, "a socket still waits for answers")
			}
		}
	})
}

// cutEvent returns the id of an event that wants an acknowledgement.
func cutEvent(text string) (id string, ok bool) {
	digits := 2
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		digits++
	}
	return text[min(2, len(text)):digits], len(text) > 2 && text[:2] == "42" && digits > 2 && text[digits:] == `["q"]`
}

// Whole when all have answered and not before; with ctx, what has come; nobody has no answers; one is one, of another node too.
func TestRule20AcksOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		if got, err := w.ns.To("nowhere").EmitWithAck(t.Context(), "q"); got == nil || len(got) != 0 || err != nil {
			t.Errorf("nobody: %v, %v, want no answers and no error", got, err)
		}
		for i, m := range members {
			w.clients[m.name].On("q", func(e wstest.Event) []any {
				time.Sleep(time.Duration(i+1) * time.Second)
				return []any{m.name}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		got, err := w.ns.All().EmitWithAck(ctx, "q")
		if wantPartial(t, err, len(members)-2); !errors.Is(err, context.DeadlineExceeded) || w.answered(t, got) != "a a, b b" {
			t.Errorf("with ctx: %q, %v", w.answered(t, got), err)
		}
		time.Sleep(time.Minute) // the clients answer all the same
		w.noAcks(t)
		start := time.Now()
		got, err = w.ns.All().EmitWithAck(t.Context(), "q")
		if took := time.Since(start); err != nil || w.answered(t, got) != "a a, b b, c c, d d" || took < 4*time.Second || took > 4100*time.Millisecond {
			t.Errorf("all: %q, %v after %v", w.answered(t, got), err, took)
		}
		sockets, err := w.ns.To(w.id("d")).FetchSockets(t.Context())
		kit.Require(t, err == nil && len(sockets) == 1, "FetchSockets: %d, %v", len(sockets), err)
		kit.Want(t, kit.Must(one(sockets[0].EmitWithAck(t.Context(), "q")))(t), "d", "one of another node")
	})
}

// Of rule 22 and of the events: where the sockets are, the room's handlers are told of what another node asks for, in its order; the asker's
// are not.
func TestRule22RoomsOfOtherNodesTellTheirHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		c := wstest.Dial(t, srvs[1], wstest.Config{})
		s := socketOf(t, srvs[1], c)
		var here, there notes
		listenTo(&here, srvs[0].Of("/"))
		listenTo(&there, srvs[1].Of("/"))
		for range 2 {
			kit.OK(t, srvs[0].All().SocketsJoin(t.Context(), "x", "y"))
			kit.WantList(t, s.Rooms(), []string{s.ID(), "x", "y"},
				"when SocketsJoin has returned, it is in")
		}
		there.want(t, "SocketsJoin, twice", "/ create x", "/ join x", "/ create y", "/ join y")
		kit.OK(t, srvs[0].To("x").SocketsLeave(t.Context(), "x", "nowhere"))
		there.want(t, "SocketsLeave", "/ leave x", "/ delete x")
		kit.OK(t, srvs[0].To("y").DisconnectSockets(t.Context(), true))
		there.want(t, "DisconnectSockets", "/ leave its own", "/ delete its own", "/ leave y", "/ delete y")
		<-c.Done()
		here.want(t, "the asker")
	})
}

// Other servers alone get it, in this namespace alone; a second answer of one is ignored; who has left is not asked.
func TestRule24ServerSideEmitReachesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 3, wsserver.Config{})
		var n notes
		var clients []*wstest.Client
		for i, srv := range srvs {
			for _, name := range []string{"/", "/chat"} {
				srv.Of(name).OnServerSide("q", func(_ context.Context, e *wsserver.ServerEvent) error {
					n.add("%s", name)
					return errors.Join(e.Ack(i), e.Ack("again"))
				})
			}
			clients = append(clients, wstest.Dial(t, srv, wstest.Config{}))
		}
		kit.OK(t, srvs[0].Of("/chat").ServerSideEmit(t.Context(), "q"))
		n.want(t, "ServerSideEmit", "/chat", "/chat")
		for others := 2; others >= 0; others-- {
			responses, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "q")
			kit.Require(t, err == nil && len(responses) == others,
				"%d others: %d answers, %v", others, len(responses), err)
			for _, r := range responses {
				i := slices.IndexFunc(srvs, func(srv *wsserver.Server) bool { return srv.Node() == r.Node })
				var got int
				if err := r.Decode(&got); err != nil || got != i || i == 0 {
					t.Errorf("server %d has answered %d, %v", i, got, err)
				}
			}
			n.want(t, "ServerSideEmitWithAck", slices.Repeat([]string{"/"}, others)...)
			if others > 0 {
				kit.OK(t, srvs[others].Close(t.Context()))
				synctest.Wait()
			}
		}
		wantEvents(t, "a client", clients[0])
	})
}

// Servers that are known and alive count, and not nodes that only emit. Those that are silent do not, until they are back.
func TestRule25ServersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		count := func(what string, srvs []*wsserver.Server, want int) {
			t.Helper()
			synctest.Wait()
			for i, srv := range srvs {
				if got := srv.ServerCount(); got != want || len(srv.Stats().Adapter.Nodes) != want-1 {
					t.Errorf("%s: server %d counts %d and knows of %d others, want %d", what, i, got, len(srv.Stats().Adapter.Nodes), want)
				}
			}
		}
		srvs := newCluster(t, 1, wsserver.Config{Adapter: memory})
		count("one", srvs, 1)
		srvs = append(srvs, newCluster(t, 2, wsserver.Config{Adapter: memory})...)
		count("three", srvs, 3)
		emitter := cluster.NewHub(cluster.HubConfig{Adapter: memory, Client: true, Logger: kit.Silent})
		defer emitter.Close(context.Background())
		kit.OK(t, emitter.Ready(t.Context()))
		count("three and one that emits", srvs, 3)
		kit.OK(t, srvs[2].Close(t.Context()))
		count("one has left", srvs[:2], 2)
		restore := memory.Interrupt()
		time.Sleep(10 * time.Second)
		count("nobody hears the others", srvs[:2], 1)
		restore()
		time.Sleep(10 * time.Second)
		count("the broker is back", srvs[:2], 2)
	})
}
