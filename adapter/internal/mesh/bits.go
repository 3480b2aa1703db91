package mesh

import "math/bits"

// bitset is a set of numbers above a low watermark that rises. Its zero value is empty.
type bitset struct {
	base  uint64 // of the first bit of words, a multiple of 64
	words []uint64
}

func (b *bitset) has(seq uint64) bool {
	i := seq/64 - b.base/64
	return seq >= b.base && i < uint64(len(b.words)) && b.words[i]&(1<<(seq%64)) != 0
}

// add adds g, which is above low watermark. It takes a bit for each number between the two.
func (b *bitset) add(seq, floor uint64) {
	if b.words == nil {
		b.base = (floor + 1) &^ 63
	}
	for i := seq/64 - b.base/64; i >= uint64(len(b.words)); {
		b.words = append(b.words, 0)
	}
	b.words[seq/64-b.base/64] |= 1 << (seq % 64)
}

// cut takes out all numbers up to low watermark.
func (b *bitset) cut(floor uint64) {
	if b.words == nil || floor < b.base {
		return
	}
	n := (floor+1)/64 - b.base/64
	if n >= uint64(len(b.words)) {
		*b = bitset{}
		return
	}
	b.words = append(b.words[:0], b.words[n:]...)
	b.base += n * 64
	b.words[0] &^= 1<<((floor+1)%64) - 1
	for _, w := range b.words {
		if w != 0 {
			return
		}
	}
	*b = bitset{}
}

// len is how many numbers are in b.
func (b *bitset) len() int {
	n := 0
	for _, w := range b.words {
		n += bits.OnesCount64(w)
	}
	return n
}
