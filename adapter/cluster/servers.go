package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A ServerEvent is what a node says to the other nodes' programs, in a namespace.
type ServerEvent struct {
	Node      string // whose it is
	Namespace string
	Payload   []byte // the handler's
	Answer    bool   // an answer is waited for: what the handler returns; otherwise nobody gets it, and an error is logged
}

// A ServerAnswer is what the handler of another node has returned for a ServerEvent.
type ServerAnswer struct {
	Node    string
	Payload []byte // the caller's
}

// EmitToServers gives payload to the handler for server events of all other nodes, as an event of this namespace. It does not wait for
// them. Events of one node come to each handler in their order, one at a time; more than 1,024 or 4 MiB that wait for a handler are
// dropped there, and counted. An error wraps [ErrOverflow], [ErrTooLarge], [adapter.ErrClosed] or
// ctx's, and means that nothing was sent.
func (r *Rooms) EmitToServers(ctx context.Context, payload []byte) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("cluster: emit to servers: %w", err)
	}
	if r.hub.machine == nil {
		return r.Closed()
	}
	b := r.request(envelope.KindEvent, nil, nil, 0)
	b.Payload = payload
	return r.hub.publish(b)
}

// CallServers gives payload to the handler for server events of all other nodes and returns what they answer, in the order of coming.
// Handlers of such events run concurrently. A node whose handler fails, or that has none, is among those that a [PartialError] names, and
// the error wraps a [*NodeError] for it.
func (r *Rooms) CallServers(ctx context.Context, payload []byte) ([]ServerAnswer, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(envelope.KindEvent, nil, nil, left)
	b.Payload = payload
	var answers []ServerAnswer
	c := r.hub.newCall(func(from string, n *asked, content []byte, last bool) error {
		n.buf = append(n.buf, content...)
		if last {
			answers = append(answers, ServerAnswer{Node: from, Payload: n.buf})
		}
		return nil
	})
	r.hub.ask(ctx, c, b, true)
	r.hub.wait(ctx, c, b)
	return answers, c.partial(0)
}

// Call calls the handler of a kind on one node, which may be this one, and returns what it returns. An error is a [*NodeError] if it is
// the node's: it wraps [ErrNode] if the node is not known, is silent or has gone; [ErrUnknown] if it has no handler of this kind;
// [ErrBusy]; or it has the text of the handler's error. Otherwise it wraps ctx's, [adapter.ErrClosed], [ErrOverflow] or [ErrTooLarge]. Without a deadline in ctx a
// call takes [CallTimeout] at the most.
func (h *Hub) Call(ctx context.Context, node, kind string, payload []byte) ([]byte, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	if node == h.node {
		out, err := h.handlers.call(ctx, node, kind, payload)
		if err != nil {
			return nil, &NodeError{node, err}
		}
		return out, nil
	}
	if h.machine == nil || !validNode(node) {
		return nil, &NodeError{node, ErrNode}
	}
	var out []byte
	c := h.newCall(func(_ string, _ *asked, content []byte, _ bool) error {
		out = append(out, content...)
		return nil
	})
	c.only = node
	b := &envelope.Body{
		Route:   envelope.ByNode,
		Payload: payload,
		Request: envelope.Request{Kind: envelope.KindCall, To: node, Left: left, Arg: []byte(kind)},
	}
	h.ask(ctx, c, b, false)
	h.wait(ctx, c, b)
	switch n := c.nodes[node]; {
	case n.err != nil:
		return nil, &NodeError{node, n.err}
	case !n.done:
		return nil, fmt.Errorf("cluster: call node %s: %w", node, c.cause)
	}
	return out, nil
}

// handlers are what the program does for other nodes.
type handlers struct {
	mu    sync.RWMutex // guards what follows
	event func(ctx context.Context, e ServerEvent) ([]byte, error)
	calls map[string]func(ctx context.Context, from string, payload []byte) ([]byte, error)
}

// HandleServerEvents sets the function that takes the server events of other nodes, of all namespaces. It is called from goroutines of the
// Hub, which Close waits for: it is to return when ctx ends. That is when the asker does not wait any more, or with Close. An error that
// wraps [ErrUnknown] says that nothing here handles the event; any other reaches the asker as its text, and so does a panic. Set it before
// other nodes emit: a node without one answers ErrUnknown.
func (h *Hub) HandleServerEvents(handle func(ctx context.Context, e ServerEvent) ([]byte, error)) {
	h.handlers.mu.Lock()
	defer h.handlers.mu.Unlock()
	h.handlers.event = handle
}

// Handle sets the function that answers the calls of a kind, which any node may make by [Hub.Call]. from is the caller's node, payload the
// function's. It is called as that of HandleServerEvents is; for a call of this node itself, from the caller's goroutine.
func (h *Hub) Handle(kind string, handle func(ctx context.Context, from string, payload []byte) ([]byte, error)) {
	h.handlers.mu.Lock()
	defer h.handlers.mu.Unlock()
	if h.handlers.calls == nil {
		h.handlers.calls = make(map[string]func(context.Context, string, []byte) ([]byte, error))
	}
	h.handlers.calls[kind] = handle
}

func (h *handlers) call(ctx context.Context, from, kind string, payload []byte) ([]byte, error) {
	h.mu.RLock()
	handle := h.calls[kind]
	h.mu.RUnlock()
	if handle == nil {
		return nil, ErrUnknown
	}
	return guard(func() ([]byte, error) { return handle(ctx, from, payload) })
}

func (h *handlers) tell(ctx context.Context, e ServerEvent) ([]byte, error) {
	h.mu.RLock()
	handle := h.event
	h.mu.RUnlock()
	if handle == nil {
		return nil, ErrUnknown
	}
	return guard(func() ([]byte, error) { return handle(ctx, e) })
}

// A panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func guard(handle func() ([]byte, error)) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, &panicError{p, debug.Stack()}
		}
	}()
	return handle()
}

// handle hands a server event or a call to its handler.
func (h *Hub) handle(b *envelope.Broadcast) {
	e := ServerEvent{Node: b.From, Namespace: b.Namespace, Payload: b.Payload, Answer: b.ID != 0}
	if b.Kind == envelope.KindEvent && !e.Answer {
		h.queue(e)
		return
	}
	h.begin(b, handling, func(a *answer) {
		var out []byte
		var err error
		if b.Kind == envelope.KindCall {
			out, err = h.handlers.call(a.ctx, b.From, string(b.Arg), b.Payload)
		} else {
			out, err = h.handlers.tell(a.ctx, e)
		}
		if err != nil {
			h.report(e, err)
			a.fail(err)
			return
		}
		for len(out) > maxPage {
			a.buf = out[:maxPage]
			out = out[maxPage:]
			if a.flush(true) != nil {
				return
			}
		}
		a.buf = out
		_ = a.flush(false) // an error means that nobody waits for it
	})
}

// report logs what the node that asked cannot see.
func (h *Hub) report(e ServerEvent, err error) {
	var p *panicError
	switch {
	case errors.As(err, &p):
		h.cfg.Logger.Error("belfry: a handler for other nodes panicked", "namespace", e.Namespace, "from", e.Node, "error", err, "stack", string(p.stack))
	case !e.Answer && !errors.Is(err, ErrUnknown):
		h.cfg.Logger.Error("belfry: a server event", "namespace", e.Namespace, "from", e.Node, "error", err)
	}
}

// The bounds of the events of one node that wait for the handler. One is always accepted.
const (
	maxServerEvents     = 1024
	maxServerEventBytes = 4 << 20
)

// eventQueue are the events of one node that wait for the handler. Where there are some, a goroutine handles them.
type eventQueue struct {
	list  []ServerEvent
	bytes int
}

// queue has the handler take an event, behind those of the same node.
func (h *Hub) queue(e ServerEvent) {
	h.answers.mu.Lock()
	defer h.answers.mu.Unlock()
	q := h.answers.events[e.Node]
	if q == nil {
		q = new(eventQueue)
		h.answers.events[e.Node] = q
		h.duties.begin(func() { h.drain(e.Node, q) })
	}
	if len(q.list) > 0 && (len(q.list) >= maxServerEvents || q.bytes+len(e.Payload) > maxServerEventBytes) {
		h.answers.refused++
		return
	}
	q.list = append(q.list, e)
	q.bytes += len(e.Payload)
}

// drain handles the events of a node until there are none, or the Hub ends.
func (h *Hub) drain(node string, q *eventQueue) {
	returned := false
	defer func() {
		if !returned { // a handler has ended its goroutine
			h.duties.begin(func() { h.drain(node, q) })
		}
	}()
	for {
		h.answers.mu.Lock()
		if len(q.list) == 0 || h.ctx.Err() != nil {
			delete(h.answers.events, node)
			h.answers.mu.Unlock()
			returned = true
			return
		}
		e := q.list[0]
		q.list[0] = ServerEvent{}
		q.list = q.list[1:]
		q.bytes -= len(e.Payload)
		h.answers.mu.Unlock()
		if _, err := h.handlers.tell(h.ctx, e); err != nil {
			h.report(e, err)
		}
	}
}
