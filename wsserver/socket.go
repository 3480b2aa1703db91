package wsserver

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// A Socket is a client in one namespace. Its methods may be called concurrently, and from its own handlers.
type Socket struct {
	name string // of its namespace
	seat seat   // its ns is set by connect, before anybody but the connection knows the socket
	conn *conn
	auth *string // in JSON; nil for none

	// Its parts. Each has its own lock; life's comes first.
	life     life
	inbox    inbox
	acks     acks
	handlers handlers
}

func newSocket(c *conn, namespace string, auth json.RawMessage) *Socket {
	s := &Socket{name: namespace, seat: seat{id: c.server.hub.NewID()}, conn: c}
	s.life.begin()
	if len(auth) > 0 {
		s.auth = new(string(auth))
	}
	return s
}

// ID is the socket's id, and the name of the room of its own. It names the socket on every node of the cluster. It is not a secret.
func (s *Socket) ID() string { return s.seat.id }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.seat.ns }

// Context ends when the socket disconnects. Its cause is then the reason, one of the Err values of this package.
func (s *Socket) Context() context.Context { return s.life.ctx }

// Connected reports whether the socket is connected.
func (s *Socket) Connected() bool { return stage(s.life.stage.Load()) == connected }

// Transport is what carries the client's connection at the moment: "polling" or "websocket". A client that polls may change to a WebSocket.
func (s *Socket) Transport() string { return s.conn.session.Transport().String() }

// Rooms returns the rooms that the socket is in: its own, then the others in the order of joining; none after it has left them all.
func (s *Socket) Rooms() []string {
	if s.life.hasYielded() {
		return nil
	}
	return s.seat.ns.rooms.Of(s.seat.id)
}

// Join puts the socket into rooms. Its membership stands at once on this node. Join then waits until it is live in the whole cluster: nil
// means that every broadcast that any live node emits from now on reaches the socket. That takes a round trip when the room is new to
// this node. A node that takes longer than two round trips, but 250 ms at the least and 2 s at the most, is not waited for: then the error is an
// [*cluster.UnfencedError] that names the nodes that did not answer, or says what the broker denies, and the membership stands. It also stands if
// ctx ends first. A handler may pass the UnfencedError on: it is reported, and has no other consequence.
//
// [cluster.ErrRoomName] means that a name cannot be one, and that nothing was joined. So does [cluster.ErrMember]: the socket has
// disconnected; and [ErrNotConnected]: a middleware is too early for it.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	switch {
	case s.life.at() == connecting:
		return ErrNotConnected
	case s.life.hasYielded():
		return cluster.ErrMember
	}
	return s.seat.ns.rooms.Join(ctx, s.seat.id, rooms...)
}

// Leave takes the socket out of rooms, at once. Rooms that it is not in are left alone.
func (s *Socket) Leave(rooms ...string) {
	if !s.life.hasYielded() {
		s.seat.ns.rooms.Leave(s.seat.id, rooms...)
	}
}

// To is the broadcast to the sockets in any of rooms without this one: see [sockets.Broadcast.To].
func (s *Socket) To(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// Except is the broadcast to all sockets of the namespace but this one and those in any of rooms.
func (s *Socket) Except(rooms ...string) sockets.Broadcast { return s.Broadcast().Except(rooms...) }

// Broadcast is the broadcast to all sockets of the namespace but this one.
func (s *Socket) Broadcast() sockets.Broadcast { return s.seat.ns.Except(s.seat.id) }

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
	if shared := s.seat.ns.listeners(); len(shared) > 0 || s.handlers.outgoing.Load() != nil {
		s.tell(&OutgoingEvent{packet: p, name: event}, shared)
	}
	m := messages(encoded)
	m.Volatile = volatile
	if err := s.conn.session.Send(engine.NewFrame(m)); err != nil {
		if reason := s.life.reason(); reason != nil {
			err = reason
		}
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}

// EmitWithAck sends an event to the client and waits for its acknowledgement, until ctx ends; without a deadline in ctx, no longer than
// Config.AckTimeout. An error wraps that of ctx, which is context.DeadlineExceeded after the time-out too, or the reason of the
// disconnection. [ErrTooManyAcks] means that 1,024 are waited for already, those of broadcasts among them, and that nothing was sent.
//
// A handler may wait for it. But a client that emits so much meanwhile that Config.Limits.MaxEvents is reached is not read, nor is its
// acknowledgement: a handler of such a client gives ctx a deadline that it can bear.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (sockets.Response, error) {
	if err := context.Cause(ctx); err != nil {
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	ctx, cancel := s.conn.server.ackContext(ctx)
	defer cancel()
	answer := make(chan sockets.Response, 1)
	id := s.conn.server.newAckID()
	err := s.acks.add(&s.life, id, func(args packet.Args, ok bool) {
		if ok {
			answer <- sockets.NewResponse(args)
		}
	})
	if err != nil {
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	defer func() { s.acks.remove(id) }()
	p := &packet.Packet{Type: packet.Event, Namespace: s.name, ID: id, HasID: true}
	if err := s.emit(p, false, event, args); err != nil {
		return sockets.Response{}, err
	}
	var reason error
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-s.life.ctx.Done():
		reason = s.life.reason()
	}
	select {
	case r := <-answer: // it has come as well
		return r, nil
	default:
		return sockets.Response{}, fmt.Errorf("wsserver: emit %q: no acknowledgement: %w", event, reason)
	}
}

// sendable is why nothing can be sent to the client.
func (s *Socket) sendable() error {
	if s.life.at() == connecting {
		return ErrNotConnected
	}
	return s.life.reason()
}

// Disconnect tells the client that the socket is disconnected and ends it, with ErrServerDisconnect. The client's connection stays for
// other namespaces. It returns at once: events that wait are dropped, and handlers of the disconnection run after the one that runs. In a
// middleware, it refuses the client.
func (s *Socket) Disconnect() {
	if s.life.at() == connecting && s.refuse(refusalData("disconnected")) {
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
