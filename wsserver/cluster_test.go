package wsserver_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// newCluster returns servers that have met, in a bubble.
func newCluster(t testing.TB, n int, cfg wsserver.Config) []*wsserver.Server {
	t.Helper()
	if cfg.Adapter == nil {
		cfg.Adapter = new(adapter.Memory)
	}
	var srvs []*wsserver.Server
	for range n {
		srv := newServer(t, cfg)
		kit.OK(t, srv.Ready(t.Context()))
		srvs = append(srvs, srv)
	}
	return srvs
}

// A world is two servers with the sockets of members, half of them on each.
type world struct {
	srvs    []*wsserver.Server
	ns      *wsserver.Namespace // of the first
	clients map[string]*wstest.Client
	sockets map[string]*wsserver.Socket
	names   map[string]string // by id
}

func newWorld(t testing.TB, cfg wsserver.Config) *world {
	t.Helper()
	w := &world{
		srvs:    newCluster(t, 2, cfg),
		clients: make(map[string]*wstest.Client),
		sockets: make(map[string]*wsserver.Socket),
		names:   make(map[string]string),
	}
	w.ns = w.srvs[0].Of("/")
	for i, m := range members {
		srv := w.srvs[i*2/len(members)]
		c := wstest.Dial(t, srv, wstest.Config{Codec: cfg.Codec, Auth: map[string]string{"name": m.name}})
		s := socketOf(t, srv, c)
		kit.OK(t, s.Join(t.Context(), m.rooms...))
		w.clients[m.name], w.sockets[m.name], w.names[c.ID()] = c, s, m.name
	}
	return w
}

// id is the id of a socket, by its name.
func (w *world) id(name string) string { return w.clients[name].ID() }

// who are the names of sockets, in their order.
func (w *world) who(ids ...string) string {
	var names []string
	for _, id := range ids {
		names = append(names, w.names[id])
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// fetched are the names of the sockets that b fetches.
func (w *world) fetched(t testing.TB, b sockets.Broadcast) string {
	t.Helper()
	sockets := kit.Must(b.FetchSockets(t.Context()))(t, "FetchSockets")
	var ids []string
	for _, s := range sockets {
		ids = append(ids, s.ID)
	}
	return w.who(ids...)
}

// noRooms are what a program has found no rooms for.
var noRooms []string

// selections are what a Broadcast of the first server of a world can select.
var selections = []struct {
	rule      string
	selection func(w *world) sockets.Broadcast
	want      string
}{
	{"all", func(w *world) sockets.Broadcast { return w.ns.Except() }, "abcd"},
	{"a room", func(w *world) sockets.Broadcast { return w.ns.To("y") }, "bc"},
	{"a socket's id", func(w *world) sockets.Broadcast { return w.ns.To(w.id("d")) }, "d"},
	{"several ids, one left out", func(w *world) sockets.Broadcast { return w.ns.To(w.id("d"), w.id("a"), "y").Except(w.id("c")) }, "abd"},
	{"without the caller", func(w *world) sockets.Broadcast { return w.sockets["a"].To("x", "y") }, "bc"},
	{"an empty list of the server's", func(w *world) sockets.Broadcast { return w.srvs[0].In([]string{}...) }, ""},
	{"an empty list of a socket's", func(w *world) sockets.Broadcast { return w.sockets["a"].To(noRooms...) }, ""},
	{"local", func(w *world) sockets.Broadcast { return w.ns.All().Local() }, "ab"},
	{"volatile means nothing here", func(w *world) sockets.Broadcast { return w.ns.All().Volatile().To("y") }, "bc"},
}
