package wsserver

import (
	"encoding/json"
	"fmt"

	"github.com/belfry-io/belfry/adapter/sockets"
)

// describe is what the nodes are told of the socket when it is fetched.
func (s *Socket) describe() []byte {
	d := sockets.Description{Handshake: s.Handshake()}
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
