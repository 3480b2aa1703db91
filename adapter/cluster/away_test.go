package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// placed is the frame of a broadcast with its number in the log.
type placed struct {
	text     string
	volatile bool
	number   uint64
}

func (p *placed) Place(number uint64) error { p.number = number; return nil }

func place(payload []byte, volatile bool) (any, error) {
	return &placed{text: string(payload), volatile: volatile}, nil
}

// comer is a member, or what stays of it, on a node with recovery.
type comer struct {
	id   string
	r    *Rooms
	ends int // of what stays of it

	mu  sync.Mutex // guards what follows
	got []placed
}

func (g *comer) Deliver(frame any) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, *frame.(*placed))
	return true
}

func (g *comer) DeliverWithAck(frame any, answer func([]byte, bool)) {
	g.Deliver(frame)
	answer(nil, false)
}
func (g *comer) CancelAck(any)    {}
func (g *comer) Describe() []byte { return nil }
func (g *comer) Disconnect(bool) {
	g.ends++
	g.r.Remove(g.id)
}

// recovering returns n Hubs with recovery that have met.
func recovering(t *testing.T, n int) ([]*Hub, []*wire) {
	t.Helper()
	_, wires := newWires(n)
	var hubs []*Hub
	for _, w := range wires {
		h := NewHub(HubConfig{Adapter: w, Logger: silent, Recovery: &RecoveryConfig{LogBytes: 1 << 20, Keep: 24 * time.Hour}})
		t.Cleanup(func() { h.Close(context.Background()) })
		kit.OK(t, h.Ready(t.Context()))
		hubs = append(hubs, h)
	}
	synctest.Wait()
	return hubs, wires
}

// enters adds a comer to rooms of a node.
func enters(t *testing.T, h *Hub, rooms ...string) *comer {
	t.Helper()
	g := &comer{id: h.NewID(), r: h.Rooms("/", place)}
	kit.OK(t, g.r.Add(t.Context(), g.id, g))
	kit.OK(t, g.r.Join(t.Context(), g.id, rooms...))
	return g
}

func (g *comer) parks(t *testing.T) {
	t.Helper()
	kit.Require(t, g.r.Park(g.id, g), "no such member")
}

func emit(t *testing.T, h *Hub, text string, rooms ...string) {
	t.Helper()
	kit.OK(t, h.Rooms("/", place).Emit(Broadcast{Rooms: rooms, Payload: []byte(text)}))
}

// missed is what a comer has missed above a number, once all has come.
func (g *comer) missed(t *testing.T, after uint64) (due []Missed) {
	t.Helper()
	settle()
	g.r.InOrder(func(r *Rooms, _ uint64) {
		var ok bool
		due, ok = r.Missed(g.id, after)
		kit.Check(t, ok, "what it missed is not known")
	})
	return due
}

func missedTexts(missed []Missed) (all []string) {
	for _, m := range missed {
		all = append(all, string(m.Payload))
	}
	return all
}

// TestAwayHears: what goes to the rooms of a session comes to its node, for as long as there is one.
func TestAwayHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := recovering(t, 2)
		g := enters(t, hubs[0], "x", "y")
		emit(t, hubs[1], "before", "x")
		settle()
		last := g.got[0].number
		g.parks(t)
		time.Sleep(time.Hour)
		emit(t, hubs[1], "room", "x")
		emit(t, hubs[1], "id", g.id)
		emit(t, hubs[1], "all")
		emit(t, hubs[1], "not", "z")
		settle()
		emit(t, hubs[0], "here", "x", "y")
		kit.EqualSlices(t, missedTexts(g.missed(t, last)), []string{"room", "id", "all", "here"}, "missed")
		kit.Equal(t, len(g.got), 1, "delivered")
		kit.OK(t, g.r.Return(g.id, g))
		emit(t, hubs[1], "back", "x")
		emit(t, hubs[1], "back", g.id)
		settle()
		kit.Equal(t, len(g.got), 3, "delivered when it is back")
		kit.EqualSlices(t, g.r.Of(g.id), []string{g.id, "x", "y"}, "rooms")

		g.parks(t)
		kit.Check(t, !g.r.Discard(), "discarded with a session")
		g.r.Remove(g.id)
		kit.Check(t, errors.Is(g.r.Return(g.id, g), ErrMember), "it is back after its end")
		time.Sleep(time.Hour)
		kit.Equal(t, len(wires[0].subscriptions()), 0, "subscriptions after the end")
		kit.Check(t, g.r.Discard(), "not discarded without a session")
	})
}

// TestAwayExpected: a session of another node hears what any node emits to it, until it leaves.
func TestAwayExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := recovering(t, 3)
		g := enters(t, hubs[0], "x")
		g.parks(t)
		there := &comer{id: g.id, r: hubs[1].Rooms("/", place)}
		kit.OK(t, there.r.Expect(t.Context(), g.id, []string{g.id, "x"}, there))
		kit.ErrorIs(t, there.r.Expect(t.Context(), g.id, []string{"z"}, g), ErrMemberID, "another session with its id")
		for i, h := range hubs {
			emit(t, h, fmt.Sprint("id ", i), g.id)
			emit(t, h, fmt.Sprint("x ", i), "x")
		}
		want := []string{"id 0", "id 1", "id 2", "x 0", "x 1", "x 2"}
		at, it := g.missed(t, 0), there.missed(t, 0)
		kit.EqualSlices(t, slices.Sorted(slices.Values(missedTexts(at))), want, "at its node")
		kit.EqualSlices(t, slices.Sorted(slices.Values(missedTexts(it))), want, "where it is expected")
		for _, m := range at {
			kit.Check(t, slices.ContainsFunc(it, func(o Missed) bool {
				return string(o.Payload) == string(m.Payload) && o.Origin == m.Origin && o.Key == m.Key && o.Key != 0
			}), "%v has another key in %v", m, it)
		}
		kit.Check(t, !there.r.Drop(g.id, g), "another one was dropped")
		g.r.Remove(g.id)
		kit.OK(t, there.r.Return(g.id, there))
		for i, h := range hubs {
			emit(t, h, fmt.Sprint("live ", i), g.id)
		}
		settle()
		kit.Equal(t, len(there.got), 3, "delivered")
		kit.Check(t, !there.r.Drop(g.id, there), "a member was dropped")
		kit.Equal(t, there.r.Len(), 1, "members")
		there.parks(t)
		kit.Check(t, there.r.Drop(g.id, there), "it was not dropped")
		time.Sleep(time.Hour)
		for i, w := range wires {
			kit.Equal(t, len(w.subscriptions()), 0, "subscriptions at", i)
		}
	})
}

// TestAwaySelected: what selects a session, and what does not.
func TestAwaySelected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := recovering(t, 2)
		g := enters(t, hubs[0], "x")
		r, other := g.r, hubs[1].Rooms("/", place)
		var events []RoomEvent
		r.Listen(func(e RoomEvent) { events = append(events, e) })
		g.parks(t)
		kit.Equal(t, len(events), 0, "events while a lock may be held")
		r.Told(t.Context())
		kit.Check(t, len(events) == 4, "events: %v", events) // it leaves two rooms, and both are deleted
		events = nil
		for name, r := range map[string]*Rooms{"here": r, "there": other} {
			for _, s := range []Selection{{}, {Rooms: []string{"x"}}, {Rooms: []string{g.id}}} {
				kit.Got(r.Count(t.Context(), s)).Is(t, 0, "Count ", name)
				found, err := r.FetchSockets(t.Context(), s)
				kit.Check(t, err == nil && len(found) == 0, "FetchSockets %s: %v, %v", name, found, err)
			}
			rooms, err := r.AllRooms(t.Context())
			kit.Check(t, err == nil && len(rooms) == 0, "AllRooms %s: %v, %v", name, rooms, err)
			kit.Got(r.EmitCounted(t.Context(), Broadcast{Rooms: []string{"x"}, Payload: []byte("counted " + name)})).Is(t, 0, "EmitCounted")
			acks, err := r.EmitWithAck(t.Context(), Broadcast{Payload: []byte("asked")})
			kit.Check(t, err == nil && acks.Members == 0, "EmitWithAck %s: %v, %v", name, acks, err)
		}
		_, member := r.Get(g.id)
		kit.Check(t, !member && r.Len() == 0 && len(r.Names()) == 0 && r.Of(g.id) == nil, "a session is seen")

		kit.OK(t, other.SocketsJoin(t.Context(), Selection{Rooms: []string{"x"}}, "y"))
		emit(t, hubs[1], "y", "y")
		kit.OK(t, other.SocketsLeave(t.Context(), Selection{Rooms: []string{"y"}}, "x"))
		emit(t, hubs[1], "x", "x")
		r.Leave(g.id, "nowhere")
		_, names, ok := r.Session(g.id)
		kit.Check(t, ok && slices.Equal(names, []string{g.id, "y"}), "rooms: %v", names)
		r.Leave(g.id, "y")
		emit(t, hubs[1], "left", "y")
		got := missedTexts(g.missed(t, 0))
		kit.EqualSlices(t, slices.Sorted(slices.Values(got)), []string{"counted here", "counted there", "y"}, "missed")
		kit.Equal(t, len(events), 0, "events")
		kit.OK(t, other.DisconnectSockets(t.Context(), Selection{Rooms: []string{"y"}}, true))
		kit.Equal(t, g.ends, 0, "ends of one that is not selected")
		kit.OK(t, other.DisconnectSockets(t.Context(), Selection{Rooms: []string{g.id}}, true))
		kit.Equal(t, g.ends, 1, "ends")
		kit.Equal(t, len(events), 0, "events after the end")
	})
}

// TestKeysAreTheSame: a broadcast has the same name at all nodes, and two have never the same.
func TestKeysAreTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := recovering(t, 2)
		var gs []*comer
		for _, h := range hubs {
			g := enters(t, h, "x")
			g.parks(t)
			gs = append(gs, g)
		}
		want := 0
		for i, h := range hubs {
			for range 5 {
				emit(t, h, fmt.Sprint(want, " by ", i), "x")
				want++
				_ = kit.Must(h.Rooms("/", place).EmitCounted(t.Context(), Broadcast{
					Rooms: []string{"x"}, Payload: []byte(fmt.Sprint(want, " counted by ", i)),
				}))(t)
				want++
			}
		}
		keys := make([]map[string]Missed, 2)
		for i, g := range gs {
			keys[i] = make(map[string]Missed)
			for _, m := range g.missed(t, 0) {
				keys[i][fmt.Sprint(m.Origin, m.Key)] = m
			}
			kit.Equal(t, len(keys[i]), want, "different names at", i)
		}
		for name, m := range keys[0] {
			kit.Equal(t, string(keys[1][name].Payload), string(m.Payload), "the event", name)
		}
		kit.OK(t, gs[0].r.Emit(Broadcast{Payload: []byte("local"), Local: true}))
		due := gs[0].missed(t, 0)
		kit.Equal(t, due[len(due)-1].Key, 0, "key of what only this node knows")
	})
}

// TestNumbersAscend: each member is handed its broadcasts in the order of their numbers, whoever
// emits, and what it is not handed while it is away is all between.
func TestNumbersAscend(t *testing.T) {
	memory := new(adapter.Memory)
	var hubs []*Hub
	for range 2 {
		h := NewHub(HubConfig{Adapter: memory, Logger: silent, Recovery: &RecoveryConfig{LogBytes: 64 << 20, Keep: time.Hour}})
		t.Cleanup(func() { h.Close(context.Background()) })
		kit.OK(t, h.Ready(t.Context()))
		hubs = append(hubs, h)
	}
	var gs []*comer
	for i := range 4 {
		gs = append(gs, enters(t, hubs[i%2], "x"))
	}
	const emitters, each = 6, 200
	var wg sync.WaitGroup
	for e := range emitters {
		wg.Go(func() {
			for i := range each {
				emit(t, hubs[e%2], fmt.Sprint(e, " ", i), []string{"x", "x", gs[0].id}[:1+i%3]...)
			}
		})
	}
	wg.Go(func() { // one is away now and then
		g := gs[3]
		for range 50 {
			g.mu.Lock()
			had := uint64(0)
			if len(g.got) > 0 {
				had = g.got[len(g.got)-1].number
			}
			g.mu.Unlock()
			g.parks(t)
			g.r.InOrder(func(r *Rooms, last uint64) {
				kit.OK(t, r.Return(g.id, g))
				due, ok := r.Missed(g.id, had)
				kit.Check(t, ok, "it is not known")
				for _, m := range due {
					g.mu.Lock()
					if n := len(g.got); n == 0 || m.Number > g.got[n-1].number { // else it had come before it was parked
						g.got = append(g.got, placed{text: string(m.Payload), number: m.Number})
					}
					g.mu.Unlock()
				}
			})
		}
	})
	wg.Wait()
	kit.Eventually(t, "all have come", func() bool {
		return !slices.ContainsFunc(gs, func(g *comer) bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.got) < emitters*each
		})
	})
	for i, g := range gs {
		kit.Equal(t, len(g.got), emitters*each, "broadcasts of", i)
		kit.Check(t, slices.IsSortedFunc(g.got, func(a, b placed) int { return int(a.number) - int(b.number) }), "out of order: %d", i)
	}
}
