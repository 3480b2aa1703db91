package wsserver

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// hooks are what a program sets on a [Namespace] for all its sockets, or on a [ParentNamespace] for
// all its children: both have them, and the methods that set them. What runs is [collect]ed.
type hooks struct {
	listen func() // called when handlers of room events were set, or taken back

	outgoing atomic.Pointer[list[func(*Socket, *OutgoingEvent)]] // nil while nobody listens; changes under mu

	mu            sync.RWMutex // guards what follows
	use           list[func(context.Context, *Socket) error]
	connect       list[func(context.Context, *Socket) error]
	disconnecting list[func(context.Context, *Socket, error)]
	disconnect    list[func(context.Context, *Socket, error)]
	any           list[Handler]
	handlers      map[string]list[Handler]
	room          list[roomHook]
	serverSide    map[string]list[ServerHandler]
}

// Use adds a middleware: a function that decides whether a client may connect. Middlewares run in
// the order in which they were added, on a goroutine of the client, which they may block. ctx ends
// when the client goes away. The socket is not connected yet: it has no rooms, gets no broadcasts,
// and its Emit returns ErrNotConnected. Handlers may be set on it.
//
// The first error refuses the client. The client gets the error's text, or the fields of a
// [*ConnectError] in its chain, and no further middleware or handler runs. Its connection stays,
// and it may try again. A refusal is not a failure, and not reported. A panic is reported, and the
// client gets "internal error".
func (h *hooks) Use(admit func(ctx context.Context, s *Socket) error) (stop func()) {
	return attach(&h.mu, &h.use, admit)
}

// OnConnect sets a handler for sockets that have connected. It runs after the client has been told,
// and events wait until it returns. An error disconnects the socket, unless it is an
// [*cluster.UnfencedError] of [Socket.Join]. ctx ends when the socket disconnects.
func (h *hooks) OnConnect(handle func(ctx context.Context, s *Socket) error) (stop func()) {
	return attach(&h.mu, &h.connect, handle)
}

// OnDisconnecting sets a handler for sockets that are about to leave their rooms. reason is
// context.Cause of the socket's context. ctx is not that context, which has ended: it ends with the
// ctx of Server.Close.
func (h *hooks) OnDisconnecting(handle func(ctx context.Context, s *Socket, reason error)) (stop func()) {
	return attach(&h.mu, &h.disconnecting, handle)
}

// OnDisconnect sets a handler for sockets that have left all rooms. ctx and reason are those of
// OnDisconnecting.
func (h *hooks) OnDisconnect(handle func(ctx context.Context, s *Socket, reason error)) (stop func()) {
	return attach(&h.mu, &h.disconnect, handle)
}

// On sets a handler for an event of all sockets of the namespace. It runs before a socket's own
// handlers, and costs nothing per socket. Names that Socket.IO reserves, such as "disconnect",
// never come as events: see OnDisconnect.
func (h *hooks) On(event string, handle Handler) (stop func()) {
	return attachNamed(&h.mu, &h.handlers, event, handle)
}

// OnAny sets a handler for all events of all sockets of the namespace. It runs before the handlers
// of the event's name, and before a socket's own OnAny.
func (h *hooks) OnAny(handle Handler) (stop func()) {
	return attach(&h.mu, &h.any, handle)
}

// OnAnyOutgoing sets a function that is called for every event on its way to a socket of the
// namespace, also for a broadcast of any node: once for each socket, before the event is queued.
// Acknowledgements are not events. A volatile event may be dropped after the call.
//
// It is called on the goroutine that sends the event: one that emits, or the one that receives from
// the cluster. It must not block and must not emit to the namespace. It may be called concurrently.
// A panic is recovered and reported, and the event is sent all the same.
func (h *hooks) OnAnyOutgoing(listen func(s *Socket, e *OutgoingEvent)) (stop func()) {
	return attachShared(&h.mu, &h.outgoing, listen)
}

// collect returns what the parent of a namespace has and then what the namespace itself has. The
// result is not to be changed.
func collect[T any](ns *Namespace, of func(*hooks) list[T]) list[T] {
	var inherited list[T]
	if ns.parent != nil {
		inherited = read(&ns.parent.hooks, of)
	}
	return concat(inherited, read(&ns.hooks, of))
}

func read[T any](h *hooks, of func(*hooks) list[T]) list[T] {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return of(h)
}

// concat returns both lists in one, which is not to be changed.
func concat[T any](first, second list[T]) list[T] {
	switch {
	case len(first) == 0:
		return second
	case len(second) == 0:
		return first
	}
	return slices.Concat(first, second)
}

// listeners are those of OnAnyOutgoing. Each broadcast asks for them, hence without a lock.
func (ns *Namespace) listeners() list[func(*Socket, *OutgoingEvent)] {
	own := readShared(&ns.outgoing)
	if ns.parent == nil {
		return own
	}
	return concat(readShared(&ns.parent.outgoing), own)
}

func (ns *Namespace) middlewares() list[func(context.Context, *Socket) error] {
	return collect(ns, func(h *hooks) list[func(context.Context, *Socket) error] { return h.use })
}

func (ns *Namespace) onConnect() list[func(context.Context, *Socket) error] {
	return collect(ns, func(h *hooks) list[func(context.Context, *Socket) error] { return h.connect })
}

func (ns *Namespace) onDisconnecting() list[func(context.Context, *Socket, error)] {
	return collect(ns, func(h *hooks) list[func(context.Context, *Socket, error)] { return h.disconnecting })
}

func (ns *Namespace) onDisconnect() list[func(context.Context, *Socket, error)] {
	return collect(ns, func(h *hooks) list[func(context.Context, *Socket, error)] { return h.disconnect })
}

func (ns *Namespace) onAny() list[Handler] {
	return collect(ns, func(h *hooks) list[Handler] { return h.any })
}

func (ns *Namespace) on(event string) list[Handler] {
	return collect(ns, func(h *hooks) list[Handler] { return h.handlers[event] })
}
