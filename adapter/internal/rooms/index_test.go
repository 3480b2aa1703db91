package rooms

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
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
		case 12:
			_, there := m.values[who]
			if ok := x.Replace(who, call); ok != there {
				t.Fatalf("Replace(%q) is %v", who, ok)
			}
			if there {
				m.values[who] = call
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

func TestOrderOfRooms(t *testing.T) {
	var x Index[int]
	x.Add("a", 1)
	x.Add("b", 2)
	for _, name := range []string{"z", "y", "b", "x"} {
		x.Join("b", name)
		x.Join("a", name)
	}
	x.Leave("a", "y")
	x.Join("a", "y")
	if got, want := x.RoomsOf("a"), []string{"a", "z", "b", "x", "y"}; !slices.Equal(got, want) {
		t.Errorf("rooms of a: %q, want %q", got, want)
	}
	x.Leave("a", "a")
	if got, want := x.RoomsOf("a"), []string{"z", "b", "x", "y"}; !slices.Equal(got, want) {
		t.Errorf("rooms of a: %q, want %q", got, want)
	}
	if got := x.RoomsOf("c"); got != nil {
		t.Errorf("rooms of a member that is not there: %q", got)
	}
	if got := x.Select(nil, nil, nil); len(got) != 2 {
		t.Errorf("%v are in the namespace; a member without rooms is too", got)
	}
}

func TestZeroIndex(t *testing.T) {
	var x Index[int]
	if _, ok := x.Get("a"); ok || x.Len() != 0 || !x.Empty("a") || x.Remove("a", nil) || x.Members("a") != nil {
		t.Error("an empty index has something in it")
	}
	if joined, created := x.Join("a", "r"); joined || created {
		t.Error("joined without a member")
	}
	if left, deleted := x.Leave("a", "r"); left || deleted {
		t.Error("left without a member")
	}
	if got := x.Select(nil, []string{"r"}, []string{"s"}); got != nil {
		t.Errorf("selected %v", got)
	}
}

func TestSelectDoesNotAllocate(t *testing.T) {
	x := filled(1000, 10)
	dst := make([]int, 0, 1000)
	rooms, except := []string{"r1", "r2", "m5"}, []string{"r3", "m7"}
	if n := testing.AllocsPerRun(100, func() { dst = x.Select(dst[:0], rooms, except) }); n != 0 || len(dst) == 0 {
		t.Errorf("%v allocations for %d members, want none", n, len(dst))
	}
}

// A room that was large gives its memory back.
func TestRoomsShrink(t *testing.T) {
	var x Index[int]
	for i := range 10_000 {
		id := fmt.Sprint("m", i)
		x.Add(id, i)
		x.Join(id, "r")
	}
	for i := range 9_990 {
		x.Leave(fmt.Sprint("m", i), "r")
	}
	if r := x.rooms.at(x.names["r"]); len(r.members) != 10 || cap(r.members) > 64 {
		t.Errorf("%d members in a slice of %d", len(r.members), cap(r.members))
	}
}

// filled returns an index of members m0, m1, ... of which each is in a hundredth of the rooms r0 to r99, or as many as rooms says.
func filled(members, rooms int) *Index[int] {
	rng := rand.New(rand.NewPCG(1, 1))
	x := new(Index[int])
	for i := range members {
		id := fmt.Sprint("m", i)
		x.Add(id, i)
		for len(x.RoomsOf(id)) <= rooms {
			x.Join(id, fmt.Sprint("r", rng.IntN(100)))
		}
	}
	return x
}

// BenchmarkMembership reports the memory of a membership beside that of the member, in B/membership.
func BenchmarkMembership(b *testing.B) {
	for _, per := range []int{10, 100} {
		b.Run(fmt.Sprintf("%dEach", per), func(b *testing.B) {
			const members = 20_000
			rng := rand.New(rand.NewPCG(1, 1))
			names := make([]string, 20_000)
			for i := range names {
				names[i] = strings.Repeat("r", 8) + fmt.Sprint(i)
			}
			live := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			for b.Loop() {
				var x Index[int]
				ids := make([]string, members)
				for i := range ids {
					ids[i] = fmt.Sprint("m", i)
					x.Add(ids[i], i)
				}
				before := live()
				for _, id := range ids {
					for range per {
						x.Join(id, names[rng.IntN(len(names))])
					}
				}
				total := 0
				for i := range x.members {
					total += len(x.members[i].in)
				}
				b.ReportMetric(float64(live()-before)/float64(total), "B/membership")
				runtime.KeepAlive(&x)
			}
		})
	}
}

// BenchmarkSelect reports the time for each candidate that is looked at, in ns/candidate.
func BenchmarkSelect(b *testing.B) {
	x := filled(20_000, 10)
	for _, c := range []struct {
		name          string
		rooms, except []string
	}{
		{"Room", []string{"r1"}, nil},
		{"Union", []string{"r1", "r2", "r3", "r4"}, nil},
		{"Except", []string{"r1"}, []string{"r2"}},
		{"All", nil, nil},
		{"Own", []string{"m1"}, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			candidates := 0
			for _, r := range slices.Concat(c.rooms, c.except) {
				candidates += len(x.Members(r))
			}
			if candidates == 0 {
				candidates = x.Len()
			}
			dst := make([]int, 0, x.Len())
			b.ReportAllocs()
			for b.Loop() {
				dst = x.Select(dst[:0], c.rooms, c.except)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(candidates), "ns/candidate")
		})
	}
}

// BenchmarkJoinLeave is one member joining and leaving a large room.
func BenchmarkJoinLeave(b *testing.B) {
	x := filled(20_000, 10)
	x.Add("me", 0)
	b.ReportAllocs()
	for b.Loop() {
		x.Join("me", "r1")
		x.Leave("me", "r1")
	}
}

// BenchmarkLeaveOfMany is a leave whose place is taken by a member of 10,000 rooms.
func BenchmarkLeaveOfMany(b *testing.B) {
	x := filled(10, 1)
	for i := range 10_000 {
		x.Join("m1", fmt.Sprint("many", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		x.Join("m0", "many9999")
		x.Leave("m1", "many9999")
		x.Join("m1", "many9999")
		x.Leave("m0", "many9999")
	}
}
