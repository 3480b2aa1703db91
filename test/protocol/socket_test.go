package protocol

import (
	"encoding/json"
	"strings"
)

// connected opens a connection over WebSocket and connects it to the main namespace.
func (c *check) connected() *socket {
	w := c.socket()
	w.text("40")
	w.granted("40")
	w.want(`42["auth",{}]`)
	return w
}

// granted reads the answer to a CONNECT packet, prefix and the socket's id, and returns the id.
func (w *socket) granted(prefix string) string {
	return w.c.granted(prefix, w.next().payload)
}

func (c *check) granted(prefix, packet string) string {
	payload, ok := strings.CutPrefix(packet, prefix)
	var data map[string]any
	if !ok || json.Unmarshal([]byte(payload), &data) != nil {
		c.Fatalf("got %q, want %s{\"sid\":...}", packet, prefix)
	}
	sid, _ := data["sid"].(string)
	if sid == "" || len(data) != 1 {
		c.Fatalf("got %q, want a sid and nothing else", packet)
	}
	return sid
}

// answers fails the case unless the application answers in the main namespace.
func (w *socket) answers() {
	w.text(`42["message","still here?"]`)
	w.want(`42["message-back","still here?"]`)
}

// connected connects a session over HTTP to the main namespace.
func (c *check) polled() *session {
	s := c.poll()
	s.post("40")
	c.granted("40", s.next())
	s.want(`42["auth",{}]`)
	return s
}

// finished fails the case unless the server ends the session by itself: GETs bring what was left and then close, or find the session gone.
// It returns what was left.
func (s *session) finished() (left []string) {
	for range 8 { // of which those that bring pings alone take a ping interval
		a := s.get().answer()
		if a.body == refusals[1] {
			return left
		}
		s.c.status("GET", a, 200)
		for _, packet := range strings.Split(a.body, "\x1e") {
			switch packet {
			case "1":
				s.ends()
				return left
			case "2":
				s.c.do("POST", s.query, "3")
			case "6":
			default:
				left = append(left, packet)
			}
		}
	}
	s.c.Fatalf("the session is still there, after %q", left)
	return nil
}
