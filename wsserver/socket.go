package wsserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// A Socket is a client in one namespace. Its methods may be called concurrently, also from its own
// handlers.
type Socket struct {
	name string // of its namespace
	seat seat   // its ns is set by connect, before anybody but the connection knows the socket
	conn *conn
	auth *string // in JSON; nil for none

	counted   bool   // in its namespace; conn.mu guards it
	recovered bool   // it goes on with a session; does not change once the client is connected
	from      uint64 // with recovery, the number in this node's log behind which its client was connected; set when it is

	// Its parts. Each has its own lock; life's comes first.
	life     life
	inbox    inbox
	acks     acks
	handlers handlers
}

func newSocket(c *conn, namespace string, auth json.RawMessage) *Socket {
	s := &Socket{name: namespace, seat: seat{id: c.server.hub.NewID()}, conn: c}
	if len(auth) > 0 {
		s.auth = new(string(auth))
	}
	return s
}

// ID returns the socket's id, which is also the name of its own room. It identifies the socket on
// every node of the cluster. It is not a secret.
func (s *Socket) ID() string { return s.seat.id }

// Namespace returns the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.seat.ns }

// Context returns a context that ends when the socket disconnects. Its cause is the reason, one of
// the Err values of this package.
func (s *Socket) Context() context.Context { return &s.life.ctx }

// Connected reports whether the socket is connected.
func (s *Socket) Connected() bool { return stage(s.life.stage.Load()) == connected }

// ConnID returns an id of the client's connection, which all sockets of the connection share. It
// stays the same when the transport changes, and a client that connects anew has another. It is not
// a secret, unlike the id of the Engine.IO session, which cannot be found out from it: with that
// id, anybody could send and receive for a client that polls.
func (s *Socket) ConnID() string {
	sum := sha256.Sum256([]byte(s.conn.session.ID()))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// Recovered reports whether the client was away and goes on with the session that it had, with the
// id, the rooms and the data of its earlier socket: see [Config.Recovery]. It has missed nothing.
func (s *Socket) Recovered() bool { return s.recovered }

// Transport returns the connection's transport at the moment: "polling" or "websocket". A client
// that polls may change to a WebSocket.
func (s *Socket) Transport() string { return s.conn.session.Transport().String() }

// Rooms returns the rooms of the socket: its own, then the others in the order of joining; none
// after it has left them all.
func (s *Socket) Rooms() []string {
	if !s.life.seated() {
		return nil
	}
	return s.seat.ns.rooms.Of(s.seat.id)
}

// Join puts the socket into rooms. On this node its membership stands at once. Join then waits
// until it is live in the whole cluster: nil means that the socket receives every broadcast that
// any live node emits from now on. That takes a round trip if the room is new to this node.
//
// A node that does not answer within two round trips, at least 250 ms and at most 2 s, is not
// waited for. The error is then an [*cluster.UnfencedError], which names the nodes that did not
// answer, or says what the broker denies. The membership stands nevertheless, and also if ctx ends
// first. A handler may return the UnfencedError: it is reported, and has no other consequence.
//
// After [cluster.ErrRoomName], [cluster.ErrMember], ErrTooManyRooms and ErrNotConnected (in a
// middleware) nothing was joined. ErrMember means that the socket has disconnected: the error also wraps the reason.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	switch {
	case s.life.at() == connecting:
		return ErrNotConnected
	case !s.life.seated():
		return fmt.Errorf("wsserver: join: %w: %w", s.life.reason(), cluster.ErrMember)
	}
	srv := s.conn.server
	err := s.seat.ns.rooms.JoinUpTo(ctx, s.seat.id, srv.bounds.Load().MaxRooms, rooms...)
	if errors.Is(err, cluster.ErrTooMany) {
		srv.decline(declinedRooms, "socket", s.ID())
		return ErrTooManyRooms
	}
	if reason := s.life.reason(); reason != nil && errors.Is(err, cluster.ErrMember) {
		return fmt.Errorf("wsserver: join: %w: %w", reason, cluster.ErrMember)
	}
	return err
}

// Leave takes the socket out of rooms, at once. Rooms that it is not in are ignored.
func (s *Socket) Leave(rooms ...string) {
	if s.life.seated() {
		s.seat.ns.rooms.Leave(s.seat.id, rooms...)
	}
}

// To returns the broadcast to the sockets in any of rooms, except this one: see
// [sockets.Broadcast.To].
func (s *Socket) To(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// In is the same as To.
func (s *Socket) In(rooms ...string) sockets.Broadcast { return s.Broadcast().To(rooms...) }

// Except returns the broadcast to all sockets of the namespace except this one and those in any of
// rooms.
func (s *Socket) Except(rooms ...string) sockets.Broadcast { return s.Broadcast().Except(rooms...) }

// Broadcast returns the broadcast to all sockets of the namespace except this one.
func (s *Socket) Broadcast() sockets.Broadcast { return s.seat.ns.Except(s.seat.id) }

// Emit sends an event to the client. It does not wait for the network, and ignores the end of ctx.
// args may be any values that encoding/json takes; each []byte inside them is sent as binary. After
// the socket has disconnected, the error wraps the reason. Before it is connected, in a middleware,
// the error is ErrNotConnected.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	return Emission{socket: s}.Emit(ctx, event, args...)
}

// sendable is why nothing can be sent to the client.
func (s *Socket) sendable() error {
	if s.life.at() == connecting {
		return ErrNotConnected
	}
	return s.life.reason()
}

// Disconnect tells the client that the socket is disconnected, and ends the socket with
// ErrServerDisconnect. The client's connection stays for other namespaces. Disconnect returns at
// once. Events that wait are dropped, and the handlers of the disconnection run after the handler
// that is running. In a middleware it refuses the client.
func (s *Socket) Disconnect() {
	if s.life.at() == connecting && s.refuse(refusalData("disconnected")) {
		return
	}
	s.end(ErrServerDisconnect, s.disconnectFrame())
	s.endSession()
}

// disconnectFrame is the packet that tells the client that the server has disconnected it.
func (s *Socket) disconnectFrame() *engine.Frame {
	return newFrame(s.conn.server.plain(&packet.Packet{Type: packet.Disconnect, Namespace: s.name}))
}

// Close ends the client's connection, and so its sockets in all namespaces, with ErrServerClose.
// The client is told so in each namespace, and does not reconnect by itself.
func (s *Socket) Close() {
	s.conn.close()
	s.endSession()
}

// CloseTransport ends the client's connection, and so its sockets in all namespaces, with
// ErrForcedClose. The client is not told that it is disconnected, so the official client
// reconnects, with new sockets. Earlier packets still reach it, and its earlier events are still
// handled.
func (s *Socket) CloseTransport() { s.conn.session.Close(ErrForcedClose) }
