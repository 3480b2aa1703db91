package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A ServerEvent is an event from one node's program to those of the other nodes, in a namespace.
type ServerEvent struct {
	Node      string // whose it is
	Namespace string
	Payload   []byte // the handler's
	Trace     []byte // the context of the emitter's trace; nil for none
	Answer    bool   // the emitter waits for the handler's result; otherwise that is dropped, and an error is logged
}

// A ServerAnswer is the result of another node's handler for a [ServerEvent].
type ServerAnswer struct {
	Node    string
	Payload []byte // the caller's
}

// ServerSideEmit passes payload to the handler for server events of all other nodes, as an event of
// this namespace. trace is the context of a trace, for [ServerEvent], of at most MaxTrace bytes; a
// longer one is left out. It does not wait for them. Each handler gets the events of one node in
// order, one at a time. Beyond 1,024 events or 4 MiB that wait for a handler, its node drops further
// ones, and counts them. An error wraps [ErrOverflow], [ErrTooLarge], [adapter.ErrClosed] or ctx's
// error, and means that nothing was sent.
func (r *Rooms) ServerSideEmit(ctx context.Context, payload, trace []byte) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("cluster: emit to servers: %w", err)
	}
	if r.hub.machine == nil {
		return r.Closed()
	}
	_, err := r.hub.publish(r.request(envelope.KindServerSideEmit, Broadcast{Payload: payload, Trace: trace}, 0))
	return err
}

// ServerSideEmitWithAck passes payload to the handler for server events of all other nodes, and
// returns their answers in the order of arrival. Handlers of such events run concurrently. A
// [PartialError] names the nodes whose handler fails, or that have none, and wraps a [*NodeError]
// for each.
func (r *Rooms) ServerSideEmitWithAck(ctx context.Context, payload, trace []byte) ([]ServerAnswer, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(envelope.KindServerSideEmit, Broadcast{Payload: payload, Trace: trace}, left)
	var answers []ServerAnswer
	parts := make(map[string][]byte)
	c := r.hub.ask.New(func(p ask.Page) error {
		parts[p.From] = append(parts[p.From], p.Content...)
		if p.Last {
			answers = append(answers, ServerAnswer{Node: p.From, Payload: parts[p.From]})
			delete(parts, p.From)
		}
		return nil
	})
	r.hub.ask.Ask(ctx, c, b, true)
	r.hub.ask.Wait(ctx, c, b)
	return answers, r.hub.incomplete(c, 0)
}

// OnServerSide sets the function that handles the server events of other nodes, of all
// namespaces. It is called from goroutines of the Hub, which Close waits for, and must return when
// ctx ends: with Close, or when the asker no longer waits. An error that wraps [ErrUnknown] says
// that there is no handler for the event. Any other error reaches the asker as its text, and so
// does a panic. Set it before other nodes emit: a node without one answers ErrUnknown.
func (h *Hub) OnServerSide(handle func(ctx context.Context, e ServerEvent) ([]byte, error)) {
	h.handlers.mu.Lock()
	defer h.handlers.mu.Unlock()
	h.handlers.onServerSide = handle
}

func (h *handlers) serverSide(ctx context.Context, e ServerEvent) ([]byte, error) {
	h.mu.RLock()
	handle := h.onServerSide
	h.mu.RUnlock()
	if handle == nil {
		return nil, ErrUnknown
	}
	return attempt(func() ([]byte, error) { return handle(ctx, e) })
}

// serveServerSideEmit hands a server event to its handler.
func (h *Hub) serveServerSideEmit(b *envelope.Broadcast) {
	e := ServerEvent{Node: b.From, Namespace: b.Namespace, Payload: b.Payload, Trace: b.Trace, Answer: b.ID != 0}
	if !e.Answer {
		h.queueServerEvent(e)
		return
	}
	h.answerByHandler(b, e, func(ctx context.Context) ([]byte, error) { return h.handlers.serverSide(ctx, e) })
}

// The bounds of the events of one node that wait for the handler. One is always accepted.
const (
	maxServerEvents     = 1024
	maxServerEventBytes = 4 << 20
)

// serverEvents are those that wait for the handler.
type serverEvents struct {
	dropped atomic.Uint64

	mu     sync.Mutex             // guards what follows
	queues map[string]*eventQueue // by node
}

// eventQueue are the events of one node that wait for the handler. Where there are some, a
// goroutine handles them.
type eventQueue struct {
	list  []ServerEvent
	bytes int
}

// queueServerEvent has the handler take an event, behind those of the same node.
func (h *Hub) queueServerEvent(e ServerEvent) {
	h.events.mu.Lock()
	defer h.events.mu.Unlock()
	q := h.events.queues[e.Node]
	if q == nil {
		q = new(eventQueue)
		h.events.queues[e.Node] = q
		h.ask.Go(func() { h.handleServerEvents(e.Node, q) })
	}
	if len(q.list) > 0 && (len(q.list) >= maxServerEvents || q.bytes+len(e.Payload) > maxServerEventBytes) {
		h.events.dropped.Add(1)
		return
	}
	q.list = append(q.list, e)
	q.bytes += len(e.Payload)
}

// handleServerEvents handles the events of a node until there are none, or the Hub ends.
func (h *Hub) handleServerEvents(node string, q *eventQueue) {
	returned := false
	defer func() {
		if !returned { // a handler has ended its goroutine
			h.ask.Go(func() { h.handleServerEvents(node, q) })
		}
	}()
	for {
		h.events.mu.Lock()
		if len(q.list) == 0 || h.ctx.Err() != nil {
			delete(h.events.queues, node)
			h.events.mu.Unlock()
			returned = true
			return
		}
		e := q.list[0]
		q.list[0] = ServerEvent{}
		q.list = q.list[1:]
		q.bytes -= len(e.Payload)
		h.events.mu.Unlock()
		if _, err := h.handlers.serverSide(h.ctx, e); err != nil {
			h.report(e, err)
		}
	}
}
