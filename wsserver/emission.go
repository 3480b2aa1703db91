package wsserver

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// An Emission sends events to one socket in another way than [Socket.Emit]: see [Socket.Volatile]
// and [Socket.Compress]. It is a value, as a Broadcast is: its methods return new ones, it may be
// kept and used concurrently.
type Emission struct {
	socket   *Socket // nil for the zero value, which sends nothing: ErrNotConnected
	volatile bool
	plain    bool // not compressed
}

// Volatile returns an Emission of events that are useless later: an event is dropped if the
// connection cannot take it at once, or if room is needed while it waits. That is not an error;
// Stats.Dropped counts it.
func (s *Socket) Volatile() Emission { return Emission{socket: s, volatile: true} }

// Compress returns an Emission whose events may be compressed, which is the default, or must not
// be. Use false for data that is compressed already.
func (s *Socket) Compress(compress bool) Emission { return Emission{socket: s, plain: !compress} }

// Volatile adds what [Socket.Volatile] does.
func (e Emission) Volatile() Emission {
	e.volatile = true
	return e
}

// Compress adds what [Socket.Compress] does.
func (e Emission) Compress(compress bool) Emission {
	e.plain = !compress
	return e
}

// Emit sends an event to the client, as [Socket.Emit] does.
func (e Emission) Emit(ctx context.Context, event string, args ...any) error {
	if e.socket == nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, ErrNotConnected)
	}
	return e.emit(&packet.Packet{Type: packet.Event, Namespace: e.socket.name}, event, args)
}

func (e Emission) emit(p *packet.Packet, event string, args []any) error {
	s := e.socket
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
	m.Volatile, m.NoCompress = e.volatile, e.plain
	if err := s.conn.session.Send(engine.NewFrame(m)); err != nil {
		if reason := s.life.reason(); reason != nil {
			err = reason
		}
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}
