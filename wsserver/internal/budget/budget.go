// Package budget bounds the memory of all that waits in a server, in both directions: what is queued for clients, what clients have sent and
// nobody has dealt with yet, and what has come of it only in part.
package budget

import (
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

const (
	// Minimum is the least that Default returns, in bytes.
	Minimum = 64 << 20

	// fallback is what Default returns where nothing says how much memory there is.
	fallback = 1 << 30

	// shares is into how many parts the memory that is left is divided for those that may wait for it: see Share.
	shares = 16
)

// A Budget counts bytes that wait, against a limit. It refuses nothing: whoever adds to it asks it first whether it may, or is told afterwards,
// by Over, that somebody has to go. Its methods may be called concurrently. A nil Budget counts nothing and is never used up.
type Budget struct {
	limit atomic.Int64
	used  atomic.Int64
	over  chan struct{}

	mu     sync.Mutex    // guards what follows
	relief chan struct{} // closed by Relieve; nil if nobody waits for it
}

// New returns a Budget of limit bytes. Zero means Default.
func New(limit int64) *Budget {
	b := &Budget{over: make(chan struct{}, 1)}
	b.SetLimit(limit)
	return b
}

// SetLimit changes the limit. Zero means Default.
func (b *Budget) SetLimit(limit int64) {
	if limit <= 0 {
		limit = Default()
	}
	b.limit.Store(limit)
	if b.Full() {
		b.warn()
	}
}

// Default is half of the memory limit that GOMEMLIMIT sets, or else a quarter of what the machine, or the container, has; 64 MiB at the least.
func Default() int64 {
	limit := debug.SetMemoryLimit(-1)
	switch machine := machineMemory(); {
	case limit < math.MaxInt64:
		limit /= 2
	case machine > 0:
		limit = machine / 4
	default:
		limit = fallback
	}
	return max(limit, Minimum)
}

// Add counts n more bytes. A negative n gives bytes back.
func (b *Budget) Add(n int) {
	if b == nil || n == 0 {
		return
	}
	if used := b.used.Add(int64(n)); n > 0 && used >= b.limit.Load() {
		b.warn()
	}
}

// warn makes Over readable.
func (b *Budget) warn() {
	select {
	case b.over <- struct{}{}:
	default:
	}
}

// Release gives back n bytes that were taken.
func (b *Budget) Release(n int) { b.Add(-n) }

// Over is readable after a Take that has reached the limit. It is for one goroutine.
func (b *Budget) Over() <-chan struct{} { return b.over }

// Used is how many bytes wait now.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Limit is the limit in bytes.
func (b *Budget) Limit() int64 {
	if b == nil {
		return math.MaxInt64
	}
	return b.limit.Load()
}

// Full reports whether the budget is used up.
func (b *Budget) Full() bool { return b.Used() >= b.Limit() }

// RelievedBy reports whether an eighth of the budget is free once n more bytes are given back: whoever frees memory, when the budget was
// used up, goes on until then, so that it is not used up again at once.
func (b *Budget) RelievedBy(n int) bool { return b.Used()-int64(n) <= b.Limit()-b.Limit()/8 }

// Relief returns a channel that is closed once the budget is relieved; nil if it is not used up.
func (b *Budget) Relief() <-chan struct{} {
	if !b.Full() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.relief == nil {
		b.relief = make(chan struct{})
	}
	return b.relief
}

// Relieve ends the waits for Relief. Whoever listens to Over calls it, after memory was freed.
func (b *Budget) Relieve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.relief != nil {
		close(b.relief)
		b.relief = nil
	}
}

// Share is how many bytes one of many may have waiting if it can do with less: a part of what is free below three quarters of the limit. So
// however many there are, together they hardly use up more than that, and a newcomer finds some left. It shrinks to zero.
func (b *Budget) Share() int {
	free := b.Limit()/4*3 - b.Used()
	return int(min(max(free, 0)/shares, math.MaxInt32))
}
