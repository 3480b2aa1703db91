package rooms

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// model is the index as maps of maps.
type model struct {
	values  map[string]int
	own     map[string]bool
	members map[string]map[string]bool // by room, without the own ones
	order   map[string][]string        // of joining, by member
}

func newModel() *model {
	return &model{map[string]int{}, map[string]bool{}, map[string]map[string]bool{}, map[string][]string{}}
}

func (m *model) join(id, room string) (joined, created bool) {
	if _, ok := m.values[id]; !ok || m.in(room)[id] {
		return false, false
	}
	created = len(m.in(room)) == 0
	if room == id {
		m.own[id] = true
		return true, created
	}
	if m.members[room] == nil {
		m.members[room] = map[string]bool{}
	}
	m.members[room][id] = true
	m.order[id] = append(m.order[id], room)
	return true, created
}

func (m *model) leave(id, room string) (left, deleted bool) {
	if !m.in(room)[id] {
		return false, false
	}
	if room == id {
		delete(m.own, id)
	} else {
		delete(m.members[room], id)
		m.order[id] = slices.DeleteFunc(m.order[id], func(r string) bool { return r == room })
		if len(m.members[room]) == 0 {
			delete(m.members, room)
		}
	}
	return true, len(m.in(room)) == 0
}

func (m *model) remove(id string) (rooms []string) {
	for _, room := range slices.Concat([]string{id}, m.order[id]) {
		if left, deleted := m.leave(id, room); deleted {
			rooms = append(rooms, room+", deleted")
		} else if left {
			rooms = append(rooms, room)
		}
	}
	delete(m.values, id)
	delete(m.order, id)
	return rooms
}

func (m *model) in(room string) map[string]bool {
	ids := maps.Clone(m.members[room])
	if ids == nil {
		ids = map[string]bool{}
	}
	if m.own[room] {
		ids[room] = true
	}
	return ids
}

func (m *model) sel(rooms, except []string) []int {
	ids := map[string]bool{}
	for id := range m.values {
		ids[id] = len(rooms) == 0
	}
	for _, room := range rooms {
		for id := range m.in(room) {
			ids[id] = true
		}
	}
	for _, room := range except {
		for id := range m.in(room) {
			ids[id] = false
		}
	}
	values := []int{}
	for id, ok := range ids {
		if ok {
			values = append(values, m.values[id])
		}
	}
	return sorted(values)
}

func sorted[E int | string](list []E) []E {
	list = append([]E{}, list...)
	slices.Sort(list)
	return list
}

// check compares everything that can be seen.
func check(t *testing.T, x *Index[int], m *model) {
	t.Helper()
	if x.Len() != len(m.values) {
		t.Fatalf("%d members, want %d", x.Len(), len(m.values))
	}
	if got, want := sorted(x.IDs()), sorted(slices.Collect(maps.Keys(m.values))); !slices.Equal(got, want) {
		t.Fatalf("ids %q, want %q", got, want)
	}
	names := maps.Clone(m.own)
	for room := range m.members {
		names[room] = true
	}
	if got, want := sorted(x.Rooms()), sorted(slices.Collect(maps.Keys(names))); !slices.Equal(got, want) {
		t.Fatalf("rooms %q, want %q", got, want)
	}
	if got, want := sorted(x.Shared()), sorted(slices.Collect(maps.Keys(m.members))); !slices.Equal(got, want) {
		t.Fatalf("shared rooms %q, want %q", got, want)
	}
	for name := range names {
		if got, want := sorted(x.Members(name)), sorted(slices.Collect(maps.Keys(m.in(name)))); !slices.Equal(got, want) {
			t.Fatalf("members of %q: %q, want %q", name, got, want)
		}
		if got, want := x.Empty(name), len(m.members[name]) == 0; got != want {
			t.Fatalf("Empty(%q) is %v, want %v", name, got, want)
		}
	}
	for id, value := range m.values {
		if got, ok := x.Get(id); !ok || got != value {
			t.Fatalf("Get(%q) is %d %v, want %d", id, got, ok, value)
		}
		want := slices.Clone(m.order[id])
		if m.own[id] {
			want = slices.Insert(want, 0, id)
		}
		if got := x.RoomsOf(id); !slices.Equal(got, want) || got == nil {
			t.Fatalf("rooms of %q: %q, want %q", id, got, want)
		}
	}
}

func TestModel(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	for i := range uint64(8) {
		seed := base + i
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { against(t, rand.New(rand.NewPCG(seed, 1)), 1500) })
	}
}

// against makes random calls of an index and of the model. Ids are rooms too, and are used again.
func against(t *testing.T, rng *rand.Rand, calls int) {
	var x Index[int]
	m := newModel()
	id := func() string { return fmt.Sprint("id", rng.IntN(25)) }
	room := func() string {
		if rng.IntN(4) == 0 {
			return id()
		}
		if rng.IntN(4) == 0 {
			return fmt.Sprint("many", rng.IntN(400))
		}
		return fmt.Sprint("room", rng.IntN(12))
	}
	list := func() (names []string) {
		for range rng.IntN(4) {
			names = append(names, room())
		}
		return names
	}
	for call := range calls {
		who := id()
		switch rng.IntN(13) {
		case 0, 1:
			_, there := m.values[who]
			if got := x.Add(who, call); got == there {
				t.Fatalf("Add(%q) is %v", who, got)
			}
			if !there {
				m.values[who], m.own[who] = call, true
			}
		case 2:
			_, there := m.values[who]
			var got []string
			ok := x.Remove(who, func(name string, deleted bool) {
				if deleted {
					name += ", deleted"
				}
				got = append(got, name)
			})
			if want := m.remove(who); ok != there || !slices.Equal(got, want) {
				t.Fatalf("Remove(%q) is %v, from %q, want %q", who, ok, got, want)
			}
		case 3, 4, 5:
			name := room()
			left, deleted := x.Leave(who, name)
			if l, d := m.leave(who, name); l != left || d != deleted {
				t.Fatalf("Leave(%q, %q) is %v %v, want %v %v", who, name, left, deleted, l, d)
			}
		case 6, 7:
			rooms, except := list(), list()
			got := x.Select([]int{-1}, rooms, except)
			if want := m.sel(rooms, except); got[0] != -1 || !slices.Equal(sorted(got[1:]), want) {
				t.Fatalf("Select(%q, %q) is %v, want %v behind -1", rooms, except, got, want)
			}
			if n := x.Count(rooms, except); n != len(got)-1 {
				t.Fatalf("Count(%q, %q) is %d, want %d", rooms, except, n, len(got)-1)
			}
			ids := x.SelectIDs([]string{"first"}, rooms, except)
			for i, id := range ids[1:] {
				ids[1+i] = fmt.Sprint(m.values[id])
			}
			if want := strings.Fields(strings.Trim(fmt.Sprint(m.sel(rooms, except)), "[]")); ids[0] != "first" || !slices.Equal(sorted(ids[1:]), sorted(want)) {
				t.Fatalf("SelectIDs(%q, %q) is the ids of %q, want those of %q", rooms, except, ids, want)
			}
		default:
			name := room()
			joined, created := x.Join(who, name)
			if j, c := m.join(who, name); j != joined || c != created {
				t.Fatalf("Join(%q, %q) is %v %v, want %v %v", who, name, joined, created, j, c)
			}
		}
		if call%16 == 0 {
			check(t, &x, m)
		}
		if rng.IntN(200) == 0 && x.epoch < 1<<31 {
			x.epoch = ^uint32(0) - uint32(rng.IntN(3)) // the marks of 4 billion selections ago are not mistaken for new ones
		}
	}
	check(t, &x, m)
	for who := range m.values {
		x.Remove(who, nil)
	}
	checkEmpty(t, &x)
}
