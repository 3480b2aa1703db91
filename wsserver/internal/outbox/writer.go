package outbox

import (
	"errors"
	"io"
)

const (
	maxBatch   = 512     // frames written at once
	maxCopy    = 4 << 10 // frames up to this size are gathered by copying, in bytes
	maxBuffers = 64      // buffers of one Writev
)

// A writer writes queues, one at a time. It belongs to one goroutine.
type writer struct {
	lane    *lane
	scratch []byte // where small frames are gathered
	bufs    [][]byte
	max     int        // bytes offered to a sink at once
	free    [][]*Frame // slices of queues that became empty, to be given back to the lane

	released releases

	frames, bytes, writes uint64 // not yet in the lane's counters
}

func newWriter(scratch, max int) *writer {
	return &writer{scratch: make([]byte, 0, scratch), bufs: make([][]byte, 0, maxBuffers), max: max}
}

// flush writes a batch of q and reports whether more can be written now: q is then dirty still, and the caller is to flush it again after
// the queues that wait.
func (w *writer) flush(q *Queue) (again bool) {
	batch, offset, ok := q.next()
	if !ok {
		return false
	}

	n, offered, err := w.write(q.sink, batch, offset)

	q.mu.Lock()
	frames, more := q.wrote(n, offered, err, &w.released)
	w.frames += uint64(frames)
	w.bytes += uint64(n)
	failed, flushed := false, false
	switch {
	case q.state&closed != 0:
	case err != nil:
		failed = q.fail()
	case more:
		q.state |= dirty
	case q.isEmpty():
		if q.frames != nil {
			w.free = append(w.free, q.frames)
			q.setFrames(nil)
		}
		if q.state&closing != 0 {
			flushed = q.fail()
		}
	}
	q.mu.Unlock()

	if failed {
		w.lane.counters.failed.Add(1)
		q.owner.Failed(err)
	}
	if flushed {
		q.owner.Flushed()
	}
	return more
}

// write offers sink as much of batch as fits, from offset in its first frame on.
func (w *writer) write(sink Sink, batch []*Frame, offset int) (n, offered int, err error) {
	scratch, bufs := w.scratch[:0], w.bufs[:0]
	gathered := 0 // of scratch, in bufs
	for i, f := range batch {
		b := f.Bytes
		if i == 0 {
			b = b[offset:]
			b = b[:min(len(b), w.max)]
		} else if len(b) > w.max-offered || len(b) >= Large {
			break
		}
		if len(b) <= maxCopy && len(batch) > 1 {
			if len(b) > cap(scratch)-len(scratch) {
				break
			}
			scratch = append(scratch, b...)
		} else {
			// Besides b itself, what is gathered before and after it needs a place.
			if len(bufs)+3 > maxBuffers {
				break
			}
			if gathered < len(scratch) {
				bufs = append(bufs, scratch[gathered:])
				gathered = len(scratch)
			}
			bufs = append(bufs, b)
		}
		offered += len(b)
	}
	if gathered < len(scratch) {
		bufs = append(bufs, scratch[gathered:])
	}
	if offered == 0 {
		return 0, 0, nil
	}
	if len(bufs) == 1 {
		n, err = sink.Write(bufs[0])
	} else {
		n, err = sink.Writev(bufs)
	}
	clear(bufs)
	w.writes++
	n, err = checkCount(n, offered, err)
	if n < offered && err == nil && w.lane.blocking {
		err = io.ErrShortWrite
	}
	return n, offered, err
}

var errCount = errors.New("outbox: sink returned an impossible count")

// checkCount guards the queue against a sink that claims to have written what it was not given.
func checkCount(n, offered int, err error) (int, error) {
	if n < 0 || n > offered {
		return 0, errCount
	}
	return n, err
}

// account releases the frames that are written, and adds what was counted to the lane's counters.
func (w *writer) account() {
	w.released.releaseAll(w.lane.budget)
	c := &w.lane.counters
	c.frames.Add(w.frames)
	c.bytes.Add(w.bytes)
	c.writes.Add(w.writes)
	w.frames, w.bytes, w.writes = 0, 0, 0
}
