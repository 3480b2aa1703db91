package wsserver

// member is a Socket as the rooms know it: an [adapter.Member], whose methods are not a program's.
type member Socket

// Deliver queues the frame of a broadcast. A socket whose client has not been told yet that it is connected gets none.
func (m *member) Deliver(frame any) {
	s := (*Socket)(m)
	if s.now() != connected {
		return
	}
	d := frame.(*delivery)
	if len(d.listeners) > 0 || s.outgoing.Load() != nil {
		if e := d.outgoing(); e != nil {
			s.tell(e, d.listeners)
		}
	}
	s.conn.session.Append(d.frame)
}

// Ask delivers the frame. The client is not asked: there is no answer.
func (m *member) Ask(frame any, answer func(payload []byte, ok bool)) {
	m.Deliver(frame)
	answer(nil, false)
}

// Forget has nothing to do.
func (m *member) Forget(any) {}

// Describe says nothing of the socket.
func (m *member) Describe() []byte { return nil }

// Disconnect ends the socket, or its client's connection.
func (m *member) Disconnect(close bool) {
	if close {
		(*Socket)(m).Close()
	} else {
		(*Socket)(m).Disconnect()
	}
}
