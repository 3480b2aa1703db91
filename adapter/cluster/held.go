package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A Held is a call of another node, which is answered now or later. No goroutine waits with it, and
// no timer. Its methods may be called concurrently.
type Held struct {
	hub  *Hub
	call ask.Held
}

// HandleHeld sets the function that takes the calls of a kind which other nodes make by
// [Hub.CallHeld]. It runs on a goroutine of its own, which Close waits for, and may return before
// the call is answered. At most 4,096 run at a time: further calls fail with ErrBusy. A panic before
// the answer fails the call.
//
// The call is held until Done, Fail, or its end: see OnEnd.
func (h *Hub) HandleHeld(kind string, handle func(*Held)) {
	h.handlers.mu.Lock()
	defer h.handlers.mu.Unlock()
	if h.handlers.held == nil {
		h.handlers.held = make(map[string]func(*Held))
	}
	h.handlers.held[kind] = handle
}

// holding returns the function that takes the calls of a kind which are held; nil if there is none.
func (h *handlers) holding(kind string) func(*Held) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.held[kind]
}

// hold hands a call to its handler.
func (h *Hub) hold(b *envelope.Broadcast, handle func(*Held)) {
	c := &Held{hub: h}
	h.ask.Hold(b, &c.call, func() {
		if p := guard(func() { handle(c) }); p != nil {
			h.report(ServerEvent{Node: b.From, Answer: true}, p)
			c.Fail(p)
		}
	})
}

// From is the id of the node that calls.
func (c *Held) From() string { return c.call.From() }

// Payload is what the node has sent with the call. It is the handler's, and nil once the handler
// has returned.
func (c *Held) Payload() []byte { return c.call.Payload() }

// OnNote sets the function that takes what the asker says about the call, before or after the
// answer: in order, one note at a time. It must not block; note is its own. It is to be set before
// the handler returns. Notes that come earlier wait for it: at most 1,024 notes or 1 MiB, and one
// more ends the call.
func (c *Held) OnNote(f func(note []byte)) {
	c.call.OnNote(func(note []byte) { c.guard("OnNote", func() { f(note) }) })
}

// OnEnd sets the function that is called once, behind the notes, when nobody waits for the call any
// more, unless Done comes first: when the asker has cancelled it, has left or was given up, or when
// the Hub closes. An asker that is only suspect still waits. f is called at once if that has
// happened already, otherwise on a goroutine of its own, which Close waits for. It is to be set
// before the handler returns.
func (c *Held) OnEnd(f func()) {
	c.call.OnEnd(func() { c.guard("OnEnd", f) })
}

// guard calls a function of the program.
func (c *Held) guard(name string, f func()) {
	if p := guard(f); p != nil {
		c.hub.log.Error("belfry: "+name+" of a held call panicked", "from", c.From(), "error", p, "stack", string(p.stack))
	}
}

// Answer sends the answer. It works once, waits until there is room in the queue to the broker, and
// does not keep content. An error means that nobody gets the answer. The call is still held: the
// asker may have more to say.
func (c *Held) Answer(content []byte) error { return c.call.Answer(content) }

// Fail ends the call. If it was not answered, the asker gets the text of err, or ErrUnknown if err
// wraps that. It waits as Answer does.
func (c *Held) Fail(err error) { c.call.Fail(err) }

// Done forgets the call: no note and no end comes any more, but for one that is being told at the
// moment. An answer that is not given yet reaches nobody.
func (c *Held) Done() { c.call.Done() }

// forever is longer than anybody waits.
const forever = time.Duration(math.MaxInt64)

// CallHeld calls the handler of a kind on another node, as [Hub.Call] does, and waits for as long as
// ctx lasts, whatever that takes: see [Hub.HandleHeld]. It waits also while the node is suspect, which
// answers when it is back. note tells that node more about the call, in order, after the
// answer; it is nil with an error. It may be called at any time and concurrently, does not block,
// and keeps nothing. Its error means that the node does not get the note. A node that
// has finished with the call ignores it.
//
// sent, if it is not nil, is called once, on the caller's goroutine, when the call is on its way.
// Its note works from then on.
//
// The end of ctx cancels the call: the node is told, unless its answer has come. Errors are as of
// Call, but ErrNode says that the node is unknown, has left, or was given up. An answer that was lost
// for good, as [HubConfig.OnLoss] tells, never comes.
func (h *Hub) CallHeld(ctx context.Context, node, kind string, payload []byte, sent func(note func([]byte) error)) (
	answer []byte, note func([]byte) error, err error,
) {
	if h.machine == nil || !validNode(node) || node == h.node {
		return nil, nil, h.nodeError(node, ErrNode)
	}
	c := h.ask.New(func(p ask.Page) error {
		answer = append(answer, p.Content...)
		return nil
	})
	c.Only, c.Held = node, true
	note = func(content []byte) error {
		err := h.ask.Note(c, content)
		if errors.Is(err, ErrNode) {
			err = h.nodeError(node, err)
		}
		return err
	}
	b := &envelope.Body{
		Route:   envelope.ByNode,
		Payload: payload,
		Request: envelope.Request{Kind: envelope.KindCall, To: node, Left: forever, Arg: []byte(kind)},
	}
	if h.ask.Ask(ctx, c, b, true); c.Sent() && sent != nil {
		sent(note)
	}
	h.ask.Wait(ctx, c, b)
	switch missing := c.Missing(); {
	case len(missing) == 0:
		return answer, note, nil
	case missing[0].Err != nil:
		return nil, nil, h.nodeError(node, missing[0].Err)
	case errors.Is(c.Cause, ErrNode):
		return nil, nil, h.nodeError(node, c.Cause)
	}
	return nil, nil, fmt.Errorf("cluster: call node %s: %w", label(node, h.names(node)[0]), c.Cause)
}
