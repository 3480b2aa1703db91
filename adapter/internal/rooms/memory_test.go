package rooms

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// checkEmpty checks that nothing is left in an index without members.
func checkEmpty(t *testing.T, x *Index[int]) {
	t.Helper()
	chunks := 0
	for _, c := range x.rooms.chunks {
		if c == nil {
			continue
		}
		if chunks++; c.used != 0 {
			t.Errorf("rooms %b are in use", c.used)
		}
	}
	if len(x.ids)+len(x.names)+len(x.all) != 0 || len(x.free) != len(x.members) || len(x.members) > enough || chunks > 1 || len(x.rooms.open) != len(x.rooms.chunks) {
		t.Errorf("left behind: %d ids, %d names, %d of %d members free, %d chunks of rooms, %d of %d open",
			len(x.ids), len(x.names), len(x.free), len(x.members), chunks, len(x.rooms.open), len(x.rooms.chunks))
	}
}

// TestShrinking checks an index against the model while it grows and shrinks by far.
func TestShrinking(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var x Index[int]
	m := newModel()
	compacted := 0
	for _, size := range []int{5000, 60, 3000, 500, 2500, 0, 4000, 900, 10} {
		for i := len(m.values); i < size; i++ {
			id := "m" + strconv.Itoa(rng.IntN(1<<30))
			if x.Add(id, i) {
				m.values[id], m.own[id] = i, true
			}
			for range rng.IntN(4) {
				name := "r" + strconv.Itoa(rng.IntN(3000))
				x.Join(id, name)
				m.join(id, name)
			}
		}
		check(t, &x, m)
		ids := x.IDs()
		slices.Sort(ids)
		rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids[min(size, len(ids)):] {
			before := len(x.members)
			x.Remove(id, nil)
			m.remove(id)
			if len(x.members) < before {
				compacted++
			}
		}
		check(t, &x, m)
		for _, id := range x.IDs() {
			for _, name := range x.RoomsOf(id) {
				if rng.IntN(3) == 0 {
					x.Leave(id, name)
					m.leave(id, name)
				}
			}
		}
		check(t, &x, m)
	}
	if compacted < 4 {
		t.Errorf("the members were given lower numbers %d times, want more", compacted)
	}
	for _, id := range x.IDs() {
		x.Remove(id, nil)
	}
	checkEmpty(t, &x)
}

// TestMemoryIsGivenBack checks that what many rooms and members have taken is free when they are gone, whoever else stays.
func TestMemoryIsGivenBack(t *testing.T) {
	const many = 200_000
	heap := func() int {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	name := func(i int) string { return "room " + strconv.Itoa(i) }
	for _, test := range []struct {
		what  string
		grow  func(x *Index[int])
		leave func(x *Index[int])
	}{
		{"a member of many rooms leaves one after the other", func(x *Index[int]) {
			for i := range many {
				x.Join("m"+strconv.Itoa(i%1000), name(i))
			}
		}, func(x *Index[int]) {
			for i := range many {
				x.Leave("m"+strconv.Itoa(i%1000), name(i))
			}
		}},
		{"members stay in one room of many, made among the others", func(x *Index[int]) {
			for i := range many {
				x.Join("m"+strconv.Itoa(i%1000), name(i))
			}
		}, func(x *Index[int]) {
			for i := range many {
				if i%(many/1000) != 0 {
					x.Leave("m"+strconv.Itoa(i%1000), name(i))
				}
			}
		}},
		{"members in many rooms each are removed", func(x *Index[int]) {
			for i := range many {
				id := "new" + strconv.Itoa(i%100)
				x.Add(id, i)
				x.Join(id, name(i))
			}
		}, func(x *Index[int]) {
			for i := range 100 {
				x.Remove("new"+strconv.Itoa(i), nil)
			}
		}},
		{"many members with their own rooms alone", func(x *Index[int]) {
			for i := range many {
				x.Add("new"+strconv.Itoa(i), i)
			}
		}, func(x *Index[int]) {
			for i := range many {
				x.Remove("new"+strconv.Itoa(i), nil)
			}
		}},
		{"many members in one room", func(x *Index[int]) {
			for i := range many {
				id := "new" + strconv.Itoa(i)
				x.Add(id, i)
				x.Join(id, "lobby")
			}
		}, func(x *Index[int]) {
			for i := range many {
				x.Remove("new"+strconv.Itoa(many-1-i), nil)
			}
		}},
		{"many rooms with ten members each", func(x *Index[int]) {
			for i := range many {
				x.Join("m"+strconv.Itoa(i%1000), name(i/10))
			}
		}, func(x *Index[int]) {
			for i := range many {
				x.Leave("m"+strconv.Itoa(i%1000), name(i/10))
			}
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			x := new(Index[int])
			for i := range 1000 {
				x.Add("m"+strconv.Itoa(i), i)
				x.Join("m"+strconv.Itoa(i), "lobby")
			}
			before := heap()
			test.grow(x)
			full := heap() - before
			test.leave(x)
			if left := heap() - before; left > 10<<20/3 { // it grows with what there was
				t.Errorf("%d bytes are left of %d", left, full)
			}
			kit.Equal(t, len(x.Members("lobby")), 1000, "members have stayed")
			runtime.KeepAlive(x)
		})
	}
}

// TestCountAllocates: to count takes no memory, however many members there are.
func TestCountAllocates(t *testing.T) {
	var x Index[int]
	for i := range 100_000 {
		id := strconv.Itoa(i)
		x.Add(id, i)
		x.Join(id, "all")
		if i%2 == 0 {
			x.Join(id, "even")
		}
	}
	for _, test := range []struct {
		rooms, except []string
		want          int
	}{
		{nil, nil, 100_000},
		{[]string{"all"}, nil, 100_000},
		{[]string{"even", "all"}, nil, 100_000},
		{[]string{"all"}, []string{"even"}, 50_000},
		{nil, []string{"even", "7"}, 49_999},
		{[]string{"7"}, nil, 1},
	} {
		got := 0
		allocations := testing.AllocsPerRun(3, func() { got = x.Count(test.rooms, test.except) })
		if got != test.want || allocations > 0 {
			t.Errorf("Count(%q, %q) is %d, want %d, with %v allocations", test.rooms, test.except, got, test.want, allocations)
		}
	}
}
