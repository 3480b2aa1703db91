package outbox

import "sync"

// groupScratch is the size of a TLS record. A blocking sink is offered no more at once, so that its progress shows.
const groupScratch = 16 << 10

// A Group writes the queues of sockets whose Write waits, such as TLS connections: a goroutine runs for each queue that is not empty.
type Group struct {
	queues lane
	slow   watch

	// queues.mu guards what follows.
	closed  bool
	running sync.WaitGroup
}

// NewGroup returns a Group without goroutines.
func NewGroup(c Config) *Group {
	g := &Group{}
	g.queues.init(c, g, &g.slow, true)
	return g
}

// Close waits for all goroutines of the Group. The queues and their sinks are to be closed first: a Write that waits would keep it waiting.
// A queue that is used from then on is closed by it. Close must not be called from an Owner or a Sink.
func (g *Group) Close() {
	g.slow.close()
	g.queues.mu.Lock()
	g.closed = true
	g.queues.mu.Unlock()
	g.running.Wait()
}

// AddTo adds the Group's counts to sum.
func (g *Group) AddTo(sum *Stats) { g.queues.counters.addTo(sum) }

func (g *Group) lane() *lane { return &g.queues }

func (g *Group) ready(q *Queue) bool {
	return g.Go(func() { g.write(q) })
}

func (g *Group) report(q *Queue, err error) {
	g.Go(func() { q.owner.Failed(err) })
}

// Go runs f on a goroutine, for which Close waits. It returns false, and does nothing, after Close. It does not
// wait, and may be called from an Owner.
func (g *Group) Go(f func()) bool {
	g.queues.mu.Lock()
	defer g.queues.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Go(f)
	return true
}

// write writes q until it is empty or closed.
func (g *Group) write(q *Queue) {
	w := groupWriters.Get().(*writer)
	defer groupWriters.Put(w)
	w.lane = &g.queues
	for again := true; again; {
		again = w.flush(q)
		w.account()
	}
	if len(w.free) > 0 {
		g.queues.mu.Lock()
		g.queues.give(w.free)
		g.queues.mu.Unlock()
		clear(w.free)
		w.free = w.free[:0]
	}
	w.lane = nil
}

var groupWriters = sync.Pool{New: func() any { return newWriter(groupScratch, groupScratch) }}
