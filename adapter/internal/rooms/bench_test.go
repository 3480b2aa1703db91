package rooms

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

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
