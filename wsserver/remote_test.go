package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestFetchSockets: what is fetched says of sockets what they say of themselves, on whatever node they are.
func TestFetchSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type user struct {
			Name  string
			Level int
		}
		w := newWorld(t, wsserver.Config{})
		w.sockets["a"].SetData(user{"Ann", 1})
		w.sockets["c"].SetData(&user{"Cid", 3})
		for i, srv := range w.srvs {
			fetched, err := srv.All().FetchSockets(t.Context())
			kit.Require(t, err == nil && len(fetched) == len(members),
				"node %d: got %d fetched, %v, want %d", i, len(fetched), err, len(members))
			for j, r := range fetched {
				s := w.sockets[w.names[r.ID]]
				node := w.srvs[0]
				if name := w.names[r.ID]; name == "c" || name == "d" {
					node = w.srvs[1]
				}
				if r.Node != node.Node() || (j < 2) != (node == srv) {
					t.Errorf("socket %d, %s: got node %s, want %s, and those of this node first", j, r.ID, r.Node, node.Node())
				}
				kit.WantList(t, r.Rooms, s.Rooms(), r.ID, "rooms")
				kit.Check(t, r.Transport == "websocket" && s.Transport() == "websocket",
					"%s: got transport %q and %q, want websocket", r.ID, r.Transport, s.Transport())
				got, want := r.Handshake, s.Handshake()
				kit.Check(t, got.Time.Equal(want.Time),
					"%s: got time %v, want %v", r.ID, got.Time, want.Time)
				got.Time = want.Time
				kit.Want(t, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want), r.ID, "handshake")
				var u user
				switch err := r.DecodeData(&u); w.names[r.ID] {
				case "a":
					kit.Check(t, err == nil && u == (user{"Ann", 1}), "data: got %v, %v", u, err)
				case "c":
					kit.Check(t, err == nil && u == (user{"Cid", 3}), "data: got %v, %v", u, err)
				default:
					kit.WantErr(t, err, sockets.ErrNoData, "without data")
				}
				local, ok := srv.Of("/").Socket(r.ID)
				if ok != (node == srv) || ok && local != s {
					t.Errorf("%s: Local: got %v, %v, want the socket on its node alone", r.ID, local, ok)
				}
			}
		}
	})
}

// badData is data that cannot become JSON.
type badData struct{ panics bool }

func (d badData) MarshalJSON() ([]byte, error) {
	if d.panics {
		panic("bang")
	}
	return nil, errors.New("no")
}

// TestFetchBadData: what a program has noted of one socket does not keep any from being fetched, and is reported where it is.
func TestFetchBadData(t *testing.T) {
	for _, test := range []struct {
		name string
		data any
	}{
		{"an error", badData{}},
		{"a panic", badData{panics: true}},
		{"deep inside", map[string]any{"list": []any{badData{panics: true}}}},
		{"no JSON at all", make(chan int)},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			onError, failures := collectErrors()
			w := newWorld(t, wsserver.Config{OnError: onError})
			w.sockets["c"].SetData(test.data)
			w.sockets["d"].SetData("fine")
			sockets, err := w.ns.All().FetchSockets(t.Context())
			kit.Require(t, err == nil && len(sockets) == 4, "got %d sockets, %v, want 4", len(sockets), err)
			for _, r := range sockets {
				var got string
				if err := r.DecodeData(&got); (err == nil) != (w.names[r.ID] == "d") || r.Handshake.Auth == nil {
					t.Errorf("%s: got data %q, %v, auth %s", w.names[r.ID], got, err, r.Handshake.Auth)
				}
			}
			synctest.Wait()
			kit.Require(t, len(failures) == 1, "%d failures were reported, want 1", len(failures))
			f := <-failures
			var panicked *wsserver.PanicError
			if f.event != "" || errors.As(f.err, &panicked) != (test.name == "a panic" || test.name == "deep inside") {
				t.Errorf("reported: %q, %v", f.event, f.err)
			}
			kit.Want(t, w.srvs[1].Stats().Failures, 1, "Stats.Failures")
		})
	}
}

// TestNotConnectedYet: a socket that waits for its CONNECT packet is neither fetched nor asked, nor waited for.
func TestNotConnectedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns, c, _ := onItsWay(t)
		if got, err := ns.All().Local().FetchSockets(t.Context()); err != nil || len(got) > 0 {
			t.Errorf("FetchSockets: got %v, %v, want none", got, err)
		}
		if got, err := ns.All().Local().EmitWithAck(t.Context(), "q"); err != nil || len(got) > 0 {
			t.Errorf("EmitWithAck: got %v, %v, want none at once", got, err)
		}
		if got := c.Read(); got[:2] != "40" {
			t.Errorf("first packet: got %q, want CONNECT", got)
		}
	})
}

// TestRemoteSocket: a socket that was fetched can be acted on wherever it is.
func TestRemoteSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		remotes := make(map[string]sockets.RemoteSocket)
		sockets := kit.Must(w.ns.All().FetchSockets(t.Context()))(t)
		for _, r := range sockets {
			remotes[w.names[r.ID]] = r
		}
		for _, name := range []string{"a", "d"} { // here and there
			r, c, s := remotes[name], w.clients[name], w.sockets[name]
			if err := r.Join(t.Context(), "new"); err != nil || !slices.Contains(s.Rooms(), "new") {
				t.Errorf("%s: Join: %v, it is in %q", name, err, s.Rooms())
			}
			c.On("q", func(e wstest.Event) []any { return []any{e.String()} })
			kit.Want(t, kit.Must(one(r.EmitWithAck(t.Context(), "q", 1)))(t), `["q",1]`,
				name, "EmitWithAck")
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := r.EmitWithAck(ctx, "never answered")
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s: EmitWithAck: got %v after %v, want DeadlineExceeded after 1s", name, err, time.Since(start))
			}
			w.noAcks(t)
			kit.OK(t, r.Disconnect(t.Context(), false))
			<-c.Disconnected()
			synctest.Wait()
			if _, err := r.EmitWithAck(t.Context(), "q"); !errors.Is(err, cluster.ErrMember) {
				t.Errorf("%s, who has gone: EmitWithAck: got %v, want ErrMember", name, err)
			}
			if _, ok := w.srvs[0].Of("/").Socket(r.ID); ok {
				t.Errorf("%s, who has gone: Local: got it", name)
			}
		}
		kit.Want(t, w.fetched(t, w.ns.Except()), "bc", "left are")
	})
}

// TestForeignJoinerLeaves: a socket in another one's room that is about to go does not answer for that one.
func TestForeignJoinerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		release := make(chan struct{})
		w.ns.OnDisconnecting(func(context.Context, *wsserver.Socket, error) { <-release })
		defer close(release)
		kit.OK(t, w.sockets["b"].Join(t.Context(), w.id("a")))
		w.clients["a"].On("q", func(wstest.Event) []any { return []any{"a"} })
		remotes, err := w.ns.To(w.id("a")).Except(w.id("b")).FetchSockets(t.Context())
		if err != nil || len(remotes) != 1 {
			t.Fatal(remotes, err)
		}
		w.clients["b"].Disconnect()
		synctest.Wait()
		kit.Want(t, kit.Must(one(remotes[0].EmitWithAck(t.Context(), "q")))(t), "a")
	})
}
