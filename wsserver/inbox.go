package wsserver

import (
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// An inbox holds the events of a client until the handlers of its socket take them, one at a time
// and in order. It has a goroutine take them that exists only while there are any, and stops
// reading the client when too many wait. Its zero value is empty.
type inbox struct {
	mu       sync.Mutex // guards what follows
	events   []*packet.Packet
	waiting  int32  // the size of events
	handling int32  // the size of the one that is handled
	since    uint32 // when the handlers took the last one, or when the first one came: see millis
	running  bool   // the goroutine exists
	halted   bool   // what waits is left, until its owner's life is over
	pausing  bool   // events has reached its bound, and the client is not read
}

// An inboxOwner is what an inbox belongs to: a [Socket]. Its methods are called with the inbox
// locked.
type inboxOwner interface {
	over() bool // nothing more is to be queued; close is called soon
	run()       // starts the goroutine, which calls next until there is nothing more
	pause()     // stops reading the client
	resume()    // undoes a pause
}

// inboxLimits are those of all inboxes of a server.
type inboxLimits struct {
	events int            // that may wait in one
	budget *budget.Budget // of all that waits in the server
}

// maxEventBytes bounds the events of a socket that wait for its handlers, besides
// Config.Limits.MaxEvents. One is always accepted.
const maxEventBytes = 1 << 20

// bytes bounds the events of an inbox in bytes: the less of the budget is left, the fewer may wait.
func (l *inboxLimits) bytes() int { return min(maxEventBytes, l.budget.Share()) }

// push queues an event.
func (in *inbox) push(p *packet.Packet, o inboxOwner, limits *inboxLimits) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if o.over() {
		return // nothing would handle it, nor undo a pause
	}
	if len(in.events) == 0 && in.handling == 0 {
		in.since = millis()
	}
	n := size(p)
	in.events = append(in.events, p)
	in.waiting += int32(n)
	limits.budget.Add(n)
	if !in.pausing && (len(in.events) >= limits.events || int(in.waiting) >= limits.bytes()) {
		in.pausing = true
		o.pause()
	}
	in.start(o)
}

// start sees to it that the goroutine exists. in.mu must be held.
func (in *inbox) start(o inboxOwner) {
	if !in.running && (!in.halted || o.over()) {
		in.running = true
		o.run()
	}
}

// next returns the next event for the goroutine, which has handled the one before. Without one, it
// is nil: the goroutine ends, or, if last is true, it has one thing more to do, since its owner's
// life is over.
func (in *inbox) next(o inboxOwner, limits *inboxLimits) (p *packet.Packet, last bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	limits.budget.Release(int(in.handling))
	in.handling = 0
	switch {
	case len(in.events) == 0:
		in.events = nil
		in.running = o.over()
		return nil, in.running
	case in.halted && !o.over():
		in.running = false
		return nil, false
	}
	p = in.events[0]
	in.events[0] = nil
	in.events = in.events[1:]
	in.handling = int32(size(p))
	in.waiting -= in.handling
	in.since = millis()
	if in.pausing && len(in.events) <= limits.events/2 && int(in.waiting) <= limits.bytes()/2 {
		in.pausing = false
		o.resume()
	}
	return p, false
}

// halt has the goroutine end behind the event that is handled now; what waits is left. It reports
// whether there is none.
func (in *inbox) halt() (idle bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.halted = true
	return !in.running
}

// busy reports whether the goroutine exists.
func (in *inbox) busy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.running
}

// close has the goroutine do what is left, now that its owner's life is over: the events that wait,
// unless they are discarded. It returns how many those are.
func (in *inbox) close(o inboxOwner, limits *inboxLimits, discard bool) (discarded int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	limits.budget.Release(int(in.handling)) // from here on, it is the handler's own
	in.handling = 0
	if discard {
		discarded = len(in.events)
		limits.budget.Release(int(in.waiting))
		in.events, in.waiting = nil, 0
	}
	in.start(o)
	return discarded
}

// unpause has the client read on, if it was not: the inbox needs nothing more.
func (in *inbox) unpause(o inboxOwner) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pausing {
		in.pausing = false
		o.resume()
	}
}

// load returns the size of the events that wait or are handled, and for how long the handlers have
// taken none.
func (in *inbox) load() (bytes int, waits time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if bytes = int(in.waiting) + int(in.handling); bytes > 0 {
		waits = time.Duration(millis()-in.since) * time.Millisecond
	}
	return bytes, waits
}

var epoch = time.Now()

// millis is a monotonic time in milliseconds, which begins again after 49 days.
func millis() uint32 { return uint32(time.Since(epoch).Milliseconds()) }

// eventOverhead is what an event takes besides its arguments, in bytes.
const eventOverhead = 256

// size is what an event takes while it waits, in bytes.
func size(p *packet.Packet) int {
	n := eventOverhead + len(p.Args.JSON())
	for _, a := range p.Args.Attachments() {
		n += len(a)
	}
	return n
}
