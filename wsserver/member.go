package wsserver

import (
	"errors"

	"github.com/belfry-io/belfry/adapter/packet"
)

// member is a Socket as the rooms know it: an [cluster.Member], whose methods are not a program's.
type member Socket

// Deliver queues the frame of a broadcast. A socket whose client has not been told yet that it is connected gets none.
func (m *member) Deliver(frame any) bool {
	s := (*Socket)(m)
	return s.now() == connected && s.take(frame.(*delivery))
}

// take queues what is delivered. It reports false if the client will not get it: it is volatile, or the connection has ended.
func (s *Socket) take(d *delivery) bool {
	if len(d.listeners) > 0 || s.outgoing.Load() != nil {
		if e := d.outgoing(); e != nil {
			s.tell(e, d.listeners)
		}
	}
	return s.conn.session.Append(d.frame)
}

// Ask queues the frame of a broadcast and has answer called with the client's acknowledgement, as [packet.Args.AppendBlob] writes it.
//
// A socket that is not connected is not asked, nor to be counted as one that does not answer. It says so by an answer of no bytes, which
// stands for nobody; a client's has some. A socket that waits for too many answers gets the event all the same, as it would any other.
func (m *member) Ask(frame any, answer func(payload []byte, ok bool)) {
	s, d := (*Socket)(m), frame.(*delivery)
	if s.now() != connected {
		answer(nil, true)
		return
	}
	if !d.asks {
		s.take(d)
		answer(nil, false)
		return
	}
	err := s.expect(d.id, func(args packet.Args, ok bool) {
		if !ok {
			answer(nil, false)
			return
		}
		answer(args.AppendBlob(nil), true)
	})
	switch {
	case errors.Is(err, ErrTooManyAcks):
		s.take(d)
		answer(nil, false)
	case err != nil:
		answer(nil, true)
	case !s.take(d):
		if answered := s.expected(d.id); answered != nil {
			answered(packet.Args{}, false)
		}
	}
}

// Forget ends the wait for the client's acknowledgement.
func (m *member) Forget(frame any) {
	if d := frame.(*delivery); d.asks {
		(*Socket)(m).expected(d.id)
	}
}

// Describe is what other nodes are told of the socket; nothing if it is not connected.
func (m *member) Describe() []byte {
	s := (*Socket)(m)
	if s.now() != connected {
		return nil
	}
	return s.describe()
}

// Disconnect ends the socket, or its client's connection.
func (m *member) Disconnect(close bool) {
	if close {
		(*Socket)(m).Close()
	} else {
		(*Socket)(m).Disconnect()
	}
}
