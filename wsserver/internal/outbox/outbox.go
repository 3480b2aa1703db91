// Package outbox holds what is on its way out to a socket.
//
// Each socket has a [Queue] of frames, bounded in bytes. [Shards] write the queues of sockets whose Write does not wait, a few goroutines
// for all of them; a [Group] writes those whose Write does, with a goroutine for each queue that is not empty. Either writes all that has
// gathered in a queue at once: nothing is delayed for it, so that batches grow from backlog alone, and with them the throughput.
package outbox

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// ErrTooSlow is what the Owner of a queue is told when its peer takes too little.
var ErrTooSlow = errors.New("outbox: peer too slow")

const (
	// DefaultLimit is how many bytes a queue may hold, unless Config says otherwise.
	DefaultLimit = 1 << 20

	// HardCap is how many times its limit a queue may hold whatever its progress.
	HardCap = 4

	// SlowAfter is how long a queue over its limit may go without progress. It is looked at every SlowCheck.
	SlowAfter = time.Second
	SlowCheck = SlowAfter / 10

	// BlockedAfter is how long a single Write of a Group's sink may take before the socket counts as blocked for volatile frames. Such a
	// sink cannot say that it is blocked.
	BlockedAfter = 100 * time.Millisecond
)

// A Frame is bytes ready for the wire, encoded and framed once. It is immutable from its first Append or Send on, and shared by every
// queue that holds it.
type Frame struct {
	Bytes []byte

	// Volatile says that the frame may be dropped: when the socket is blocked, or to make room.
	Volatile bool

	// NoCompress says that the frame goes out as it is, whatever was negotiated.
	NoCompress bool

	once sync.Once
	twin *Frame
}

// Twin returns a frame that stands for f in some queues. The first call has makeTwin make it of f, others wait for that meanwhile, and it is
// the same for all; it may be f itself.
func (f *Frame) Twin(makeTwin func(f *Frame) *Frame) *Frame {
	f.once.Do(func() { f.twin = makeTwin(f) })
	return f.twin
}

// A Sink is what a queue writes to, never from two goroutines at once. Neither method modifies or keeps its argument.
//
// Of [Shards] it never waits: n less than what was given, with a nil error, means that it is full, and [Queue.Writable] is called once
// after that, possibly before the Write has returned. Of a [Group] it waits and follows io.Writer. Closing it must end a Write.
type Sink interface {
	Write(p []byte) (n int, err error)
	Writev(bufs [][]byte) (n int, err error) // writes the concatenation of bufs
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

// An Owner is told of the end of its queue: one call, of one of its methods, and none after [Queue.Close] unless it was already on its
// way. The call comes from a goroutine of Shards or Group, without locks, and must not block; the queue is closed by then.
type Owner interface {
	// Failed says that nothing more is written: the sink returned err, or err is ErrTooSlow.
	Failed(err error)

	// Flushed says that all that was queued up to CloseAfterFlush has been written.
	Flushed()
}

// Config configures Shards or a Group. The zero value works.
type Config struct {
	// Limit is how many bytes a queue may hold, besides which one frame is always accepted into an empty queue. A queue over its limit
	// loses its volatile frames; it is too slow when it has then made no progress for SlowAfter, or exceeds HardCap times the limit.
	// Zero means DefaultLimit.
	Limit int

	// Shards is how many goroutines the queues of Shards are spread over. Zero means half of GOMAXPROCS: the fewer there are, the more
	// gathers for each write, and the kernel's share of a write runs on the goroutine's processor. A Group ignores it.
	Shards int
}

func (c Config) limit() int {
	if c.Limit <= 0 {
		return DefaultLimit
	}
	return min(c.Limit, math.MaxInt/HardCap)
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
	Failed  uint64 // queues that failed with an error of their sink
}

type counters struct {
	frames, bytes, writes, dropped, lost, tooSlow, failed atomic.Uint64
}

func (c *counters) addTo(s *Stats) {
	s.Frames += c.frames.Load()
	s.Bytes += c.bytes.Load()
	s.Writes += c.writes.Load()
	s.Dropped += c.dropped.Load()
	s.Lost += c.lost.Load()
	s.TooSlow += c.tooSlow.Load()
	s.Failed += c.failed.Load()
}
