package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// ErrNoData is what [RemoteSocket.DecodeData] returns for a socket without data.
var ErrNoData = errors.New("wsserver: the socket has no data")

// A RemoteSocket is a socket on any node, this one among them, as it was when it was fetched. Its fields are copies: whoever has it may
// change them, which does not change the socket. Its methods act on the socket, wherever it is; they select it by the room of its id, and
// with it other sockets that have joined that room, as Socket.IO's do. A socket that has disconnected meanwhile is nobody.
//
// The zero value is no socket, and must not be used.
type RemoteSocket struct {
	ID        string          `json:"id"`
	Node      string          `json:"node"`           // where it is: see [Server.Node]
	Rooms     []string        `json:"rooms"`          // its own, then the others in the order of joining
	Handshake Handshake       `json:"handshake"`      // as [Socket.Handshake]
	Data      json.RawMessage `json:"data,omitempty"` // what [Socket.Data] was, in JSON; nil for none, or if that cannot be

	ns *Namespace
}

// DecodeData converts Data into what dst points to, as encoding/json does. [ErrNoData] means that there is none.
func (r RemoteSocket) DecodeData(dst any) error {
	if r.Data == nil {
		return ErrNoData
	}
	if err := json.Unmarshal(r.Data, dst); err != nil {
		return fmt.Errorf("wsserver: the data of socket %s: %w", r.ID, err)
	}
	return nil
}

// Local returns the socket itself, if it is on this node and still there.
func (r RemoteSocket) Local() (*Socket, bool) { return r.ns.Socket(r.ID) }

// Broadcast is the broadcast to the socket, by the room of its id.
func (r RemoteSocket) Broadcast() Broadcast { return r.ns.To(r.ID) }

// Emit sends an event to the socket: see [Broadcast.Emit].
func (r RemoteSocket) Emit(ctx context.Context, event string, args ...any) error {
	return r.Broadcast().Emit(ctx, event, args...)
}

// EmitWithAck sends an event to the socket and waits for its acknowledgement, until ctx ends; without a deadline in ctx, no longer than
// Config.AckTimeout. [adapter.ErrMember] means that there is no such socket any more. Any other error means that there is no answer: it
// wraps an [*adapter.PartialError], or is one of [Broadcast.Emit].
func (r RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Response, error) {
	m, err := r.Broadcast().message(ctx, event, args, true)
	if err != nil {
		return Response{}, err
	}
	ctx, cancel := r.ns.server.ackContext(ctx)
	defer cancel()
	ack, err := r.ns.rooms.EmitWithAck(ctx, m)
	var answer Response
	switch {
	case err == nil && len(ack.Payload) == 0:
		err = adapter.ErrMember // it was not connected: see member.Ask
	case err == nil:
		answer, err = newResponse(ack.Payload)
	}
	if err != nil {
		return Response{}, fmt.Errorf("wsserver: emit %q to socket %s: %w", event, r.ID, err)
	}
	return answer, nil
}

// Join puts the socket into rooms: see [Broadcast.SocketsJoin].
func (r RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.Broadcast().SocketsJoin(ctx, rooms...)
}

// Leave takes the socket out of rooms: see [Broadcast.SocketsLeave].
func (r RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.Broadcast().SocketsLeave(ctx, rooms...)
}

// Disconnect ends the socket, or its client's connection if close is true: see [Broadcast.DisconnectSockets].
func (r RemoteSocket) Disconnect(ctx context.Context, close bool) error {
	return r.Broadcast().DisconnectSockets(ctx, close)
}

// A description is what the nodes are told of a socket when it is fetched, in JSON.
type description struct {
	Handshake Handshake       `json:"handshake"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// describe makes the socket's description.
func (s *Socket) describe() []byte {
	d := description{Handshake: s.Handshake()}
	if data := s.Data(); data != nil {
		var err error
		if d.Data, err = marshalData(data); err != nil {
			s.conn.server.report(s, "", fmt.Errorf("wsserver: the socket is fetched without its data: %w", err))
		}
	}
	b, err := json.Marshal(d)
	if err != nil { // not even of the handshake: the client's JSON was checked when it came
		s.conn.server.report(s, "", fmt.Errorf("wsserver: the socket is fetched without its handshake: %w", err))
		return []byte("{}")
	}
	return b
}

// marshalData is json.Marshal; a panic of the program's MarshalJSON is an error.
func marshalData(data any) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, newPanicError(p)
		}
	}()
	return json.Marshal(data)
}

// remote makes a RemoteSocket of what was fetched. It reports false if that is none: it is about to connect, or to leave. What another
// version of this package describes in another way is a socket all the same.
func (ns *Namespace) remote(m adapter.MemberInfo) (RemoteSocket, bool) {
	if len(m.Data) == 0 {
		return RemoteSocket{}, false
	}
	var d description
	if err := json.Unmarshal(m.Data, &d); err != nil {
		d = description{}
	}
	return RemoteSocket{ID: m.ID, Node: m.Node, Rooms: m.Rooms, Handshake: d.Handshake, Data: d.Data, ns: ns}, true
}
