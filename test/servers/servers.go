// Package servers has two servers with clients in rooms, for tests of what reaches sockets from outside.
package servers

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A Pair is two servers with two clients each: a is in the room x, b in x and y, c in y, d in none.
type Pair struct {
	Servers []*wsserver.Server
	Clients map[string]*wstest.Client

	codec packet.Codec
	names map[string]string // by id
}

// NewPair returns a Pair whose servers have met. A nil codec is JSON.
func NewPair(t *testing.T, a adapter.Adapter, codec packet.Codec) *Pair {
	t.Helper()
	p := &Pair{Clients: make(map[string]*wstest.Client), codec: codec, names: make(map[string]string)}
	for range 2 {
		p.Servers = append(p.Servers, New(t, a, codec))
	}
	for i, name := range []string{"a", "b", "c", "d"} {
		p.Dial(t, p.Servers[i/2], name, [][]string{{"x"}, {"x", "y"}, {"y"}, {}}[i]...)
	}
	return p
}

// New returns a server that is Ready. Its clients may ask it to join rooms, and for an echo.
func New(t *testing.T, a adapter.Adapter, codec packet.Codec) *wsserver.Server {
	t.Helper()
	srv := wsserver.New(wsserver.Config{Adapter: a, Codec: codec, Logger: kit.Silent})
	t.Cleanup(func() { kit.Close(t, srv) })
	root := srv.Of("/")
	wsserver.OnAck(root, "join", func(ctx context.Context, s *wsserver.Socket, rooms []string) (int, error) {
		return len(rooms), s.Join(ctx, rooms...)
	})
	wsserver.OnAck(root, "echo", func(ctx context.Context, _ *wsserver.Socket, v int) (int, error) { return v, nil })
	if err := srv.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return srv
}

// Dial connects a client and puts it into rooms.
func (p *Pair) Dial(t *testing.T, srv *wsserver.Server, name string, rooms ...string) {
	t.Helper()
	data := map[string]string{"name": name}
	c := wstest.Dial(t, srv, wstest.Config{Codec: p.codec, Auth: data})
	s, _ := srv.Of("/").Socket(c.ID())
	s.SetData(data)
	c.EmitWithAck("join", rooms)
	p.Clients[name], p.names[c.ID()] = c, name
}

// Who are the names of sockets, in their order.
func (p *Pair) Who(ids ...string) string {
	var names []string
	for _, id := range ids {
		names = append(names, p.names[id])
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// Want checks that the clients that are named, and no others, have got an event, once; it waits for
// those.
func (p *Pair) Want(t *testing.T, what, names, event string) {
	t.Helper()
	for _, name := range names {
		if got := p.Clients[string(name)].Next("").String(); got != event {
			t.Errorf("%s: %c got %s, want %s", what, name, got, event)
		}
	}
	for name, c := range p.Clients {
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
