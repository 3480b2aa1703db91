package wsserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
)

// A Handler handles the events of one name, or all events. The events of a socket are handled one
// at a time and in order, on a goroutine that the socket has only while there are any. A handler that
// blocks holds up its own socket alone. ctx ends when the socket disconnects.
//
// If the error's chain has an [*AckError], that answers a client that waits for an acknowledgement.
// Any other error is passed to Config.OnError. The socket stays connected, and no acknowledgement
// is sent. A panic is an error as well, and then the socket is disconnected.
type Handler func(ctx context.Context, e *Event) error

// An Event is an event that a client emitted. It may be kept.
type Event struct {
	socket *Socket
	packet *packet.Packet
	name   string
	acked  bool
}

// Name returns the event's name.
func (e *Event) Name() string { return e.name }

// Socket returns the socket that received the event.
func (e *Event) Socket() *Socket { return e.socket }

// Len returns the number of arguments.
func (e *Event) Len() int { return max(0, e.packet.Args.Len()-1) }

// Decode converts the arguments into the values that dst points to, as encoding/json does, with
// binary arguments as []byte. Further arguments are ignored, and a nil in dst skips one. It returns
// an error if there are fewer arguments than dst, or if one does not fit.
func (e *Event) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// Args converts all arguments into nil, bool, float64, string, []byte, []any and map[string]any. It
// is for passing them on, and takes many times the memory of the message; Decode converts only what
// is needed.
func (e *Event) Args() ([]any, error) { return e.packet.Values() }

// WantsAck reports whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.packet.HasID }

// Ack answers a client that waits for an acknowledgement. If the client does not wait, and after
// the first call, it does nothing. args are those of [Socket.Emit]. Ack must not be called
// concurrently with itself.
func (e *Event) Ack(args ...any) error {
	if !e.packet.HasID || e.acked {
		return nil
	}
	p := &packet.Packet{Type: packet.Ack, Namespace: e.packet.Namespace, ID: e.packet.ID, HasID: true}
	encoded, err := e.socket.conn.server.encode(p, "", args)
	if err != nil {
		return err
	}
	e.acked = true
	if err = e.socket.sendable(); err == nil {
		err = e.socket.conn.session.Send(newFrame(encoded))
	}
	if err != nil {
		return fmt.Errorf("wsserver: acknowledge %q: %w", e.name, err)
	}
	return nil
}

// refuse tells the client of an [*AckError] in the chain of err, if it waits for an
// acknowledgement. It returns what is left to report.
func (e *Event) refuse(err error) error {
	if err == nil || !e.packet.HasID || e.acked {
		return err
	}
	var refusal *AckError
	if !errors.As(err, &refusal) {
		return err
	}
	return e.Ack(ackRefusal{Error: ackFailure{refusal.Message, refusal.Data}})
}

// ackRefusal is the only argument of an acknowledgement that says why there is no other.
type ackRefusal struct {
	Error ackFailure `json:"error"`
}

type ackFailure struct {
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// encode makes messages of p and its arguments.
func (srv *Server) encode(p *packet.Packet, event string, args []any) (packet.Encoded, error) {
	var err error
	if p.Type == packet.Event {
		p.Args, err = srv.limits.MarshalEvent(event, args...)
	} else {
		p.Args, err = srv.limits.Marshal(args...)
	}
	var encoded packet.Encoded
	if err == nil {
		encoded, err = srv.codec.Encode(p)
	}
	switch {
	case err == nil:
		return encoded, nil
	case p.Type == packet.Ack:
		return encoded, fmt.Errorf("wsserver: acknowledge: %w", err)
	}
	return encoded, fmt.Errorf("wsserver: emit %q: %w", event, err)
}
