package outbox

import (
	"sync"
	"time"
)

// watched is a Queue or a Mailbox that is over its limit.
type watched interface {
	// judge has it fail if its peer is too slow, and reports whether it needs no more looks.
	judge() (done bool)
}

// A watch looks at what is over its limit, with a goroutine that exists only while there is any.
type watch struct {
	tick time.Duration // how often

	mu      sync.Mutex // guards what follows; taken under a Queue's mu, or a Mailbox's
	queues  []watched
	stop    chan struct{} // closed by close; nil before the first start
	running bool
	closed  bool
	done    sync.WaitGroup
}

// add has q judged until that says that it is done.
func (w *watch) add(q watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.queues = append(w.queues, q)
	if w.running {
		return
	}
	w.running = true
	if w.stop == nil {
		w.stop = make(chan struct{})
	}
	w.done.Go(w.run)
}

func (w *watch) close() {
	w.mu.Lock()
	if !w.closed && w.stop != nil {
		close(w.stop)
	}
	w.closed = true
	w.mu.Unlock()
	w.done.Wait()
}

func (w *watch) run() {
	tick := time.NewTicker(w.tick)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		queues := w.queues
		w.queues = nil
		w.mu.Unlock()
		kept := queues[:0]
		for _, q := range queues {
			if !q.judge() {
				kept = append(kept, q)
			}
		}
		clear(queues[len(kept):])
		w.mu.Lock()
		w.queues = append(kept, w.queues...)
		if len(w.queues) == 0 {
			w.queues = nil
			w.running = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// watch has the peer judged from now on if the queue is over its limit. mu must be held.
func (q *Queue) watch() {
	if q.bytes > q.lane.limit && q.state&closed == 0 && (q.rare == nil || q.rare.backlog == nil) {
		q.more().backlog = newBacklog(q.lane.pace, q.written)
		q.lane.slow.add(q)
	}
}

// judge implements [watched].
func (q *Queue) judge() (done bool) {
	taken := q.Taken()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state&closed != 0 || q.bytes <= q.lane.limit {
		q.rare.backlog = nil
		q.less()
		return true
	}
	why := q.rare.backlog.judge(q.lane.pace, taken, q.waitsForPeer())
	if why != nil && q.fail() {
		q.lane.counters.slow(why)
		q.lane.report(q, why)
	}
	return why != nil
}

// waitsForPeer reports whether the queue waits for its peer, and not for the runner. mu must be held.
func (q *Queue) waitsForPeer() bool {
	return q.state&stalled != 0 || q.lane.blocking && q.state&flushing != 0
}
