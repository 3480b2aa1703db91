package shrink

import (
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// TestMap checks that a map keeps its entries, is copied rarely, and is small when it has few entries.
func TestMap(t *testing.T) {
	m, peak, copies := make(map[int]int), 0, 0
	model := make(map[int]int)
	rng := rand.New(rand.NewPCG(1, 2))
	deletions := 0
	for _, size := range []int{5000, 100, 20_000, 0, 3000, 2900, 800, 5000, 10} {
		for len(model) < size {
			k := rng.Int()
			m[k], model[k] = k, k
		}
		for k := range model {
			if len(model) <= size {
				break
			}
			delete(model, k)
			delete(m, k)
			deletions++
			before := peak
			if m = Map(m, &peak); peak < before {
				copies++
				if len(m) > before/4 {
					t.Fatalf("%d of %d entries were copied", len(m), before)
				}
			}
		}
		if !maps.Equal(m, model) {
			t.Fatalf("the map differs from its model of %d entries", len(model))
		}
	}
	if copies < 4 || copies > deletions/least*4 {
		t.Errorf("%d copies for %d deletions", copies, deletions)
	}
}

// TestMapMemory checks that what a map has taken is free when it is empty.
func TestMapMemory(t *testing.T) {
	heap := func() int {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	m, peak := make(map[int][2]int), 0
	before := heap()
	for i := range 300_000 {
		m[i] = [2]int{i, i}
	}
	full := heap() - before
	for i := range 300_000 {
		delete(m, i)
		m = Map(m, &peak)
	}
	if left := heap() - before; full < 5<<20 || left > full/50 {
		t.Errorf("%d of %d bytes are left", left, full)
	}
	runtime.KeepAlive(m)
}

func TestSlice(t *testing.T) {
	s := make([]int, 100, 1000)
	s[99] = 7
	kit.Equal(t, cap(Slice(s, 1000)), 1000, "the array of a slice that is not too small")
	kit.Equal(t, cap(Slice(s[:251], 10)), 1000, "the array of a slice that is used")
	if got := Slice(s, 10); cap(got) > 200 || len(got) != 100 || got[99] != 7 {
		t.Errorf("got %d elements of %d", len(got), cap(got))
	}
	if got := Slice(s[:0], 10); got == nil && cap(got) > 0 {
		t.Errorf("an empty one has room for %d", cap(got))
	}
}
