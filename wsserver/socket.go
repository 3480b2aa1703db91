package wsserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// A Socket is a client in one namespace. Its methods may be called concurrently, and from its own handlers.
type Socket struct {
	name string     // of its namespace
	ns   *Namespace // set by connect, before anybody but the connection knows the socket; nil if there is none
	conn *conn
	id   string
	auth json.RawMessage
	ctx  context.Context // ends when the socket disconnects, with the reason as its cause
	end  context.CancelCauseFunc

	outgoing atomic.Pointer[[]func(*OutgoingEvent)] // of OnAnyOutgoing; nil while nobody listens; changes under mu

	state atomic.Uint32 // a socketState; changes under mu
	left  uint8         // how far leave has come; used by it alone

	mu       sync.Mutex // guards what follows
	running  bool       // a goroutine handles events
	greeted  bool       // the client was told that it is connected
	pausing  bool       // events has reached its bound, and the connection is not read
	handlers []namedHandler
	extras   *extras // nil for none
	acks     acks
	events   []*packet.Packet // not handled yet
	waiting  int32            // the size of all of them
	handling int32            // the size of the one that is handled
	since    int64            // when the handlers took the last one, or when the first one came
}

type socketState uint32

const (
	connecting socketState = iota
	connected
	disconnected // what is left to do is to run the handlers
)

type namedHandler struct {
	event  string
	handle Handler
}

// extras are what most sockets have none of: their namespaces have such handlers. Slices are replaced, not changed.
type extras struct {
	data          any       // of SetData
	middlewares   []Handler // as Use has wrapped them
	any           []Handler
	disconnecting []func(context.Context, error)
	disconnect    []func(context.Context, error)
}

func newSocket(c *conn, namespace string, auth json.RawMessage) *Socket {
	s := &Socket{name: namespace, conn: c, id: c.server.hub.NewID(), auth: auth}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

// ID is the socket's id, and the name of the room of its own. It names the socket on every node of the cluster. It is not a secret.
func (s *Socket) ID() string { return s.id }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Context ends when the socket disconnects. Its cause is then the reason, one of the Err values of this package.
func (s *Socket) Context() context.Context { return s.ctx }

// Connected reports whether the socket is connected.
func (s *Socket) Connected() bool { return socketState(s.state.Load()) == connected }

// Transport is what carries the client's connection at the moment: "polling" or "websocket". A client that polls may change to a WebSocket.
func (s *Socket) Transport() string { return s.conn.session.Transport().String() }

// SetData notes what the program knows of the socket, such as who its user is: a middleware, say, for the handlers. See [Socket.Data].
//
// FetchSockets of any node converts it to JSON, as encoding/json does, at any time and on any goroutine. What data refers to must
// not be changed from then on, unless it has a MarshalJSON that sees to that: to change something, set other data. What cannot become
// JSON is reported to Config.OnError, and the socket is fetched without it.
func (s *Socket) SetData(data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend().data = data
}

// Data is what SetData has noted last; nil before that.
func (s *Socket) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil {
		return nil
	}
	return s.extras.data
}

// Rooms returns the rooms that the socket is in: its own, then the others in the order of joining; none after it has left them all.
func (s *Socket) Rooms() []string { return s.ns.rooms.Of(s.id) }

// Join puts the socket into rooms. Its membership stands at once on this node. Join then waits until it is live in the whole cluster: nil
// means that every broadcast that any live node emits from now on reaches the socket. That takes a round trip when the room is new to
// this node. A node that takes longer than two round trips, but 250 ms at the least and 2 s at the most, is not waited for: then the error is an
// [*cluster.UnfencedError] that names the nodes that did not answer, or says what the broker denies, and the membership stands. It also stands if
// ctx ends first. A handler may pass the UnfencedError on: it is reported, and has no other consequence.
//
// [cluster.ErrRoomName] means that a name cannot be one, and that nothing was joined. So does [cluster.ErrMember]: the socket has
// disconnected; and [ErrNotConnected]: a middleware is too early for it.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	if s.now() == connecting {
		return ErrNotConnected
	}
	return s.ns.rooms.Join(ctx, s.id, rooms...)
}

// Leave takes the socket out of rooms, at once. Rooms that it is not in are left alone.
func (s *Socket) Leave(rooms ...string) { s.ns.rooms.Leave(s.id, rooms...) }

// To is the broadcast to the sockets in any of rooms without this one: see [sockets.Broadcast.To].
func (s *Socket) To(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// Except is the broadcast to all sockets of the namespace but this one and those in any of rooms.
func (s *Socket) Except(rooms ...string) sockets.Broadcast { return s.Broadcast().Except(rooms...) }

// Broadcast is the broadcast to all sockets of the namespace but this one.
func (s *Socket) Broadcast() sockets.Broadcast { return s.ns.Except(s.id) }

// Emit sends an event to the client. It does not wait for the network, nor does it matter whether ctx has ended. args are anything that
// encoding/json takes, with []byte anywhere inside sent as binary. After the socket has disconnected, the error wraps the reason; before
// it is connected, in a middleware, it is [ErrNotConnected].
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	return s.emit(&packet.Packet{Type: packet.Event, Namespace: s.name}, false, event, args)
}

// EmitVolatile is Emit for an event that is of no use later: it is dropped if the connection cannot take it at once, or if it waits and
// room is needed. That is no error; Stats.Dropped counts it.
func (s *Socket) EmitVolatile(ctx context.Context, event string, args ...any) error {
	return s.emit(&packet.Packet{Type: packet.Event, Namespace: s.name}, true, event, args)
}

func (s *Socket) emit(p *packet.Packet, volatile bool, event string, args []any) error {
	encoded, err := s.conn.server.encode(p, event, args)
	if err != nil {
		return err
	}
	if err := s.sendable(); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	if shared := s.ns.listeners(); len(shared) > 0 || s.outgoing.Load() != nil {
		s.tell(&OutgoingEvent{packet: p, name: event}, shared)
	}
	f := engine.NewFrame(engine.Messages{Text: encoded.Text, Binary: encoded.Attachments, Volatile: volatile})
	if err := s.conn.session.Send(f); err != nil {
		if reason := context.Cause(s.ctx); reason != nil {
			err = reason
		}
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}

// sendable is why nothing can be sent to the client.
func (s *Socket) sendable() error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	if s.now() == connecting {
		return ErrNotConnected
	}
	return nil
}

// now is the socket's state. While its CONNECT packet is on its way into the queue, it counts as connected.
func (s *Socket) now() socketState {
	state := socketState(s.state.Load())
	if state == connecting {
		s.mu.Lock()
		defer s.mu.Unlock()
		state = socketState(s.state.Load())
	}
	return state
}

// Disconnect tells the client that the socket is disconnected and ends it, with ErrServerDisconnect. The client's connection stays for
// other namespaces. It returns at once: events that wait are dropped, and handlers of the disconnection run after the one that runs. In a
// middleware, it refuses the client.
func (s *Socket) Disconnect() {
	if s.now() == connecting && s.refuse(refusalData("disconnected")) {
		return
	}
	s.finish(ErrServerDisconnect, s.goodbye())
}

// goodbye is the packet that tells the client that the server has disconnected it.
func (s *Socket) goodbye() *engine.Frame {
	return newFrame(s.conn.server.plain(&packet.Packet{Type: packet.Disconnect, Namespace: s.name}))
}

// Close ends the client's connection, and with it its sockets in all namespaces, with ErrServerClose. The client is told so in each, and
// does not connect anew by itself.
func (s *Socket) Close() { s.conn.close() }

// CloseTransport ends the client's connection, and with it its sockets in all namespaces, with ErrForcedClose. The client is not told that
// it is disconnected, so that the official one connects anew, with new sockets: what was sent to it before still reaches it, and what has
// come from it is still handled.
func (s *Socket) CloseTransport() { s.conn.session.Close(ErrForcedClose) }

// On sets a handler for an event. Several handlers of one event run in the order in which they were set.
// No event has a name that Socket.IO keeps for itself, such as "disconnect": see OnDisconnect.
func (s *Socket) On(event string, handle Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = append(s.handlers, namedHandler{event, handle})
}

// Use wraps a middleware around all that handles the events of the socket, the handlers of its namespace and those of OnAny among them.
// middleware is called once, and returns what is to be called for each event in place of next. The first that was added is the outermost.
//
// next runs the handlers, or the middleware that was added after this one, and returns their errors, joined if there are several; a panic
// is a [*PanicError] among them. What the outermost middleware returns is reported as a handler's error is, so that an error which is
// not passed on is not reported. A middleware that does not call next drops the event.
func (s *Socket) Use(middleware func(next Handler) Handler) {
	var behind int // the number of the next one; set before there are events to handle
	handle := middleware(func(ctx context.Context, e *Event) error { return s.pass(behind, ctx, e) })
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.extend()
	r.middlewares = append(slices.Clip(r.middlewares), handle)
	behind = len(r.middlewares)
}

// OnAny sets a handler for all events, whatever their names. It runs before the handlers of the event's name.
func (s *Socket) OnAny(handle Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.extend()
	r.any = append(slices.Clip(r.any), handle)
}

// OnAnyOutgoing sets a function that is told of every event on its way to the client, after those of the namespace: see
// [Namespace.OnAnyOutgoing].
func (s *Socket) OnAnyOutgoing(listen func(e *OutgoingEvent)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var listeners []func(*OutgoingEvent)
	if old := s.outgoing.Load(); old != nil {
		listeners = slices.Clip(*old)
	}
	listeners = append(listeners, listen)
	s.outgoing.Store(&listeners)
}

// OnDisconnecting sets a handler that runs when the socket has disconnected and still is in its rooms. reason is the cause of Context. ctx
// is not that one, which has ended: it ends if the ctx does that [Server.Close] was given.
func (s *Socket) OnDisconnecting(handle func(ctx context.Context, reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.extend()
	r.disconnecting = append(slices.Clip(r.disconnecting), handle)
}

// OnDisconnect sets a handler that runs when the socket has disconnected and left all its rooms. ctx and reason are those of
// OnDisconnecting.
func (s *Socket) OnDisconnect(handle func(ctx context.Context, reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.extend()
	r.disconnect = append(slices.Clip(r.disconnect), handle)
}

// extend returns extras, to be added to. s.mu must be held.
func (s *Socket) extend() *extras {
	if s.extras == nil {
		s.extras = new(extras)
	}
	return s.extras
}
