package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A plan is what all processes of a run know. Everything else about a broadcast follows from it.
type plan struct {
	Seed  uint64
	Began int64 // Unix time in nanoseconds: where the run's clock begins
	Rooms int   // how many there are
	Rate  int   // broadcasts a second, of all nodes together
}

// now is the time of the run, the same in all processes of this machine.
func (p plan) now() time.Duration { return time.Duration(time.Now().UnixNano() - p.Began) }

// A room is the number of one.
type room uint16

func (r room) name() string { return fmt.Sprintf("room-%d", r) }

func names(rooms []room) (all []string) {
	for _, r := range rooms {
		all = append(all, r.name())
	}
	return all
}

// A selection says whom a broadcast is for: the members of any of rooms, or all if there are none,
// but not those of except. A volatile one may be lost.
type selection struct {
	rooms, except []room
	volatile      bool
}

// selected is the selection of an origin's broadcast with this number. Half of them go to one room,
// the others to two to five; one a second or so, to all.
func (p plan) selected(origin, number int) selection {
	rng := rand.New(rand.NewPCG(p.Seed+uint64(origin)<<32, uint64(number)))
	var s selection
	switch n := rng.IntN(max(20, p.Rate)); {
	case n == 0:
	case n%2 == 0:
		s.rooms = p.pick(rng, 1)
	default:
		s.rooms = p.pick(rng, 2+rng.IntN(4))
	}
	if rng.IntN(4) == 0 {
		for _, r := range p.pick(rng, 1+rng.IntN(2)) {
			if !slices.Contains(s.rooms, r) {
				s.except = append(s.except, r)
			}
		}
	}
	s.volatile = rng.IntN(20) == 0
	return s
}

// pick returns n rooms, or fewer.
func (p plan) pick(rng *rand.Rand, n int) (rooms []room) {
	for range n {
		if r := room(rng.IntN(p.Rooms)); !slices.Contains(rooms, r) {
			rooms = append(rooms, r)
		}
	}
	return rooms
}
