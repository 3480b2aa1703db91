package emitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// selections are what an emitter of a world can select.
var selections = []struct {
	rule      string
	selection func(w *world, e *emitter.Emitter) sockets.Broadcast
	want      string
}{
	{"all", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.Except() }, "abcd"},
	{"a room", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.To("y") }, "bc"},
	{"a union, each socket once", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.In("x").To("y", "x") }, "abc"},
	{"an empty list", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.To([]string(nil)...) }, ""},
	{"an empty list of a namespace's", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.Of("/").In([]string{}...) }, ""},
	{"except", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.Except("x") }, "cd"},
	{"a socket's id", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.To(w.Clients["d"].ID()) }, "d"},
	{"a namespace by its name", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.Of("").To("y") }, "bc"},
	{"another namespace", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.Of("other").To("y") }, ""},
	{"volatile", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.All().Volatile().Except("y") }, "ad"},
	{"its own node has nobody", func(w *world, e *emitter.Emitter) sockets.Broadcast { return e.To("x").Local() }, ""},
}

// TestSelections: all that an emitter does selects sockets as a server does.
func TestSelections(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		e := w.emitter(t)
		for _, test := range selections {
			b := test.selection(w, e)
			kit.OK(t, b.Emit(t.Context(), "news", 1, []byte("two")), test.rule, "Emit")
			kit.Got(b.EmitCounted(t.Context(), "count")).Is(t, len(test.want), test.rule, "EmitCounted")
			for _, name := range test.want {
				event := w.Clients[string(name)].Next("news")
				var n int
				var bytes []byte
				if err := event.Decode(&n, &bytes); err != nil || n != 1 || string(bytes) != "two" {
					t.Errorf("%s: %c got %s: %v", test.rule, name, event, err)
				}
			}
			w.Want(t, test.rule, test.want, `["count"]`)
			sockets, err := b.FetchSockets(t.Context())
			var ids []string
			for _, s := range sockets {
				ids = append(ids, s.ID)
			}
			if got := w.Who(ids...); err != nil || got != test.want {
				t.Errorf("%s: FetchSockets: got %q, %v, want %q", test.rule, got, err, test.want)
			}
			kit.Got(b.Count(t.Context())).Is(t, len(test.want), test.rule, "Count")
			in := func(room string) string {
				var ids []string
				for _, srv := range w.Servers {
					for _, s := range srv.Of("/").SocketsIn(room) {
						ids = append(ids, s.ID())
					}
				}
				return w.Who(ids...)
			}
			if err := b.SocketsJoin(t.Context(), "new"); err != nil || in("new") != test.want {
				t.Errorf("%s: SocketsJoin: %v, in the room are %q, want %q", test.rule, err, in("new"), test.want)
			}
			if err := b.SocketsLeave(t.Context(), "new"); err != nil || in("new") != "" {
				t.Errorf("%s: SocketsLeave: %v, in the room are %q, want nobody", test.rule, err, in("new"))
			}
		}
	})
}

// TestWholeNamespace: the shortcuts of an emitter reach all sockets.
func TestWholeNamespace(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		e := w.emitter(t)
		kit.OK(t, e.All().SocketsJoin(t.Context(), "all"))
		rooms, err := e.Of("/").AllRooms(t.Context())
		if slices.Sort(rooms); err != nil || !slices.Equal(rooms, []string{"all", "x", "y"}) {
			t.Errorf("AllRooms: got %q, %v", rooms, err)
		}
		kit.OK(t, e.All().SocketsLeave(t.Context(), "all"))
		kit.Got(e.All().Count(t.Context())).Is(t, 4, "Count")
		kit.OK(t, e.Emit(t.Context(), "news", "hi"))
		w.Want(t, "Emit", "abcd", `["news","hi"]`)
		kit.Got(e.All().EmitCounted(t.Context(), "news", "ho")).Is(t, 4, "EmitCounted")
		w.Want(t, "EmitCounted", "abcd", `["news","ho"]`)
		sockets, err := e.All().FetchSockets(t.Context())
		if err != nil || len(sockets) != 4 {
			t.Fatalf("FetchSockets: got %d, %v", len(sockets), err)
		}
		for _, s := range sockets {
			var auth, data struct{ Name string }
			name := w.Who(s.ID)
			if err := errors.Join(s.DecodeData(&data), json.Unmarshal(s.Handshake.Auth, &auth)); err != nil || data.Name != name || auth.Name != name {
				t.Errorf("%s: data %s, auth %s: %v", name, s.Data, s.Handshake.Auth, err)
			}
			if !slices.Contains(s.Rooms, s.ID) || !slices.Contains(e.Stats().Nodes, s.Node) {
				t.Errorf("%s: rooms %q, node %s", name, s.Rooms, s.Node)
			}
			kit.OK(t, s.Join(t.Context(), "one"))
			kit.Got(e.To("one").Count(t.Context())).Is(t, 1, name, "RemoteSocket.Join", "in the room")
			kit.OK(t, s.Leave(t.Context(), "one"))
			kit.OK(t, s.Emit(t.Context(), "you", name))
			w.Want(t, "RemoteSocket.Emit", name, fmt.Sprintf(`["you",%q]`, name))
		}
		kit.OK(t, e.All().DisconnectSockets(t.Context(), true))
		for _, c := range w.Clients {
			<-c.Done()
		}
	})
}

// TestAcks: clients answer an emitter as they do a server.
func TestAcks(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		e := w.emitter(t)
		for name, c := range w.Clients {
			c.On("name?", func(wstest.Event) []any { return []any{name, []byte(name)} })
		}
		responses, err := e.To("x", "y").EmitWithAck(t.Context(), "name?")
		var got []string
		for _, r := range responses {
			var name string
			var bytes []byte
			if err := r.Decode(&name, &bytes); err != nil || name != string(bytes) || w.Who(r.Socket) != name || !slices.Contains(e.Stats().Nodes, r.Node) || r.Len() != 2 {
				t.Errorf("%s of %s: answered %q, %q: %v", r.Socket, r.Node, name, bytes, err)
			}
			got = append(got, name)
		}
		if slices.Sort(got); err != nil || strings.Join(got, "") != "abc" {
			t.Errorf("EmitWithAck: got %q, %v, want those of a, b and c", got, err)
		}
		sockets, err := e.To("x").Except("y").FetchSockets(t.Context())
		if err != nil || len(sockets) != 1 {
			t.Fatalf("FetchSockets: got %v, %v", sockets, err)
		}
		r, err := sockets[0].EmitWithAck(t.Context(), "name?")
		if args, e := r.Args(); err != nil || e != nil || args[0] != "a" {
			t.Errorf("RemoteSocket.EmitWithAck: got %v, %v, %v", args, e, err)
		}
		ctx := kit.Within(t, time.Second)
		responses, err = e.All().EmitWithAck(ctx, "nobody answers")
		var partial *cluster.PartialError
		if !errors.As(err, &partial) || partial.Clients != 4 || len(partial.Nodes) > 0 || len(responses) > 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without answers: got %v, %v", responses, err)
		}
		kit.OK(t, sockets[0].Disconnect(t.Context(), false))
		if _, err := sockets[0].EmitWithAck(t.Context(), "name?"); !errors.Is(err, cluster.ErrMember) {
			t.Errorf("a socket that has gone: got %v, want ErrMember", err)
		}
	})
}

// TestServerSideEmit: all servers get the events of an emitter, and can answer them.
func TestServerSideEmit(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		said := make(chan string, 10)
		for i, srv := range w.Servers {
			wsserver.OnServerSide(srv.Of("/"), "said", func(ctx context.Context, text string) error {
				said <- fmt.Sprint(i, " ", text)
				return nil
			})
			wsserver.OnServerSideAck(srv.Of("/other"), "twice", func(ctx context.Context, n int) (int, error) { return 2 * n, nil })
		}
		e := w.emitter(t)
		kit.OK(t, e.Of("/").ServerSideEmit(t.Context(), "said", "hi"))
		got := []string{<-said, <-said}
		if slices.Sort(got); !slices.Equal(got, []string{"0 hi", "1 hi"}) {
			t.Errorf("ServerSideEmit: the servers got %q", got)
		}
		responses, err := e.Of("/other").ServerSideEmitWithAck(t.Context(), "twice", 21)
		if err != nil || len(responses) != 2 {
			t.Errorf("ServerSideEmitWithAck: got %v, %v, want two", responses, err)
		}
		for _, r := range responses {
			var n int
			if err := r.Decode(&n); err != nil || n != 42 || !slices.Contains(e.Stats().Nodes, r.Node) {
				t.Errorf("%s answered %d, %v", r.Node, n, err)
			}
		}
		if responses, err = e.Of("/").ServerSideEmitWithAck(t.Context(), "twice", 21); len(responses) > 0 || !errors.Is(err, cluster.ErrUnknown) {
			t.Errorf("where nobody handles it: got %v, %v, want ErrUnknown", responses, err)
		}
	})
}

// TestShortLived: New, Emit and Close in a row reach the sockets.
func TestShortLived(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for i := range 20 {
			e := emitter.New(emitter.Config{Adapter: w.adapter, Codec: w.codec, Logger: kit.Silent})
			kit.OK(t, e.To("x").Emit(t.Context(), "news", i))
			kit.OK(t, e.Of("/other").Emit(t.Context(), "nobody's"))
			start := time.Now()
			kit.OK(t, e.Close(t.Context()))
			kit.Took(t, start, 0, kit.Patience/2, "Close")
			w.Want(t, "the emitter", "ab", fmt.Sprintf(`["news",%d]`, i))
			kit.ErrorIs(t, e.Emit(t.Context(), "late"), adapter.ErrClosed, "Emit after Close")
			if n, err := e.All().Count(t.Context()); n != 0 || err == nil {
				t.Errorf("Count after Close: got %d, %v, want an error", n, err)
			}
		}
	})
}

// TestOrder: what is emitted before the emitter has met the servers comes before what follows, in the order of emitting.
func TestOrder(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		e := w.emitter(t)
		var want []string
		for i := range 100 {
			room := [...]string{"x", "y"}[i%2]
			kit.OK(t, e.To(room).Emit(t.Context(), room, i))
			want = append(want, fmt.Sprintf(`[%q,%d]`, room, i))
			if i == 50 {
				if err := e.To("y").SocketsLeave(t.Context(), "x"); err != nil { // b
					t.Fatal(err)
				}
			}
		}
		want = slices.DeleteFunc(want, func(event string) bool {
			var n int
			_, err := fmt.Sscanf(event, `["x",%d]`, &n)
			return err == nil && n > 50
		})
		for _, event := range want {
			if got := w.Clients["b"].Next("").String(); got != event {
				t.Fatalf("got %s, want %s", got, event)
			}
		}
	})
}

// TestVolatileCounted: a volatile packet that passes over a client is not counted for it.
func TestVolatileCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, new(adapter.Memory), nil)
		e := w.emitter(t)
		w.Clients["a"].Stall()
		defer w.Clients["a"].Resume()
		for range 10 {
			kit.OK(t, e.To("x").Emit(t.Context(), "news", strings.Repeat("x", 32<<10)))
			synctest.Wait()
		}
		time.Sleep(time.Second) // the connection is known to be busy
		kit.Got(e.To("x").Volatile().EmitCounted(t.Context(), "news")).Is(t, 1, "volatile")
		kit.Got(e.To("x").EmitCounted(t.Context(), "news")).Is(t, 2)
	})
}
