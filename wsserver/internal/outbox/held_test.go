package outbox

import (
	"bytes"
	"github.com/belfry-io/belfry/test/kit"
	"sync"
	"testing"
)

// held is a Scheduler of one shard whose goroutine does not run: the test makes each step.
type held struct {
	shard *shard
	w     *writer
	slow  watch
}

func newHeld(c Config) *held {
	h := &held{shard: &shard{}, w: newWriter(shardScratch, shardMax)}
	h.shard.queues.init(c, h.shard, &h.slow, false)
	h.shard.wake.L = &h.shard.queues.mu
	h.w.lane = &h.shard.queues
	return h
}

func (h *held) lane() *lane { return &h.shard.queues }

// step does one round: reports, and one batch of each dirty queue.
func (h *held) step() { h.shard.round(h.w) }

// idle reports whether a step would do nothing.
func (h *held) idle() bool { return len(h.shard.dirty)+len(h.shard.reports) == 0 }

// drain does rounds until nothing is to be done. A queue that is not blocked must come to rest.
func (h *held) drain(t *testing.T) {
	t.Helper()
	for i := 0; !h.idle(); i++ {
		kit.Require(t, i != 1_000_000, "the shard spins")
		h.step()
	}
}

func (h *held) stats() (s Stats) {
	h.shard.queues.counters.addTo(&s)
	return s
}

// owner is an Owner that keeps what it is told.
type owner struct {
	q *Queue // if not nil: must not be locked when the owner is told something, and nobody else uses it

	mu      sync.Mutex // guards what follows
	failed  []error
	flushed int
	large   func() // if not nil, called by Large

	arrived chan struct{} // holds a value since Arrived was called
}

func (o *owner) Arrived() {
	select {
	case o.arrived <- struct{}{}:
	default:
	}
}

func (o *owner) Large() {
	if o.large != nil {
		o.large()
	}
}

func (o *owner) Failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, err)
	o.check()
}

func (o *owner) Flushed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushed++
	o.check()
}

func (o *owner) check() {
	if o.q == nil {
		return
	}
	if !o.q.mu.TryLock() {
		panic("the owner was called with its queue locked")
	}
	o.q.mu.Unlock()
}

// told returns what the owner was told so far.
func (o *owner) told() (failed []error, flushed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed, o.flushed
}

// A scripted sink takes of each write what take says; without take, everything.
type scripted struct {
	got    bytes.Buffer
	writes int
	vector [][]byte                             // of the last Writev
	take   func(offered int) (n int, err error) // called before anything is taken
}

func (s *scripted) Write(p []byte) (int, error) {
	s.writes++
	n, err := len(p), error(nil)
	if s.take != nil {
		n, err = s.take(len(p))
	}
	if n >= 0 && n <= len(p) {
		s.got.Write(p[:n])
	}
	return n, err
}

func (s *scripted) Writev(bufs [][]byte) (int, error) {
	s.vector = append([][]byte(nil), bufs...)
	return s.Write(bytes.Join(bufs, nil))
}

// A rig is a queue over a scripted sink in a held shard.
type rig struct {
	*held
	q     Queue
	sink  scripted
	owner owner
}

func newRig(c Config) *rig {
	r := &rig{held: newHeld(c)}
	r.slow.close() // nothing depends on the time
	r.owner.q = &r.q
	r.q.Init(r.held, &r.sink, &r.owner)
	return r
}

func frame(s string) *Frame { return &Frame{Bytes: []byte(s)} }

func volatileFrame(s string) *Frame { return &Frame{Bytes: []byte(s), Volatile: true} }

// wrote checks what the sink has got so far.
func (r *rig) wrote(t *testing.T, want string) {
	t.Helper()
	kit.Equal(t, r.sink.got.String(), want, "sink")
}

// queued is how many bytes wait in a queue.
func queued(q *Queue) int {
	return q.Waiting().Bytes
}
