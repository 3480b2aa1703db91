package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A room that is a member's own and has others in it is one room, whoever comes first and goes last.
func TestEventsOfAnOwnRoom(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	a, b := h.NewID(), h.NewID()
	told := listenTo(r, a, "a", b, "b")
	_ = r.Add(t.Context(), b, new(member))
	_ = r.Join(t.Context(), b, a)
	told.want(t, "b in a's room", "create-room b", "join-room b, b", "create-room a", "join-room a, b")
	_ = r.Add(t.Context(), a, new(member))
	told.want(t, "a", "join-room a, a")
	r.Leave(b, a)
	told.want(t, "b leaves", "leave-room a, b")
	_ = r.Join(t.Context(), b, a)
	r.Leave(a, a)
	told.want(t, "b comes back, a leaves its own", "join-room a, b", "leave-room a, a")
	_ = r.Join(t.Context(), a, a)
	r.Remove(a)
	told.want(t, "a comes back and goes", "join-room a, a", "leave-room a, a")
	r.Remove(b)
	told.want(t, "b goes", "leave-room b, b", "delete-room b", "leave-room a, b", "delete-room a")
}

// A listener is told what its own joins and leaves change when it has returned, and may call everything.
func TestListenerMayChangeRooms(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	a, m := add(t, h)
	inside := 0
	r.Listen(func(e RoomEvent) {
		inside++
		defer func() { inside-- }()
		if inside > 1 {
			t.Error("told inside of a call")
		}
		switch {
		case e.Kind == JoinRoom && e.Room == "red":
			_ = r.Join(t.Context(), a, "blue", "green")
			r.Leave(a, "red")
			say(t, h, "hello", Broadcast{Rooms: []string{"blue"}})
		case e.Kind == LeaveRoom && e.Room == "red":
			r.Remove(a)
			_ = r.Len()
		}
	})
	told, led := listenTo(r, a, "a"), keepLedger(t, r)
	led.rooms[a] = map[string]bool{a: true}
	kit.OK(t, r.Join(t.Context(), a, "red"))
	told.want(t, "Join", "create-room red", "join-room red, a", "create-room blue", "join-room blue, a", "create-room green", "join-room green, a",
		"leave-room red, a", "delete-room red", "leave-room a, a", "delete-room a", "leave-room blue, a", "delete-room blue", "leave-room green, a", "delete-room green")
	kit.EqualSlices(t, m.take(), []string{"hello"}, "a broadcast of a listener")
	led.want(r)
}

// While a listener is slow, nobody else waits: whoever is telling goes on with what the others change.
func TestSlowListenerHoldsUpOnlyTheTeller(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	a, _ := add(t, h)
	b, _ := add(t, h)
	slow, release := make(chan struct{}), make(chan struct{})
	r.Listen(func(e RoomEvent) {
		if e.Room == "slow" && e.Kind == CreateRoom {
			close(slow)
			<-release
		}
	})
	told := listenTo(r, a, "a", b, "b")
	var done sync.WaitGroup
	done.Go(func() { _ = r.Join(t.Context(), a, "slow") })
	<-slow
	_ = r.Join(t.Context(), b, "red", "slow")
	r.Leave(b, "red")
	r.Remove(b)
	told.want(t, "while a listener is at it")
	close(release)
	done.Wait()
	told.want(t, "afterwards", "create-room slow", "join-room slow, a", "create-room red", "join-room red, b", "join-room slow, b", "leave-room red, b", "delete-room red",
		"leave-room b, b", "delete-room b", "leave-room slow, b")
}

// A listener that panics, or ends its goroutine, harms nobody.
func TestFailingListener(t *testing.T) {
	var log bytes.Buffer
	h := NewHub(HubConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer h.Close(context.Background())
	r := h.Rooms("/", frame)
	a, _ := add(t, h)
	r.Listen(func(e RoomEvent) {
		if e.Kind == CreateRoom {
			switch e.Room {
			case "panic":
				panic("bang")
			case "exit":
				runtime.Goexit()
			}
		}
	})
	told := listenTo(r, a, "a")
	kit.OK(t, r.Join(t.Context(), a, "panic", "red"))
	told.want(t, "after a panic", "create-room panic", "join-room panic, a", "create-room red", "join-room red, a")
	if got := log.String(); strings.Count(got, "bang") != 1 || !strings.Contains(got, "event=create-room") || !strings.Contains(got, "TestFailingListener") {
		t.Errorf("logged %q, want the panic and where it was", got)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = r.Join(t.Context(), a, "exit", "blue") })
	done.Wait()
	r.Leave(a, "red")
	told.want(t, "after a Goexit", "join-room exit, a", "create-room blue", "join-room blue, a", "leave-room red, a", "delete-room red")
}

// What waits for a slow listener is bounded by what there is, not by how often it changes, and it knows in the end who is where.
func TestEventsOfASlowListenerAreElided(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	a, _ := add(t, h)
	b, _ := add(t, h)
	led := keepLedger(t, r)
	led.rooms[a], led.rooms[b] = map[string]bool{a: true}, map[string]bool{b: true}
	_ = r.Join(t.Context(), a, "deleted", "kept")
	slow, release := make(chan struct{}), make(chan struct{})
	r.Listen(func(e RoomEvent) {
		if e.Room == "slow" && e.Kind == JoinRoom {
			close(slow)
			<-release
		}
	})
	told := listenTo(r, a, "a", b, "b")
	var done sync.WaitGroup
	done.Go(func() { _ = r.Join(t.Context(), a, "slow") })
	<-slow
	r.Leave(a, "deleted")
	longest := 0
	for i := range 100_000 {
		_ = r.Join(t.Context(), b, "often")
		r.Leave(b, "often")
		if i == 50_000 {
			_ = r.Join(t.Context(), b, "new", "kept")
			r.Leave(a, "kept")
		}
		r.mu.Lock()
		longest = max(longest, len(r.events.queue))
		r.mu.Unlock()
	}
	_ = r.Join(t.Context(), b, "last")
	if longest > maxEvents {
		t.Errorf("%d events waited, want no more than %d", longest, maxEvents)
	}
	close(release)
	done.Wait()
	elided := h.Stats().Elided
	if led.told += int(elided); led.told != 400_000+14 {
		t.Errorf("%d events were told or elided, want 400,014", led.told)
	}
	told.mu.Lock()
	got := told.got
	told.mu.Unlock()
	got = slices.DeleteFunc(got, func(text string) bool { return strings.Contains(text, "often") })
	want := []string{"create-room slow", "join-room slow, a", "leave-room deleted, a", "delete-room deleted", "create-room new", "join-room new, b", "join-room kept, b", "leave-room kept, a",
		"create-room last", "join-room last, b"}
	if elided < 300_000 || !slices.Equal(got, want) {
		t.Errorf("%d elided; told of %q, want %q", elided, got, want)
	}
	led.want(r)

	// The bound is that of the beginning once everything was told.
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events.limit != 0 || r.events.queue != nil {
		t.Errorf("left behind: a limit of %d, %d events", r.events.limit, len(r.events.queue))
	}
}

// Whatever was elided, what is left is told in an order that can be, and leads to the same.
func TestElide(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		h := open(t, nil)
		r := h.Rooms("/", frame)
		ids := []string{"a", "b", "c"}
		for _, id := range ids {
			_ = r.Add(t.Context(), id, new(member))
		}
		change := func(n int) {
			for range n {
				id, room := ids[rng.IntN(3)], []string{"a", "red", "blue"}[rng.IntN(3)]
				switch rng.IntN(8) {
				case 0:
					r.Remove(id)
				case 1:
					_ = r.Add(t.Context(), id, new(member))
				case 2, 3, 4:
					r.Leave(id, room)
				default:
					_ = r.Join(t.Context(), id, room)
				}
			}
		}
		change(10)
		led := keepLedger(t, r)
		for _, name := range r.all() {
			led.rooms[name] = make(map[string]bool)
			for _, id := range r.Members(name) {
				led.rooms[name][id] = true
			}
		}
		r.mu.Lock()
		r.events.telling = true // nobody tells
		r.mu.Unlock()
		change(rng.IntN(60))
		r.mu.Lock()
		left := elide(slices.Clone(r.events.queue))
		kit.EqualSlices(t, elide(left), left, "seed", seed, "more can be taken out of", left)
		r.events.telling = false
		r.events.queue = nil
		r.mu.Unlock()
		for _, e := range left {
			led.listen(e.RoomEvent)
		}
		led.want(r)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Listeners are told in the order of their coming, of what changes from then on; discarded rooms tell nothing.
func TestListeners(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	var order []string
	a := h.NewID()
	_ = r.Add(t.Context(), a, new(member))
	for i := range 3 {
		_ = r.Join(t.Context(), a, fmt.Sprint("room", i))
		r.Listen(func(e RoomEvent) {
			if e.Kind == JoinRoom {
				order = append(order, fmt.Sprint(i, " ", e.Room))
			}
		})
	}
	_ = r.Join(t.Context(), a, "last")
	want := []string{"0 room1", "0 room2", "1 room2", "0 last", "1 last", "2 last"}
	kit.EqualSlices(t, order, want, "told")
	r.Remove(a)
	told := listenTo(r)
	r.Discard()
	add(t, h, "red")
	told.want(t, "rooms that were discarded")
	kit.Equal(t, RoomEventKind(9).String(), "RoomEventKind(9)", "an unknown kind")
}

// An event has the member that joined or left, also if it was the last that is heard of it.
func TestMembersOfEvents(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	id, m := h.NewID(), new(member)
	var wrong, told int
	r.Listen(func(e RoomEvent) {
		told++
		if e.Member != m || e.ID != id {
			wrong++
		}
	})
	_ = r.Add(t.Context(), id, m)
	_ = r.Join(t.Context(), id, "red")
	r.Leave(id, "red")
	_ = r.Join(t.Context(), id, "red")
	r.Remove(id)
	kit.Equal(t, told, 12, "events")
	kit.Equal(t, wrong, 0, "events that have another member")
}

// Nobody listens: nothing is noted, and nothing is allocated for it.
func TestNobodyListens(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	id, m := h.NewID(), new(member)
	ctx, names := t.Context(), []string{"red", "blue"}
	_ = r.Add(ctx, id, m)
	cycle := func() {
		_ = r.Join(ctx, id, names...)
		r.Leave(id, names...)
	}
	without := testing.AllocsPerRun(1000, cycle)
	if r.events.queue != nil {
		t.Error("events are kept for nobody")
	}
	r.Listen(func(RoomEvent) {})
	with := testing.AllocsPerRun(1000, cycle)
	if without > 5 || without >= with {
		t.Errorf("%v allocations if nobody listens, %v otherwise", without, with)
	}
}

// A leave of the last member and a join at the same moment, 200,000 times: what is told agrees with what is, and nobody is orphaned.
func TestEventsOfLeaveRacingJoin(t *testing.T) {
	total := 200_000
	if testing.Short() || kit.Raced {
		total = 20_000
	}
	h := open(t, nil)
	r := h.Rooms("/", frame)
	led := keepLedger(t, r)
	a, _ := add(t, h)
	b, _ := add(t, h, "red")
	var at [2]atomic.Int64
	race := func(self int, joins, leaves string) {
		for i := range int64(total) {
			for at[self].Store(i + 1); at[1-self].Load() <= i; {
				runtime.Gosched()
			}
			// In turns one is the last and leaves, and the other joins.
			if int(i)%2 == self {
				r.Leave(leaves, "red")
			} else if err := r.Join(t.Context(), joins, "red"); err != nil {
				t.Error(err)
			}
		}
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { race(0, b, b) })
	tasks.Go(func() { race(1, a, a) })
	tasks.Wait()
	led.want(r)
	if got := r.Members("red"); len(got) != 1 || !slices.Contains(r.Of(got[0]), "red") || len(r.Select([]string{"red"}, nil)) != 1 {
		t.Errorf("in the room are %q, want one", got)
	}
	if want := 2 * total; led.told < want {
		t.Errorf("told of %d events, want at least %d", led.told, want)
	}
}
