package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
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
				ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
				defer cancel()
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
				if got := len(r.Members("lobby")); got != members {
					t.Errorf("%d members have stayed, want %d", got, members)
				}
				runtime.KeepAlive(fmt.Sprint(h.Node(), len(hubs)))
			})
		}
	}
}
