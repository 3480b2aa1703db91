package rooms

import "math/bits"

// A slab holds values by small numbers. Numbers that were freed are given out again, and the memory of 64 in a row that are free is given
// back. Its zero value is empty.
type slab[T any] struct {
	chunks []*chunk[T]
	open   []uint32 // the chunks with a free number, in no order; the last gives out the next. None but the last is empty and in memory
}

type chunk[T any] struct {
	used   uint64 // a bit for each number in use
	values [64]T
}

// at returns the value of a number in use.
func (s *slab[T]) at(n uint32) *T { return &s.chunks[n/64].values[n%64] }

// alloc returns a number that is not in use, whose value is zero.
func (s *slab[T]) alloc() uint32 {
	if len(s.open) == 0 {
		s.open = append(s.open, uint32(len(s.chunks)))
		s.chunks = append(s.chunks, nil)
	}
	last := len(s.open) - 1
	i := s.open[last]
	c := s.chunks[i]
	if c == nil {
		c = new(chunk[T])
		s.chunks[i] = c
	}
	bit := uint32(bits.TrailingZeros64(^c.used))
	c.used |= 1 << bit
	if c.used == ^uint64(0) {
		s.open = s.open[:last]
	}
	return i*64 + bit
}

// free ends the use of a number.
func (s *slab[T]) free(n uint32) {
	i := n / 64
	c := s.chunks[i]
	full := c.used == ^uint64(0)
	c.values[n%64] = *new(T)
	c.used &^= 1 << (n % 64)
	last := len(s.open) - 1
	switch {
	case full:
		if last >= 0 {
			if before := s.open[last]; s.chunks[before] != nil && s.chunks[before].used == 0 {
				s.chunks[before] = nil
			}
		}
		s.open = append(s.open, i)
	case c.used == 0 && s.open[last] != i:
		s.chunks[i] = nil
	}
}
