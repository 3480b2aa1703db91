package outbox

import (
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// failedWith checks what the owner was told of failures, once nothing moves any more.
func failedWith(t *testing.T, o *owner, want ...error) {
	t.Helper()
	synctest.Wait()
	if got, _ := o.told(); !slices.Equal(got, want) {
		t.Fatalf("owner was told %v, want %v", got, want)
	}
}

// settable is a sink of Shards that takes as many bytes in all as it was allowed.
type settable struct {
	mu    sync.Mutex
	room  int
	taken strings.Builder
}

func (s *settable) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(s.room, len(p))
	s.room -= n
	s.taken.Write(p[:n])
	return n, nil
}

func (s *settable) Writev(bufs [][]byte) (int, error) { return Stream{s}.Writev(bufs) }

func (s *settable) allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room += n
}

// A settable sink that knows what its peer has not acknowledged.
type acking struct {
	settable
	unacked int // guarded by settable.mu
}

func (s *acking) Unacknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unacked
}

// TestPace: a peer is slow by time and progress alone. Limits are of 64 KiB.
func TestPace(t *testing.T) {
	const limit = 64 << 10
	type world struct {
		q     Queue
		sink  acking
		owner owner
		start time.Time
	}
	run := func(name string, test func(t *testing.T, w *world)) {
		kit.Bubble(t, name, func(t *testing.T) {
			s := NewShards(Config{Limit: limit, Shards: 1})
			defer s.Close()
			w := &world{start: time.Now()}
			w.q.Init(s, &w.sink, &w.owner)
			test(t, w)
		})
	}
	queue := func(t *testing.T, w *world, n int) {
		t.Helper()
		kit.Require(t, w.q.Append(&Frame{Bytes: make([]byte, n)}),
			"after %v a frame was refused", time.Since(w.start))
	}
	take := func(w *world, n int) {
		w.sink.allow(n)
		w.q.Writable()
		synctest.Wait()
	}
	// endsBy has the owner told why at a time between these two, from now on.
	endsBy := func(t *testing.T, w *world, why error, after, before time.Duration) {
		t.Helper()
		time.Sleep(after)
		failedWith(t, &w.owner)
		time.Sleep(before - after)
		failedWith(t, &w.owner, why)
		time.Sleep(10 * time.Minute)
		failedWith(t, &w.owner, why)
	}
	run("no progress", func(t *testing.T, w *world) {
		queue(t, w, limit+1)
		endsBy(t, w, ErrTooSlow, 15*time.Second, 18*time.Second)
	})
	run("any number of bytes may wait", func(t *testing.T, w *world) {
		for range 1000 {
			queue(t, w, limit)
		}
		endsBy(t, w, ErrTooSlow, 15*time.Second, 18*time.Second)
	})
	run("a rate that is just enough", func(t *testing.T, w *world) {
		queue(t, w, limit+300<<10)
		for range 300 {
			time.Sleep(time.Second)
			take(w, 1<<10)
		}
		failedWith(t, &w.owner)
	})
	run("a rate that is not", func(t *testing.T, w *world) {
		queue(t, w, limit+300<<10)
		for range 60 {
			time.Sleep(time.Second)
			take(w, 900)
		}
		failedWith(t, &w.owner)
		for range 240 {
			time.Sleep(time.Second)
			take(w, 900)
		}
		failedWith(t, &w.owner, ErrTooSlow)
	})
	run("stalls of five seconds, and of fifteen", func(t *testing.T, w *world) {
		queue(t, w, limit+64<<20)
		for range 20 {
			for _, stall := range []time.Duration{5, 15} {
				time.Sleep(stall * time.Second)
				take(w, 20<<10)
			}
		}
		failedWith(t, &w.owner)
	})
	run("4 kB/s in steps of 64 KiB", func(t *testing.T, w *world) {
		queue(t, w, limit+64<<20)
		for range 100 {
			time.Sleep(65483 * time.Second / 4000)
			take(w, 65483)
		}
		failedWith(t, &w.owner)
	})
	run("being asked is no progress", func(t *testing.T, w *world) {
		queue(t, w, limit+1)
		for range 1000 {
			time.Sleep(20 * time.Millisecond)
			take(w, 0)
		}
		failedWith(t, &w.owner, ErrTooSlow)
	})
	run("what the kernel took and the peer did not", func(t *testing.T, w *world) {
		queue(t, w, limit+64<<20)
		for range 1000 {
			time.Sleep(20 * time.Millisecond)
			w.sink.mu.Lock()
			w.sink.unacked += 2000
			w.sink.mu.Unlock()
			take(w, 2000)
		}
		failedWith(t, &w.owner, ErrTooSlow)
	})
	run("what the peer acknowledges of what the kernel took before", func(t *testing.T, w *world) {
		w.sink.allow(1 << 20)
		w.sink.unacked = 1 << 20
		queue(t, w, 1<<20)
		synctest.Wait()
		queue(t, w, limit+1)
		for range 500 {
			time.Sleep(time.Second)
			w.sink.mu.Lock()
			w.sink.unacked -= 2000
			w.sink.mu.Unlock()
		}
		failedWith(t, &w.owner)
		endsBy(t, w, ErrTooSlow, 0, 18*time.Second)
	})
	run("a long stall below the limit", func(t *testing.T, w *world) {
		queue(t, w, limit)
		time.Sleep(10 * time.Minute)
		failedWith(t, &w.owner)
		queue(t, w, 1)
		endsBy(t, w, ErrTooSlow, 15*time.Second, 18*time.Second)
	})
	run("back below the limit", func(t *testing.T, w *world) {
		queue(t, w, limit+1)
		time.Sleep(14 * time.Second)
		take(w, 1)
		time.Sleep(10 * time.Minute)
		failedWith(t, &w.owner)
		if stacks := leaked(); strings.Contains(stacks, "watch).run(") {
			t.Error("the watch runs although no queue is over its limit")
		}
		queue(t, w, 1)
		endsBy(t, w, ErrTooSlow, 15*time.Second, 18*time.Second)
	})
	run("behind for a minute: what comes is as much as what is taken", func(t *testing.T, w *world) {
		queue(t, w, 2*limit)
		for range 59 {
			time.Sleep(time.Second)
			take(w, 10_000)
			queue(t, w, 10_000)
		}
		failedWith(t, &w.owner)
		time.Sleep(2 * time.Second)
		failedWith(t, &w.owner, ErrBehind)
	})
	run("behind for a minute, and catching up", func(t *testing.T, w *world) {
		queue(t, w, 50<<20) // a history, and then chat
		for range 300 {
			time.Sleep(time.Second)
			take(w, 100_000)
			queue(t, w, 1000)
		}
		failedWith(t, &w.owner)
	})
	run("one large message", func(t *testing.T, w *world) {
		queue(t, w, 5<<20)
		for range 100 {
			time.Sleep(time.Second)
			take(w, 50_000)
		}
		failedWith(t, &w.owner)
	})
	run("a short break below the limit ends the minute", func(t *testing.T, w *world) {
		queue(t, w, limit)
		for range 5 {
			queue(t, w, 10_000)
			for range 50 {
				time.Sleep(time.Second)
				queue(t, w, 10_000)
				take(w, 10_000)
			}
			take(w, 10_001)
			time.Sleep(time.Second)
			queue(t, w, 1)
		}
		failedWith(t, &w.owner)
	})
	run("volatile makes room", func(t *testing.T, w *world) {
		w.sink.allow(1)
		queue(t, w, 1)
		synctest.Wait()
		w.q.Append(&Frame{Bytes: make([]byte, limit), Volatile: true})
		synctest.Wait() // offered, and refused
		queue(t, w, 6)
		time.Sleep(time.Minute)
		failedWith(t, &w.owner)
		kit.Want(t, w.q.lane.counters.dropped.Load(), 1, "dropped volatile frames")
	})
}

// A queue that waits for its shard, not for its peer, is not slow.
func TestBusyShardIsNotSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{held: newHeld(Config{Limit: 10})}
		r.q.Init(r.held, &r.sink, &r.owner)
		defer r.slow.close()
		// An earlier stall that is over.
		r.sink.take = func(int) (int, error) { return 0, nil }
		r.q.Append(frame("0"))
		r.drain(t)
		r.sink.take = nil
		r.q.Writable()
		r.drain(t)
		r.q.Append(frame("123456"))
		r.q.Append(frame("123456"))
		time.Sleep(time.Minute)
		r.drain(t)
		failedWith(t, &r.owner)
		r.wrote(t, "0123456123456")
		time.Sleep(time.Second)
		synctest.Wait()
		kit.Check(t, !r.slow.running, "the watch runs although no queue is over its limit")
	})
}
