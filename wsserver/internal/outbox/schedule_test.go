package outbox

import (
	"errors"
	"github.com/belfry-io/belfry/test/kit"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestShardsClose(t *testing.T) {
	s := NewShards(Config{Limit: 10, Shards: 3})
	var queues [6]Queue
	for i := range queues {
		queues[i].Init(s, &settable{}, &owner{})
		queues[i].Append(frame("123456"))
		queues[i].Append(frame("123456")) // starts the watch
	}
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(s.Close)
	}
	closers.Wait()
	kit.Want(t, leaked(), "", "a goroutine runs after Close")
	var q Queue
	o := &owner{}
	q.Init(s, nowhere{}, o)
	kit.Check(t, !q.Append(frame("x")) && !q.CloseAfterFlush(nil),
		"a queue took a frame although its shards are closed")
	if failed, flushed := o.told(); len(failed) != 0 || flushed != 0 {
		t.Error("the owner was told something after Close")
	}
}

// Queues are spread over all shards.
func TestShardsSpread(t *testing.T) {
	s := NewShards(Config{Shards: 3})
	defer s.Close()
	seen := map[*lane]int{}
	for range 9 {
		var q Queue
		q.Init(s, nowhere{}, &owner{})
		seen[q.lane]++
	}
	kit.Want(t, len(seen), 3, "queues are spread over shards")
}

// waiting is a sink of a Group: each Write waits to be let through.
type waiting struct {
	permits chan struct{}
	closed  chan struct{}

	mu     sync.Mutex // guards what follows
	got    strings.Builder
	writes int
	most   int // bytes of one Write
}

func newWaiting() *waiting {
	return &waiting{permits: make(chan struct{}), closed: make(chan struct{})}
}

func (w *waiting) Write(p []byte) (int, error) {
	select {
	case <-w.permits:
	case <-w.closed:
		return 0, io.ErrClosedPipe
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got.Write(p)
	w.writes++
	w.most = max(w.most, len(p))
	return len(p), nil
}

func (w *waiting) Writev(bufs [][]byte) (int, error) { return Stream{w}.Writev(bufs) }

func (w *waiting) state() (got string, writes, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String(), w.writes, w.most
}

func TestGroup(t *testing.T) {
	run := func(name string, test func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner)) {
		kit.Bubble(t, name, func(t *testing.T) {
			g := NewGroup(Config{Limit: 100_000})
			var q Queue
			sink, o := newWaiting(), &owner{}
			q.Init(g, sink, o)
			test(t, g, &q, sink, o)
			q.Close()
			close(sink.closed)
			g.Close()
			kit.Want(t, leaked(), "", "a goroutine runs after Close")
			kit.Check(t, !q.Append(frame("late")), "a queue took a frame although its group is closed")
		})
	}
	run("goroutine on demand", func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner) {
		for range 3 {
			q.Append(frame("a"))
			q.Send(frame("b"))
			q.Append(frame("c"))
			synctest.Wait()
			kit.Check(t, leaked() != "", "no goroutine writes a queue that is not empty")
			close(sink.permits)
			synctest.Wait()
			kit.Want(t, leaked(), "", "a goroutine runs although the queue is empty")
			sink.permits = make(chan struct{})
		}
		if got, writes, _ := sink.state(); got != "abcabcabc" || writes > 6 {
			t.Errorf("sink got %q in %d writes, want %q in 6 or less", got, writes, "abcabcabc")
		}
		if s := counted(g); s.Frames != 9 || s.Bytes != 9 {
			t.Errorf("counted %d frames of %d bytes, want 9 of 9", s.Frames, s.Bytes)
		}
	})
	run("a large frame shows its progress", func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner) {
		q.Append(&Frame{Bytes: make([]byte, 200_000)})
		q.Append(frame("over the limit"))
		for range 13 {
			time.Sleep(14 * time.Second)
			sink.permits <- struct{}{}
		}
		failedWith(t, o)
		if got, _, most := sink.state(); len(got) != 200_000+len("over the limit") || most > groupScratch {
			t.Errorf("sink got %d bytes, %d at once", len(got), most)
		}
	})
	run("too slow", func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner) {
		q.Append(&Frame{Bytes: make([]byte, 200_000)})
		q.Append(frame("over the limit"))
		time.Sleep(15 * time.Second)
		failedWith(t, o)
		time.Sleep(3 * time.Second)
		failedWith(t, o, ErrTooSlow) // although Write still waits
	})
	run("volatile", func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner) {
		q.Append(frame("a"))
		synctest.Wait()
		kit.Check(t, q.Append(volatileFrame("b")),
			"a volatile frame was dropped although Write has only begun")
		time.Sleep(BlockedAfter)
		kit.Check(t, !q.Append(volatileFrame("c")), "a volatile frame was queued although Write is blocked")
		close(sink.permits)
		synctest.Wait()
		if got, _, _ := sink.state(); got != "ab" {
			t.Errorf("sink got %q, want %q", got, "ab")
		}
	})
	run("flushed", func(t *testing.T, g *Group, q *Queue, sink *waiting, o *owner) {
		q.Append(frame("a"))
		q.CloseAfterFlush(frame("b"))
		synctest.Wait()
		if _, flushed := o.told(); flushed != 0 {
			t.Error("flushed before anything was written")
		}
		close(sink.permits)
		failedWith(t, o)
		if _, flushed := o.told(); flushed != 1 {
			t.Errorf("flushed %d times, want 1", flushed)
		}
	})
}

// Close waits for a goroutine that is still about to end.
func TestGroupCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(Config{})
		var q Queue
		sink := newWaiting()
		q.Init(g, sink, &owner{})
		q.Append(frame("a"))
		closed := make(chan struct{})
		go func() {
			g.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close has returned although a Write waits")
		default:
		}
		close(sink.closed)
		<-closed
	})
}

// A writer that takes less than it was given, without an error, breaks io.Writer's contract: nobody would ever write the rest.
func TestGroupShortWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(Config{})
		defer g.Close()
		var q Queue
		o := &owner{}
		q.Init(g, &scripted{take: func(int) (int, error) { return 1, nil }}, o)
		q.Append(frame("abc"))
		synctest.Wait()
		if failed, _ := o.told(); len(failed) != 1 || !errors.Is(failed[0], io.ErrShortWrite) {
			t.Errorf("told %v, want io.ErrShortWrite", failed)
		}
	})
}
