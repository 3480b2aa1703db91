package wsserver

import (
	"context"
	"fmt"
	"sync"

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
	if err := e.queue(encoded, p.HasID); err != nil {
		if reason := s.life.reason(); reason != nil {
			err = reason
		}
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	if shared := s.seat.ns.listeners(); len(shared) > 0 || s.handlers.outgoing.Load() != nil {
		s.tell(&OutgoingEvent{packet: p, name: event}, shared)
	}
	return nil
}

// queue queues a packet for the client, and for the time after it was away, unless it is volatile or
// asks for an acknowledgement.
func (e Emission) queue(encoded packet.Encoded, asks bool) (err error) {
	s := e.socket
	if s.conn.server.recovery == nil || asks {
		return s.conn.session.Send(frameOf(encoded, e.volatile, e.plain))
	}
	var sent sentEvent
	if !e.volatile {
		sent = newSentEvent(encoded, e.plain)
	}
	d := solos.Get().(*solo)
	d.rec, d.session = s.conn.server.recovery, s.conn.session
	d.encoded, d.volatile, d.plain = encoded, e.volatile, e.plain
	err = s.seat.ns.rooms.EmitOnly(s.seat.id, sent, d)
	*d = solo{}
	solos.Put(d)
	return err
}

// A solo is an event on its way to one socket of a server with recovery.
type solo struct {
	rec     *recovery
	session *engine.Session
	encoded packet.Encoded
	frame   *engine.Frame

	volatile, plain bool
}

var solos = sync.Pool{New: func() any { return new(solo) }}

// Place implements [cluster.Recoverable].
func (d *solo) Place(number uint64) (err error) {
	d.frame, err = d.rec.placed(d.encoded, number, d.volatile, d.plain)
	return err
}

// Send implements [cluster.Sole].
func (d *solo) Send() error { return d.session.Send(d.frame) }
