package wstest

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// recovery is what a client keeps for its return, as Socket in socket.io-client 4.8 does. The lock of
// the session guards it.
type recovery struct {
	pid       string  // of the last answer to CONNECT; empty if recovery is off
	offset    *string // the last argument of the last event that had a string there; nil before it
	recovered bool
	early     []*packet.Packet // events before the answer to CONNECT
}

// note takes an event's offset. One that wants an answer has none, and one whose last argument is a
// string has that, whatever it is (socket.io-client, Socket.emitEvent).
func (r *recovery) note(p *packet.Packet) {
	if r.pid == "" || p.HasID {
		return
	}
	var last any
	dst := make([]any, p.Args.Len())
	dst[len(dst)-1] = &last
	if err := p.Args.Decode(dst...); err != nil {
		return
	}
	if offset, ok := last.(string); ok {
		r.offset = &offset
	}
}

// Recovered reports whether the server has recovered the client's session at its last return, as
// socket.recovered of socket.io-client does: the client has the id, the rooms and the data of before,
// and gets what it has missed.
func (c *Client) Recovered() (recovered bool) {
	c.lock.Update(func() { recovered = c.recovery.recovered })
	return recovered
}

// PID returns the secret that the server has given the client for its return. It is empty if the
// server recovers no sessions.
func (c *Client) PID() (pid string) {
	c.lock.Update(func() { pid = c.recovery.pid })
	return pid
}

// Return connects the client again, to the same server or another, with all namespaces that it has
// not left. It sends what socket.io-client sends for the recovery of its session, and tells by
// [Client.Recovered] whether it has been recovered. Events that were emitted while it was away
// follow. If the server refuses, the test fails.
//
// A connection that is open is left: it stays open and nothing of it is read, so that the server
// takes the client for connected until a ping is not answered. After Abort or Close, the server
// knows.
func (c *Client) Return(h http.Handler) {
	c.t.Helper()
	c.mustReturn(wsrig.Serve(c.t, h))
}

// ReturnOver is Return for a server at the other end of a connection, which then belongs to the
// client.
func (c *Client) ReturnOver(nc net.Conn) {
	c.t.Helper()
	c.mustReturn(nc)
}

// TryReturn is Return to a server that may refuse the client's namespace. Then refusal is its answer,
// otherwise nil. The client keeps its session, and may return again.
func (c *Client) TryReturn(h http.Handler) (refusal json.RawMessage) {
	c.t.Helper()
	return c.comeBack(wsrig.Serve(c.t, h))
}

func (c *Client) mustReturn(nc net.Conn) {
	c.t.Helper()
	if refusal := c.comeBack(nc); refusal != nil {
		c.t.Fatalf("wstest: the server refused namespace %s: %s", c.namespace, refusal)
	}
}

func (c *Client) comeBack(nc net.Conn) (refusal json.RawMessage) {
	c.t.Helper()
	c.current().Stall()
	c.lock.Update(c.lose)
	back := []*Client{c}
	c.open(nc, func() {
		for _, other := range c.clients {
			if other != c && other.state == away {
				back = append(back, other)
			}
		}
		for _, client := range back {
			client.state = connecting
			client.lost = make(chan struct{})
			client.welcomed, client.refusal = false, nil
			client.recovery.recovered = false
		}
	})
	for _, client := range back {
		client.connect()
	}
	for _, client := range back {
		refused := client.answered()
		if client == c {
			refusal = refused
		} else if refused != nil {
			c.t.Fatalf("wstest: the server refused namespace %s: %s", client.namespace, refused)
		}
	}
	return refusal
}

// connect sends a CONNECT packet. The keys of auth win over those of recovery (socket.io-client,
// Socket._sendConnectPacket).
func (c *Client) connect() {
	c.t.Helper()
	p := &packet.Packet{Type: packet.Connect}
	if c.auth != nil {
		data, err := json.Marshal(c.auth)
		if err != nil {
			c.t.Fatalf("wstest: auth: %v", err)
		}
		p.Data = data
	}
	var kept map[string]any
	c.lock.Update(func() {
		if c.recovery.pid != "" {
			kept = map[string]any{"pid": c.recovery.pid}
		}
		if kept != nil && c.recovery.offset != nil {
			kept["offset"] = *c.recovery.offset
		}
	})
	if kept != nil {
		var own map[string]json.RawMessage
		json.Unmarshal(p.Data, &own) // what is no object, the codec refuses
		for key, value := range own {
			kept[key] = value
		}
		p.Data, _ = json.Marshal(kept)
	}
	c.send(p)
}

// answered waits for the server's answer to CONNECT. refusal is nil if it has let the client in.
func (c *Client) answered() (refusal json.RawMessage) {
	c.t.Helper()
	c.await("the answer of namespace "+c.namespace, func() bool {
		refusal = c.refusal
		return c.welcomed || refusal != nil
	})
	return refusal
}

// welcome takes the server's answer to CONNECT, which has come by conn: events that came before it,
// then those that wait to be sent.
func (c *Client) welcome(conn *wsrig.Conn, data json.RawMessage) error {
	var answer struct{ SID, PID string }
	if err := json.Unmarshal(data, &answer); err != nil {
		return err
	}
	var early []*packet.Packet
	c.update(conn, func() {
		if c.state != connecting {
			return
		}
		r := &c.recovery
		r.recovered = answer.PID != "" && answer.PID == r.pid
		c.id, r.pid = answer.SID, answer.PID
		early, r.early = r.early, nil
		c.welcomed, c.state = true, flushing
	})
	for _, p := range early {
		c.event(conn, p)
	}
	c.flush(conn)
	return nil
}

// flush sends what waits for that.
func (c *Client) flush(conn *wsrig.Conn) {
	for {
		var frames [][]byte
		c.update(conn, func() {
			if c.state != flushing {
				return
			}
			if frames, c.unsent = c.unsent, nil; len(frames) == 0 {
				c.state = connected
			}
		})
		if len(frames) == 0 {
			return
		}
		conn.Write(slices.Concat(frames...))
	}
}
