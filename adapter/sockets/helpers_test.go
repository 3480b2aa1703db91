package sockets_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
)

var silent = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

// A member is a socket without a client: it keeps what it gets, and answers with its name.
type member struct {
	name, id string
	rooms    *cluster.Rooms

	mu  sync.Mutex
	got []string
}

func (m *member) note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, text)
}

func (m *member) Deliver(frame any) bool { m.note(frame.(string)); return true }

func (m *member) DeliverWithAck(frame any, answer func(payload []byte, ok bool)) {
	m.note(frame.(string))
	args, err := payload.Limits.Marshal(m.name, []byte(m.name))
	answer(payload.AppendArgs(nil, args), err == nil)
}

func (m *member) CancelAck(any) {}

func (m *member) Describe() []byte {
	b, _ := json.Marshal(sockets.Description{
		Handshake: sockets.Handshake{RemoteAddr: m.name},
		Transport: "polling",
		Data:      json.RawMessage(fmt.Sprintf("%q", m.name)),
	})
	return b
}

func (m *member) Disconnect(close bool) {
	m.note(fmt.Sprint("close ", close))
	m.rooms.Remove(m.id)
}

// take returns what has come since the last take.
func (m *member) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := strings.Join(m.got, ", ")
	m.got = nil
	return got
}

// frame is what a broadcast's payload says, as text.
func frame(b []byte, volatile bool) (any, error) {
	p, err := payload.Parse(b, payload.Limits)
	if err != nil {
		return nil, err
	}
	text := string(p.Text)
	for _, word := range []struct {
		is   bool
		text string
	}{{volatile, "volatile"}, {p.Plain, "plain"}, {p.Ack, "ack"}} {
		if word.is {
			text += " " + word.text
		}
	}
	return text, nil
}

// A world is two nodes with two members each: a is in the room x, b in x and y, c in y, d in none.
type world struct {
	hubs    [2]*cluster.Hub
	ns      *sockets.Namespace // of the first
	members map[string]*member
	names   map[string]string // by id
}

func newWorld(t *testing.T, cfg sockets.NamespaceConfig) *world {
	t.Helper()
	w := &world{members: make(map[string]*member), names: make(map[string]string)}
	memory := new(adapter.Memory)
	for i := range w.hubs {
		w.hubs[i] = cluster.NewHub(cluster.HubConfig{Adapter: memory, Logger: silent})
		t.Cleanup(func() { w.hubs[i].Close(context.Background()) })
		kit.OK(t, w.hubs[i].Ready(t.Context()))
	}
	rooms := [][]string{{"x"}, {"x", "y"}, {"y"}, {}}
	for i, name := range []string{"a", "b", "c", "d"} {
		hub := w.hubs[i/2]
		m := &member{name: name, id: hub.NewID(), rooms: hub.Rooms("/", frame)}
		kit.OK(t, m.rooms.Add(t.Context(), m.id, m))
		kit.OK(t, m.rooms.Join(t.Context(), m.id, rooms[i]...))
		w.members[name], w.names[m.id] = m, name
	}
	w.ns = sockets.NewNamespace("/", w.hubs[0].Rooms("/", frame), cfg)
	return w
}

// id is the id of a member.
func (w *world) id(name string) string { return w.members[name].id }

// who are the names of ids, in their order.
func (w *world) who(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, cmp.Or(w.names[id], "?"))
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// node is the node of a member.
func (w *world) node(name string) string { return w.hubs[strings.Index("abcd", name)/2].Node() }

// fetched are the names of those that b fetches.
func (w *world) fetched(t *testing.T, b sockets.Broadcast) string {
	t.Helper()
	fetched, err := b.FetchSockets(t.Context())
	kit.OK(t, err, "FetchSockets")
	var ids []string
	for _, s := range fetched {
		ids = append(ids, s.ID)
	}
	return w.who(ids)
}

// in are the names of those in a room, on all nodes.
func (w *world) in(room string) string {
	var ids []string
	for _, h := range w.hubs {
		ids = append(ids, h.Rooms("/", frame).Members(room)...)
	}
	return w.who(ids)
}

// want checks that the members that are named have got something, and that the others have got
// nothing.
func (w *world) want(t *testing.T, names, what string) {
	t.Helper()
	for name, m := range w.members {
		want := ""
		if strings.Contains(names, name) {
			want = what
		}
		kit.Equal(t, m.take(), want, name)
	}
}

// errorOf is the error of a call with a result.
func errorOf[T any](_ T, err error) error { return err }

// calls are all that a Broadcast can be asked for, by its Op, with their errors.
func calls(ctx context.Context, b sockets.Broadcast) map[string]error {
	return map[string]error{
		"emit":               b.Emit(ctx, "q"),
		"emit, counted":      errorOf(b.EmitCounted(ctx, "q")),
		"emit, with acks":    errorOf(b.EmitWithAck(ctx, "q")),
		"fetch sockets":      errorOf(b.FetchSockets(ctx)),
		"count sockets":      errorOf(b.Count(ctx)),
		"join sockets":       b.SocketsJoin(ctx, "new"),
		"leave rooms":        b.SocketsLeave(ctx, "new"),
		"disconnect sockets": b.DisconnectSockets(ctx, false),
	}
}
