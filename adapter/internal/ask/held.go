package ask

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// The bounds of the notes about a call that wait until somebody takes them. One is always accepted.
const (
	MaxNotes     = 1024
	MaxNoteBytes = 1 << 20
)

// Why an answer to a held call reaches nobody.
var (
	errForgotten = errors.New("cluster: nobody waits for the answer")
	errAnswered  = errors.New("cluster: the call was answered before")
)

// A Held is a call of another node that is answered later. No goroutine waits with it, and no timer. Its methods may be called
// concurrently.
type Held struct {
	x  *Exchange
	to asker

	mu       sync.Mutex // guards what follows
	payload  []byte
	onNote   func(note []byte)
	onEnd    func()
	notes    [][]byte           // that wait for onNote, or for their turn
	bytes    int                // of them
	cancel   context.CancelFunc // of the answer that is being sent; nil outside of that
	telling  bool               // a goroutine calls onNote
	answered bool               // or has failed
	over     bool               // nobody waits any more
	done     bool               // nothing is to be called any more
}

// Hold has handle take a call on a goroutine of its own, unless there are too many, or nobody wants it. It is held
// as c, which is zero, until it is done or nobody waits any more, also when handle has returned.
func (x *Exchange) Hold(b *envelope.Broadcast, c *Held, handle func()) {
	if b.ID == 0 || !x.cfg.Cluster.Asker(b.From) {
		return
	}
	c.x, c.to, c.payload = x, asker{b.From, b.ID}, b.Payload
	x.answers.mu.Lock()
	if x.answers.running[Holding] >= MaxHolding || x.answers.held[c.to] != nil {
		x.answers.refused++
		x.answers.mu.Unlock()
		x.Refuse(b, envelope.Busy, "")
		return
	}
	x.answers.running[Holding]++
	x.answers.held[c.to] = c
	x.answers.mu.Unlock()
	x.Go(func() {
		returned := false
		defer func() {
			if !returned {
				c.Fail(errExit)
			}
			c.mu.Lock()
			c.payload = nil
			c.mu.Unlock()
			x.answers.mu.Lock()
			x.answers.running[Holding]--
			x.answers.mu.Unlock()
		}()
		handle()
		returned = true
	})
}

// From is the node that calls.
func (c *Held) From() string { return c.to.node }

// Payload is what was sent with the call, until handle has returned.
func (c *Held) Payload() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.payload
}

// OnNote has f take the notes of the asker, also those that have come before: in order, one at a time.
func (c *Held) OnNote(f func(note []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onNote = f
	c.tell()
}

// OnEnd has f called, once, when nobody waits any more, behind the notes: at once if that is so.
func (c *Held) OnEnd(f func()) {
	c.mu.Lock()
	c.onEnd = f
	now := c.ends()
	c.mu.Unlock()
	if now != nil {
		now()
	}
}

// tell calls onNote for what waits, unless another goroutine does, and then onEnd, on a goroutine of its own, if
// nobody waits any more. c.mu must be held; it is released meanwhile.
func (c *Held) tell() {
	if c.telling || c.onNote == nil {
		return
	}
	c.telling = true
	for len(c.notes) > 0 && !c.done {
		note := c.notes[0]
		c.notes = c.notes[1:]
		c.bytes -= len(note)
		c.mu.Unlock()
		c.onNote(note)
		c.mu.Lock()
	}
	c.notes = nil
	c.telling = false
	if f := c.ends(); f != nil {
		c.x.Go(f)
	}
}

// ends returns onEnd if it is to be called now, and ends c with that. c.mu must be held.
func (c *Held) ends() (f func()) {
	if !c.over || c.done || c.telling || c.onEnd == nil {
		return nil
	}
	c.done = true
	return c.onEnd
}

// end says that nobody waits any more.
func (c *Held) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
	if f := c.ends(); f != nil {
		c.x.Go(f)
	}
}

// note takes a note of the asker. It reports whether there was room for it.
func (c *Held) note(note []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.notes) > 0 && (len(c.notes) >= MaxNotes || c.bytes+len(note) > MaxNoteBytes) {
		return false
	}
	c.notes = append(c.notes, note)
	c.bytes += len(note)
	c.tell()
	return true
}

// Answer answers with content, in pages, when there is room for them in the queue. An error means that nobody gets it.
func (c *Held) Answer(content []byte) error {
	return c.answer(func(a *Answer) error { return a.Send(content) })
}

// Fail ends the call with what has gone wrong, unless it was answered.
func (c *Held) Fail(err error) {
	defer c.Done()
	_ = c.answer(func(a *Answer) error {
		a.Fail(err)
		return nil
	})
}

// answer has send give the answer, if there was none.
func (c *Held) answer(send func(*Answer) error) error {
	ctx, cancel := context.WithCancel(c.x.ctx)
	defer cancel()
	c.mu.Lock()
	switch {
	case c.over || c.done:
		c.mu.Unlock()
		return errForgotten
	case c.answered:
		c.mu.Unlock()
		return errAnswered
	}
	c.answered, c.cancel = true, cancel
	c.mu.Unlock()
	err := send(&Answer{x: c.x, to: c.to, ctx: ctx})
	c.mu.Lock()
	c.cancel = nil
	c.mu.Unlock()
	return err
}

// Done forgets the call: nothing of it is told any more.
func (c *Held) Done() {
	c.x.answers.take(c.to)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
}

// take returns what is held for a call, and forgets it.
func (a *answers) take(to asker) *Held {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.held[to]
	delete(a.held, to)
	return c
}

// endHeld ends the call of an asker that does not wait any more.
func (x *Exchange) endHeld(to asker) {
	if c := x.answers.take(to); c != nil {
		c.end()
	}
}

// endHeldIf ends the calls of the nodes that have gone.
func (x *Exchange) endHeldIf(gone func(node string) bool) {
	var ended []*Held
	x.answers.mu.Lock()
	for to, c := range x.answers.held {
		if gone(to.node) {
			ended = append(ended, c)
			delete(x.answers.held, to)
		}
	}
	x.answers.mu.Unlock()
	for _, c := range ended {
		c.end()
	}
}

// noteHeld takes a note about a call. Too many that nobody takes end it.
func (x *Exchange) noteHeld(b *envelope.Broadcast) {
	to := asker{b.From, b.ID}
	x.answers.mu.Lock()
	c := x.answers.held[to]
	x.answers.mu.Unlock()
	if c == nil || c.note(b.Payload) {
		return
	}
	x.answers.mu.Lock()
	x.answers.refused++
	x.answers.mu.Unlock()
	x.Refuse(b, envelope.Busy, "")
	x.endHeld(to)
}

// askHeld is Ask for a held call. Where the link is new, a node that is not known may be met yet.
func (x *Exchange) askHeld(ctx context.Context, c *Call, b *envelope.Body) {
	x.add(c, []string{c.Only})
	c.sent = true
	err := context.Cause(ctx)
	if err == nil {
		err = x.cfg.Cluster.Post(b)
	}
	if errors.Is(err, ErrNode) {
		var cause error
		err = x.cfg.Cluster.Meet(ctx, b, func(_, _ []string, why error) bool {
			cause = why
			return false
		})
		if err == nil && ctx.Err() != nil {
			err = cause
		}
		if err == nil {
			err = x.cfg.Cluster.Post(b)
		}
	}
	if err != nil {
		x.notSent(c, err)
	}
}

// Note tells the node that holds c more about it, before its answer or behind it.
func (x *Exchange) Note(c *Call, note []byte) error {
	return x.cfg.Cluster.Post(&envelope.Body{
		Route:   envelope.ByNode,
		Payload: note,
		Request: envelope.Request{Kind: envelope.KindNote, ID: c.id, To: c.Only},
	})
}

// cancelHeld sends the cancellation of a held call: as soon as there is room, for no deadline ends the call there.
func (x *Exchange) cancelHeld(b *envelope.Body) {
	if err := x.cfg.Cluster.Publish(b); errors.Is(err, ErrOverflow) {
		x.calls.mu.Lock()
		defer x.calls.mu.Unlock()
		x.calls.unsent = append(x.calls.unsent, b)
	}
}

// TickHeld is to be called at every heartbeat: it has the broker say whether those are there for whom held calls
// wait, and sends what had no room.
func (x *Exchange) TickHeld() {
	x.calls.mu.Lock()
	var nodes []string
	if x.calls.probes {
		for node := range x.calls.held {
			nodes = append(nodes, node)
		}
	}
	unsent := x.calls.unsent
	x.calls.unsent = nil
	x.calls.mu.Unlock()
	for _, node := range nodes {
		if x.cfg.Cluster.Server(node) { // otherwise it is asked for until it is back
			x.cfg.Cluster.Probe(node)
		}
	}
	for _, b := range unsent {
		x.cancelHeld(b)
	}
}

// SetPresent says which nodes have neither left nor been given up: held calls do not wait for the others, and theirs are ended.
func (x *Exchange) SetPresent(nodes []string) {
	x.calls.mu.Lock()
	for _, c := range x.calls.pending {
		n := c.nodes[c.Only]
		if c.Held && n.waited && !slices.Contains(nodes, c.Only) {
			n.waited, n.err = false, ErrNode
			c.countDown()
		}
	}
	x.calls.mu.Unlock()
	x.endHeldIf(func(node string) bool { return !slices.Contains(nodes, node) })
}

// unhold notes that a held call of a node has ended. mu must be held.
func (k *calls) unhold(node string) {
	if k.held[node]--; k.held[node] == 0 {
		delete(k.held, node)
	}
}

// Sent reports whether the request of c is on its way.
func (c *Call) Sent() bool { return c.sent }
