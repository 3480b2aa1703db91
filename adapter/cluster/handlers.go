package cluster

import (
	"context"
	"errors"
	"sync"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// handlers are what the program does for other nodes.
type handlers struct {
	mu           sync.RWMutex // guards what follows
	onServerSide func(ctx context.Context, e ServerEvent) ([]byte, error)
	calls        map[string]func(ctx context.Context, from string, payload []byte) ([]byte, error)
	held         map[string]func(*Held)
}

// attempt runs a handler. A panic is an error, a *panicError.
func attempt(handle func() ([]byte, error)) (out []byte, err error) {
	if p := guard(func() { out, err = handle() }); p != nil {
		return nil, p
	}
	return out, err
}

// answerByHandler answers a request by what a handler returns.
func (h *Hub) answerByHandler(b *envelope.Broadcast, e ServerEvent, do func(context.Context) ([]byte, error)) {
	h.ask.Answer(b, ask.Handling, func(a *ask.Answer) {
		out, err := do(a.Context())
		if err != nil {
			h.report(e, err)
			a.Fail(err)
			return
		}
		_ = a.Send(out) // an error means that nobody waits for it
	})
}

// report logs what the node that asked cannot see.
func (h *Hub) report(e ServerEvent, err error) {
	var p *panicError
	switch {
	case errors.As(err, &p):
		h.log.Error("belfry: a handler for other nodes panicked", "namespace", e.Namespace, "from", e.Node, "error", err, "stack", string(p.stack))
	case !e.Answer && !errors.Is(err, ErrUnknown):
		h.log.Error("belfry: a server event", "namespace", e.Namespace, "from", e.Node, "error", err)
	}
}
