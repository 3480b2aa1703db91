package main

import (
	"encoding/json"
	"strings"
)

// A state is what a Socket of socket.io-client 4.8 keeps for its recovery (lib/socket.ts). It moves
// its offset by any event whose last argument is a string, unless that asks for an acknowledgement,
// keeps events that come before the answer to CONNECT, also when their connection breaks, and hands
// them over before it says that it is connected. It drops neither pid nor offset by itself.
type state struct {
	id, pid   string
	offset    string
	connected bool
	early     []string // events, as the packets have them
}

// hello is the packet that connects, with this auth.
func (s *state) hello(auth map[string]string) string {
	all := make(map[string]string)
	if s.pid != "" {
		all["pid"] = s.pid
		if s.offset != "" {
			all["offset"] = s.offset
		}
	}
	for k, v := range auth {
		all[k] = v
	}
	b, _ := json.Marshal(all)
	return "40" + string(b)
}

// welcome handles the answer to CONNECT. It returns whether the session was recovered, and the events
// that came early.
func (s *state) welcome(answer string) (recovered bool, early []string, err error) {
	var a struct{ SID, PID string }
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		return false, nil, err
	}
	recovered = a.PID != "" && a.PID == s.pid
	s.id, s.pid, s.connected = a.SID, a.PID, true
	early, s.early = s.early, nil
	return recovered, early, nil
}

// lose is the end of the connection.
func (s *state) lose() { s.connected = false }

// event handles an event without an id; args is the JSON of its array. It is nil if the event is kept.
func (s *state) event(args string) []string {
	if !s.connected {
		s.early = append(s.early, args)
		return nil
	}
	return s.emit(args)
}

// emit hands an event over: its name and arguments, which have neither commas nor escapes here.
func (s *state) emit(args string) []string {
	all := strings.Split(strings.Trim(args, "[]"), ",")
	if last := all[len(all)-1]; s.pid != "" && strings.HasPrefix(last, `"`) {
		s.offset = strings.Trim(last, `"`)
	}
	return all
}
