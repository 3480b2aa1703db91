package emitter_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// patience bounds every wait outside of a bubble. It is long because the machine may be busy; nothing waits for it to pass.
const patience = time.Minute

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

var silent = slog.New(slog.DiscardHandler)

var codecs = []struct {
	name  string
	codec packet.Codec
}{{"JSON", nil}, {"MessagePack", msgpack.Codec{}}}

// A world is two servers with two clients each: a is in the room x, b in x and y, c in y, d in none.
type world struct {
	adapter adapter.Adapter
	codec   packet.Codec
	srvs    []*wsserver.Server
	clients map[string]*wstest.Client
	names   map[string]string // by id
}

func newWorld(t *testing.T, a adapter.Adapter, codec packet.Codec) *world {
	t.Helper()
	w := &world{adapter: a, codec: codec, clients: make(map[string]*wstest.Client), names: make(map[string]string)}
	for range 2 {
		srv := wsserver.New(wsserver.Config{Adapter: a, Codec: codec, Logger: silent})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := srv.Close(ctx); err != nil {
				t.Errorf("Close of a server: %v", err)
			}
		})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, rooms []string) (int, error) {
				return len(rooms), s.Join(ctx, rooms...)
			})
			wsserver.OnAck(s, "echo", func(ctx context.Context, _ *wsserver.Socket, v int) (int, error) { return v, nil })
			return nil
		})
		if err := srv.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.srvs = append(w.srvs, srv)
	}
	for i, name := range []string{"a", "b", "c", "d"} {
		c := wstest.Dial(t, w.srvs[i/2], wstest.Config{Codec: codec, Auth: map[string]string{"name": name}})
		s, _ := w.srvs[i/2].Of("/").Socket(c.ID())
		s.SetData(map[string]string{"name": name})
		c.EmitWithAck("join", [][]string{{"x"}, {"x", "y"}, {"y"}, {}}[i])
		w.clients[name], w.names[c.ID()] = c, name
	}
	return w
}

// emitter returns one that is closed when the test ends. It need not have met the servers.
func (w *world) emitter(t *testing.T) *emitter.Emitter {
	t.Helper()
	e := emitter.New(emitter.Config{Adapter: w.adapter, Codec: w.codec, Logger: silent})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close of an emitter: %v", err)
		}
	})
	return e
}

// who are the names of sockets, in their order.
func (w *world) who(ids ...string) string {
	var names []string
	for _, id := range ids {
		names = append(names, w.names[id])
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// want checks that the clients that are named, and no others, have got an event, once; it waits for those.
func (w *world) want(t *testing.T, what, names, event string) {
	t.Helper()
	for _, name := range names {
		if got := w.clients[string(name)].Next("").String(); got != event {
			t.Errorf("%s: %c got %s, want %s", what, name, got, event)
		}
	}
	for name, c := range w.clients {
		select {
		case <-c.Disconnected():
			continue
		default:
		}
		c.EmitWithAck("echo", 1) // everything has come that was sent before
		if got := c.Pending(); len(got) > 0 {
			t.Errorf("%s: %s got %s besides", what, name, got)
		}
	}
}

// worlds runs a test over memory in a bubble, and over a NATS server, with each codec.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	for _, c := range codecs {
		t.Run("memory, "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, new(adapter.Memory), c.codec)) })
		})
		t.Run("NATS, "+c.name, func(t *testing.T) {
			server := natstest.NewServer(t)
			test(t, newWorld(t, natsadapter.New(natsadapter.Config{URL: server.URL(), Logger: silent}), c.codec))
		})
	}
}
