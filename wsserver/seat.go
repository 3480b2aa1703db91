package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A seat is a place in the rooms of a namespace: an id, the rooms that it is in, and a sink that
// sits there. The namespace's [cluster.Rooms] keep all of it. It is not a client's connection: it
// may outlive one, and another may take it over.
type seat struct {
	ns *Namespace // nil until it is known
	id string
}

// A sink sits on a seat: it takes what is delivered there. A [Socket] is one, by its [member].
// Whatever else keeps a seat, while its client is away, say, is another: it is comparable, and
// hands on to whom it yields what it has kept, and what is still on its way to it.
type sink interface {
	cluster.Member

	// yield has pass give the seat to another sink, and reports whether it has: not if the sink
	// does not sit there any more. missed is what it has kept for its client.
	yield(pass func() bool) (missed []*delivery, ok bool)

	// replaced says that it has yielded: whatever it is beside its seat ends.
	replaced()

	// socket is the socket that it is; nil for none.
	socket() *Socket
}

// occupy puts a sink on a new seat, in the whole cluster: see [cluster.Rooms.Add].
func (st seat) occupy(ctx context.Context, who sink) error { return st.ns.rooms.Add(ctx, st.id, who) }

// handOver puts a sink in the place of another, in one step and without leave and join: see
// [cluster.Rooms.Reseat].
func (st seat) handOver(from, to sink) (missed []*delivery, ok bool) {
	return from.yield(func() bool { return st.ns.rooms.Reseat(st.id, from, to) })
}

// leave gives the seat up, and so leaves its rooms.
func (st seat) leave() { st.ns.rooms.Remove(st.id) }

// sitter is who sits there; nil for nobody.
func (st seat) sitter() sink {
	if m, ok := st.ns.rooms.Get(st.id); ok {
		return m.(sink)
	}
	return nil
}

// member is a Socket on its seat. Its methods are not a program's.
type member Socket

func (m *member) socket() *Socket { return (*Socket)(m) }

// yield implements [sink]. Whom a program has disconnected, or the rules of the protocol have,
// nobody replaces.
func (m *member) yield(pass func() bool) (missed []*delivery, ok bool) {
	return nil, m.life.yield(func() bool {
		for _, final := range [...]error{ErrClientDisconnect, ErrServerDisconnect, ErrServerClose, ErrParse} {
			if errors.Is(context.Cause(m.life.ctx), final) {
				return false
			}
		}
		return pass()
	})
}

// replaced implements [sink]: the socket ends with its connection.
func (m *member) replaced() { m.socket().CloseTransport() }

// heir is who sits on the seat that the socket has yielded; nil for nobody, and while it sits there
// itself.
func (m *member) heir() sink {
	if !m.life.hasYielded() {
		return nil
	}
	return m.seat.sitter()
}

// Deliver queues the frame of a broadcast. A socket whose client has not been told yet that it is
// connected gets none.
func (m *member) Deliver(frame any) bool {
	s := m.socket()
	if s.life.at() == connected && s.deliver(frame.(*delivery)) {
		return true
	}
	heir := m.heir()
	return heir != nil && heir.Deliver(frame)
}

// DeliverWithAck queues the frame of a broadcast and has answer called with the client's
// acknowledgement, as [payload.AppendArgs] writes it.
//
// A socket that is not connected is not asked, nor to be counted as one that does not answer: it
// answers with an empty payload, which callers skip; a client's answer is never empty. A socket
// that waits for too many answers gets the event all the same, as it would any other.
func (m *member) DeliverWithAck(frame any, answer func(payload []byte, ok bool)) {
	s, d := m.socket(), frame.(*delivery)
	if s.life.at() != connected {
		if heir := m.heir(); heir != nil {
			heir.DeliverWithAck(frame, answer)
		} else {
			answer(nil, true)
		}
		return
	}
	if !d.wantsAck {
		s.deliver(d)
		answer(nil, false)
		return
	}
	err := s.expect(d.id, func(args packet.Args, ok bool) {
		if !ok {
			answer(nil, false)
			return
		}
		answer(payload.AppendArgs(nil, args), true)
	})
	switch {
	case errors.Is(err, ErrTooManyAcks):
		s.deliver(d)
		answer(nil, false)
	case err != nil:
		answer(nil, true)
	case !s.deliver(d):
		if call := s.forget(d.id); call != nil {
			call(packet.Args{}, false)
		}
	}
}

// CancelAck ends the wait for the client's acknowledgement.
func (m *member) CancelAck(frame any) {
	d := frame.(*delivery)
	if !d.wantsAck {
		return
	}
	m.socket().forget(d.id)
	if heir := m.heir(); heir != nil {
		heir.CancelAck(frame) // it may have been asked in the socket's place
	}
}

// Describe is what other nodes are told of the socket when it is fetched, in JSON; nothing if it is
// not connected.
func (m *member) Describe() []byte {
	s := m.socket()
	if s.life.at() != connected {
		if heir := m.heir(); heir != nil {
			return heir.Describe()
		}
		return nil
	}
	d := sockets.Description{Handshake: s.Handshake(), Transport: s.Transport()}
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
	defer onPanic(func(panicked error) { err = panicked })
	return json.Marshal(data)
}

// Disconnect ends the socket, or its client's connection. It means who sits there, now and later: a
// seat that was yielded meanwhile is disconnected, too, and otherwise none is any more.
func (m *member) Disconnect(close bool) {
	if close {
		m.socket().Close()
	} else {
		m.socket().Disconnect()
	}
	if m.life.bar() {
		return
	}
	if heir := m.heir(); heir != nil {
		heir.Disconnect(close)
	}
}
