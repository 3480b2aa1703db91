package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

var manyRooms = flag.Int("rooms", 15_000, "how many rooms TestHeapAfterRooms joins and leaves")

// sink is a member that takes everything.
type sink struct{}

func (sink) Deliver(any) bool                                           { return true }
func (sink) DeliverWithAck(_ any, answer func(payload []byte, ok bool)) { answer(nil, false) }
func (sink) CancelAck(any)                                              {}
func (sink) Describe() []byte                                           { return nil }
func (sink) Disconnect(bool)                                            {}

// heapNow is what is in use after a garbage collection.
func heapNow() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second one
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// TestHeapAfterRooms checks that what a million rooms have taken, or as many as there are, is given back within 10 s after they were left, but for 10 MB.
func TestHeapAfterRooms(t *testing.T) {
	const members, patience = 100, time.Minute
	n := *manyRooms
	bound := max(n*10, 1<<20) // 10 bytes a room
	ids := make([]string, members)
	frame := func(payload []byte, _ bool) (any, error) { return payload, nil }
	name := func(i int) string { return "room " + strconv.Itoa(i) }
	names := func(i int) []string { // of the i-th member
		var list []string
		for j := i; j < n; j += members {
			list = append(list, name(j))
		}
		return list
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if _, unfenced := errors.AsType[*UnfencedError](err); err != nil && !unfenced { // a busy machine takes its time
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		what string
		do   func(ctx context.Context, t *testing.T, h *Hub, r *Rooms)
	}{
		{"each member leaves its rooms one by one", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			for i, id := range ids {
				must(t, r.Join(ctx, id, names(i)...))
			}
			for i, id := range ids {
				for _, name := range names(i) {
					r.Leave(id, name)
				}
			}
		}},
		{"members with many rooms each are removed", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			for i := range ids {
				id := h.NewID()
				must(t, r.Add(ctx, id, sink{}))
				must(t, r.Join(ctx, id, names(i)...))
				defer r.Remove(id)
			}
		}},
		{"many members come and go", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			var come []string
			for range n {
				come = append(come, h.NewID())
				must(t, r.Add(ctx, come[len(come)-1], sink{}))
			}
			for _, id := range come {
				r.Remove(id)
			}
		}},
		{"members are put into rooms, and taken out, by requests", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			for i := range ids {
				must(t, r.SocketsJoin(ctx, Selection{Rooms: ids[:2]}, names(i)...))
			}
			for i := range ids {
				must(t, r.SocketsLeave(ctx, Selection{}, names(i)...))
			}
		}},
		{"namespaces are made and given up", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			var made []*Rooms
			for i := range n {
				child := h.Rooms("/"+strconv.Itoa(i), frame)
				made = append(made, child)
			}
			id := h.NewID()
			for _, child := range made[:n/20] { // the rest has never had a member
				must(t, child.Add(ctx, id, sink{}))
				must(t, child.Join(ctx, id, "x"))
				child.Remove(id)
			}
			for _, child := range made {
				if !child.Discard() {
					t.Fatal("a namespace without members is not given up")
				}
			}
		}},
		{"rooms that linger are joined again", func(ctx context.Context, t *testing.T, h *Hub, r *Rooms) {
			for range 3 {
				for i, id := range ids {
					must(t, r.Join(ctx, id, names(i)...))
				}
				for i, id := range ids {
					r.Leave(id, names(i)...)
				}
			}
		}},
	} {
		for _, cluster := range []string{"alone", "Memory"} {
			t.Run(test.what+", "+cluster, func(t *testing.T) {
				ctx := kit.Within(t, 10*patience)
				cfg := HubConfig{RepairBytes: 1 << 16, Logger: slog.New(slog.DiscardHandler)} // a request is a broadcast, which is remembered for a while
				var hubs []*Hub
				if cluster == "Memory" {
					cfg.Adapter = new(adapter.Memory)
					hubs = append(hubs, NewHub(cfg))
				}
				h := NewHub(cfg)
				for _, h := range append(hubs, h) {
					must(t, h.Ready(ctx))
					defer h.Close(ctx)
				}
				r := h.Rooms("/", frame)
				for i := range ids {
					ids[i] = h.NewID()
					must(t, r.Add(ctx, ids[i], sink{}))
					must(t, r.Join(ctx, ids[i], "lobby"))
				}
				before := heapNow()
				test.do(ctx, t, h, r)
				begin, full, left := time.Now(), heapNow()-before, 0
				for {
					if left = heapNow() - before; left <= bound {
						break
					}
					if time.Since(begin) > patience {
						t.Fatalf("%d bytes are left of %d, want %d at the most", left, full, bound)
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Logf("after %v: %d bytes of %d", time.Since(begin).Round(10*time.Millisecond), left, full)
				kit.Equal(t, len(r.Members("lobby")), members, "members have stayed")
				runtime.KeepAlive(fmt.Sprint(h.Node(), len(hubs)))
			})
		}
	}
}

// held are the namespaces that a Hub keeps rooms of.
func held(h *Hub) int {
	h.roomsMu.Lock()
	defer h.roomsMu.Unlock()
	return len(h.rooms)
}

// Rooms without members can be given up, and whoever has kept them reaches the namespace all the same.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		id, _ := add(t, hubs[0], "red")
		_, other := add(t, hubs[1], "red")
		kept := hubs[0].Rooms("/", frame)
		if kept.Discard() || held(hubs[0]) != 1 {
			t.Fatal("rooms with a member were discarded")
		}
		kept.Remove(id)
		if !kept.Discard() || kept.Discard() || held(hubs[0]) != 0 {
			t.Fatalf("rooms without a member: the Hub holds %d, want to discard them once", held(hubs[0]))
		}

		// Nobody is here: the other node gets it, and nothing is kept for it.
		b := Broadcast{Rooms: []string{"red"}, Payload: []byte("to the others")}
		kit.OK(t, kept.Emit(b))
		settle()
		got(t, "the other node's member", other, "to the others")
		if kept.Len() != 0 || len(kept.all()) != 0 || len(kept.Select(nil, nil)) != 0 || held(hubs[0]) != 0 {
			t.Errorf("discarded rooms have something, or are held")
		}
		kept.Remove(id)
		kept.Leave(id, "red")

		// There are new rooms: those that were kept are them.
		id, m := add(t, hubs[0], "red")
		b.Payload = []byte("to all")
		kit.OK(t, kept.Emit(b))
		settle()
		got(t, "the new member", m, "to all")
		got(t, "the other node's member", other, "to all")
		if _, ok := kept.Get(id); !ok || !slices.Equal(kept.Of(id), []string{id, "red"}) || !slices.Equal(kept.Members("red"), []string{id}) || !slices.Equal(kept.IDs(), []string{id}) {
			t.Errorf("the kept rooms do not show the new member")
		}
		kit.OK(t, kept.Join(t.Context(), id, "blue"), "Join through the kept rooms")
		say(t, hubs[1], "from there", Broadcast{Rooms: []string{"blue"}})
		settle()
		got(t, "the new member", m, "from there")
		kept.Remove(id)
		if !hubs[0].Rooms("/", frame).Discard() || held(hubs[0]) != 0 {
			t.Error("the new rooms were not discarded")
		}

		// An Add through rooms that were kept makes them the Hub's again.
		id, m = hubs[0].NewID(), new(member)
		kit.OK(t, kept.Add(t.Context(), id, m))
		say(t, hubs[1], "hello again", Broadcast{Rooms: []string{id}})
		settle()
		got(t, "a member added to the kept rooms", m, "hello again")
	})
}

// Members come and go while others discard: each that has been added is reached, whoever holds which Rooms.
func TestDiscardRace(t *testing.T) {
	h := open(t, nil)
	kept := h.Rooms("/", frame)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				id, m := h.NewID(), new(member)
				r := kept
				if j%2 == 0 {
					r = h.Rooms("/", frame)
				}
				if err := r.Add(t.Context(), id, m); err != nil {
					t.Error(err)
				}
				if err := kept.Emit(Broadcast{Rooms: []string{id}, Payload: fmt.Append(nil, j)}); err != nil {
					t.Error(err)
				}
				if got := m.take(); len(got) != 1 || got[0] != fmt.Sprint(j) {
					t.Errorf("member %d.%d got %q, want its number", i, j, got)
				}
				r.Remove(id)
				h.Rooms("/", frame).Discard()
			}
		})
	}
	wg.Wait()
	h.Rooms("/", frame).Discard()
	kit.Equal(t, held(h), 0, "rooms held in the end")
	kit.Equal(t, kept.Len(), 0, "members in the end")
}
