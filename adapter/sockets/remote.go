package sockets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// ErrNoNamespace is the error of the methods of a [RemoteSocket] or [Broadcast] that was not made by a namespace.
var ErrNoNamespace = errors.New("belfry: the socket or broadcast was not made by a namespace")

// ErrNoData is what [RemoteSocket.DecodeData] returns for a socket without data.
var ErrNoData = errors.New("belfry: the socket has no data")

// A RemoteSocket is a socket on any node, a server's own among them, as it was when it was fetched. Its fields are copies: whoever has it may
// change them, which does not change the socket. Its methods act on the socket, wherever it is; they select it by the room of its id, and
// with it other sockets that have joined that room, as Socket.IO's do. A socket that has disconnected meanwhile is nobody.
//
// One that was not fetched, as the zero value or what was decoded from JSON, is its fields alone: what its methods are asked for is
// [ErrNoNamespace].
type RemoteSocket struct {
	ID        string          `json:"id"`
	Node      string          `json:"node"`           // where it is: the server's id
	Rooms     []string        `json:"rooms"`          // its own, then the others in the order of joining
	Handshake Handshake       `json:"handshake"`      // what its client said when it connected
	Data      json.RawMessage `json:"data,omitempty"` // what the server's program has noted of it, in JSON; nil for none, or if that cannot be

	ns *Namespace
}

// DecodeData converts Data into what dst points to, as encoding/json does. [ErrNoData] means that there is none.
func (r RemoteSocket) DecodeData(dst any) error {
	if r.Data == nil {
		return ErrNoData
	}
	if err := json.Unmarshal(r.Data, dst); err != nil {
		return fmt.Errorf("belfry: the data of socket %s: %w", r.ID, err)
	}
	return nil
}

// self is the broadcast to the socket alone.
func (r RemoteSocket) self() Broadcast {
	if r.ns == nil {
		return Broadcast{}
	}
	return r.ns.To(r.ID)
}

// Emit sends an event to the socket: see [Broadcast.Emit].
func (r RemoteSocket) Emit(ctx context.Context, event string, args ...any) error {
	return r.self().Emit(ctx, event, args...)
}

// EmitWithAck sends an event to the socket and waits for its acknowledgement, until ctx ends; without a deadline in ctx, no longer than
// the AckTimeout of the server's or the emitter's Config. [cluster.ErrMember] means that there is no such socket any more. Any other error
// means that there is no answer: it wraps an [*cluster.PartialError], or is one of [Broadcast.Emit].
func (r RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Response, error) {
	answer, err := r.emitWithAck(ctx, event, args)
	if err != nil {
		return Response{}, wrapEvent("emit", event, fmt.Errorf("socket %s: %w", r.ID, err))
	}
	return answer, nil
}

func (r RemoteSocket) emitWithAck(ctx context.Context, event string, args []any) (Response, error) {
	m, err := r.self().asking(ctx, event, args, true)
	if err != nil {
		return Response{}, err
	}
	ctx, cancel, err := r.ns.begin(ctx, r.ns.ackTimeout)
	defer cancel()
	if err != nil {
		return Response{}, err
	}
	ack, err := r.ns.rooms.EmitWithAck(ctx, m)
	if err != nil {
		return Response{}, err
	}
	return parseResponse(ack.Payload)
}

// Join puts the socket into rooms: see [Broadcast.SocketsJoin].
func (r RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.self().SocketsJoin(ctx, rooms...)
}

// Leave takes the socket out of rooms: see [Broadcast.SocketsLeave].
func (r RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.self().SocketsLeave(ctx, rooms...)
}

// Disconnect ends the socket, or its client's connection if close is true: see [Broadcast.DisconnectSockets].
func (r RemoteSocket) Disconnect(ctx context.Context, close bool) error {
	return r.self().DisconnectSockets(ctx, close)
}

// A Description is what a server says of a socket when that is fetched: the server's [cluster.Member] returns it from Describe, in JSON.
// Nothing at all says that it is no socket yet, or none any more. It is for servers.
type Description struct {
	Handshake Handshake       `json:"handshake"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// remote makes a RemoteSocket of what was fetched. It reports false if that is none: it is about to connect, or to leave. What another
// version of this package describes in another way is a socket all the same.
func (ns *Namespace) remote(m cluster.MemberInfo) (RemoteSocket, bool) {
	if len(m.Data) == 0 {
		return RemoteSocket{}, false
	}
	var d Description
	if err := json.Unmarshal(m.Data, &d); err != nil {
		d = Description{}
	}
	return RemoteSocket{ID: m.ID, Node: m.Node, Rooms: m.Rooms, Handshake: d.Handshake, Data: d.Data, ns: ns}, true
}
