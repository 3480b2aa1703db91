package crowd

import (
	"math/bits"
	"time"
)

// A histogram counts durations, each with an error of less than 1 in 64.
type histogram struct {
	counts [58 << subBits]uint32 // by bucket
	count  int
	max    time.Duration
}

// subBits is how many bits of a duration behind its first one tell buckets apart.
const subBits = 6

func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 1<<subBits {
		return int(n)
	}
	shift := bits.Len64(n) - subBits - 1
	return shift<<subBits + int(n>>shift)
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucket(d)]++
	h.count++
	h.max = max(h.max, d)
}

// quantile is the q-quantile, at the upper end of its bucket: the largest for 1, and 0 of nothing.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int(q*float64(h.count) + 0.999999)
	seen := 0
	for i, n := range h.counts {
		if seen += int(n); n > 0 && seen >= rank {
			if i < 1<<subBits {
				return min(time.Duration(i), h.max)
			}
			shift := i>>subBits - 1
			return min(time.Duration((i-shift<<subBits+1)<<shift-1), h.max)
		}
	}
	return h.max
}
