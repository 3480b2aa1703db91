package wsserver

import (
	"slices"
	"sync/atomic"
	"time"
)

// handlerBounds are the bounds of a [HandlerTime], from which on a handler falls into the next part.
var handlerBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// A HandlerTime says how long the handlers of events have taken, those of one event together.
// It is empty without Config.TimeHandlers.
type HandlerTime struct {
	Bounds []time.Duration // in ascending order
	Counts []uint64        // events that took no longer than the bound; one more counts all others
	Sum    time.Duration
}

// handlerTimes adds up what a HandlerTime says. Its zero value is ready for use.
type handlerTimes struct {
	counts [len(handlerBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// add counts an event whose handlers took d.
func (h *handlerTimes) add(d time.Duration) {
	i, _ := slices.BinarySearch(handlerBounds[:], d)
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// stats returns what was counted; h may be nil.
func (h *handlerTimes) stats() (t HandlerTime) {
	if h == nil {
		return t
	}
	t.Bounds, t.Sum = handlerBounds[:], time.Duration(h.sum.Load())
	for i := range h.counts {
		t.Counts = append(t.Counts, h.counts[i].Load())
	}
	return t
}
