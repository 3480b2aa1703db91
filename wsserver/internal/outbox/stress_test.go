package outbox

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// frameHeader is the size of what numbered frames begin with: author, number, size and whether the frame is volatile.
const frameHeader = 1 + 4 + 2 + 1

// numbered returns a frame that can be told from all others in a stream.
func numbered(author byte, number uint32, fill int, volatile bool) *Frame {
	b := []byte{author}
	b = binary.BigEndian.AppendUint32(b, number)
	b = binary.BigEndian.AppendUint16(b, uint16(fill))
	if volatile {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for i := range fill {
		b = append(b, byte(number)+byte(i))
	}
	return &Frame{Bytes: b, Volatile: volatile}
}

type id struct {
	author   byte
	number   uint32
	volatile bool
}

// parse returns the frames of a stream. whole says that it must not end within one.
func parse(b []byte, whole bool) (ids []id, err error) {
	for len(b) > 0 {
		if len(b) < frameHeader || len(b) < frameHeader+int(binary.BigEndian.Uint16(b[5:])) {
			if whole {
				return ids, fmt.Errorf("stream ends within a frame, after %d", len(ids))
			}
			return ids, nil
		}
		f := id{b[0], binary.BigEndian.Uint32(b[1:]), b[7] == 1}
		fill := int(binary.BigEndian.Uint16(b[5:]))
		for i, c := range b[frameHeader : frameHeader+fill] {
			if c != byte(f.number)+byte(i) {
				return ids, fmt.Errorf("frame %d of the stream, %+v, is torn at byte %d", len(ids), f, i)
			}
		}
		ids = append(ids, f)
		b = b[frameHeader+fill:]
	}
	return ids, nil
}

// missing checks that got is accepted without some volatile frames, or the beginning of that, and returns how many are missing.
func missing(accepted, got []id, whole bool) (n int, err error) {
	at := 0
	for i, f := range got {
		for {
			if at == len(accepted) {
				return n, fmt.Errorf("frame %d of the stream, %+v, is a stranger, a double or out of order", i, f)
			}
			next := accepted[at]
			at++
			if next == f {
				break
			}
			if !next.volatile {
				return n, fmt.Errorf("frame %d of the stream is %+v, want %+v", i, f, next)
			}
			n++
		}
	}
	for _, f := range accepted[at:] {
		if whole && !f.volatile {
			return n, fmt.Errorf("%+v is missing at the end", f)
		}
		n++
	}
	return n, nil
}

// TestModel does random steps one at a time, so that a seed replays exactly.
func TestModel(t *testing.T) {
	start := rand.Uint64()
	for seed := start; seed < start+300; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		var accepted []id
		var number uint32
		refused, failed := uint64(0), false
		w := newRig(Config{Limit: 1 + r.IntN(2000)})
		var sizes []int
		for range 4 {
			sizes = append(sizes, r.IntN(200))
		}
		sizes = append(sizes, maxCopy+r.IntN(100))
		full := r.Float64()
		queue := func() {
			number++
			f := numbered(0, number, sizes[r.IntN(len(sizes))], r.IntN(3) == 0)
			send := r.IntN(3) == 0
			// What is queued while this frame is written on its way comes after it.
			at := len(accepted)
			accepted = append(accepted, id{0, number, f.Volatile})
			ok := false
			if send {
				ok = w.q.Send(f)
			} else {
				ok = w.q.Append(f)
			}
			if !ok {
				accepted = slices.Delete(accepted, at, at+1)
				if f.Volatile {
					refused++
				}
			}
		}
		depth := 0
		w.sink.take = func(offered int) (int, error) {
			depth++
			defer func() { depth-- }()
			for range r.IntN(3) {
				if depth < 3 {
					queue()
				}
			}
			if r.IntN(5) == 0 {
				w.q.Writable()
			}
			if r.Float64() < full {
				return r.IntN(offered + 1), nil
			}
			return offered, nil
		}
		for range 200 {
			switch r.IntN(4) {
			case 0:
				w.step()
			case 1:
				w.q.Writable()
			default:
				queue()
			}
		}
		w.sink.take = nil
		if f, _ := w.owner.told(); len(f) > 0 || !w.idle() && len(w.shard.reports) > 0 {
			failed = true
		}
		flushing := w.q.CloseAfterFlush(nil)
		for range 3 {
			w.drain(t)
			w.q.Writable()
		}
		w.drain(t)
		f, flushed := w.owner.told()
		if failed == flushing || len(f)+flushed != 1 {
			t.Fatalf("seed %d: failed with %v, flushed %d times, closing was possible: %v", seed, f, flushed, flushing)
		}
		got, err := parse(w.sink.got.Bytes(), !failed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		n, err := missing(accepted, got, !failed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s := w.stats()
		if !failed && s.Dropped != uint64(n)+refused {
			t.Fatalf("seed %d: counted %d dropped, want %d: %d missing in the stream, %d refused", seed, s.Dropped, uint64(n)+refused, n, refused)
		}
		if s.Frames != uint64(len(got)) || s.Bytes != uint64(w.sink.got.Len()) || s.Writes != uint64(w.sink.writes) {
			t.Fatalf("seed %d: counted %d frames, %d bytes, %d writes, want %d, %d, %d",
				seed, s.Frames, s.Bytes, s.Writes, len(got), w.sink.got.Len(), w.sink.writes)
		}
		if w.q.Bytes() != 0 || w.q.frames != nil {
			t.Fatalf("seed %d: the closed queue holds %d bytes", seed, w.q.Bytes())
		}
	}
}

// moody is a sink that is cut short at random and calls Writable from a goroutine of its own, or before Write returns.
type moody struct {
	q       *Queue
	busy    atomic.Bool
	again   chan struct{} // one for each Write that was cut short
	overlap atomic.Bool

	mu  sync.Mutex // guards what follows
	rnd *rand.Rand
	got []byte
}

func (m *moody) Write(p []byte) (int, error) { return m.take(p) }

func (m *moody) Writev(bufs [][]byte) (int, error) { return m.take(slices.Concat(bufs...)) }

func (m *moody) take(p []byte) (int, error) {
	if !m.busy.CompareAndSwap(false, true) {
		m.overlap.Store(true)
	}
	m.mu.Lock()
	n, early := len(p), m.rnd.IntN(2) == 0
	if m.rnd.IntN(4) == 0 {
		n = m.rnd.IntN(len(p) + 1)
	}
	m.got = append(m.got, p[:n]...)
	m.mu.Unlock()
	m.busy.Store(false)
	if n < len(p) {
		if early {
			m.q.Writable()
		} else {
			m.again <- struct{}{}
		}
	}
	return n, nil
}

func TestConcurrent(t *testing.T) {
	seed := rand.Uint64()
	const (
		queues  = 12
		authors = 3
		frames  = 400
	)
	s := NewShards(Config{Limit: 1 << 30, Shards: 2})
	defer s.Close()
	var all sync.WaitGroup
	for i := range queues {
		all.Go(func() {
			var q Queue
			done := make(exampleOwner, 1)
			sink := &moody{q: &q, again: make(chan struct{}, 1), rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
			q.Init(s, sink, done)
			stop := make(chan struct{})
			var kernel, writers sync.WaitGroup
			kernel.Go(func() {
				for {
					select {
					case <-sink.again:
						q.Writable()
					case <-stop:
						return
					}
				}
			})
			// Of some queues the exact order is known, since only one author at a time writes; others are closed half-way.
			ordered, closeEarly := i%3 == 0, i%3 == 1
			var mu sync.Mutex // guards accepted
			var accepted []id
			for a := range authors {
				rnd := rand.New(rand.NewPCG(seed, uint64(1000+i*authors+a)))
				writers.Go(func() {
					for n := range frames {
						f := numbered(byte(a), uint32(n), rnd.IntN(60), rnd.IntN(4) == 0)
						if ordered {
							mu.Lock()
						}
						ok := false
						if rnd.IntN(2) == 0 {
							ok = q.Send(f)
						} else {
							ok = q.Append(f)
						}
						if ordered {
							if ok {
								accepted = append(accepted, id{byte(a), uint32(n), f.Volatile})
							}
							mu.Unlock()
						}
						if !ok && !f.Volatile && !closeEarly {
							t.Errorf("seed %d: queue %d refused frame %d of author %d", seed, i, n, a)
						}
						if closeEarly && a == 0 && n == frames/2 {
							q.Close()
						}
					}
				})
			}
			writers.Wait()
			if !closeEarly {
				q.CloseAfterFlush(nil)
				select {
				case end := <-done:
					kit.Want(t, end, "flushed", "seed", seed, "queue", i, "ended with")
				case <-time.After(kit.Patience):
					t.Errorf("seed %d: queue %d is stuck with %d bytes", seed, i, q.Bytes())
				}
			}
			close(stop)
			kernel.Wait()
			kit.Check(t, !sink.overlap.Load(), "seed %d: queue %d: two writes at once", seed, i)
			sink.mu.Lock()
			defer sink.mu.Unlock()
			got, err := parse(sink.got, !closeEarly)
			if err != nil {
				t.Errorf("seed %d: queue %d: %v", seed, i, err)
			}
			if ordered {
				if _, err := missing(accepted, got, true); err != nil {
					t.Errorf("seed %d: queue %d: %v", seed, i, err)
				}
			}
			var next [authors]uint32
			count := 0
			for _, f := range got {
				if f.number < next[f.author] {
					t.Errorf("seed %d: queue %d: author %d's frame %d comes after %d", seed, i, f.author, f.number, next[f.author]-1)
				}
				next[f.author] = f.number + 1
				if !f.volatile {
					count++
				}
			}
			if want := solid(seed, i, authors, frames); !closeEarly && count != want {
				t.Errorf("seed %d: queue %d: %d frames arrived that are not volatile, want %d", seed, i, count, want)
			}
		})
	}
	all.Wait()
}

// solid counts the frames of TestConcurrent that are not volatile.
func solid(seed uint64, queue, authors, frames int) (n int) {
	for a := range authors {
		rnd := rand.New(rand.NewPCG(seed, uint64(1000+queue*authors+a)))
		for range frames {
			rnd.IntN(60)
			if rnd.IntN(4) != 0 {
				n++
			}
			rnd.IntN(2)
		}
	}
	return n
}
