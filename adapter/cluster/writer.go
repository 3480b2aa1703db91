package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// ErrOverflow is returned if too much already waits for the broker. No other node gets the
// broadcast.
var ErrOverflow = ask.ErrOverflow

// ErrTooLarge is returned for a broadcast that is too large for any node. No other node gets it.
var ErrTooLarge = ask.ErrTooLarge

// retryPause is how long the writer waits at the most before it tries an unavailable broker again.
const retryPause = 250 * time.Millisecond

// job is one thing for the writer to do; exactly one of its lists is not empty.
type job struct {
	subscribe   []adapter.Topic
	unsubscribe []adapter.Topic
	publish     []adapter.Topic

	stamp mesh.Stamp // of a broadcast; G is zero for any other message
	body  []byte     // a broadcast's body, or a whole message
	probe bool       // the message is for this node itself, if nobody is subscribed to the topic
}

// writer calls the link: jobs in their order, from one goroutine. Broadcasts that wait are bounded
// in bytes; what else there is, the mesh bounds by its nature.
//
// While the link is down or new, broadcasts are held back: what is published before the
// subscriptions of the others stand again would reach nobody. The mesh's own messages, which make
// the nodes meet, go before them then.
type writer struct {
	node  string
	limit int
	log   *slog.Logger

	subscribed func(topics []adapter.Topic) // told what the link was told to subscribe to; does not block

	scratch []byte    // the message being published; used by run alone
	whole   [1][]byte // the message as it goes over the link; used by run alone
	chunked uint64    // the number of the last message that was sent in chunks; used by run alone
	logged  bool      // a final error has been logged; used by run alone

	mu     sync.Mutex // guards what follows
	jobs   []job
	held   bool          // broadcasts wait in parked
	parked []job         // in order
	handed uint64        // the number of the last broadcast that was handed over, or given up
	bytes  int           // of broadcasts not yet handed over
	others int           // bytes of other messages
	space  chan struct{} // closed when bytes go down, or closed is set; nil while nobody waits for that
	closed bool
	counts writerCounts

	more chan struct{} // has room for one: there are jobs, or closed was set
	idle chan struct{} // closed when closed and empty, or run has returned
}

type writerCounts struct {
	sent, bytes uint64 // messages handed to the link, and their bytes, once for each topic
	lost        uint64 // messages that the link refused for good, and subscriptions
}

func newWriter(node string, limit int, log *slog.Logger) *writer {
	return &writer{
		node: node, limit: limit, log: log, subscribed: func([]adapter.Topic) {},
		held: true, more: make(chan struct{}, 1), idle: make(chan struct{}),
	}
}

// admit says whether a broadcast of size bytes may be put, where the limit may be exceeded by over.
func (w *writer) admit(size, over int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return adapter.ErrClosed
	case w.bytes > 0 && w.bytes+size > w.limit+over:
		return fmt.Errorf("%w: %d of %d bytes", ErrOverflow, w.bytes, w.limit)
	}
	return nil
}

// room waits until a broadcast of size bytes leaves half the queue free, or is alone in it: what
// can wait makes way for what cannot.
func (w *writer) room(ctx context.Context, size int) error {
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return adapter.ErrClosed
		}
		if w.bytes == 0 || w.bytes+size <= w.limit/2 {
			w.mu.Unlock()
			return nil
		}
		if w.space == nil {
			w.space = make(chan struct{})
		}
		space := w.space
		w.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// maxOthers bounds the answers to nodes that have missed something which wait for the broker, in
// bytes.
const maxOthers = 8 << 20

// crowded reports whether so much waits besides broadcasts that no more should be asked for.
func (w *writer) crowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.others > maxOthers
}

// shrunk wakes those that wait for room. w.mu must be held.
func (w *writer) shrunk() {
	if w.space != nil {
		close(w.space)
		w.space = nil
	}
}

// put adds a job. It never blocks.
func (w *writer) put(j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if j.stamp.Sequence != 0 {
		w.bytes += len(j.body)
	} else {
		w.others += len(j.body)
	}
	switch n := len(w.jobs); {
	case j.stamp.Sequence != 0 && w.held:
		w.parked = append(w.parked, j)
	case j.subscribe != nil && n > 0 && w.jobs[n-1].subscribe != nil:
		w.jobs[n-1].subscribe = append(w.jobs[n-1].subscribe, j.subscribe...)
	default:
		w.jobs = append(w.jobs, j)
	}
	signal(w.more)
}

// close lets run return when nothing is left to do, and waits for that until ctx ends. An error
// says that broadcasts are left.
func (w *writer) close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.shrunk()
	w.mu.Unlock()
	signal(w.more)
	select {
	case <-w.idle:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes > 0 {
		cause := context.Cause(ctx)
		switch {
		case cause != nil:
		case w.held:
			cause = adapter.ErrUnavailable
		default:
			cause = adapter.ErrClosed // another Close was less patient
		}
		return fmt.Errorf("cluster: closed with %d bytes of broadcasts unsent: %w", w.bytes, cause)
	}
	return nil
}

// hold holds broadcasts back, drops what the mesh had to say otherwise, for that is out of date,
// and returns the number of the last broadcast that was handed over. One more may be on its way.
func (w *writer) hold() (handed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = true
	jobs := w.jobs
	w.jobs = nil
	for _, j := range jobs {
		switch {
		case j.stamp.Sequence != 0:
			w.parked = append(w.parked, j)
		case j.publish == nil:
			w.jobs = append(w.jobs, j)
		default:
			w.others -= len(j.body)
		}
	}
	return w.handed
}

// release lets go what was held back, before whatever is put from now on.
func (w *writer) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	w.jobs = append(w.jobs, w.parked...)
	w.parked = nil
	signal(w.more)
}

// run works until ctx ends, or until close and nothing is left.
func (w *writer) run(ctx context.Context, link adapter.Link) {
	defer close(w.idle)
	for ctx.Err() == nil {
		w.mu.Lock()
		closed := w.closed
		var j job
		more := len(w.jobs) > 0
		if more {
			j = w.jobs[0]
			w.jobs[0] = job{}
			if w.jobs = w.jobs[1:]; len(w.jobs) == 0 {
				w.jobs = nil // and with it what a burst has needed
			}
		}
		w.mu.Unlock()
		switch {
		case more:
			w.do(ctx, link, &j)
		case closed:
			return
		default:
			select {
			case <-w.more:
			case <-ctx.Done():
			}
		}
	}
}

// do carries out one job, or puts it back to where it is held.
func (w *writer) do(ctx context.Context, link adapter.Link, j *job) {
	switch {
	case j.subscribe != nil:
		w.fail(link.Subscribe(ctx, j.subscribe...))
		w.subscribed(j.subscribe)
	case j.unsubscribe != nil:
		w.fail(link.Unsubscribe(ctx, j.unsubscribe...))
	case j.stamp.Sequence == 0:
		publish := w.publish
		if j.probe {
			publish = w.ask
		}
		if err := publish(ctx, link, j.publish, j.body); !errors.Is(err, adapter.ErrUnavailable) {
			w.fail(err)
		} // else the mesh speaks anew when the link is up
		w.mu.Lock()
		w.others -= len(j.body)
		w.mu.Unlock()
	default:
		w.broadcast(ctx, link, j)
	}
}

// broadcast publishes a broadcast. While the broker is out of reach it waits: the order is kept,
// and the bound of the queue is what ends the patience of those who emit.
func (w *writer) broadcast(ctx context.Context, link adapter.Link, j *job) {
	w.scratch = envelope.AppendBroadcast(w.scratch[:0], w.node, j.stamp, j.body)
	for {
		_, changed := link.State()
		err := w.publish(ctx, link, j.publish, w.scratch)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, adapter.ErrUnavailable) {
			w.fail(err)
			break
		}
		select {
		case <-changed:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return
		}
		if w.park(j) {
			return
		}
	}
	if cap(w.scratch) > 64<<10 {
		w.scratch = nil
	}
	w.mu.Lock()
	w.bytes -= len(j.body)
	w.shrunk()
	w.handed = j.stamp.Sequence
	w.mu.Unlock()
}

// park puts a broadcast back to the front of those that are held, if they are.
func (w *writer) park(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held {
		w.parked = slices.Insert(w.parked, 0, *j)
	}
	return w.held
}

// publish hands msg to the link, once for each topic, in chunks if it is too large for the link. It
// stops where the broker is out of reach.
func (w *writer) publish(ctx context.Context, link adapter.Link, topics []adapter.Topic, msg []byte) error {
	var failed error
	for _, topic := range topics {
		for _, chunk := range w.chunks(link, msg) {
			err := link.Publish(ctx, topic, chunk)
			if errors.Is(err, adapter.ErrUnavailable) {
				return err
			}
			if err != nil {
				failed = err
				break // without this one the others are of no use
			}
			w.mu.Lock()
			w.counts.sent++
			w.counts.bytes += uint64(len(chunk))
			w.mu.Unlock()
		}
	}
	return failed
}

// ask asks the broker whether anybody is subscribed to topics, if it is one that tells.
func (w *writer) ask(ctx context.Context, link adapter.Link, topics []adapter.Topic, back []byte) error {
	prober, ok := link.(adapter.Prober)
	if !ok {
		return nil
	}
	var failed error
	for _, topic := range topics {
		failed = errors.Join(failed, prober.Probe(ctx, topic, back))
	}
	return failed
}

// The sizes of message that every link takes, and every one that is no [adapter.Limiter].
const (
	minMaxMessage     = 4 << 10
	defaultMaxMessage = 512 << 10
)

// chunks returns the messages that msg goes over the link as: itself, mostly.
func (w *writer) chunks(link adapter.Link, msg []byte) [][]byte {
	if len(msg) <= minMaxMessage {
		w.whole[0] = msg
		return w.whole[:]
	}
	size := defaultMaxMessage
	if l, ok := link.(adapter.Limiter); ok {
		if size = l.MaxMessage(); size == 0 {
			size = len(msg)
		}
	}
	w.chunked++
	return envelope.Chunks(w.node, w.chunked, msg, max(size, minMaxMessage))
}

// fail notes an error after which the job is given up.
func (w *writer) fail(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return // the latter is Close
	}
	w.mu.Lock()
	w.counts.lost++
	w.mu.Unlock()
	if !w.logged {
		w.logged = true
		w.log.Error("belfry: the adapter refused a message; further ones are only counted", "error", err)
	}
}
