package crowd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// socketio takes a text message: a packet of Engine.IO 4, or one of Socket.IO 5 in it. Their formats are
// on https://socket.io/docs/v4/engine-io-protocol and socket-io-protocol.
func (c *Crowd) socketio(cl *client, p []byte, now time.Duration) error {
	switch {
	case len(p) > 1 && p[0] == '4':
		return c.socketioPacket(cl, p[1], p[2:], now)
	case len(p) == 1 && p[0] == '4':
		return fmt.Errorf("not a packet of Socket.IO: %.100q", p)
	case len(p) > 0 && p[0] == '0' && cl.state == opening:
		cl.state = asking
		if c.cfg.Codec == MessagePack {
			c.send(cl, true, packedConnect(c.cfg.Namespace, c.cfg.Auth))
			return nil
		}
		p := []byte("40")
		if c.cfg.Namespace != "/" {
			p = append(append(p, c.cfg.Namespace...), ',')
		}
		c.send(cl, false, append(p, c.cfg.Auth...))
	case len(p) > 0 && p[0] == '2':
		c.send(cl, false, append([]byte{'3'}, p[1:]...))
	case len(p) > 0 && p[0] == '1':
		return errors.New("closed by the server")
	case len(p) > 0 && (p[0] == '3' || p[0] == '6'):
	default:
		return fmt.Errorf("not a packet of Engine.IO 4: %.100q", p)
	}
	return nil
}

func (c *Crowd) socketioPacket(cl *client, kind byte, p []byte, now time.Duration) error {
	switch kind {
	case '2':
		c.payload(cl, p, now)
	case '3':
		c.ack(cl, p, now)
	case '5', '6':
		count, rest, _ := bytes.Cut(p, []byte{'-'})
		n, ok := digits(count)
		if !ok || len(count) == 0 {
			return fmt.Errorf("not a packet of Socket.IO: %.100q", p)
		}
		cl.binary, cl.answer = n, -1
		if kind == '6' {
			cl.answer, _ = ackID(rest)
		}
	case '0':
		return c.socketioConnected(cl, p)
	case '1':
		return errors.New("disconnected by the server")
	case '4':
		return refused("%s", connectError(afterNamespace(p)))
	default:
		return fmt.Errorf("not a packet of Socket.IO: %.100q", p)
	}
	return nil
}

// attachment takes a binary message.
func (c *Crowd) attachment(cl *client, p []byte, now time.Duration) error {
	if cl.binary == 0 {
		return errors.New("a binary message without a packet that announces it")
	}
	cl.binary--
	if cl.answer < 0 {
		c.payload(cl, p, now)
	} else {
		c.answered(cl, cl.answer, p, now)
	}
	return nil
}

// payload takes the arguments of an event, or an attachment. What has no token is the server's own.
func (c *Crowd) payload(cl *client, p []byte, now time.Duration) {
	if id, number, after, ok := findToken(p); ok {
		c.deliver(cl, id, number, after, now)
	}
}

// ack takes an acknowledgement.
func (c *Crowd) ack(cl *client, p []byte, now time.Duration) {
	id, args := ackID(p)
	c.answered(cl, id, args, now)
}

// answered takes the arguments of the acknowledgement whose id is given.
func (c *Crowd) answered(cl *client, id int, args []byte, now time.Duration) {
	if cl.busy && c.phase != nil && id == cl.asked {
		c.phase.finish(cl, joinError(cl, args))
		return
	}
	rt := cl.echo
	if rt == nil || id < cl.base || id-cl.base >= rt.next {
		return // of a run that is over
	}
	number := id - cl.base
	if route, n, after, ok := findToken(args); ok {
		if route != rt.id || n != number {
			c.badly++
			return
		}
		c.deliver(cl, route, n, after, now)
		return
	}
	// Any application may acknowledge with something else.
	c.deliver(cl, rt.id, number, rt.filler, now)
}

// ackID takes the id off a packet of an acknowledgement.
func ackID(p []byte) (id int, args []byte) {
	p = afterNamespace(p)
	i := 0
	for i < len(p) && p[i] >= '0' && p[i] <= '9' && i < 18 {
		i++
	}
	if i == 0 {
		return 0, p
	}
	id, _ = digits(p[:i])
	return id, p[i:]
}

func afterNamespace(p []byte) []byte {
	if len(p) > 0 && p[0] == '/' {
		if i := bytes.IndexByte(p, ','); i >= 0 {
			return p[i+1:]
		}
		return nil
	}
	return p
}

// ErrOldProtocol is why a client of a server fails that speaks Engine.IO 3.
var ErrOldProtocol = errors.New("refused: the server speaks an older protocol, that of Socket.IO 2")

func (c *Crowd) socketioConnected(cl *client, p []byte) error {
	p = afterNamespace(p)
	var answer struct {
		SID string `json:"sid"`
	}
	if cl.state != asking {
		return nil
	}
	if len(p) == 0 { // Socket.IO 2 connects without being asked, and tells no id
		return ErrOldProtocol
	}
	if err := json.Unmarshal(p, &answer); err != nil || answer.SID == "" {
		return refused("no id of a session in the answer to CONNECT: %.100q", p)
	}
	c.connected(cl, answer.SID)
	return nil
}

// connectError is the text of a CONNECT_ERROR.
func connectError(p []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(p, &said) == nil && said.Message != "" {
		return said.Message
	}
	return fmt.Sprintf("%.100s", p)
}

// sendJoin has a client ask for its room.
func (c *Crowd) sendJoin(cl *client, t template, ack, own bool) error {
	cl.acks++
	cl.asked, cl.own = cl.acks, own
	if c.cfg.Dialect == Centrifuge {
		c.sendSubscribe(cl)
		return nil
	}
	args, _ := t.fill(cl, cl.room.name, 0)
	id := cl.asked
	if !ack {
		id = -1
	}
	if t.packed {
		c.send(cl, true, appendPackedID(append(appendPackedHead(nil, id), args...), id))
	} else {
		c.send(cl, false, append(t.appendHead(nil, id), args...))
	}
	if !ack {
		c.phase.finish(cl, nil)
	}
	return nil
}

// joinError is what the acknowledgement of a join says.
func joinError(cl *client, args []byte) error {
	var said []string
	if cl.own && json.Unmarshal(args, &said) == nil && len(said) > 0 && said[0] != "" {
		return fmt.Errorf("the server has not joined the room: %s", said[0])
	}
	return nil
}

// sendPublish has the sender of a route send.
func (c *Crowd) sendPublish(rt *route, number int) {
	cl := rt.sender
	if c.cfg.Dialect == Centrifuge {
		c.sendCommand(rt, number)
		return
	}
	id := -1
	if cl.echo == rt {
		cl.acks++
		id = cl.acks
	}
	p := c.scratch[:0]
	if rt.template.packed {
		p = append(appendPackedHead(p, id), rt.before...)
		if rt.after != nil {
			p = append(appendPayload(p, rt.id, number, rt.filler), rt.after...)
		}
		p = appendPackedID(p, id)
		c.send(cl, true, p)
		c.scratch = p
		return
	}
	p = append(rt.template.appendHead(p, id), rt.before...)
	if rt.template.binary {
		c.send(cl, false, p)
		p = appendPayload(p[:0], rt.id, number, rt.filler)
		c.send(cl, true, p)
	} else {
		if rt.after != nil {
			p = append(appendPayload(p, rt.id, number, rt.filler), rt.after...)
		}
		c.send(cl, false, p)
	}
	c.scratch = p
}
