package emitter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestNoServer: an emitter is no server. It does not count as one, and is neither asked nor waited for.
func TestNoServer(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		e, other := w.emitter(t), w.emitter(t)
		for _, e := range []*emitter.Emitter{e, other} {
			kit.OK(t, e.Ready(t.Context()))
			want := []string{w.Servers[0].Node(), w.Servers[1].Node()}
			got := e.Stats().Nodes
			slices.Sort(want)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("Nodes: got %q, want %q", got, want)
			}
		}
		for i, srv := range w.Servers {
			if got := srv.Stats().Adapter.Nodes; len(got) != 1 || got[0] != w.Servers[1-i].Node() || srv.ServerCount() != 2 {
				t.Errorf("a server knows %q, and %d servers", got, srv.ServerCount())
			}
			srv.Of("/").OnServerSide("whoever", func(ctx context.Context, e *wsserver.ServerEvent) error { return e.Ack(1) })
		}
		// A node that was asked and did not answer would be missing.
		if responses, err := w.Servers[0].Of("/").ServerSideEmitWithAck(t.Context(), "whoever"); len(responses) != 1 || err != nil {
			t.Errorf("a server: got %d answers, %v, want one", len(responses), err)
		}
		if responses, err := e.Of("/").ServerSideEmitWithAck(t.Context(), "whoever"); len(responses) != 2 || err != nil {
			t.Errorf("an emitter: got %d answers, %v, want two", len(responses), err)
		}
		kit.Got(w.Servers[0].To("x").EmitCounted(t.Context(), "news")).Is(t, 2, "EmitCounted of a server")
		w.Want(t, "EmitCounted of a server", "ab", `["news"]`)
		if s := e.Stats(); s.Node != e.Node() || s.State.Status != adapter.Connected || e.State().Status != adapter.Connected || len(s.Nodes) != 2 {
			t.Errorf("Stats: got %+v", s)
		}
	})
}

// TestNoAdapter: without an adapter nothing is lost in silence.
func TestNoAdapter(t *testing.T) {
	e := emitter.New(emitter.Config{})
	for name, err := range map[string]error{
		"Ready":                 e.Ready(t.Context()),
		"State":                 e.State().Reason,
		"Emit":                  e.Emit(t.Context(), "x"),
		"EmitCounted":           second(e.All().EmitCounted(t.Context(), "x")),
		"EmitWithAck":           second(e.Of("/other").All().EmitWithAck(t.Context(), "x")),
		"FetchSockets":          second(e.All().FetchSockets(t.Context())),
		"Count":                 second(e.All().Count(t.Context())),
		"AllRooms":              second(e.Of("/").AllRooms(t.Context())),
		"SocketsJoin":           e.All().SocketsJoin(t.Context(), "x"),
		"SocketsLeave":          e.All().SocketsLeave(t.Context(), "x"),
		"DisconnectSockets":     e.All().DisconnectSockets(t.Context(), false),
		"ServerSideEmit":        e.Of("/").ServerSideEmit(t.Context(), "x"),
		"ServerSideEmitWithAck": second(e.Of("/").ServerSideEmitWithAck(t.Context(), "x")),
	} {
		kit.ErrorIs(t, err, emitter.ErrNoAdapter, name)
	}
	kit.OK(t, e.Close(t.Context()))
}

func second[T any](_ T, err error) error { return err }

// TestNoBroker: while the broker is away, calls wait for it as long as they may, and Close says what has not gone out.
func TestNoBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		restore := memory.Interrupt()
		e := emitter.New(emitter.Config{Adapter: memory, Logger: kit.Silent})
		kit.OK(t, e.Emit(t.Context(), "news"))
		start := time.Now()
		if n, err := e.All().Count(t.Context()); n != 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != cluster.CallTimeout {
			t.Errorf("Count: got %d, %v after %v", n, err, time.Since(start))
		}
		start = time.Now()
		if err := e.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != cluster.CallTimeout {
			t.Errorf("Close: got %v after %v, want DeadlineExceeded after %v", err, time.Since(start), cluster.CallTimeout)
		}
		restore()

		w := newWorld(t, memory, nil)
		restore = memory.Interrupt()
		late := w.emitter(t)
		kit.OK(t, late.To("x").Emit(t.Context(), "news", 1))
		time.AfterFunc(5*time.Second, restore)
		kit.Got(late.To("x").EmitCounted(t.Context(), "news", 2)).Is(t, 2, "EmitCounted")
		for _, name := range "ab" {
			for i := 1; i <= 2; i++ {
				if got := w.Clients[string(name)].Next("").String(); got != fmt.Sprintf(`["news",%d]`, i) {
					t.Errorf("%c got %s, want the %d. of two", name, got, i)
				}
			}
		}
		idle := emitter.New(emitter.Config{Adapter: memory, Logger: kit.Silent})
		restore = memory.Interrupt()
		start = time.Now()
		if err := idle.Close(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("Close with nothing to send: got %v after %v", err, time.Since(start))
		}
		restore()
		time.Sleep(time.Second) // those that are left say goodbye to each other
	})
}

// unopenable is an adapter with a wrong configuration.
type unopenable struct{}

var errConfig = errors.New("no such port")

func (unopenable) Open(context.Context, func([]byte)) (adapter.Link, error) { return nil, errConfig }

// TestUnopenable: the error of an adapter that cannot be opened is that of every call.
func TestUnopenable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emitter.New(emitter.Config{Adapter: unopenable{}, Logger: kit.Silent})
		kit.OK(t, e.Emit(t.Context(), "news"))
		start := time.Now()
		for name, err := range map[string]error{
			"Ready":       e.Ready(t.Context()),
			"Count":       second(e.All().Count(t.Context())),
			"EmitCounted": second(e.All().EmitCounted(t.Context(), "x")),
			"Close":       e.Close(t.Context()),
		} {
			kit.ErrorIs(t, err, errConfig, name)
		}
		kit.Took(t, start, 0, time.Second)
	})
}
