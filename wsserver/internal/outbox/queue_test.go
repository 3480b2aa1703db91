package outbox

import (
	"bytes"
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"io"
	"testing"
	"unsafe"
)

func TestAppendWritesNothingItself(t *testing.T) {
	r := newRig(Config{})
	for _, s := range []string{"a", "b", "c"} {
		kit.Check(t, r.q.Append(frame(s)), "Append(%s): got false, want true", s)
	}
	r.wrote(t, "")
	r.step()
	r.wrote(t, "abc")
	kit.Want(t, r.sink.writes, 1, "writes for what had gathered")
	kit.Check(t, r.idle(), "an empty queue is still scheduled")
}

func TestSendWritesDirectlyWhenNothingIsAhead(t *testing.T) {
	r := newRig(Config{})
	r.q.Send(frame("a"))
	r.wrote(t, "a")
	r.q.Append(frame("b"))
	r.q.Send(frame("c")) // must not overtake the broadcast
	r.wrote(t, "a")
	r.drain(t)
	r.wrote(t, "abc")
	r.q.Append(volatileFrame("d"))
	r.drain(t)
	r.q.Send(frame("e"))
	r.wrote(t, "abcde")
}

// Whatever byte a write is cut at, the rest follows once the sink is writable, and not before.
func TestPartialWriteAtEveryByte(t *testing.T) {
	sizes := []int{5, 0, 3, maxCopy + 9, 1, maxCopy + 1, maxCopy, 0, 2}
	var frames []*Frame
	var all []byte
	for i, n := range sizes {
		frames = append(frames, &Frame{Bytes: bytes.Repeat([]byte{byte('a' + i)}, n)})
		all = append(all, frames[i].Bytes...)
	}
	var cuts []int
	at := 0
	for _, n := range sizes {
		for k := range n {
			if k < 12 || n-k < 12 {
				cuts = append(cuts, at+k)
			}
		}
		at += n
	}
	for _, cut := range cuts {
		for _, second := range []int{0, 1, 4} {
			r := newRig(Config{})
			limits := []int{cut, second}
			r.sink.take = func(offered int) (int, error) {
				if len(limits) == 0 {
					return offered, nil
				}
				n := min(limits[0], offered)
				limits = limits[1:]
				return n, nil
			}
			for _, f := range frames {
				r.q.Append(f)
			}
			for r.sink.got.Len() < len(all) {
				before := r.sink.writes
				r.drain(t)
				r.step()
				if r.sink.got.Len() < len(all) && r.sink.writes != before+1 {
					t.Fatalf("cut at %d: %d writes to a sink that is full, want 1", cut, r.sink.writes-before)
				}
				if want := len(all) - r.sink.got.Len(); queued(&r.q) != want {
					t.Fatalf("cut at %d: Bytes: got %d, want %d", cut, queued(&r.q), want)
				}
				r.q.Writable()
			}
			r.drain(t)
			kit.Require(t, bytes.Equal(r.sink.got.Bytes(), all),
				"cut at %d and %d: the sink got other bytes than were queued", cut, second)
			if r.q.frames != nil || r.q.bytes != 0 {
				t.Fatalf("cut at %d: the empty queue holds %d bytes and a slice of %d", cut, r.q.bytes, cap(r.q.frames))
			}
			if s := r.stats(); s.Frames != uint64(len(frames)) || s.Bytes != uint64(len(all)) {
				t.Fatalf("cut at %d: counted %d frames of %d bytes, want %d of %d", cut, s.Frames, s.Bytes, len(frames), len(all))
			}
		}
	}
}

func TestPartialSend(t *testing.T) {
	for cut := range 4 {
		r := newRig(Config{})
		r.sink.take = func(offered int) (int, error) {
			r.sink.take = nil
			r.q.Append(frame("X")) // comes while the Send writes
			r.q.Send(frame("Y"))
			return min(cut, offered), nil
		}
		r.q.Send(frame("abc"))
		kit.Want(t, queued(&r.q), 3-cut+2, "cut at", cut, "Bytes")
		if cut < 3 {
			r.drain(t)
			r.wrote(t, "abc"[:cut]) // full: nothing before Writable
			r.q.Writable()
		}
		r.drain(t)
		r.wrote(t, "abcXY")
		if s := r.stats(); s.Frames != 3 || s.Bytes != 5 {
			t.Errorf("cut at %d: counted %d frames of %d bytes, want 3 of 5", cut, s.Frames, s.Bytes)
		}
	}
}

// The poller may call Writable before the write that was cut short has returned: that must not be lost.
func TestWritableOvertakesWrite(t *testing.T) {
	for _, send := range []bool{false, true} {
		r := newRig(Config{})
		r.sink.take = func(int) (int, error) {
			r.sink.take = nil
			r.q.Writable()
			return 1, nil
		}
		if send {
			r.q.Send(frame("abc"))
		} else {
			r.q.Append(frame("abc"))
		}
		r.drain(t)
		r.wrote(t, "abc")
	}
}

// A Writable that belongs to an earlier write must not count for a later one.
func TestStaleWritable(t *testing.T) {
	r := newRig(Config{})
	r.sink.take = func(offered int) (int, error) {
		r.q.Writable()
		return offered, nil
	}
	r.q.Append(frame("abc"))
	r.drain(t)
	r.sink.take = func(int) (int, error) { return 1, nil }
	r.q.Append(frame("def"))
	r.drain(t)
	r.wrote(t, "abcd")
}

func TestGathering(t *testing.T) {
	r := newRig(Config{})
	small, large := frame("small"), &Frame{Bytes: bytes.Repeat([]byte("L"), maxCopy+1)}
	for _, f := range []*Frame{small, small, large, small, large, large, small, small} {
		r.q.Append(f)
	}
	r.step()
	kit.Require(t, r.sink.writes == 1 && len(r.sink.vector) == 6,
		"got %d writes, the last of %d buffers, want 1 of 6", r.sink.writes, len(r.sink.vector))
	for i, b := range r.sink.vector {
		kit.Want(t, &b[0] != &large.Bytes[0], (i == 0 || i == 2 || i == 5),
			"buffer", i, "of", len(b), "bytes: copied is")
	}
	// More than one write takes: many buffers, many frames, many bytes.
	for _, tc := range []struct {
		f     *Frame
		count int
	}{{large, 300}, {small, 2 * maxBatch}, {&Frame{Bytes: make([]byte, maxCopy)}, 200}, {&Frame{Bytes: make([]byte, 100_000)}, 20}, {&Frame{Bytes: make([]byte, shardMax+5)}, 6}} {
		f := tc.f
		r := newRig(Config{Limit: 1 << 30})
		var want bytes.Buffer
		for i := range tc.count {
			if i%2 == 0 || f == small {
				r.q.Append(f)
				want.Write(f.Bytes)
			} else {
				r.q.Append(small)
				want.Write(small.Bytes)
			}
		}
		r.sink.take = func(offered int) (int, error) {
			kit.Check(t, offered <= shardMax,
				"offered %d bytes at once, want %d or less", offered, shardMax)
			return offered, nil
		}
		r.drain(t)
		kit.Check(t, len(r.sink.vector) <= maxBuffers,
			"a vector of %d buffers, want %d or less", len(r.sink.vector), maxBuffers)
		kit.Check(t, bytes.Equal(r.sink.got.Bytes(), want.Bytes()),
			"frames of %d bytes: the sink got other bytes than were queued", len(f.Bytes))
	}
}

// One queue's backlog does not hold up the others: each gets one batch in turn.
func TestQueuesTakeTurns(t *testing.T) {
	r := newRig(Config{})
	var second Queue
	var sink scripted
	second.Init(r.held, &sink, &r.owner)
	for range 3 * maxBatch {
		r.q.Append(frame("x"))
	}
	second.Append(frame("y"))
	r.step()
	if r.sink.got.Len() != maxBatch || sink.got.Len() != 1 {
		t.Errorf("after one round the queues wrote %d and %d bytes, want %d and 1", r.sink.got.Len(), sink.got.Len(), maxBatch)
	}
}

// A queue that is never empty does not grow by what has passed through it.
func TestBacklogStaysSmall(t *testing.T) {
	r := newRig(Config{})
	r.sink.take = func(offered int) (int, error) { return min(offered, 3), nil }
	for range 4 {
		r.q.Append(frame("abc"))
	}
	for i := range 10_000 {
		r.q.Append(frame("abc"))
		r.step()
		r.q.Writable()
		kit.Require(t, queued(&r.q) == 12, "step %d: %d bytes are queued, want 12", i, queued(&r.q))
	}
	if c := cap(r.q.frames); c > 16 {
		t.Errorf("a queue of 4 frames has grown to a capacity of %d", c)
	}
}

// In the steady state nothing is allocated, and what an idle queue used belongs to the lane again.
func TestNoAllocation(t *testing.T) {
	if size := unsafe.Sizeof(Queue{}); size > 112 {
		t.Errorf("a Queue takes %d bytes, want 112 or less", size)
	}
	for _, gathered := range []int{1, 16, 300} {
		h := newHeld(Config{})
		queues := make([]Queue, 10)
		for i := range queues {
			queues[i].Init(h, nowhere{}, &owner{})
		}
		f := frame("a frame")
		round := func() {
			for range gathered {
				for i := range queues {
					queues[i].Append(f)
				}
			}
			h.step()
		}
		round()
		kit.Want(t, testing.AllocsPerRun(20, round), 0, gathered, "frames gathered allocations a round")
		for i := range queues {
			if queues[i].frames != nil {
				t.Fatalf("%d frames gathered: an empty queue keeps a slice of %d", gathered, cap(queues[i].frames))
			}
		}
	}
	h := newHeld(Config{})
	var q Queue
	q.Init(h, nowhere{}, &owner{})
	f := frame("a frame")
	kit.Want(t, testing.AllocsPerRun(100, func() { q.Send(f) }), 0, "Send allocations")
}

// The slices that a lane keeps are bounded, however large a backlog was.
func TestFreeSlicesAreBounded(t *testing.T) {
	h := newHeld(Config{Limit: 1 << 30})
	f := frame("x")
	queues := make([]Queue, 300)
	for i := range queues {
		queues[i].Init(h, nowhere{}, &owner{})
		for range 1000 {
			queues[i].Append(f)
		}
	}
	h.drain(t)
	sum := 0
	for _, s := range h.shard.queues.free {
		sum += cap(s)
		for _, f := range s[:cap(s)] {
			kit.Require(t, f == nil, "a free slice holds a frame")
		}
	}
	if sum > maxFree || sum != h.shard.queues.size || sum == 0 {
		t.Errorf("free slices of %d frames in all, counted as %d, want at most %d", sum, h.shard.queues.size, maxFree)
	}
}

func TestStream(t *testing.T) {
	var got bytes.Buffer
	n, err := Stream{&got}.Writev([][]byte{[]byte("ab"), nil, []byte("c")})
	kit.Check(t, n == 3 && err == nil && got.String() == "abc",
		"Writev: got %d, %v and %q, want 3, nil and %q", n, err, got.String(), "abc")
	failing := &scripted{take: func(offered int) (int, error) { return 1, io.ErrClosedPipe }}
	if n, err := (Stream{failing}).Writev([][]byte{[]byte("ab"), []byte("c")}); n != 1 || err != io.ErrClosedPipe {
		t.Errorf("Writev: got %d, %v, want 1, %v", n, err, io.ErrClosedPipe)
	}
}

func ExampleQueue() {
	shards := NewShards(Config{})
	defer shards.Close()
	done := make(exampleOwner)
	var q Queue
	q.Init(shards, &scripted{}, done)
	q.Append(&Frame{Bytes: []byte("to all")})
	q.Send(&Frame{Bytes: []byte("to one")})
	q.CloseAfterFlush(nil)
	fmt.Println(<-done)
	// Output: flushed
}

type exampleOwner chan string

func (o exampleOwner) Failed(err error) { o <- err.Error() }
func (o exampleOwner) Flushed()         { o <- "flushed" }
func (o exampleOwner) Large()           {}
