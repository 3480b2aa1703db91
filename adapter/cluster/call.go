package cluster

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// Call calls the handler of a kind on one node, which may be this one, and returns its result.
// Without a deadline in ctx a call takes at most [CallTimeout].
//
// If the node fails, the error is a [*NodeError]. It wraps [ErrNode] if the node is unknown, silent
// or has gone, [ErrUnknown] if it has no handler of this kind, or [ErrBusy]; otherwise it has the
// text of the handler's error. Any other error wraps ctx's error, [adapter.ErrClosed],
// [ErrOverflow] or [ErrTooLarge].
func (h *Hub) Call(ctx context.Context, node, kind string, payload []byte) ([]byte, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	if node == h.node {
		out, err := h.handlers.call(ctx, node, kind, payload)
		if err != nil {
			return nil, h.nodeError(node, err)
		}
		return out, nil
	}
	if h.machine == nil || !validNode(node) {
		return nil, h.nodeError(node, ErrNode)
	}
	var out []byte
	c := h.ask.New(func(p ask.Page) error {
		out = append(out, p.Content...)
		return nil
	})
	c.Only = node
	b := &envelope.Body{
		Route:   envelope.ByNode,
		Payload: payload,
		Request: envelope.Request{Kind: envelope.KindCall, To: node, Left: left, Arg: []byte(kind)},
	}
	h.ask.Ask(ctx, c, b, false)
	h.ask.Wait(ctx, c, b)
	switch missing := c.Missing(); {
	case len(missing) == 0:
		return out, nil
	case missing[0].Err != nil:
		return nil, h.nodeError(node, missing[0].Err)
	}
	return nil, fmt.Errorf("cluster: call node %s: %w", label(node, h.names(node)[0]), c.Cause)
}

// Handle sets the function that answers the calls of a kind, which any node may make by [Hub.Call].
// from is the calling node; payload is the function's. It is called as that of OnServerSide
// is, or, for a call of this node, on the caller's goroutine.
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
	return attempt(func() ([]byte, error) { return handle(ctx, from, payload) })
}

// serveCall hands a call to its handler.
func (h *Hub) serveCall(b *envelope.Broadcast) {
	if handle := h.handlers.holding(string(b.Arg)); handle != nil {
		h.hold(b, handle)
		return
	}
	h.answerByHandler(b, ServerEvent{Node: b.From, Namespace: b.Namespace, Answer: true}, func(ctx context.Context) ([]byte, error) {
		return h.handlers.call(ctx, b.From, string(b.Arg), b.Payload)
	})
}
