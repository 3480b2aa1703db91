package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// The bounds of what a Hub does for others at a time. What is beyond is answered with ErrBusy.
const (
	maxLookups  = 256  // fetches, counts and lists of rooms
	maxHandlers = 256  // handlers of server events and calls that are answered
	maxChanges  = 4096 // joins, leaves and disconnections that are confirmed: most of the time, they wait for a fence
	maxAsks     = 4096 // broadcasts whose answers are collected

	maxPage     = 64 << 10 // bytes of a page of an answer; one item may be larger
	maxRefusals = 1 << 20  // bytes of answers without content, as refusals are, beyond the bound of the writer's queue: who waits should know
)

// answers are what this node does for others.
type answers struct {
	mu      sync.Mutex // guards what follows
	under   map[asker]*answer
	running [asking + 1]int        // by what is done
	events  map[string]*eventQueue // by node: those that wait for the handler
	refused uint64                 // requests that were answered with ErrBusy, and events that were dropped
}

// A duty is what a Hub does for others on a goroutine.
type duty int

const (
	lookup duty = iota
	handling
	changing
	asking
)

var maxDuties = [...]int{lookup: maxLookups, handling: maxHandlers, changing: maxChanges, asking: maxAsks}

// asker says whose request an answer is for.
type asker struct {
	node string
	id   uint64
}

// errExit is what the asker hears when what the program does for it ends its goroutine, as a test's Fatal does.
var errExit = errors.New("cluster: the goroutine has ended that was to answer")

// answer is one that is being given.
type answer struct {
	hub   *Hub
	to    asker
	ctx   context.Context // ends with the asker's patience or life, or with the Hub
	end   context.CancelFunc
	pages uint64
	buf   []byte // the page that is being written
}

func (a *answers) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.under) == 0
}

// leave ends the answers for nodes that have gone.
func (a *answers) leave(gone func(node string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for to, answer := range a.under {
		if gone(to.node) {
			answer.end()
		}
	}
}

// forget ends an answer that is not wanted any more.
func (a *answers) forget(to asker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer := a.under[to]; answer != nil {
		answer.end()
	}
}

// serve does what another node asks for. It is called on the receiving goroutine, in the place of the request among the broadcasts.
func (h *Hub) serve(b *envelope.Broadcast) {
	if b.Route == envelope.ByNode && b.To != h.node || b.Route == envelope.ByCluster && h.cfg.Client {
		return // the hashes of both nodes are the same; or it is for those with members
	}
	to := asker{b.From, b.ID}
	switch b.Kind {
	case envelope.KindAnswer:
		h.meshMu.Lock()
		alive := slices.Contains(h.machine.Servers(), b.From)
		h.meshMu.Unlock()
		h.calls.take(b, alive)
	case envelope.KindForget:
		h.answers.forget(to)
	case envelope.KindFetch, envelope.KindCount, envelope.KindRooms:
		h.begin(b, lookup, func(a *answer) { h.look(a, b) })
	case envelope.KindJoin, envelope.KindLeave, envelope.KindDisconnect:
		h.change(b)
	case envelope.KindAsk:
		h.collect(b)
	case envelope.KindTell:
		h.handOn(b)
	case envelope.KindEvent, envelope.KindCall:
		h.handle(b)
	default:
		h.refuse(to, envelope.Unknown, "")
	}
}

// duties are the goroutines on which a Hub does something for other nodes. Some of it is the program's: its end can be waited for, and not be
// promised.
type duties struct {
	group   sync.WaitGroup
	running atomic.Int64
}

func (d *duties) begin(do func()) {
	d.running.Add(1)
	d.group.Go(func() {
		defer d.running.Add(-1)
		do()
	})
}

// wait waits until all have ended, or ctx has. Nothing begins meanwhile, unless by one of them.
func (d *duties) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends with the last of them
		d.group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		if n := d.running.Load(); n > 0 {
			return fmt.Errorf("cluster: close: %d calls of the program for other nodes have not returned: %w", n, context.Cause(ctx))
		}
		<-done
	}
	return nil
}

// begin has do give an answer on a goroutine of its own, unless there are too many, or nobody wants it: what was lost of a node is repaired
// also when it has left. It reports whether it has.
func (h *Hub) begin(b *envelope.Broadcast, d duty, do func(*answer)) bool {
	if b.ID == 0 {
		return false
	}
	h.meshMu.Lock()
	wanted := slices.Contains(h.askers(), b.From)
	h.meshMu.Unlock()
	if !wanted {
		return false
	}
	a := &answer{hub: h, to: asker{b.From, b.ID}}
	h.answers.mu.Lock()
	if h.answers.running[d] >= maxDuties[d] || h.answers.under[a.to] != nil {
		h.answers.refused++
		h.answers.mu.Unlock()
		h.refuse(a.to, envelope.Busy, "")
		return false
	}
	a.ctx, a.end = context.WithTimeout(h.ctx, b.Left)
	h.answers.running[d]++
	h.answers.under[a.to] = a
	h.answers.mu.Unlock()
	h.duties.begin(func() {
		returned := false
		defer func() {
			if !returned {
				a.fail(errExit)
			}
			a.end()
			h.answers.mu.Lock()
			h.answers.running[d]--
			delete(h.answers.under, a.to)
			h.answers.mu.Unlock()
		}()
		do(a)
		returned = true
	})
	return true
}

// refuse answers a request that is not carried out, or fails at once.
func (h *Hub) refuse(to asker, status envelope.Status, text string) {
	if to.id != 0 {
		_ = h.publish(answerBody(to, envelope.Answer{Status: status, Text: text}, nil)) // what has no room even so, the asker's deadline ends
	}
}

// number answers a request with a number, at once if there is room for that in the queue.
func (h *Hub) number(b *envelope.Broadcast, n int) {
	if b.ID == 0 {
		return
	}
	content := envelope.AppendNumber(nil, uint64(n))
	if err := h.publish(answerBody(asker{b.From, b.ID}, envelope.Answer{}, content)); errors.Is(err, ErrOverflow) {
		h.begin(b, lookup, func(a *answer) {
			a.buf = content
			_ = a.flush(false) // an error means that nobody waits for it
		})
	}
}

func answerBody(to asker, a envelope.Answer, content []byte) *envelope.Body {
	return &envelope.Body{
		Route:   envelope.ByNode,
		Payload: content,
		Request: envelope.Request{Kind: envelope.KindAnswer, ID: to.id, To: to.node, Arg: a.Append(nil)},
	}
}

// add adds an item to the answer: to its page, or to the next one if this one is full. An error means that nobody waits for more.
func (a *answer) add(item []byte) error {
	if len(a.buf) > 0 && len(a.buf)+len(item) > maxPage {
		if err := a.flush(true); err != nil {
			return err
		}
	}
	a.buf = append(a.buf, item...)
	return nil
}

// flush sends the page that has been written, when there is room for it in the queue. more says that others follow.
func (a *answer) flush(more bool) error {
	err := a.send(envelope.Answer{Page: a.pages, More: more}, a.buf)
	a.pages++
	a.buf = a.buf[:0]
	return err
}

// fail ends the answer with what has gone wrong.
func (a *answer) fail(err error) {
	status := envelope.Answer{Page: a.pages, Status: envelope.Failed, Text: err.Error()}
	if errors.Is(err, ErrUnknown) {
		status.Status = envelope.Unknown
	}
	_ = a.send(status, nil)
}

// busy ends an answer of which something was dropped.
func (a *answer) busy() {
	a.hub.answers.mu.Lock()
	a.hub.answers.refused++
	a.hub.answers.mu.Unlock()
	_ = a.send(envelope.Answer{Page: a.pages, Status: envelope.Busy}, nil)
}

func (a *answer) send(status envelope.Answer, content []byte) error {
	b := answerBody(a.to, status, content)
	for {
		if err := context.Cause(a.ctx); err != nil {
			return err
		}
		if err := a.hub.writer.room(a.ctx, len(content)); err != nil {
			return err
		}
		switch err := a.hub.publish(b); {
		case errors.Is(err, ErrTooLarge):
			a.fail(err) // which is small
			return err
		case !errors.Is(err, ErrOverflow):
			return err
		}
	}
}
