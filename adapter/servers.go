package adapter

import (
	"context"
	"errors"
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
// dropped there, and counted. An error wraps [ErrOverflow], [ErrClosed] or ctx's, and means that nothing was sent.
func (r *Rooms) EmitToServers(ctx context.Context, payload []byte) error {
	return errors.ErrUnsupported
}

// CallServers gives payload to the handler for server events of all other nodes and returns what they answer, in the order of coming.
// Handlers of such events run concurrently. A node whose handler fails, or that has none, is among those that a [PartialError] names, and
// the error wraps a [*NodeError] for it.
func (r *Rooms) CallServers(ctx context.Context, payload []byte) ([]ServerAnswer, error) {
	return nil, errors.ErrUnsupported
}

// HandleServerEvents sets the function that takes the server events of other nodes, of all namespaces. It is called from goroutines of the
// Hub, those of its Close among what they are waited for by: it returns when ctx ends. ctx ends with the asker's patience.
// A panic is an error. Set it before nodes emit; a node without one answers [ErrUnknown].
func (h *Hub) HandleServerEvents(handle func(ctx context.Context, e ServerEvent) ([]byte, error)) {}

// Handle sets the function that answers the calls of a kind, which any node may make by [Hub.Call]. from is the caller's node. It is
// called as that of HandleServerEvents is.
func (h *Hub) Handle(kind string, handle func(ctx context.Context, from string, payload []byte) ([]byte, error)) {
}

// Call calls the handler of a kind on one node, which may be this one, and returns what it returns. An error is a [*NodeError] if it is that
// of the node: it wraps [ErrNode] if the node is not known or has gone, silent or not; [ErrUnknown] if it has no handler of this kind; [ErrBusy]; or has
// the text of the handler's error. Any other error is ctx's, [ErrClosed] or [ErrOverflow]. Without a deadline in ctx it takes [CallTimeout] at the most.
func (h *Hub) Call(ctx context.Context, node, kind string, payload []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
