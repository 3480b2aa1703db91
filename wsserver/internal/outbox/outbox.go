// Package outbox holds what is on its way out to a socket.
//
// Each socket has a [Queue] of frames. Its peer is held to a [Pace] while more waits for it than a limit, and a budget bounds what waits in all
// queues together. [Shards] write the queues of sockets whose Write does not wait, a few goroutines
// for all of them; a [Group] writes those whose Write does, with a goroutine for each queue that is not empty. Either writes all that has
// gathered in a queue at once: nothing is delayed for it, so that batches grow from backlog alone, and with them the throughput.
package outbox

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// Why the Owner of a queue is told Failed, besides the errors of its Sink. See [Pace].
var (
	ErrTooSlow = errors.New("outbox: the peer takes less than the lowest rate")
	ErrBehind  = errors.New("outbox: the peer has been behind for too long")
)

const (
	// DefaultLimit is how many bytes a queue may hold before its peer is judged, unless Config says otherwise.
	DefaultLimit = 1 << 20

	// Large is from how many bytes on a frame may keep a ping behind it waiting for long: see [Owner].
	Large = 128 << 10

	// BlockedAfter is how long a single Write of a Group's sink may take before the socket counts as blocked for volatile frames. Such a
	// sink cannot say that it is blocked.
	BlockedAfter = 100 * time.Millisecond
)

// A Sink is what a queue writes to, never from two goroutines at once. Neither method modifies or keeps its argument.
//
// Of [Shards] it never waits: n less than what was given, with a nil error, means that it is full, and [Queue.Writable] is called once
// after that, possibly before the Write has returned. Of a [Group] it waits and follows io.Writer. Closing it must end a Write.
type Sink interface {
	Write(p []byte) (n int, err error)
	Writev(bufs [][]byte) (n int, err error) // writes the concatenation of bufs
}

// An Acknowledger is a Sink that knows how many of the bytes written to it its peer has not acknowledged. What others have written counts as
// taken by the peer.
type Acknowledger interface {
	Unacknowledged() int
}

// Stream makes a Sink for a [Group] of any writer.
type Stream struct{ io.Writer }

// Writev writes bufs one by one.
func (s Stream) Writev(bufs [][]byte) (n int, err error) {
	for _, b := range bufs {
		m, err := s.Write(b)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// An Owner is told of the end of its queue: one call, of Failed or Flushed, and none after [Queue.Close] unless it was already on its
// way. All calls come without locks, from a goroutine of Shards or Group, and must not block.
type Owner interface {
	// Failed says that nothing more is written: the sink returned err, or err is ErrTooSlow or ErrBehind. The queue is closed.
	Failed(err error)

	// Flushed says that all that was queued up to CloseAfterFlush has been written. The queue is closed.
	Flushed()

	// Large says that a frame of Large bytes or more is the next to be written. A Ping that the owner queues in the call goes out before it.
	Large()
}

// Config configures Shards or a Group. The zero value works.
type Config struct {
	// Limit is how many bytes a queue may hold, besides which one frame is always accepted into an empty queue. A queue over its limit
	// loses its volatile frames, and its peer is then held to Pace. Zero means DefaultLimit.
	Limit int

	// Pace is what a peer has to keep while its queue is over its limit.
	Pace Pace

	// Budget counts the frames that wait. While it is used up, no volatile ones are queued. nil means no bound.
	Budget *budget.Budget

	// NextEnd returns where the message ends that the byte at offset of a frame's bytes belongs to: there, a ping may come between. nil
	// means that a frame is one message.
	NextEnd func(frame []byte, offset int) int

	// Shards is how many goroutines the queues of Shards are spread over. Zero means half of GOMAXPROCS: the fewer there are, the more
	// gathers for each write, and the kernel's share of a write runs on the goroutine's processor. A Group ignores it.
	Shards int
}

// init makes l the lane of the queues that r writes.
func (l *lane) init(c Config, r runner, slow *watch, blocking bool) {
	l.runner, l.slow, l.blocking = r, slow, blocking
	l.limit, l.pace, l.budget, l.nextEnd = c.Limit, c.Pace.Defaults(), c.Budget, c.NextEnd
	slow.tick = l.pace.tick()
	if l.limit <= 0 {
		l.limit = DefaultLimit
	}
	if l.nextEnd == nil {
		l.nextEnd = func(frame []byte, _ int) int { return len(frame) }
	}
}

// A Scheduler decides who writes a queue: [Shards] or [Group].
type Scheduler interface {
	lane() *lane
}

// A runner is what a queue asks of its shard or group. Its methods are called under the queue's mu.
type runner interface {
	// ready asks for q to be written. It returns false once the runner is closed.
	ready(q *Queue) bool

	// report asks for q's owner to be told that q has failed.
	report(q *Queue, err error)
}

// A lane is what the queues of one shard or of one group have in common.
type lane struct {
	runner
	limit    int
	pace     Pace
	budget   *budget.Budget
	nextEnd  func(frame []byte, offset int) int
	blocking bool // the sinks' Write waits
	slow     *watch
	counters counters

	mu   sync.Mutex // guards what follows; taken under a Queue's mu
	free [][]*Frame // empty, for queues to use
	size int        // sum of the capacities in free
}

const (
	minFrames = 8       // capacity of a queue's first slice
	maxFree   = 1 << 17 // bound of lane.size: 1 MiB of pointers
)

// take returns an empty slice. mu must be held.
func (l *lane) take() []*Frame {
	n := len(l.free)
	if n == 0 {
		return make([]*Frame, 0, minFrames)
	}
	s := l.free[n-1]
	l.free[n-1] = nil
	l.free = l.free[:n-1]
	l.size -= cap(s)
	return s
}

// give takes back slices of take, all nil to their capacity. mu must be held.
func (l *lane) give(slices [][]*Frame) {
	for _, s := range slices {
		if l.size+cap(s) <= maxFree {
			l.free = append(l.free, s[:0])
			l.size += cap(s)
		}
	}
}

// Stats counts what has happened to the queues of Shards or a Group since its start.
type Stats struct {
	Frames  uint64 // written
	Bytes   uint64 // written
	Writes  uint64 // calls of a sink
	Dropped uint64 // volatile frames that were dropped
	Lost    uint64 // frames still queued when their queue failed or was closed
	TooSlow uint64 // queues that failed with ErrTooSlow
	Behind  uint64 // queues that failed with ErrBehind
	Failed  uint64 // queues that failed with an error of their sink
}

type counters struct {
	frames, bytes, writes, dropped, lost, tooSlow, behind, failed atomic.Uint64
}

func (c *counters) addTo(s *Stats) {
	s.Frames += c.frames.Load()
	s.Bytes += c.bytes.Load()
	s.Writes += c.writes.Load()
	s.Dropped += c.dropped.Load()
	s.Lost += c.lost.Load()
	s.TooSlow += c.tooSlow.Load()
	s.Behind += c.behind.Load()
	s.Failed += c.failed.Load()
}

// slow counts a queue that fails with why.
func (c *counters) slow(why error) {
	if why == ErrBehind {
		c.behind.Add(1)
	} else {
		c.tooSlow.Add(1)
	}
}
