package outbox

import (
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// frameOverhead is what a Frame takes besides its bytes.
const frameOverhead = 128

// A Frame is messages for clients, encoded once. It is immutable from its first Append or Send on, and shared by every queue that
// holds it.
type Frame struct {
	// Bytes is what is written of the messages: for a WebSocket, unless the frame is another's form. See [Frame.As].
	Bytes []byte

	// Volatile says that the frame may be dropped: when the socket is blocked, or to make room.
	Volatile bool

	// NoCompress says that the frame goes out as it is, whatever was negotiated.
	NoCompress bool

	// Ping says that the frame is one of the heartbeat: it goes out ahead of all that waits, at the next end of a message, and the queue
	// says whether the peer has got it. There is one of them in a queue at a time; a second one is left out. It counts against no budget.
	Ping bool

	forms atomic.Pointer[made]

	holds atomic.Int32 // queues that hold the frame
	born  atomic.Int64 // when the first of them got it

	// A frame that is cut in two for a ping stays one to the budget: its second part ends it.
	part bool
	of   *Frame // the whole, of a second part
}

// acquire says that one more queue has f. The first one counts it against the budget.
func (f *Frame) acquire(b *budget.Budget) {
	if !f.Ping && f.holds.Add(1) == 1 {
		f.born.Store(now())
		b.Add(len(f.Bytes) + frameOverhead)
	}
}

// release says that so many queues are done with f. The last one frees it.
func (f *Frame) release(b *budget.Budget, queues int32) {
	switch {
	case f.of != nil:
		f.of.release(b, queues)
	case !f.Ping && !f.part && f.holds.Add(-queues) == 0:
		b.Release(len(f.Bytes) + frameOverhead)
	}
}

// cut cuts f at the byte end.
func (f *Frame) cut(end int) (first, second *Frame) {
	first = &Frame{Bytes: f.Bytes[:end:end], part: true}
	second = &Frame{Bytes: f.Bytes[end:], part: true, of: f}
	first.born.Store(f.born.Load())
	second.born.Store(f.born.Load())
	if f.part { // a second part itself
		second.of = f.of
	}
	return first, second
}
