package sockets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// ErrNoNamespace is returned by the methods of a [RemoteSocket] or [Broadcast] that no namespace
// has made, such as a zero value.
var ErrNoNamespace = errors.New("belfry: a socket or broadcast without a namespace: fetch it, or use To or All of a namespace")

// ErrNoData is returned by [RemoteSocket.DecodeData] for a socket without data.
var ErrNoData = errors.New("belfry: the socket has no data")

// A RemoteSocket is a socket on any node, also on this one, as it was when it was fetched. Its
// fields are copies, and changing them does not change the socket. Its methods act on the socket by
// the room of its id, so they also reach other sockets that have joined that room, as Socket.IO's
// do. If the socket has disconnected they reach no socket.
//
// The methods of a RemoteSocket that was not fetched, such as one decoded from JSON, return
// [ErrNoNamespace].
type RemoteSocket struct {
	ID        string          `json:"id"`
	Node      string          `json:"node"`           // the id of its server
	Rooms     []string        `json:"rooms"`          // its own, then the others in the order of joining
	Handshake Handshake       `json:"handshake"`      // sent by its client
	Transport string          `json:"transport"`      // "polling" or "websocket"; empty if its node is of an older version
	Data      json.RawMessage `json:"data,omitempty"` // its data on the server, in JSON; nil if it has none, or JSON cannot hold it

	ns *Namespace
}

// DecodeData converts Data into the value that dst points to, as encoding/json does. If there is
// none it returns [ErrNoData].
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

// EmitWithAck sends an event to the socket and waits for its acknowledgement until ctx ends;
// without a deadline in ctx, for the AckTimeout of the server's or the emitter's Config.
// [cluster.ErrMember] means that the socket does not exist any more. Any other error means that
// there is no answer: it wraps an [*cluster.PartialError], or is one of [Broadcast.Emit].
func (r RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Response, error) {
	ctx, sp := r.self().begins(ctx, "emit", event, true)
	answer, err := r.emitWithAck(ctx, sp.trace, event, args)
	if err != nil {
		err = wrapEvent("emit", event, fmt.Errorf("socket %s: %w", r.ID, err))
	}
	return answer, sp.over(err)
}

func (r RemoteSocket) emitWithAck(ctx context.Context, trace []byte, event string, args []any) (Response, error) {
	m, err := r.self().asking(ctx, event, args, true)
	if err != nil {
		return Response{}, err
	}
	ctx, cancel, err := r.ns.begin(ctx, r.ns.ackTimeout)
	defer cancel()
	if err != nil {
		return Response{}, err
	}
	m.Trace = trace
	ack, err := r.ns.rooms.EmitWithFirstAck(ctx, m)
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

// Disconnect ends the socket, or its client's connection if close is true: see
// [Broadcast.DisconnectSockets].
func (r RemoteSocket) Disconnect(ctx context.Context, close bool) error {
	return r.self().DisconnectSockets(ctx, close)
}

// A Description is what a server tells of a fetched socket: its [cluster.Member] returns it from
// Describe, in JSON. Empty bytes mean that the socket is not connected. It is for servers.
type Description struct {
	Handshake Handshake       `json:"handshake"`
	Transport string          `json:"transport"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// remote makes a RemoteSocket of a fetched member. It reports false for a socket that is about to
// connect, or to leave. A description of another version that cannot be read is ignored.
func (ns *Namespace) remote(m cluster.MemberInfo) (RemoteSocket, bool) {
	if len(m.Data) == 0 {
		return RemoteSocket{}, false
	}
	var d Description
	if err := json.Unmarshal(m.Data, &d); err != nil {
		d = Description{}
	}
	return RemoteSocket{ID: m.ID, Node: m.Node, Rooms: m.Rooms, Handshake: d.Handshake, Transport: d.Transport, Data: d.Data, ns: ns}, true
}
