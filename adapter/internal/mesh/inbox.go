package mesh

import (
	"container/heap"
	"slices"
)

// An inbox is how far the broadcasts of one node have come: what is settled, what is missing, and what is held because of that. In
// a quiet cluster everything is settled, and it is empty but for two numbers.
type inbox[B any] struct {
	started   bool   // it is settled where its broadcasts begin for us; until then they are held
	low       uint64 // all that concerns us up to here is settled
	high      uint64 // heartbeats without a gap reach up to here
	received  uint64 // the highest number that has come
	delivered uint64 // the highest number delivered

	gaps  map[uint64]uint64 // streams with something missing up to this number
	lows  map[uint64]uint64 // above low watermark only: settled up to, by stream
	done  bitset            // above low watermark only: delivered, or counted as lost
	moved bool              // something that was missing has come since, or something else is missing

	held   map[uint64]*held[B] // what has come early, by number
	behind map[Link]uint64     // the number of the held broadcast that is next behind Link.Prev on the stream
	bytes  int                 // of held
	ready  sequences           // held broadcasts that may be next
	paused bool                // until Resume
}

// held is a broadcast that something is missing in front of, or of a node that is not known.
type held[B any] struct {
	links     []Link
	size      int
	repaired  bool
	changes   bool
	broadcast B
}

// heldOverhead is what a held broadcast takes besides its bytes and links, about.
const heldOverhead = 256

// bytes is what b takes, about.
func (b *held[B]) bytes() int { return linked(b.size, len(b.links)) + heldOverhead }

// sequences is a heap of numbers.
type sequences []uint64

func (n sequences) Len() int           { return len(n) }
func (n sequences) Less(i, j int) bool { return n[i] < n[j] }
func (n sequences) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *sequences) Push(g any)        { *n = append(*n, g.(uint64)) }
func (n *sequences) Pop() any {
	end := len(*n) - 1
	seq := (*n)[end]
	*n = (*n)[:end]
	return seq
}

// lowOf is the number up to which nothing on a stream is missing.
func (in *inbox[B]) lowOf(h uint64) uint64 { return max(in.low, in.lows[h]) }

// far reports whether g is too far above the low watermark to be told apart.
func (in *inbox[B]) far(seq uint64) bool { return seq > in.low && seq-in.low > maxSpan }

// advance says that nothing on a stream is missing up to g.
func (in *inbox[B]) advance(h, seq uint64) {
	if seq <= in.lowOf(h) {
		return
	}
	if in.lows == nil {
		in.lows = make(map[uint64]uint64)
	}
	in.lows[h] = seq
	if w, ok := in.gaps[h]; ok {
		in.moved = true
		if w <= seq {
			delete(in.gaps, h)
		}
	}
	if next, ok := in.behind[Link{h, seq}]; ok {
		heap.Push(&in.ready, next)
	}
}

// addGap says that something on a stream is missing up to g.
func (in *inbox[B]) addGap(h, seq uint64) {
	if seq <= in.lowOf(h) {
		return
	}
	if in.gaps == nil {
		in.gaps = make(map[uint64]uint64)
	}
	if _, ok := in.gaps[h]; !ok {
		in.moved = true // it has not been asked for, and so not in vain
	}
	in.gaps[h] = max(in.gaps[h], seq)
}

// hold keeps a broadcast for later.
func (in *inbox[B]) hold(seq uint64, b *held[B]) {
	if in.held == nil {
		in.held = make(map[uint64]*held[B])
		in.behind = make(map[Link]uint64)
	}
	in.held[seq] = b
	in.bytes += b.bytes()
	for _, l := range b.links {
		if l.Prev > in.lowOf(l.Hash) {
			in.behind[l] = seq
		}
	}
}

// unhold takes a broadcast out of held.
func (in *inbox[B]) unhold(seq uint64) *held[B] {
	b := in.held[seq]
	if b == nil {
		return nil
	}
	delete(in.held, seq)
	in.bytes -= b.bytes()
	for _, l := range b.links {
		if in.behind[l] == seq {
			delete(in.behind, l)
		}
	}
	if len(in.held) == 0 {
		in.held, in.behind = nil, nil
	}
	return b
}

// inOrder returns the numbers of the held broadcasts, ascending.
func (in *inbox[B]) inOrder() []uint64 {
	list := make([]uint64, 0, len(in.held))
	for seq := range in.held {
		list = append(list, seq)
	}
	slices.Sort(list)
	return list
}

// recheck has all held broadcasts tried again: what they wait for may have come in other ways than one by one.
func (in *inbox[B]) recheck() {
	for h, w := range in.gaps {
		if w <= in.lowOf(h) {
			delete(in.gaps, h)
		}
	}
	in.shrink()
	in.ready = nil
	if len(in.held) > 0 {
		in.ready = in.inOrder() // which is a heap
	}
}

// raise moves the low watermark to x and forgets all that it covers: an idle peer costs nothing but itself.
func (in *inbox[B]) raise(x uint64) {
	if x <= in.low {
		return
	}
	in.low = x
	for h, seq := range in.lows {
		if seq <= x {
			delete(in.lows, h)
		}
	}
	in.shrink()
	in.done.cut(x)
	in.recheck()
}

// shrink gives back what is of no use any more.
func (in *inbox[B]) shrink() {
	if len(in.gaps) == 0 {
		in.gaps = nil
	}
	if len(in.lows) == 0 {
		in.lows = nil
	}
}

// start settles where the broadcasts begin: above x.
func (in *inbox[B]) start(x uint64) {
	in.started = true
	in.high = max(in.high, x)
	in.raise(x)
	in.recheck()
}
