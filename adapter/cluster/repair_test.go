package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// Every selection is repaired when it is lost on the way, in its order, and reaches whom it selects, once.
func TestRepair(t *testing.T) {
	for _, c := range []struct {
		name string
		b    func(own string) Broadcast
		to   string // whom it selects: x is on the first node; y on the second one, in x's own room, too
	}{
		{name: "a room", b: func(string) Broadcast { return Broadcast{Rooms: []string{"red"}} }, to: "xy"},
		{name: "a union", b: func(string) Broadcast { return Broadcast{Rooms: []string{"blue", "red"}} }, to: "xy"},
		{name: "a union of rooms that are not all here", b: func(string) Broadcast { return Broadcast{Rooms: []string{"none", "blue", "nobody", "never"}} }, to: "y"},
		{name: "many rooms", b: func(string) Broadcast { return Broadcast{Rooms: []string{"1", "2", "3", "4", "red"}} }, to: "xy"},
		{name: "the namespace", b: func(string) Broadcast { return Broadcast{} }, to: "xy"},
		{name: "all but a room", b: func(string) Broadcast { return Broadcast{Except: []string{"blue"}} }, to: "x"},
		{name: "a room but one", b: func(own string) Broadcast { return Broadcast{Rooms: []string{"red"}, Except: []string{own}} }, to: ""},
		{name: "a member's own room", b: func(own string) Broadcast { return Broadcast{Rooms: []string{own}} }, to: "xy"},
		{name: "a union with a member's own", b: func(own string) Broadcast { return Broadcast{Rooms: []string{own, "blue"}} }, to: "xy"},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, sieves := sifted(t, 3)
			own, x := add(t, hubs[0], "red")
			_, y := add(t, hubs[1], "red", "blue", own)
			for i, s := range sieves[:2] {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				s.set(func(m *envelope.Message) bool {
					return broadcasts(m) && rng.IntN(3) == 0 || repairs(m) && rng.IntN(10) == 0
				})
			}
			var all []string
			for i := range 100 {
				all = append(all, fmt.Sprint(i))
				say(t, hubs[2], all[i], c.b(own))
				if i%10 == 0 {
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
			}
			time.Sleep(10 * time.Second)
			for i, name := range []string{"x", "y"} {
				var want []string
				if strings.Contains(c.to, name) {
					want = all
				}
				got(t, name, [...]*member{x, y}[i], want...)
				dropped := sieves[i].set(nil)
				if s := hubs[i].Stats(); dropped == 0 && want != nil || s.Repaired == 0 && dropped > 0 || s.Missed+s.Unknown+s.Overtaken != 0 {
					t.Errorf("%s: %d dropped, %+v; want repairs, and nothing missed or overtaken", name, dropped, s)
				}
			}
		})
	}
}

// Whatever is emitted to whatever, and lost: each member gets what is for it, once, and what has a room in common with something else
// comes in its order.
func TestRepairOfEverything(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, round))
			hubs, sieves := sifted(t, 3)
			own, x := add(t, hubs[0], "a", "b")
			_, y := add(t, hubs[1], "b", "c", own)
			in := [][]string{{"a", "b", own}, {"b", "c", own}}
			var mu sync.Mutex
			lossy := rand.New(rand.NewPCG(seed, round+1000))
			for _, s := range sieves {
				s.set(func(*envelope.Message) bool {
					mu.Lock()
					defer mu.Unlock()
					return lossy.IntN(5) == 0
				})
			}
			var want [2][]string
			rooms := make(map[string][]string) // by payload
			for i := range 300 {
				var b Broadcast
				names := []string{"a", "b", "c", "d", own, "e", "f", "g", "h"}
				for _, k := range rng.Perm(len(names))[:rng.IntN(len(names)+1)] {
					b.Rooms = append(b.Rooms, names[k])
				}
				payload := fmt.Sprint(i)
				say(t, hubs[2], payload, b)
				rooms[payload] = b.Rooms
				for n := range want {
					if len(b.Rooms) == 0 || slices.ContainsFunc(b.Rooms, func(r string) bool { return slices.Contains(in[n], r) }) {
						want[n] = append(want[n], payload)
					}
				}
				if rng.IntN(10) == 0 {
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
				}
			}
			for _, s := range sieves {
				s.set(nil)
			}
			time.Sleep(10 * time.Second)
			for n, m := range []*member{x, y} {
				came := m.take()
				last := make(map[string]int)
				for _, payload := range came {
					names := rooms[payload]
					if len(names) == 0 {
						names = []string{"all"}
					}
					var i int
					fmt.Sscan(payload, &i)
					for _, name := range names {
						if (name == "all" || slices.Contains(in[n], name)) && last[name] > i {
							t.Errorf("seed %d, round %d, member %d: %d came after %d to %s", seed, round, n, i, last[name], name)
						}
						last[name] = i
					}
				}
				slices.Sort(came)
				slices.Sort(want[n])
				kit.EqualSlices(t, came, want[n], "seed", seed, "round", round, "member", n)
				if s := hubs[n].Stats(); s.Repaired == 0 || s.Missed+s.Unknown != 0 {
					t.Errorf("seed %d, round %d, member %d: %+v, want repairs, and nothing missed", seed, round, n, s)
				}
			}
		})
	}
}

// What the origin does not remember any more is lost: counted one by one, told, and logged once. What it remembers comes, in order.
func TestLossBeyondRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		s := newSieve(memory)
		var losses []Loss
		var log journal
		from := openWith(t, HubConfig{Adapter: memory, RepairBytes: 2000})
		h := openWith(t, HubConfig{Adapter: s, Logger: slog.New(&log), OnLoss: func(l Loss) { losses = append(losses, l) }})
		_, m := add(t, h, "red", "blue")
		say(t, from, "first", Broadcast{Rooms: []string{"red"}})
		settle()
		s.set(broadcasts)
		var want []string
		for i := range 50 {
			payload := fmt.Sprintf("%0100d", i)
			say(t, from, payload, Broadcast{Rooms: []string{"red", "blue"}}) // one loss each, although it is on two topics
			want = append(want, payload)
		}
		time.Sleep(5 * time.Second)
		came := m.take()
		if len(came) == 0 || came[0] != "first" || len(came) < 10 || len(came) > 21 || !slices.Equal(came[1:], want[51-len(came):]) {
			t.Errorf("%q came, want the first and the last that 2000 bytes hold", came)
		}
		missed := 51 - len(came)
		stats := h.Stats()
		if stats.Missed != uint64(missed) || stats.Unknown != 0 || stats.Received != uint64(len(came)) || len(losses) != missed {
			t.Errorf("%+v, told of %d; want %d missed and told", stats, len(losses), missed)
		}
		for _, l := range losses {
			if l != (Loss{Node: from.Node(), Name: from.Name()}) {
				t.Errorf("told of %+v, want the node %s", l, from.Node())
			}
		}
		if lines := log.logged(); len(lines) != 1 || !strings.Contains(lines[0], "lost") {
			t.Errorf("logged %q, want one line", lines)
		}
		s.set(nil)
		say(t, from, "last", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member", m, "last")
	})
}

// A program that cannot take the news has the others go on.
func TestOnLossPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		s := newSieve(memory)
		var log journal
		told := 0
		from := openWith(t, HubConfig{Adapter: memory, RepairBytes: 1})
		h := openWith(t, HubConfig{Adapter: s, Logger: slog.New(&log), OnLoss: func(Loss) {
			told++
			panic("cannot take it")
		}})
		_, m := add(t, h, "red")
		s.set(broadcasts)
		say(t, from, "1", Broadcast{Rooms: []string{"red"}})
		say(t, from, "2", Broadcast{Rooms: []string{"red"}})
		synctest.Wait()
		s.set(nil)
		say(t, from, "3", Broadcast{Rooms: []string{"red"}})
		time.Sleep(time.Second)
		got(t, "the member", m, "3")
		if lines := log.logged(); told != 2 || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "panicked") }) {
			t.Errorf("told %d times, logged %q; want 2, and the panics", told, lines)
		}
	})
}

// What is missing of a node that has died is not known: that is told once, and what is held behind it comes.
func TestUnknownLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		s, dying := newSieve(memory), &wire{Memory: memory}
		var losses []Loss
		var log journal
		from := openWith(t, HubConfig{Adapter: dying})
		h := openWith(t, HubConfig{Adapter: s, Logger: slog.New(&log), OnLoss: func(l Loss) { losses = append(losses, l) }})
		_, m := add(t, h, "red")
		for i := range 5 {
			s.set(func(m *envelope.Message) bool { return (i == 1 || i == 3) && broadcasts(m) })
			say(t, from, fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
			synctest.Wait()
			if i == 0 {
				s.wire.mu.Lock()
				s.wire.publishing = func(_ context.Context, topic adapter.Topic) error { // nobody is asked for anything
					if topic.Kind == adapter.Node {
						return errors.New("no")
					}
					return nil
				}
				s.wire.mu.Unlock()
			}
		}
		dying.die()
		time.Sleep(25 * time.Second)
		got(t, "the member while the node may come back", m, "0")
		time.Sleep(10 * time.Second)
		got(t, "the member", m, "2", "4")
		if stats := h.Stats(); stats.Unknown != 1 || stats.Missed != 0 || !slices.Equal(losses, []Loss{{Node: from.Node(), Name: from.Name(), Unknown: true}}) {
			t.Errorf("%+v, told of %+v; want one unknown loss", stats, losses)
		}
		if lines := log.logged(); !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "lost") }) {
			t.Errorf("logged %q, want that something was lost", lines)
		}
	})
}

// Rooms whose topics are past do not select; a broadcast whose topics are all past selects nobody, and not everybody.
func TestSelecting(t *testing.T) {
	none := []string{nobody}
	for _, c := range []struct {
		name  string
		route envelope.Route
		flags uint64
		rooms []string
		past  []bool
		want  []string
	}{
		{"a union, one past", envelope.ByRoom, 0, []string{"a", "b", "c"}, []bool{false, true, false}, []string{"a", "c"}},
		{"a union, all past", envelope.ByRoom, 0, []string{"a", "b"}, []bool{true, true}, none},
		{"many rooms in their places, some past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b", "c", "d", "e"},
			[]bool{false, true, false, false, true, false}, []string{"b", "c", "e"}},
		{"many rooms in their places, the namespace past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b"},
			[]bool{true, true, false}, []string{"b"}},
		{"many rooms in their places, all past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b"}, []bool{false, true, true}, none},
		{"the namespace, past", envelope.ByNamespace, 0, nil, []bool{true}, none},
		{"many rooms, past", envelope.ByNamespace, 0, []string{"a", "b", "c", "d", "e"}, []bool{true}, none},
		{"many rooms, not past", envelope.ByNamespace, 0, []string{"a", "b", "c", "d", "e"}, []bool{false}, []string{"a", "b", "c", "d", "e"}},
		{"a request in rooms, one past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{false, true, false}, []string{"b"}},
		{"a request in rooms, the cluster past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{true, false, true}, []string{"a"}},
		{"a request in rooms, all past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{false, true, true}, none},
		{"a request to all, past", envelope.ByCluster, 0, nil, []bool{false, true}, none},
		{"a request to all, the cluster past", envelope.ByCluster, 0, nil, []bool{true, false}, nil},
		{"a request to many rooms, past", envelope.ByCluster, 0, []string{"a", "b", "c", "d", "e"}, []bool{false, true}, none},
	} {
		b := &envelope.Body{Route: c.route, Flags: c.flags, Rooms: c.rooms}
		kit.EqualSlices(t, selecting(b, c.past), c.want, c.name)
	}
	if validName(nobody) {
		t.Errorf("%q may be the name of a room", nobody)
	}
}

// late has x in red and y in blue, of which y has joined only after something was said, and lost here, that say says to both rooms, or to
// blue alone. It returns when that has been repaired.
func late(t *testing.T, say func(h *Hub)) (hubs []*Hub, x, y *member) {
	t.Helper()
	hubs, sieves := sifted(t, 2)
	_, x = add(t, hubs[0], "red")
	id, y := add(t, hubs[0])
	sieves[0].set(broadcasts)
	say(hubs[1])
	synctest.Wait()
	if n := sieves[0].set(nil); n == 0 {
		t.Error("nothing was lost")
	}
	kit.OK(t, hubs[0].Rooms("/", frame).Join(t.Context(), id, "blue"))
	got(t, "x before the repair", x)
	time.Sleep(time.Second)
	synctest.Wait()
	if s := hubs[0].Stats(); s.Repaired == 0 && len(x.got) > 0 || s.Missed+s.Unknown != 0 {
		t.Errorf("%+v, want a repair", s)
	}
	return hubs, x, y
}

// A union that is repaired reaches those who were in its rooms when it was sent, by the rooms that they were in, and nobody who has come
// since by another.
func TestUnionPastInOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, x, y := late(t, func(h *Hub) {
			say(t, h, "both", Broadcast{Rooms: []string{"red", "blue"}})
			say(t, h, "blue", Broadcast{Rooms: []string{"blue"}})
			say(t, h, "many", Broadcast{Rooms: []string{"red", "blue", "1", "2", "3"}}) // by the namespace, where y has been as long as x
		})
		got(t, "x", x, "both", "many")
		got(t, "y, which joined later", y)
		say(t, hubs[1], "new", Broadcast{Rooms: []string{"red", "blue"}})
		got(t, "x", x, "new")
		got(t, "y", y, "new")
	})
}

// The same for requests, which every node gets, on the topic of the cluster.
func TestRequestPastInOneRoom(t *testing.T) {
	for _, c := range []struct {
		name  string
		rooms []string
		toX   bool
	}{
		{"both rooms", []string{"blue", "red"}, true},
		{"the late room alone", []string{"blue"}, false},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			var wg sync.WaitGroup
			s := Selection{Rooms: c.rooms}
			hubs, x, y := late(t, func(h *Hub) {
				r := h.Rooms("/", frame)
				wg.Go(func() {
					if err := r.SocketsJoin(t.Context(), s, "joined"); err != nil {
						t.Errorf("SocketsJoin: %v", err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					acks, err := r.EmitWithAck(t.Context(), Broadcast{Rooms: c.rooms, Payload: []byte("asked")}) // x keeps silent
					if (acks.Members == 1) != c.toX || len(acks.Answers) != 0 || (err != nil) != c.toX {
						t.Errorf("EmitWithAck: %+v, %v", acks, err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					if n, err := r.Count(t.Context(), s); (n == 1) != c.toX || n > 1 || err != nil {
						t.Errorf("Count: %d, %v", n, err)
					}
				})
			})
			if c.toX {
				got(t, "x", x, "asked")
			}
			got(t, "y, which joined later", y)
			joined := hubs[0].Rooms("/", frame).Members("joined")
			if len(joined) > 1 || (len(joined) == 1) != c.toX {
				t.Errorf("%q were moved, want x: %v", joined, c.toX)
			}
			wg.Wait()
		})
	}
}
