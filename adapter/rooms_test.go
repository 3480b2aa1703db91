package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBroadcastAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		a1, m1 := add(t, hubs[0], "red")
		a2, m2 := add(t, hubs[0], "red", "blue")
		b1, m3 := add(t, hubs[1], "blue", a1) // in somebody else's room
		c1, m4 := add(t, hubs[2])
		members := map[string]*member{a1: m1, a2: m2, b1: m3, c1: m4}
		names := map[string]string{a1: "a1", a2: "a2", b1: "b1", c1: "c1"}
		other := new(member) // in another namespace
		if err := hubs[1].Rooms("/other", frame).Add(t.Context(), hubs[1].NewID(), other); err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			from int
			b    Broadcast
			want []string
		}{
			{0, Broadcast{Rooms: []string{"red"}}, []string{a1, a2}},
			{1, Broadcast{Rooms: []string{"red"}}, []string{a1, a2}},
			{2, Broadcast{Rooms: []string{"red", "blue"}}, []string{a1, a2, b1}},
			{2, Broadcast{Rooms: []string{"blue", "red", "blue", "red"}}, []string{a1, a2, b1}},
			{0, Broadcast{Rooms: []string{"red", "blue", "x", "y", "z"}}, []string{a1, a2, b1}}, // by the namespace
			{1, Broadcast{}, []string{a1, a2, b1, c1}},
			{1, Broadcast{Rooms: []string{"nobody"}}, nil},
			{2, Broadcast{Rooms: []string{a1}}, []string{a1, b1}},
			{1, Broadcast{Rooms: []string{a1}}, []string{a1, b1}},
			{0, Broadcast{Rooms: []string{c1}}, []string{c1}},
			{0, Broadcast{Rooms: []string{c1, "blue"}}, []string{c1, a2, b1}},
			{0, Broadcast{Rooms: []string{"red", "blue"}, Except: []string{a2}}, []string{a1, b1}}, // the sender, say
			{2, Broadcast{Except: []string{"blue", c1}}, []string{a1}},
			{2, Broadcast{Rooms: []string{"red"}, Except: []string{"red"}}, nil},
			{1, Broadcast{Rooms: []string{"red"}, Except: []string{a1}}, []string{a2}},
			{0, Broadcast{Local: true}, []string{a1, a2}},
			{0, Broadcast{Rooms: []string{"blue"}, Local: true}, []string{a2}},
			{2, Broadcast{Rooms: []string{"blue"}, Local: true}, nil},
		} {
			payload := fmt.Sprint("packet ", i)
			say(t, hubs[c.from], payload, c.b)
			settle()
			for id, m := range members {
				var want []string
				if slices.Contains(c.want, id) {
					want = []string{payload}
				}
				got(t, fmt.Sprintf("%s of packet %d, %+v from node %d,", names[id], i, c.b.Rooms, c.from), m, want...)
			}
		}
		say(t, hubs[0], "maybe", Broadcast{Rooms: []string{"red", c1}, Volatile: true})
		settle()
		got(t, "a1", m1, "volatile maybe")
		got(t, "c1", m4, "volatile maybe")
		got(t, "the other namespace", other)
		for i, h := range hubs {
			if s := h.Stats(); s.Missed+s.Overtaken+s.Lost+s.Malformed+s.Refused != 0 {
				t.Errorf("node %d: %+v", i, s)
			}
		}
	})
}

// A broadcast to one room travels to the nodes with a member of it, and to no others.
func TestNodesWithoutMembersGetNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 4)
		from, _ := add(t, hubs[0], "red")
		add(t, hubs[1], "red")
		add(t, hubs[2], "blue") // node 3 has nobody at all
		for range 100 {
			say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
			say(t, hubs[1], "x", Broadcast{Rooms: []string{from}})
		}
		settle()
		if got := len(wires[0].received()); got != 100 {
			t.Errorf("node 0 received %d broadcasts, want those to its member", got)
		}
		if got := len(wires[1].received()); got != 100 {
			t.Errorf("node 1 received %d broadcasts, want those to red", got)
		}
		for _, i := range []int{2, 3} {
			if got := wires[i].received(); len(got) != 0 {
				t.Errorf("node %d received %d broadcasts without a member: %v", i, len(got), got[0])
			}
		}
	})
}

// Interest ends a second after the last member has left, and not before.
func TestInterestLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		id, m := add(t, hubs[1], "red")
		hubs[1].Rooms("/", frame).Leave(id, "red")
		time.Sleep(900 * time.Millisecond)
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
		settle()
		if got := len(wires[1].received()); got != 1 {
			t.Errorf("%d broadcasts received while interest lingers, want 1", got)
		}
		got(t, "a member that has left", m)
		time.Sleep(200 * time.Millisecond)
		say(t, hubs[0], "y", Broadcast{Rooms: []string{"red"}})
		settle()
		if got := len(wires[1].received()); got != 1 {
			t.Errorf("%d broadcasts received after the linger, want no more than 1", got)
		}
		if err := hubs[1].Rooms("/", frame).Join(t.Context(), id, "red"); err != nil {
			t.Fatal(err)
		}
		say(t, hubs[0], "z", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "a member that is back", m, "z")
	})
}

func TestErrorsOfRooms(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	if h.Rooms("/", nil) != r || h.Rooms("/x", frame) == r {
		t.Error("there is one set of rooms for each namespace")
	}
	id, m := h.NewID(), new(member)
	if err := r.Join(t.Context(), id, "red"); !errors.Is(err, ErrMember) {
		t.Errorf("Join before Add: %v, want ErrMember", err)
	}
	if err := r.Add(t.Context(), id, m); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(t.Context(), id, m); !errors.Is(err, ErrMemberID) || !strings.Contains(err.Error(), id) {
		t.Errorf("second Add: %v, want ErrMemberID with the id", err)
	}
	for _, name := range []string{strings.Repeat("x", MaxRoomName+1), "\xff"} {
		if err := r.Join(t.Context(), id, "fine", name); !errors.Is(err, ErrRoomName) {
			t.Errorf("Join of %.10q: %v, want ErrRoomName", name, err)
		}
	}
	if got := r.Of(id); !slices.Equal(got, []string{id}) {
		t.Errorf("rooms after refused Joins: %q", got)
	}
	if err := r.Join(t.Context(), id, "red", "green", "red"); err != nil {
		t.Fatal(err)
	}
	if got := r.Of(id); !slices.Equal(got, []string{id, "red", "green"}) {
		t.Errorf("rooms %q", got)
	}
	if got, ok := r.Get(id); !ok || got != m {
		t.Errorf("Get: %v %v", got, ok)
	}
	if got := r.Select([]string{"red"}, nil); len(got) != 1 || got[0] != m {
		t.Errorf("Select: %v", got)
	}
	r.Leave(id, "blue", "red")
	r.Remove("nobody")
	if got := r.Names(); len(got) != 2 || r.Len() != 1 || !slices.Equal(r.IDs(), []string{id}) || !slices.Equal(r.Members("green"), []string{id}) {
		t.Errorf("names %q, %d members, ids %q, in green %q", got, r.Len(), r.IDs(), r.Members("green"))
	}
	r.Remove(id)
	if err := r.Join(t.Context(), id, "red"); !errors.Is(err, ErrMember) {
		t.Errorf("Join after Remove: %v, want ErrMember", err)
	}
	if r.Of(id) != nil || r.Len() != 0 || len(r.Names()) != 0 {
		t.Errorf("left behind: %q, %d members, rooms %q", r.Of(id), r.Len(), r.Names())
	}
}

func TestHostileRoomNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		names := []string{"", "*", ">", "a.b", "a b", "\x00", "\r\nPUB x 1", "#", "room", "ROOM", "/", "../x", "ü", "\u202e", "{}", "$SYS.>",
			strings.Repeat("x", MaxRoomName), hubs[0].NewID() + "x", strings.Repeat("A", 10) + ".BBBBBBBBBB", "cluster", hubs[1].Node()}
		members := make([]*member, len(names))
		for i, name := range names {
			_, members[i] = add(t, hubs[1], name)
		}
		for i, name := range names {
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{name}})
		}
		settle()
		for i, name := range names {
			got(t, fmt.Sprintf("the member of %.40q", name), members[i], fmt.Sprint(i))
		}
	})
}

// A frame that cannot be made is logged, and costs nothing but itself.
func TestUnframeable(t *testing.T) {
	var log bytes.Buffer
	h := NewHub(HubConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer h.Close(context.Background())
	_, m := add(t, h)
	say(t, h, "unframeable", Broadcast{})
	say(t, h, "x", Broadcast{})
	if got := m.take(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("got %q, want the second", got)
	}
	if !strings.Contains(log.String(), "no frame for it") {
		t.Errorf("logged %q", log.String())
	}
}

// Joins, leaves and removals of many goroutines in few rooms orphan no member, and leave no interest behind.
func TestConcurrentMembership(t *testing.T) {
	total := 200_000
	if testing.Short() || raceEnabled {
		total = 20_000
	}
	seed := uint64(time.Now().UnixNano())
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		const workers, rooms = 8, 3
		ids := make([]string, workers)
		in := make([]map[string]bool, workers) // what a worker has done to its own member
		shared := []string{hubs[0].NewID(), hubs[1].NewID()}
		var tasks sync.WaitGroup
		for i := range workers {
			h := hubs[i%2]
			ids[i], _ = add(t, h)
			in[i] = make(map[string]bool)
			tasks.Go(func() {
				r := h.Rooms("/", frame)
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				for range total / workers {
					name := fmt.Sprint("room", rng.IntN(rooms))
					switch rng.IntN(6) {
					case 0: // a member that others handle too
						_ = r.Join(t.Context(), shared[i%2], name)
					case 1:
						r.Leave(shared[i%2], name)
					case 2:
						if rng.IntN(4) == 0 {
							r.Remove(shared[i%2])
						} else {
							_ = r.Add(t.Context(), shared[i%2], new(member))
						}
					default:
						if in[i][name] {
							r.Leave(ids[i], name)
						} else if err := r.Join(t.Context(), ids[i], name); err != nil {
							t.Errorf("seed %d: Join: %v", seed, err)
							return
						}
						in[i][name] = !in[i][name]
					}
					if rng.IntN(500) == 0 { // now and then all rest until interest ends, or nearly
						time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
					}
				}
			})
		}
		tasks.Wait()
		time.Sleep(2 * time.Second)
		for n, h := range hubs {
			r := h.Rooms("/", frame)
			for i, id := range ids {
				if i%2 != n {
					continue
				}
				count := 1
				for name, is := range in[i] {
					if slices.Contains(r.Of(id), name) != is || slices.Contains(r.Members(name), id) != is {
						t.Errorf("seed %d: %s in %s: want %v; its rooms are %q, the room's members %q", seed, id, name, is, r.Of(id), r.Members(name))
					}
					if is {
						count++
					}
				}
				if got := len(r.Of(id)); got != count {
					t.Errorf("seed %d: %s is in %d rooms, want %d", seed, id, got, count)
				}
			}
			want := map[Topic]bool{{Kind: Namespace, Namespace: "/"}: true}
			for _, name := range r.Names() {
				if strings.HasPrefix(name, "room") {
					want[roomTopic("/", name)] = true
				}
			}
			if got := wires[n].subscriptions(); !maps.Equal(got, want) {
				t.Errorf("seed %d: node %d is subscribed to %v, want %v", seed, n, got, want)
			}
			for _, id := range r.IDs() {
				r.Remove(id)
			}
		}
		time.Sleep(2 * time.Second)
		for n, h := range hubs {
			if got := wires[n].subscriptions(); len(got) != 0 || len(h.Rooms("/", frame).Names()) != 0 {
				t.Errorf("seed %d: node %d is left with interest in %v and rooms %q", seed, n, got, h.Rooms("/", frame).Names())
			}
			if s := h.Stats(); s.Missed != 0 || s.Lost != 0 {
				t.Errorf("seed %d: node %d: %+v", seed, n, s)
			}
		}
	})
}

// A leave and a join of the same room at the same moment, of two members or of one, leave the room subscribed if somebody is in it.
func TestLeaveRacesJoin(t *testing.T) {
	rooms := 15_000
	if testing.Short() || raceEnabled {
		rooms = 3_000
	}
	for _, c := range []struct {
		name string
		same bool
	}{{"of two members", false}, {"of one member", true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hubs, wires := cluster(t, 2)
				r := hubs[0].Rooms("/", frame)
				joiner, _ := add(t, hubs[0])
				leaver := joiner
				impatient, cancel := context.WithCancel(t.Context())
				cancel()
				name := func(i int) string { return fmt.Sprint("room", i) }
				if !c.same {
					leaver, _ = add(t, hubs[0])
					for i := range rooms {
						_ = r.Join(impatient, leaver, name(i))
					}
				}
				var at [2]atomic.Int64
				race := func(self int, do func(room string)) {
					for i := range rooms {
						at[self].Store(int64(i))
						for at[1-self].Load() < int64(i) {
							runtime.Gosched()
						}
						do(name(i))
					}
					at[self].Store(int64(rooms))
				}
				var tasks sync.WaitGroup
				tasks.Go(func() { race(0, func(room string) { r.Leave(leaver, room) }) })
				tasks.Go(func() { race(1, func(room string) { _ = r.Join(impatient, joiner, room) }) })
				tasks.Wait()
				time.Sleep(2 * time.Second)
				subscribed := wires[0].subscriptions()
				wrong := 0
				for i := range rooms {
					members := r.Members(name(i))
					if !c.same && !slices.Equal(members, []string{joiner}) || subscribed[roomTopic("/", name(i))] != (len(members) > 0) {
						wrong++
					}
				}
				if wrong > 0 {
					t.Errorf("%d of %d joins are orphaned, or have left interest behind", wrong, rooms)
				}
				r.Remove(leaver)
				r.Remove(joiner)
				time.Sleep(2 * time.Second)
				if got := len(wires[0].subscriptions()); got != 0 {
					t.Errorf("%d subscriptions are left", got)
				}
			})
		})
	}
}

// Broadcasts of one goroutine come in their order, also across rooms.
func TestOrderAcrossRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, m := add(t, hubs[1], "red", "blue")
		_, local := add(t, hubs[0], "red", "blue")
		var want []string
		for i := range 2000 {
			payload := fmt.Sprint(i)
			b := Broadcast{Rooms: [][]string{{"red"}, {"blue"}, {"red", "blue"}, nil}[i%4]}
			say(t, hubs[0], payload, b)
			want = append(want, payload)
		}
		settle()
		got(t, "the remote member", m, want...)
		got(t, "the local member", local, want...)
		if s := hubs[1].Stats(); s.Received != 2000 || s.Copies != 500 || s.Missed+s.Overtaken+s.Stale+s.Unwanted != 0 {
			t.Errorf("%+v, want 2000 received and a copy of each union", s)
		}
	})
}
