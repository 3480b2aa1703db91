package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A client is a Socket.IO client with nothing but the standard library beneath it: one WebSocket (RFC 6455), text messages only.
// It is for one goroutine.
type client struct {
	t     *testing.T
	conn  net.Conn
	read  *bufio.Reader
	id    string
	auth  map[string]string // with which it can come back
	acks  int
	early []event // came while an acknowledgement was awaited
}

// An event is what came in an EVENT packet.
type event struct {
	name string
	arg  json.RawMessage
}

// dial connects to the node whose page is at address.
func dial(t *testing.T, address string) *client { return dialAs(t, address, nil) }

// dialAs is dial with the auth of a client that was lost.
func dialAs(t *testing.T, address string, auth map[string]string) *client {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatalf("dial %s: %v", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(kit.Patience))
	response, read, err := handshake(conn, u.Host, address)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake with %s: got %v, %v; want 101", address, response, err)
	}
	c := &client{t: t, conn: conn, read: read}
	if open := c.packet(); !strings.HasPrefix(open, "0{") {
		t.Fatalf("first packet of %s: got %q, want Engine.IO's open", address, open)
	}
	login, err := json.Marshal(auth)
	if err != nil {
		t.Fatal(err)
	}
	c.send("40" + strings.TrimPrefix(string(login), "null"))
	connect := c.packet()
	var welcome struct{ SID, PID string }
	if data, ok := strings.CutPrefix(connect, "40"); !ok || json.Unmarshal([]byte(data), &welcome) != nil || welcome.SID == "" {
		t.Fatalf("answer of %s to CONNECT: got %q, want 40{\"sid\":...}", address, connect)
	}
	c.id, c.auth = welcome.SID, map[string]string{"pid": welcome.PID}
	return c
}

// handshake asks for a WebSocket, as a page of an origin does.
func handshake(conn net.Conn, host, origin string) (*http.Response, *bufio.Reader, error) {
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host, origin)
	read := bufio.NewReader(conn)
	response, err := http.ReadResponse(read, nil)
	return response, read, err
}

// send sends a packet in one masked text frame.
func (c *client) send(packet string) {
	c.t.Helper()
	frame := []byte{0x81}
	switch n := len(packet); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		c.t.Fatalf("a packet of %d bytes is too long for this client", n)
	}
	frame = append(frame, 0, 0, 0, 0) // the mask that changes nothing
	if _, err := c.conn.Write(append(frame, packet...)); err != nil {
		c.t.Fatalf("send %.40q: %v", packet, err)
	}
}

// next reads packets until one comes that is not a ping, which it answers. io.EOF means that the server has closed the connection.
func (c *client) next() (string, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.read, head[:]); err != nil {
			return "", err
		}
		if head[0]&0x80 == 0 || head[1] > 126 {
			return "", fmt.Errorf("frame with header % x: want a short, whole and unmasked one", head)
		}
		size := int(head[1])
		if size == 126 {
			var long [2]byte
			if _, err := io.ReadFull(c.read, long[:]); err != nil {
				return "", err
			}
			size = int(binary.BigEndian.Uint16(long[:]))
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(c.read, payload); err != nil {
			return "", err
		}
		switch opcode := head[0] & 0x0f; {
		case opcode == 8:
			c.conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0}) // the closing handshake; the server may be gone by now
			return "", io.EOF
		case opcode == 1 && string(payload) == "2":
			c.send("3")
		case opcode == 1:
			return string(payload), nil
		}
	}
}

func (c *client) packet() string {
	c.t.Helper()
	p, err := c.next()
	if err != nil {
		c.t.Fatalf("wait for a packet: %v", err)
	}
	return p
}

// request sends an event and returns the first argument of its acknowledgement.
func (c *client) request(name string, arg any) json.RawMessage {
	c.t.Helper()
	body, err := json.Marshal([]any{name, arg})
	if err != nil {
		c.t.Fatal(err)
	}
	c.acks++
	c.send(fmt.Sprintf("42%d%s", c.acks, body))
	for {
		p := c.packet()
		if data, ok := strings.CutPrefix(p, fmt.Sprintf("43%d", c.acks)); ok {
			var args []json.RawMessage
			if err := json.Unmarshal([]byte(data), &args); err != nil || len(args) != 1 {
				c.t.Fatalf("acknowledgement of %s: got %q, want one argument", name, p)
			}
			return args[0]
		}
		c.early = append(c.early, c.event(p))
	}
}

// ask is a request that must not be refused.
func (c *client) ask(name string, arg any) {
	c.t.Helper()
	if why := c.refusal(name, arg); why != "" {
		c.t.Fatalf("%s %v: refused: %s", name, arg, why)
	}
}

// refusal is a request and returns why it was refused; empty if it was not.
func (c *client) refusal(name string, arg any) string {
	c.t.Helper()
	var reply struct{ Error struct{ Message string } }
	if data := c.request(name, arg); json.Unmarshal(data, &reply) != nil {
		c.t.Fatalf("acknowledgement of %s: got %s, want an object", name, data)
	}
	return reply.Error.Message
}

func (c *client) event(packet string) event {
	c.t.Helper()
	var e event
	var offset string
	data, ok := strings.CutPrefix(packet, "42")
	if !ok || json.Unmarshal([]byte(data), &[]any{&e.name, &e.arg, &offset}) != nil {
		c.t.Fatalf("packet: got %q, want an event", packet)
	}
	if offset != "" {
		c.auth["offset"] = offset
	}
	return e
}

// any returns the next event.
func (c *client) any() (e event) {
	c.t.Helper()
	if len(c.early) == 0 {
		return c.event(c.packet())
	}
	e, c.early = c.early[0], c.early[1:]
	return e
}

// hear returns the next event of a name as T and passes over others: lists of people come at any time, and a notice of who joined a
// moment ago on another node may come to one who joined after that.
func hear[T any](c *client, name string) T {
	c.t.Helper()
	for {
		e := c.any()
		if e.name != name {
			continue
		}
		var v T
		decoder := json.NewDecoder(bytes.NewReader(e.arg))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&v); err != nil {
			c.t.Fatalf("event %s: got %s: %v", name, e.arg, err)
		}
		return v
	}
}

// hearUntil is hear, until what comes is what the test waits for.
func hearUntil[T any](c *client, name string, ok func(T) bool) {
	c.t.Helper()
	for v := hear[T](c, name); !ok(v); v = hear[T](c, name) {
		c.t.Logf("%s: got %+v, and wait for another", name, v)
	}
}

// ended reports whether the server has closed the connection, whatever it said before.
func (c *client) ended() error {
	for {
		_, err := c.next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return nil
		default:
			return err
		}
	}
}
