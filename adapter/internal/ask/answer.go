package ask

import (
	"context"
	"errors"
	"sync"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// The bounds of what a node does for others at a time. What is beyond is answered with ErrBusy.
const (
	MaxLookups    = 256  // fetches, counts and lists of rooms
	MaxHandlers   = 256  // handlers of server events and calls that are answered
	MaxChanges    = 4096 // joins, leaves and disconnections that are confirmed: most of the time, they wait for a fence
	MaxCollecting = 4096 // broadcasts whose answers are collected
	MaxHolding    = 4096 // handlers of held calls that have not returned

	MaxPage = 64 << 10 // bytes of a page of an answer; one item may be larger
)

// answers are what this node does for others.
type answers struct {
	mu      sync.Mutex // guards what follows
	byAsker map[asker]*Answer
	held    map[asker]*Held
	running [Holding + 1]int // by what is done
	refused uint64           // requests that were answered with ErrBusy
}

// A Duty is what a node does for others on a goroutine.
type Duty int

const (
	Lookup Duty = iota
	Handling
	Changing
	Collecting
	Holding
)

var maxDuties = [...]int{Lookup: MaxLookups, Handling: MaxHandlers, Changing: MaxChanges, Collecting: MaxCollecting, Holding: MaxHolding}

// asker says whose request an answer is for.
type asker struct {
	node string
	id   uint64
}

// errExit is what the asker hears when what the program does for it ends its goroutine, as a test's Fatal does.
var errExit = errors.New("cluster: the handler ended its goroutine without an answer")

// An Answer is one that is being given, by one goroutine.
type Answer struct {
	x      *Exchange
	to     asker
	ctx    context.Context // ends with the asker's patience or life, or with the node
	cancel context.CancelFunc
	pages  uint64
	buf    []byte // the page that is being written
}

// cancelAll cancels the answers for nodes that have gone.
func (a *answers) cancelAll(gone func(node string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for to, answer := range a.byAsker {
		if gone(to.node) {
			answer.cancel()
		}
	}
}

// cancel ends the work on an answer that is not wanted any more.
func (a *answers) cancel(to asker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer := a.byAsker[to]; answer != nil {
		answer.cancel()
	}
}

// Answer has do answer a request on a goroutine of its own, unless there are too many, or nobody wants it: what was lost of a node is repaired
// also when it has left. It reports whether it has.
func (x *Exchange) Answer(b *envelope.Broadcast, d Duty, do func(*Answer)) bool {
	if b.ID == 0 || !x.cfg.Cluster.Asker(b.From) {
		return false
	}
	a := &Answer{x: x, to: asker{b.From, b.ID}}
	x.answers.mu.Lock()
	if x.answers.running[d] >= maxDuties[d] || x.answers.byAsker[a.to] != nil {
		x.answers.refused++
		x.answers.mu.Unlock()
		x.Refuse(b, envelope.Busy, "")
		return false
	}
	a.ctx, a.cancel = context.WithTimeout(x.ctx, b.Left)
	x.answers.running[d]++
	x.answers.byAsker[a.to] = a
	x.answers.mu.Unlock()
	x.Go(func() {
		returned := false
		defer func() {
			if !returned {
				a.Fail(errExit)
			}
			a.cancel()
			x.answers.mu.Lock()
			x.answers.running[d]--
			delete(x.answers.byAsker, a.to)
			x.answers.mu.Unlock()
		}()
		do(a)
		returned = true
	})
	return true
}

// Refuse answers a request that is not carried out, or fails at once.
func (x *Exchange) Refuse(b *envelope.Broadcast, status envelope.Status, text string) {
	if b.ID != 0 {
		_ = x.cfg.Cluster.Publish(answerBody(asker{b.From, b.ID}, envelope.AnswerHeader{Status: status, Text: text}, nil)) // what has no room even so, the asker's deadline ends
	}
}

// AnswerNumber answers a request with a number, at once if there is room for that in the queue.
func (x *Exchange) AnswerNumber(b *envelope.Broadcast, n int) {
	if b.ID == 0 {
		return
	}
	content := envelope.AppendNumber(nil, uint64(n))
	if err := x.cfg.Cluster.Publish(answerBody(asker{b.From, b.ID}, envelope.AnswerHeader{}, content)); errors.Is(err, ErrOverflow) {
		x.Answer(b, Lookup, func(a *Answer) {
			a.buf = content
			_ = a.Flush(false) // an error means that nobody waits for it
		})
	}
}

func answerBody(to asker, a envelope.AnswerHeader, content []byte) *envelope.Body {
	return &envelope.Body{
		Route:   envelope.ByNode,
		Payload: content,
		Request: envelope.Request{Kind: envelope.KindAnswer, ID: to.id, To: to.node, Arg: a.Append(nil)},
	}
}

// Add adds an item to the answer: to its page, or to the next one if this one is full. An error means that nobody waits for more.
func (a *Answer) Add(item []byte) error {
	if len(a.buf) > 0 && len(a.buf)+len(item) > MaxPage {
		if err := a.Flush(true); err != nil {
			return err
		}
	}
	a.buf = append(a.buf, item...)
	return nil
}

// Flush sends the page that has been written, when there is room for it in the queue. more says that others follow.
func (a *Answer) Flush(more bool) error {
	err := a.sendPage(envelope.AnswerHeader{Page: a.pages, More: more}, a.buf)
	a.pages++
	a.buf = a.buf[:0]
	return err
}

// Fail ends the answer with what has gone wrong.
func (a *Answer) Fail(err error) {
	status := envelope.AnswerHeader{Page: a.pages, Status: envelope.Failed, Text: err.Error()}
	if errors.Is(err, ErrUnknown) {
		status.Status = envelope.Unknown
	}
	_ = a.sendPage(status, nil)
}

// Busy ends an answer of which something was dropped.
func (a *Answer) Busy() {
	a.x.answers.mu.Lock()
	a.x.answers.refused++
	a.x.answers.mu.Unlock()
	_ = a.sendPage(envelope.AnswerHeader{Page: a.pages, Status: envelope.Busy}, nil)
}

func (a *Answer) sendPage(status envelope.AnswerHeader, content []byte) error {
	b := answerBody(a.to, status, content)
	for {
		if err := context.Cause(a.ctx); err != nil {
			return err
		}
		if err := a.x.cfg.Cluster.Room(a.ctx, len(content)); err != nil {
			return err
		}
		switch err := a.x.cfg.Cluster.Publish(b); {
		case errors.Is(err, ErrTooLarge):
			a.Fail(err) // which is small
			return err
		case !errors.Is(err, ErrOverflow):
			return err
		}
	}
}

// Context ends when nobody waits for the answer any more: with the asker's patience or life, or with the node.
func (a *Answer) Context() context.Context { return a.ctx }

// Send answers with content, in pages. An error means that nobody waits for it.
func (a *Answer) Send(content []byte) error {
	for len(content) > MaxPage {
		a.buf = content[:MaxPage]
		content = content[MaxPage:]
		if err := a.Flush(true); err != nil {
			return err
		}
	}
	a.buf = content
	return a.Flush(false)
}
