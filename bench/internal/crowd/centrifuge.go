package crowd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The bidirectional protocol is described on https://centrifugal.dev/docs/transports/client_protocol: a
// frame has one command or reply a line; a reply without an id is a push; an empty one is a ping.

// sendConnect asks to connect.
func (c *Crowd) sendConnect(cl *client) {
	cl.acks++
	p := []byte(`{"id":1,"connect":{`)
	if len(c.cfg.Auth) > 0 {
		p = append(append(p, `"data":`...), c.cfg.Auth...)
	}
	c.send(cl, false, append(p, "}}"...))
}

// sendSubscribe subscribes to the channel of a client's room.
func (c *Crowd) sendSubscribe(cl *client) {
	c.send(cl, false, fmt.Appendf(nil, `{"id":%d,"subscribe":{"channel":"%s"}}`,
		cl.asked, inJSON(cl.room.name)))
}

// sendCommand publishes to a channel, or calls echo.
func (c *Crowd) sendCommand(rt *route, number int) {
	cl := rt.sender
	cl.acks++
	p := append(c.scratch[:0], `{"id":`...)
	p = strconv.AppendInt(p, int64(cl.acks), 10)
	if cl.echo == rt {
		p = append(p, `,"rpc":{"method":"echo","data":"`...)
	} else {
		p = append(p, `,"publish":{"channel":"`...)
		p = append(p, rt.channel()...)
		p = append(p, `","data":"`...)
	}
	p = appendPayload(p, rt.id, number, rt.filler)
	p = append(p, `"}}`...)
	c.send(cl, false, p)
	c.scratch = p
}

// ownRoom is the channel of a client that nobody else has subscribed to; empty if there is none.
func (cl *client) ownRoom() string {
	if cl.room == nil || len(cl.room.members) != 1 {
		return ""
	}
	return cl.room.name
}

// channel is what the room of a route is called, between quotes.
func (r *route) channel() []byte { return r.before }

// replies takes a frame.
func (c *Crowd) replies(cl *client, p []byte, now time.Duration) error {
	for line := range bytes.SplitSeq(p, []byte{'\n'}) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if err := c.reply(cl, line, now); err != nil || cl.state == gone {
			return err
		}
	}
	return nil
}

const (
	replyStart = `{"id":`
	pushStart  = `{"push":`
)

// reply takes a reply to a command, or what the server has pushed.
func (c *Crowd) reply(cl *client, p []byte, now time.Duration) error {
	switch {
	case string(p) == "{}":
		if cl.pongs {
			c.send(cl, false, p)
		}
		return nil
	case cl.state == asking:
		return c.centrifugeConnected(cl, p)
	case bytes.HasPrefix(p, []byte(pushStart)):
		if id, number, after, ok := findToken(p); ok {
			c.deliver(cl, id, number, after, now)
			return nil
		}
		return pushed(p[len(pushStart):])
	case !bytes.HasPrefix(p, []byte(replyStart)):
		return fmt.Errorf("not a reply of centrifuge: %.100q", p)
	}
	id, rest := ackID(p[len(replyStart):])
	if err := replyError(rest); err != nil {
		if cl.busy && c.phase != nil && id == cl.asked {
			c.phase.finish(cl, err)
		} else if c.run != nil {
			c.run.why.add(err)
		}
		return nil
	}
	if cl.echo != nil || cl.busy {
		c.answered(cl, id, rest, now)
	}
	return nil
}

// replyError is the error of a reply that is one: rest is what comes after its id.
func replyError(rest []byte) error {
	const mark = `,"error":`
	if !bytes.HasPrefix(rest, []byte(mark)) {
		return nil
	}
	var said struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	text := rest[len(mark) : len(rest)-1]
	if json.Unmarshal(text, &said) != nil {
		return fmt.Errorf("refused: %.100q", text)
	}
	return refused("%s (code %d)", said.Message, said.Code)
}

// pushed is the error of a push that ends the connection or a subscription.
func pushed(p []byte) error {
	var push struct {
		Disconnect, Unsubscribe *struct {
			Code   int
			Reason string
		}
	}
	if json.Unmarshal(bytes.TrimSuffix(p, []byte("}")), &push) != nil {
		return nil
	}
	if d := push.Disconnect; d != nil {
		return fmt.Errorf("disconnected by the server with code %d: %s", d.Code, d.Reason)
	}
	if push.Unsubscribe != nil {
		return errors.New("unsubscribed by the server")
	}
	return nil
}

func (c *Crowd) centrifugeConnected(cl *client, p []byte) error {
	var reply struct {
		ID      int
		Connect *struct {
			Client string
			Pong   bool
		}
	}
	if bytes.HasPrefix(p, []byte(replyStart)) {
		_, rest := ackID(p[len(replyStart):])
		if err := replyError(rest); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(p, &reply); err != nil || reply.Connect == nil {
		return refused("no answer to connect: %.100q", p)
	}
	cl.pongs = reply.Connect.Pong
	c.connected(cl, reply.Connect.Client)
	return nil
}
