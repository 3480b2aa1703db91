package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// ErrOverflow is returned for a broadcast that was delivered on this node only, since too much waits for the broker already.
var ErrOverflow = errors.New("adapter: the queue to the broker is full")

// retryPause is how long the writer waits at the most before it tries an unavailable broker again.
const retryPause = 250 * time.Millisecond

// job is one thing for the writer to do; exactly one of its lists is not empty.
type job struct {
	subscribe   []Topic
	unsubscribe []Topic
	publish     []Topic

	stamp mesh.Stamp // of a broadcast; G is zero for any other message
	body  []byte     // a broadcast's body, or a whole message
}

// writer calls the link: jobs in their order, from one goroutine. Broadcasts that wait are bounded in bytes; what else there is,
// the mesh bounds by its nature.
type writer struct {
	node  string
	limit int
	log   *slog.Logger

	scratch []byte // the message being published; used by run alone
	logged  bool   // a final error has been logged; used by run alone

	mu     sync.Mutex // guards what follows
	jobs   []job
	bytes  int // of broadcasts not yet handed over
	closed bool
	counts writerCounts

	more chan struct{} // has room for one: there are jobs, or closed was set
	idle chan struct{} // closed when closed and empty, or run has returned
}

type writerCounts struct {
	sent, bytes uint64 // broadcasts handed to the link, and their bytes, once for each topic
	lost        uint64 // broadcasts and other messages that the link refused for good
}

func newWriter(node string, limit int, log *slog.Logger) *writer {
	return &writer{node: node, limit: limit, log: log, more: make(chan struct{}, 1), idle: make(chan struct{})}
}

// admit says whether a broadcast of size bytes may be put.
func (w *writer) admit(size int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case w.bytes > 0 && w.bytes+size > w.limit:
		return fmt.Errorf("%w: %d of %d bytes", ErrOverflow, w.bytes, w.limit)
	}
	return nil
}

// put adds a job. It never blocks.
func (w *writer) put(j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if n := len(w.jobs); j.subscribe != nil && n > 0 && w.jobs[n-1].subscribe != nil {
		w.jobs[n-1].subscribe = append(w.jobs[n-1].subscribe, j.subscribe...)
	} else {
		w.jobs = append(w.jobs, j)
	}
	if j.stamp.G != 0 {
		w.bytes += len(j.body)
	}
	w.signal()
}

func (w *writer) signal() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// close lets run return when nothing is left to do, and waits for that until ctx ends. An error says that broadcasts are left.
func (w *writer) close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	select {
	case <-w.idle:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes > 0 {
		cause := context.Cause(ctx)
		if cause == nil {
			cause = ErrClosed // another Close was less patient
		}
		return fmt.Errorf("adapter: closed with %d bytes of broadcasts that were not sent: %w", w.bytes, cause)
	}
	return nil
}

// run works until ctx ends, or until close and nothing is left.
func (w *writer) run(ctx context.Context, link Link) {
	defer close(w.idle)
	for {
		w.mu.Lock()
		jobs, closed := w.jobs, w.closed
		w.jobs = nil
		w.mu.Unlock()
		for i := range jobs {
			if !w.do(ctx, link, &jobs[i]) {
				return
			}
		}
		if len(jobs) > 0 {
			continue
		}
		if closed {
			return
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return
		}
	}
}

// do carries out one job. It reports false when ctx has ended.
func (w *writer) do(ctx context.Context, link Link, j *job) bool {
	switch {
	case j.subscribe != nil:
		w.fail(link.Subscribe(ctx, j.subscribe...))
	case j.unsubscribe != nil:
		w.fail(link.Unsubscribe(ctx, j.unsubscribe...))
	case j.stamp.G == 0:
		return w.publish(ctx, link, j.publish, j.body)
	default:
		w.scratch = envelope.AppendBroadcast(w.scratch[:0], w.node, j.stamp, j.body)
		ok := w.publish(ctx, link, j.publish, w.scratch)
		if cap(w.scratch) > 64<<10 {
			w.scratch = nil
		}
		w.mu.Lock()
		w.bytes -= len(j.body)
		w.mu.Unlock()
		return ok
	}
	return ctx.Err() == nil
}

// publish hands msg to the link, once for each topic. While the broker is out of reach it waits: the order is kept, and the bound of the
// queue is what ends the patience of those who emit.
func (w *writer) publish(ctx context.Context, link Link, topics []Topic, msg []byte) bool {
	for _, topic := range topics {
		for {
			_, changed := link.State()
			err := link.Publish(ctx, topic, msg)
			if ctx.Err() != nil {
				return false
			}
			if err == nil {
				w.mu.Lock()
				w.counts.sent++
				w.counts.bytes += uint64(len(msg))
				w.mu.Unlock()
				break
			}
			if !errors.Is(err, ErrUnavailable) {
				w.fail(err)
				break
			}
			select {
			case <-changed:
			case <-time.After(retryPause):
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

// fail notes an error after which the job is given up.
func (w *writer) fail(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	w.counts.lost++
	w.mu.Unlock()
	if !w.logged {
		w.logged = true
		w.log.Error("belfry: the adapter refused a message; further ones are only counted", "node", w.node, "error", err)
	}
}
