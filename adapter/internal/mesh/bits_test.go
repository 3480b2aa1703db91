package mesh

import (
	"math/rand/v2"
	"testing"
)

// The bitset agrees with a map, whatever is added and cut.
func TestBitset(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b bitset
		want := make(map[uint64]bool)
		floor, span := uint64(rng.IntN(1000)), 1+rng.IntN(400)
		if seed%5 == 0 {
			floor = 1<<63 - 100 + floor
		}
		for step := range 200 {
			switch seq := floor + 1 + uint64(rng.IntN(span)); {
			case rng.IntN(5) > 0:
				b.add(seq, floor)
				want[seq] = true
			default:
				if rng.IntN(4) == 0 {
					seq += uint64(rng.IntN(1000)) // beyond all that is in
				}
				floor = seq
				b.cut(floor)
				for seq := range want {
					if seq <= floor {
						delete(want, seq)
					}
				}
			}
			if b.len() != len(want) {
				t.Fatalf("seed %d, step %d: %d numbers, want %d", seed, step, b.len(), len(want))
			}
			if len(want) == 0 && b.words != nil {
				t.Fatalf("seed %d, step %d: an empty set keeps %d words", seed, step, len(b.words))
			}
			if len(b.words) > (span+1000)/64+2 {
				t.Fatalf("seed %d, step %d: %d words for numbers within %d", seed, step, len(b.words), span)
			}
			for seq := max(floor, 200) - 200; seq < floor+uint64(span)+200; seq++ {
				if b.has(seq) != want[seq] {
					t.Fatalf("seed %d, step %d: has(%d) is %v", seed, step, seq, b.has(seq))
				}
			}
			if b.has(0) || b.has(^uint64(0)) {
				t.Fatalf("seed %d, step %d: has the ends of all numbers", seed, step)
			}
		}
	}
}
