package outbox

import (
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	shardScratch = 64 << 10
	shardMax     = 256 << 10 // a socket that takes everything does not hold up the others for longer than this
)

// Shards write the queues of sockets whose Write never waits, with a few goroutines for all of them.
type Shards struct {
	shards []*shard
	next   atomic.Uint32 // for the next queue
	slow   watch
	done   sync.WaitGroup
}

// NewShards returns running Shards. Their goroutines end with Close.
func NewShards(c Config) *Shards {
	n := c.Shards
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	s := &Shards{shards: make([]*shard, n)}
	for i := range s.shards {
		sh := new(shard)
		sh.queues.init(c, sh, &s.slow, false)
		sh.wake.L = &sh.queues.mu
		s.shards[i] = sh
		s.done.Go(sh.run)
	}
	return s
}

// Close stops the goroutines and waits for them. What is still queued is not written and no Owner is told anything more; a queue that is
// used from then on is closed by it. Close must not be called from an Owner or a Sink.
func (s *Shards) Close() {
	s.slow.close()
	for _, sh := range s.shards {
		sh.close()
	}
	s.done.Wait()
}

// AddTo adds the counts of all shards to sum. A write shows in them shortly afterwards.
func (s *Shards) AddTo(sum *Stats) {
	for _, sh := range s.shards {
		sh.queues.counters.addTo(sum)
	}
}

func (s *Shards) lane() *lane {
	return &s.shards[s.next.Add(1)%uint32(len(s.shards))].queues
}

// A shard is one goroutine and the queues that it writes.
type shard struct {
	queues lane

	// queues.mu guards what follows.
	wake    sync.Cond // there is something to do
	dirty   []*Queue
	spare   []*Queue // empty: dirty and spare take turns
	reports []report
	closed  bool
}

type report struct {
	queue *Queue
	err   error
}

func (s *shard) ready(q *Queue) bool {
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	if s.closed {
		return false
	}
	s.dirty = append(s.dirty, q)
	s.wake.Signal()
	return true
}

func (s *shard) report(q *Queue, err error) {
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	s.reports = append(s.reports, report{q, err})
	s.wake.Signal()
}

func (s *shard) close() {
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	s.closed = true
	s.wake.Signal()
}

// run does rounds until the shard is closed.
func (s *shard) run() {
	w := newWriter(shardScratch, shardMax)
	w.lane = &s.queues
	for s.wait() {
		// The emitter that woke this goroutine is often still appending, and other emitters are ready to run: let them first. What they
		// add goes out in the same writes, which cost the same whatever they carry.
		runtime.Gosched()
		s.round(w)
	}
}

// wait waits for something to do and reports whether the shard is open.
func (s *shard) wait() bool {
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	for len(s.dirty)+len(s.reports) == 0 && !s.closed {
		s.wake.Wait()
	}
	return !s.closed
}

// round tells the reports and writes a batch of each queue that is dirty.
func (s *shard) round(w *writer) {
	s.queues.mu.Lock()
	list, reports := s.dirty, s.reports
	s.dirty, s.reports = s.spare, nil
	s.queues.mu.Unlock()

	for _, r := range reports {
		r.queue.owner.Failed(r.err)
	}
	again := list[:0]
	for _, q := range list {
		if w.flush(q) {
			again = append(again, q)
		}
	}
	clear(list[len(again):])
	w.account()

	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	s.dirty = append(s.dirty, again...)
	s.queues.give(w.free)
	clear(w.free)
	w.free = w.free[:0]
	clear(again)
	s.spare = again[:0]
}
