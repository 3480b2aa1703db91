package protocol

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A session is one over HTTP long-polling.
type session struct {
	c       *check
	sid     string
	query   string   // of its requests
	waiting []string // packets that came with an earlier one
}

// opened is the payload of an open packet.
type opened struct {
	SID          string
	Upgrades     []string
	PingInterval int
	PingTimeout  int
	MaxPayload   int
}

func (c *check) opened(packet string) (o opened) {
	if !strings.HasPrefix(packet, "0") || json.Unmarshal([]byte(packet[1:]), &o) != nil {
		c.Fatalf("got %q, want an open packet", packet)
	}
	return o
}

// poll opens a session over HTTP long-polling.
func (c *check) poll() *session {
	a := c.do("GET", polling, "")
	c.status("handshake", a, 200)
	sid := c.opened(a.body).SID
	return &session{c: c, sid: sid, query: polling + "&sid=" + sid}
}

// get sends a GET and does not wait for the answer.
func (s *session) get() *conn {
	return s.c.dial().send(s.c.request("GET", s.query, ""))
}

// pending sends a GET that the server has taken once pending returns: others that came later have been answered.
func (s *session) pending() *conn {
	k := s.get()
	other := s.c.dial()
	defer other.Close()
	for range 30 { // a server on a busy machine may come to k late
		other.send(s.c.request("GET", polling+"&sid=none", "")).answer()
	}
	return k
}

// post sends packets in one payload, which the server must take.
func (s *session) post(packets ...string) {
	a := s.c.do("POST", s.query, strings.Join(packets, "\x1e"))
	if a.status != 200 || a.body != "ok" {
		s.c.Fatalf("POST of %s: got %v, want 200 \"ok\"", brief(packets), a)
	}
}

// next returns the next packet from the server; it answers pings on the way.
func (s *session) next() string {
	for {
		for len(s.waiting) == 0 {
			k := s.get()
			a := k.answer()
			k.Close()
			s.c.status("GET", a, 200)
			s.waiting = strings.Split(a.body, "\x1e")
		}
		packet := s.waiting[0]
		s.waiting = s.waiting[1:]
		if packet != "2" {
			return packet
		}
		s.post("3")
	}
}

// arrived returns the packets that a pending GET brings. A ping among them is answered; if it is the only one, the next GET counts.
func (s *session) arrived(k *conn) string {
	for {
		a := k.answer()
		s.c.status("GET", a, 200)
		packets := strings.Split(a.body, "\x1e")
		rest := slices.DeleteFunc(slices.Clone(packets), func(p string) bool { return p == "2" })
		if len(rest) < len(packets) {
			s.post("3")
		}
		if len(rest) > 0 {
			return strings.Join(rest, "\x1e")
		}
		k = s.get()
	}
}

// want fails the case unless these are the next packets.
func (s *session) want(packets ...string) {
	for _, want := range packets {
		equal(s.c, "packet", s.next(), want)
	}
}

// lives fails the case unless the session echoes.
func (s *session) lives() {
	s.post("4still here?")
	for {
		switch got := s.next(); got {
		case "4still here?":
			return
		case "6": // of an upgrade that did not come about
		default:
			s.c.Fatalf("got %q, want the echo", got)
		}
	}
}

// gone fails the case unless the server does not know the session any more.
func (s *session) gone() {
	s.c.refused("a GET after the end", s.c.do("GET", s.query, ""), 1)
}

// ends fails the case unless the session is forgotten by itself, or once the server has noticed what happened to a connection. It asks with
// a method that does nothing to a session.
func (s *session) ends() {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if a := s.c.do("PUT", s.query, ""); a.body == refusals[1] {
			return
		}
	}
	s.c.Fatalf("the session is still there")
}
