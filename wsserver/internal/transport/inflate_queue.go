package transport

import (
	"container/heap"
	"math"
	"runtime"
	"sync"
	"time"
)

const (
	// Inflating for a client may take one part in inflateShare of the time that passes, and inflateBurst at once: some ten messages of 1 MB. Clients
	// that want more share what all workers may use beyond that, one part in spareShare of their time.
	inflateShare = 50
	inflateBurst = 100 * time.Millisecond
	spareShare   = 4

	// Who has used little lately goes first: what was used counts less by the factor e after recently.
	recently = 10 * time.Second

	// inlineBurst is up to where a client's messages are inflated where they are read.
	inlineBurst = 5 * time.Millisecond

	// What is inflated where it was read, for all clients together, may take one part in pollerShare of the time, and pollerBurst at once. The
	// poller has more to do.
	pollerShare = 10
	pollerBurst = 2 * time.Millisecond

	maxInlineCost = 500 * time.Microsecond
)

// An allowance is time that may be used, one part in so many of the time that passes: it says when all that was used will have been paid. Time is since
// the start of the queue. The zero value has used nothing.
type allowance time.Duration

// use takes from the allowance what was used until now.
func (b *allowance) use(now, cost time.Duration, share int) {
	*b = max(*b, allowance(now-cost)) + allowance(cost*time.Duration(share))
}

// within returns when no more than burst of what was used is yet to be paid.
func (b allowance) within(burst time.Duration, share int) time.Duration {
	return time.Duration(b) - burst*time.Duration(share)
}

// An inflateQueue has compressed messages inflated that are not small: by a few workers, one message of a client at a time. Of those that are
// within their budgets, the clients that have used the least lately go first. A client that is beyond its own waits until it is not, or
// until it is the nearest to that and workers have time to spare: so it waits for itself, and others hardly for it.
type inflateQueue struct {
	start   time.Time
	cpu     func() time.Duration // what the thread of a worker has used of a processor
	most    int                  // workers
	workers sync.WaitGroup

	inflaters sync.Pool // of the workers, which keep the buffers of long messages: so many as there are workers, until the memory is wanted

	mu      sync.Mutex  // guards what follows
	waiting jobs        // whose order is when they will be within their budgets
	ready   jobs        // whose order is their share
	running int         // workers
	poller  allowance   // what was inflated inline, for all
	spare   allowance   // what workers did for those that waited
	alarm   *time.Timer // rings when the first of waiting is ready, if no worker is sure to look
	ringsAt time.Duration
	closed  bool
}

// A place is what the queue knows of a client.
type place struct {
	used   allowance
	lately float64       // what it used, in nanoseconds, as much as that counted at since
	since  time.Duration // see lately
	early  bool          // the message that a worker has did not wait for the budget

	line  *jobs // where it stands; nil if it is not queued
	index int
	order float64
}

// share is the client's place among others: the logarithm of what it has used lately. A share of now can be compared with one of then, since
// both have lost as much meanwhile.
func (p *place) share(now time.Duration) float64 {
	const nothing = 100 * time.Microsecond // who has used less is equal: then the first comes first
	p.decay(now)
	return math.Log(p.lately+float64(nothing)) + float64(now)/float64(recently)
}

func (p *place) decay(now time.Duration) {
	p.lately *= math.Exp(-float64(now-p.since) / float64(recently))
	p.since = now
}

func newInflateQueue() *inflateQueue {
	return &inflateQueue{
		start:     time.Now(),
		cpu:       cpuTime,
		most:      max(1, runtime.GOMAXPROCS(0)/2),
		inflaters: sync.Pool{New: inflaters.New},
	}
}

// now is the time since the start of the queue.
func (q *inflateQueue) now() time.Duration { return time.Since(q.start) }

// mayInline reports whether a small message may be inflated at once.
func (q *inflateQueue) mayInline(in *inflation) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	return in.used.within(inlineBurst, inflateShare) <= now && q.poller.within(pollerBurst, pollerShare) <= now
}

// charge counts what a worker has used for a client.
func (q *inflateQueue) charge(in *inflation, cost time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	in.used.use(now, cost, inflateShare)
	if in.early {
		q.spare.use(now, cost/time.Duration(q.most), spareShare)
	}
	in.decay(now)
	in.lately += float64(cost)
}

// chargeInline counts what a small message took where it was read, which is measured as time that passed: beyond maxInlineCost that says more of
// the machine than of the message.
func (q *inflateQueue) chargeInline(in *inflation, took time.Duration) {
	cost := min(took, maxInlineCost)
	q.charge(in, cost)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.poller.use(q.now(), cost, pollerShare)
}

// submit queues what a client's Reader holds. A queue that is closed does nothing: so are its connections.
func (q *inflateQueue) submit(in *inflation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if in.socket.closing() {
		q.push(&q.ready, in, 0)
	} else {
		q.push(&q.waiting, in, float64(in.used.within(inflateBurst, inflateShare)))
	}
	q.rouse()
}

// moveToFront moves a client to the front, whatever it has used: it closes, and nothing of it is inflated.
func (q *inflateQueue) moveToFront(in *inflation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if in.line != nil && !q.closed {
		heap.Remove(in.line, in.index)
		q.push(&q.ready, in, 0)
		q.rouse()
	}
}

// push puts a job in its place in to. mu must be held.
func (q *inflateQueue) push(to *jobs, in *inflation, order float64) {
	in.line, in.order = to, order
	heap.Push(to, in)
}

// rouse moves to ready what has waited, and starts a worker if there is something to do and one more may run, or else sets the alarm. mu must
// be held.
func (q *inflateQueue) rouse() {
	if q.closed {
		return
	}
	now := q.now()
	for len(q.waiting) > 0 && q.waiting[0].order <= float64(now) {
		in := heap.Pop(&q.waiting).(*inflation)
		q.push(&q.ready, in, in.share(now))
	}
	switch {
	case q.running == q.most: // the first that has done its job comes here
	case len(q.ready) > 0 || len(q.waiting) > 0 && q.spare.within(0, spareShare) <= now:
		q.running++
		q.workers.Go(q.work)
	case len(q.waiting) > 0:
		q.setAlarm(now, min(time.Duration(q.waiting[0].order), q.spare.within(0, spareShare)))
	}
}

// work does jobs while there are some that may begin.
func (q *inflateQueue) work() {
	runtime.LockOSThread() // for cpu
	defer runtime.UnlockOSThread()
	with := q.inflaters.Get().(*inflater)
	defer func() {
		with.source = tailed{}
		q.inflaters.Put(with)
	}()
	for in := q.next(); in != nil; in = q.next() {
		if in.socket.inflate(with) {
			q.submit(in)
		} else {
			in.socket.unhold()
		}
	}
}

// next takes the next job. If there is none it returns nil, and the worker does not count any more.
func (q *inflateQueue) next() (in *inflation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.ready) > 0:
		in = heap.Pop(&q.ready).(*inflation)
		in.early = false
	case len(q.waiting) > 0 && q.spare.within(0, spareShare) <= q.now():
		in = heap.Pop(&q.waiting).(*inflation)
		in.early = true
	default:
		q.running--
	}
	q.rouse()
	return in
}

// setAlarm sets the alarm, unless it rings sooner. mu must be held.
func (q *inflateQueue) setAlarm(now, at time.Duration) {
	if q.alarm != nil && q.ringsAt <= at {
		return
	}
	q.stopAlarm()
	q.workers.Add(1)
	q.ringsAt = at
	q.alarm = time.AfterFunc(at-now, func() {
		defer q.workers.Done()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.now() >= q.ringsAt { // it is this one, or as good
			q.alarm = nil
		}
		q.rouse()
	})
}

// stopAlarm takes the alarm back. mu must be held.
func (q *inflateQueue) stopAlarm() {
	if q.alarm != nil && q.alarm.Stop() {
		q.workers.Done()
	}
	q.alarm = nil
}

// Close forgets what waits, and waits for the workers. All connections must have been closed before.
func (q *inflateQueue) Close() {
	q.mu.Lock()
	q.closed = true
	q.waiting, q.ready = nil, nil
	q.stopAlarm()
	q.mu.Unlock()
	q.workers.Wait()
}

// jobs is a heap of clients that each have a message to be inflated.
type jobs []*inflation

func (j jobs) Len() int           { return len(j) }
func (j jobs) Less(a, b int) bool { return j[a].order < j[b].order }
func (j jobs) Swap(a, b int) {
	j[a], j[b] = j[b], j[a]
	j[a].index, j[b].index = a, b
}

func (j *jobs) Push(x any) {
	in := x.(*inflation)
	in.index = len(*j)
	*j = append(*j, in)
}

func (j *jobs) Pop() any {
	last := len(*j) - 1
	in := (*j)[last]
	(*j)[last], in.line = nil, nil
	*j = (*j)[:last]
	return in
}
