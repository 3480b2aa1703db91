package wsserver

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// A Socket is a client in one namespace. Its methods may be called concurrently, and from its own handlers.
type Socket struct {
	ns    *Namespace
	conn  *conn
	id    string
	auth  json.RawMessage
	ctx   context.Context // ends when the socket disconnects, with the reason as its cause
	end   context.CancelCauseFunc
	state atomic.Uint32 // a socketState; changes under mu

	mu            sync.Mutex // guards what follows
	handlers      []namedHandler
	disconnecting []func(error)
	disconnect    []func(error)
	acks          map[uint64]chan Response // of EmitWithAck, by ack id
	lastAck       uint64
	events        []*packet.Packet // not handled yet
	waiting       int              // the size of all of them
	running       bool             // a goroutine handles events
	greeted       bool             // the client was told that it is connected
	pausing       bool             // events has reached its bound, and the connection is not read
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

func newSocket(ns *Namespace, c *conn, auth json.RawMessage) *Socket {
	s := &Socket{ns: ns, conn: c, id: ns.server.hub.NewID(), auth: auth}
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

// Rooms returns the rooms that the socket is in: its own, then the others in the order of joining; none after it has left them all.
func (s *Socket) Rooms() []string { return s.ns.rooms.Of(s.id) }

// Join puts the socket into rooms. Its membership stands at once on this node. Join then waits until it is live in the whole cluster: nil
// means that every broadcast that any live node emits from now on reaches the socket. That takes a round trip when the room is new to
// this node, at most 250 ms: then the error is an [*adapter.UnfencedError] that names the nodes that did not answer, and the membership
// stands. It also stands if ctx ends first.
//
// [adapter.ErrRoomName] means that a name cannot be one, and that nothing was joined. So does [adapter.ErrMember]: the socket has
// disconnected.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	return s.ns.rooms.Join(ctx, s.id, rooms...)
}

// Leave takes the socket out of rooms, at once. Rooms that it is not in are left alone.
func (s *Socket) Leave(rooms ...string) { s.ns.rooms.Leave(s.id, rooms...) }

// To is the broadcast to the sockets in any of rooms without this one: see [Broadcast.To].
func (s *Socket) To(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// Except is the broadcast to all sockets of the namespace but this one and those in any of rooms.
func (s *Socket) Except(rooms ...string) Broadcast { return s.Broadcast().Except(rooms...) }

// Broadcast is the broadcast to all sockets of the namespace but this one.
func (s *Socket) Broadcast() Broadcast { return s.ns.Except(s.id) }

// Emit sends an event to the client. It does not wait for the network. args are anything that encoding/json takes, with []byte anywhere
// inside sent as binary. After the socket has disconnected, the error wraps the reason.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	return s.emit(ctx, &packet.Packet{Type: packet.Event, Namespace: s.ns.name}, event, args)
}

// EmitWithAck sends an event to the client and waits for its acknowledgement. The deadline is ctx's; without one, it waits until the
// socket disconnects. An error wraps that of ctx, or the reason of the disconnection.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Response, error) {
	answer := make(chan Response, 1)
	s.mu.Lock()
	s.lastAck++
	id := s.lastAck
	if s.acks == nil {
		s.acks = make(map[uint64]chan Response)
	}
	s.acks[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.acks, id)
		s.mu.Unlock()
	}()
	p := &packet.Packet{Type: packet.Event, Namespace: s.ns.name, ID: id, HasID: true}
	if err := s.emit(ctx, p, event, args); err != nil {
		return Response{}, err
	}
	var reason error
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-s.ctx.Done():
		reason = context.Cause(s.ctx)
	}
	select {
	case r := <-answer: // it has come as well
		return r, nil
	default:
		return Response{}, fmt.Errorf("wsserver: emit %q: no acknowledgement: %w", event, reason)
	}
}

func (s *Socket) emit(ctx context.Context, p *packet.Packet, event string, args []any) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	encoded, err := s.ns.server.encode(p, event, args)
	if err != nil {
		return err
	}
	if err := s.send(encoded); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}

// send hands a packet to the connection.
func (s *Socket) send(encoded packet.Encoded) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	return s.conn.session.Send(newFrame(encoded))
}

// Deliver implements [adapter.Member]: it queues the frame of a broadcast. A socket whose client has not been told yet that it is
// connected gets none.
func (s *Socket) Deliver(frame any) {
	if s.now() == connected {
		s.conn.session.Append(frame.(*outbox.Frame))
	}
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
// other namespaces. It returns at once: handlers of the disconnection run after those of earlier events.
func (s *Socket) Disconnect() {
	s.finish(ErrServerDisconnect, newFrame(s.conn.server.plain(&packet.Packet{Type: packet.Disconnect, Namespace: s.ns.name})))
}

// Close ends the client's connection, and with it its sockets in all namespaces, with ErrServerClose.
func (s *Socket) Close() { s.conn.session.Close(ErrServerClose) }

// On sets a handler for an event. Several handlers of one event run in the order in which they were set.
func (s *Socket) On(event string, handle Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = append(s.handlers, namedHandler{event, handle})
}

// OnDisconnecting sets a handler that runs when the socket has disconnected and still is in its rooms. reason is the cause of Context.
func (s *Socket) OnDisconnecting(handle func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnecting = append(s.disconnecting, handle)
}

// OnDisconnect sets a handler that runs when the socket has disconnected and left all its rooms. reason is the cause of Context.
func (s *Socket) OnDisconnect(handle func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnect = append(s.disconnect, handle)
}
