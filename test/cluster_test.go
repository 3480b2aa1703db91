package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/wsserver"
)

// counting is an adapter whose links count the broadcasts that reach them.
type counting struct {
	adapter.Adapter
	broadcasts atomic.Int64
}

func (c *counting) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	const broadcast = 1 // the kind, in the second byte of a message
	return c.Adapter.Open(ctx, func(msg []byte) {
		if len(msg) > 1 && msg[1] == broadcast {
			c.broadcasts.Add(1)
		}
		recv(msg)
	})
}

// adapters returns adapters for n nodes on a NATS cluster of three servers, each node on the next one.
func adapters(t *testing.T, n int) []*counting {
	t.Helper()
	servers := natstest.NewCluster(t, 3)
	adapters := make([]*counting, n)
	for i := range adapters {
		cfg := natsadapter.Config{URL: servers[i%3].URL(), Cluster: "test"}
		adapters[i] = &counting{Adapter: natsadapter.New(cfg)}
	}
	return adapters
}

// waitForNodes waits until all servers know each other.
func waitForNodes(t *testing.T, servers []*wsserver.Server) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, srv := range servers {
		for len(srv.Stats().Adapter.Nodes) < len(servers)-1 {
			if time.Now().After(deadline) {
				t.Fatalf("node %s knows %v only", srv.Node(), srv.Stats().Adapter.Nodes)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// probe is a member that notes what it gets.
type probe struct {
	mu    sync.Mutex // guards got and order
	got   map[string]int
	order int // how many numbers came in order, from 0
	end   chan struct{}
}

func (p *probe) Deliver(frame any) bool {
	text := string(frame.([]byte))
	if text == "end" {
		close(p.end)
		return true
	}
	p.mu.Lock()
	p.got[text]++
	if text == strconv.Itoa(p.order) {
		p.order++
	}
	p.mu.Unlock()
	return true
}

func (p *probe) DeliverWithAck(frame any, answer func(payload []byte, ok bool)) {
	p.Deliver(frame)
	answer(frame.([]byte), true)
}

func (p *probe) CancelAck(any) {}

func (p *probe) Describe() []byte { return nil }

func (p *probe) Disconnect(bool) {}

// newHub returns a Hub that has met its cluster, with the rooms of "/".
func newHub(t *testing.T, a adapter.Adapter) (*cluster.Hub, *cluster.Rooms) {
	t.Helper()
	h := cluster.NewHub(cluster.HubConfig{Adapter: a, Logger: testLogger(t)})
	t.Cleanup(func() { h.Close(context.Background()) })
	if err := h.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, h.Rooms("/", func(payload []byte, volatile bool) (any, error) { return payload, nil })
}

func newMember(t *testing.T, h *cluster.Hub, r *cluster.Rooms) (string, *probe) {
	t.Helper()
	p := &probe{got: make(map[string]int), end: make(chan struct{})}
	id, err := add(t.Context(), h, r, p)
	if err != nil {
		t.Fatal(err)
	}
	return id, p
}

func (p *probe) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.end:
	case <-time.After(time.Minute):
		t.Fatal("the last broadcast has not come")
	}
}

// TestJoinIsLive joins rooms, and at once broadcasts to each from a node on another NATS server. A Join that has returned nil misses
// nothing. The same joins without waiting for the fence miss some: that is what the fence is for.
func TestJoinIsLive(t *testing.T) {
	joins := 2_000
	if *everyMode {
		joins *= 5
	}
	nodes := adapters(t, 3)
	here, hereRooms := newHub(t, nodes[0])
	_, thereRooms := newHub(t, nodes[1])
	waitForHub(t, here, 1)
	missed := func(prefix string, ctx context.Context) (missed int) {
		id, p := newMember(t, here, hereRooms)
		unfenced := 0
		for i := range joins {
			room := fmt.Sprintf("%s %d", prefix, i)
			var late *cluster.UnfencedError
			for {
				if ctx.Err() == nil {
					// On a machine that stands still for 250 ms the other node becomes suspect, and is promised nothing: the next Join makes
					// a promise, when it is back.
					waitForHub(t, here, 1)
				}
				err := hereRooms.Join(ctx, id, room)
				if err == nil || ctx.Err() != nil {
					break
				}
				if unfenced++; !errors.As(err, &late) || unfenced > joins {
					t.Fatalf("Join number %d: %v", i, err)
				}
			}
			if err := thereRooms.Emit(cluster.Broadcast{Rooms: []string{room}, Payload: []byte(room)}); err != nil {
				t.Fatal(err)
			}
		}
		thereRooms.Emit(cluster.Broadcast{Rooms: []string{id}, Payload: []byte("end")})
		p.wait(t)
		for i := range joins {
			switch n := p.got[fmt.Sprintf("%s %d", prefix, i)]; {
			case n == 0:
				missed++
			case n > 1:
				t.Errorf("broadcast %d came %d times", i, n)
			}
		}
		hereRooms.Remove(id)
		return missed
	}
	if n := missed("fenced", t.Context()); n != 0 {
		t.Errorf("%d of %d broadcasts missed after Join had returned nil", n, joins)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n := missed("unfenced", ended)
	t.Logf("without the fence: %d of %d missed", n, joins)
	if n == 0 {
		t.Errorf("nothing was missed without the fence: this test cannot tell whether there is one")
	}
}

func waitForHub(t *testing.T, h *cluster.Hub, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(h.Stats().Nodes) < n {
		if time.Now().After(deadline) {
			t.Fatalf("node %s knows %v only", h.Node(), h.Stats().Nodes)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestOnlyNodesWithMembers counts the broadcasts that reach each node's link.
func TestOnlyNodesWithMembers(t *testing.T) {
	nodes := adapters(t, 3)
	member, memberRooms := newHub(t, nodes[0])
	_, originRooms := newHub(t, nodes[1])
	other, otherRooms := newHub(t, nodes[2])
	waitForHub(t, member, 2)
	id, p := newMember(t, member, memberRooms)
	join(t, func() error { return memberRooms.Join(t.Context(), id, "lobby") })
	// The other node serves the namespace, and another room.
	otherID, otherProbe := newMember(t, other, otherRooms)
	join(t, func() error { return otherRooms.Join(t.Context(), otherID, "elsewhere") })
	const n = 1_000
	for i := range n {
		originRooms.Emit(cluster.Broadcast{Rooms: []string{"lobby"}, Payload: fmt.Append(nil, i)})
	}
	originRooms.Emit(cluster.Broadcast{Rooms: []string{id}, Payload: []byte("end")})
	originRooms.Emit(cluster.Broadcast{Rooms: []string{otherID}, Payload: []byte("end")})
	p.wait(t)
	otherProbe.wait(t)
	if got := nodes[0].broadcasts.Load(); got != n+1 || len(p.got) != n {
		t.Errorf("the node with the member received %d broadcasts and its member %d, want %d and %d", got, len(p.got), n+1, n)
	}
	if got := nodes[2].broadcasts.Load() - 1; got != 0 {
		t.Errorf("the node without members of the room received %d of its broadcasts", got)
	}
}

// TestHostileRoomNames holds names that mean something to NATS, or to nobody, to the rule of all names: an error from Join, or a room
// like any other.
func TestHostileRoomNames(t *testing.T) {
	names := []string{
		"*", ">", "a.b", "a.*", "a.>", "", " ", "a b", "\t", "\r\n", "a\r\nPUB x 0\r\n", "\x00", "\xff\xfe", "é", "日本", ".", "..", ".a", "a.",
		"=2A", "r=2A", "A", "a", "$SYS.>", "_INBOX.>", strings.Repeat("x", 5_000), strings.Repeat("x", 1_024), strings.Repeat("x", 1_023) + "y",
		strings.Repeat("*", 1_000), strings.Repeat(".", 600),
	}
	nodes := adapters(t, 2)
	here, hereRooms := newHub(t, nodes[0])
	_, thereRooms := newHub(t, nodes[1])
	waitForHub(t, here, 1)
	joined := make(map[string]*probe)
	var ids []string
	for _, name := range names {
		id, p := newMember(t, here, hereRooms)
		switch err := rejoin(func() error { return hereRooms.Join(t.Context(), id, name) }); {
		case err == nil:
			joined[name] = p
			ids = append(ids, id)
		case len(name) <= cluster.MaxRoomName && name != "\xff\xfe":
			t.Errorf("Join(%.20q): %v", name, err)
		}
	}
	for _, name := range names { // also to those that nobody could join
		if err := thereRooms.Emit(cluster.Broadcast{Rooms: []string{name}, Payload: []byte("to " + name)}); err != nil {
			t.Errorf("Broadcast to %.20q: %v", name, err)
		}
	}
	thereRooms.Emit(cluster.Broadcast{Rooms: ids, Payload: []byte("end")})
	for name, p := range joined {
		p.wait(t)
		if len(p.got) != 1 || p.got["to "+name] != 1 {
			t.Errorf("the member of %.20q got %.200q", name, fmt.Sprint(p.got))
		}
	}
	if s := here.Stats(); s.State.Status != adapter.Connected || s.State.Reason != nil || s.Missed > 0 || s.Lost > 0 {
		t.Errorf("after all names: %+v", s)
	}
}

// TestBrokerRestart takes the broker away: what is emitted meanwhile reaches this node's sockets at once, and the others' when the broker
// is back, in order.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	server := natstest.NewServer(t)
	a := natsadapter.New(natsadapter.Config{
		URL: server.URL(), Cluster: "test", Logger: testLogger(t),
		Options: []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0)},
	})
	here, hereRooms := newHub(t, a)
	there, thereRooms := newHub(t, a)
	waitForHub(t, here, 1)
	waitForHub(t, there, 1)
	hereID, hereProbe := newMember(t, here, hereRooms)
	id, p := newMember(t, there, thereRooms)
	for _, j := range []struct {
		rooms *cluster.Rooms
		id    string
	}{{hereRooms, hereID}, {thereRooms, id}} {
		join(t, func() error { return j.rooms.Join(t.Context(), j.id, "lobby") })
	}
	server.Shutdown()
	waitForState(t, here, adapter.Degraded)
	waitForState(t, there, adapter.Degraded)

	const n = 500
	for i := range n {
		if err := hereRooms.Emit(cluster.Broadcast{Rooms: []string{"lobby"}, Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	hereProbe.mu.Lock()
	if len(hereProbe.got) != n {
		t.Errorf("without the broker, a socket of the same node got %d of %d", len(hereProbe.got), n)
	}
	hereProbe.mu.Unlock()
	if err := hereRooms.Join(t.Context(), hereID, "new"); err != nil {
		t.Errorf("Join without a broker: %v, want that nobody is waited for", err)
	}
	hereRooms.Emit(cluster.Broadcast{Rooms: []string{id}, Payload: []byte("end")})

	server.Restart()
	p.wait(t)
	if len(p.got) != n || p.order != n {
		t.Errorf("after the broker was back, a socket of the other node got %d of %d, %d of them in order", len(p.got), n, p.order)
	}
	waitForState(t, here, adapter.Connected)
	if s := there.Stats(); s.Missed != 0 || s.Stale != 0 {
		t.Errorf("the other node counted %d missed and %d stale", s.Missed, s.Stale)
	}
}

func waitForState(t *testing.T, h *cluster.Hub, want adapter.Status) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for h.State().Status != want {
		if time.Now().After(deadline) {
			t.Fatalf("the state is %v, want %v", h.State(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func decode(t *testing.T, text []byte, dst ...any) {
	t.Helper()
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	for i := range min(len(raw), len(dst)) {
		if err := json.Unmarshal(raw[i], dst[i]); err != nil {
			t.Fatalf("%.100q: %v", text, err)
		}
	}
}
