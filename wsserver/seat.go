package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A seat is a place in the rooms of a namespace: an id, and the rooms that it is in, which the
// namespace's [cluster.Rooms] keep. A socket sits there, by its [member]; while its client is away,
// its [session] does.
type seat struct {
	ns *Namespace // nil until it is known
	id string
}

// occupy puts a socket on a new seat, in the whole cluster: see [cluster.Rooms.Add].
func (st seat) occupy(ctx context.Context, who *member) error {
	return st.ns.rooms.Add(ctx, st.id, who)
}

// leave gives the seat up, and so leaves its rooms.
func (st seat) leave() { st.ns.rooms.Remove(st.id) }

// member is a Socket on its seat. Its methods are not a program's.
type member Socket

func (m *member) socket() *Socket { return (*Socket)(m) }

// Deliver queues the frame of a broadcast. A socket whose client has not been told yet that it is
// connected gets none.
func (m *member) Deliver(frame any) bool {
	s := m.socket()
	return s.life.at() == connected && s.deliver(frame.(*delivery))
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
		answer(nil, true)
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
	if d := frame.(*delivery); d.wantsAck {
		m.socket().forget(d.id)
	}
}

// Describe is what other nodes are told of the socket when it is fetched, in JSON; nothing if it is
// not connected.
func (m *member) Describe() []byte {
	s := m.socket()
	if s.life.at() != connected {
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

// Disconnect ends the socket, or its client's connection. It means who sits there: what the socket
// has left there meanwhile ends, too, and otherwise it leaves nothing.
func (m *member) Disconnect(close bool) {
	if close {
		m.socket().Close()
	} else {
		m.socket().Disconnect()
	}
	if !m.life.bar() {
		m.seat.ns.rooms.Disconnect(m.seat.id, close)
	}
}
