package test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// client is a Socket.IO client over a real connection, no more than tests with many of them need.
type client struct {
	url  string
	id   string
	conn net.Conn
	r    *bufio.Reader
}

// dial connects a client to the namespace "/" of the server at url.
func dial(t *testing.T, url string) *client {
	t.Helper()
	address := strings.TrimPrefix(url, "http://")
	conn, early, _, err := ws.Dial(t.Context(), "ws://"+address+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{url: url, conn: conn, r: bufio.NewReader(conn)}
	if early != nil {
		c.r = early
	}
	if open := c.read(t); open[0] != '0' {
		t.Fatalf("want an open packet, got %q", open)
	}
	if err := wsutil.WriteClientText(conn, []byte("40")); err != nil {
		t.Fatal(err)
	}
	connected := c.read(t)
	var granted struct{ SID string }
	decode(t, append(append([]byte("["), connected[2:]...), ']'), &granted)
	c.id = granted.SID
	return c
}

// read returns the next message, and answers pings on the way.
func (c *client) read(t *testing.T) []byte {
	t.Helper()
	for {
		c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		h, err := ws.ReadHeader(c.r)
		if err != nil {
			t.Fatalf("a client of %s: %v", c.url, err)
		}
		msg := make([]byte, h.Length)
		for n := 0; n < len(msg); {
			k, err := c.r.Read(msg[n:])
			if err != nil {
				t.Fatalf("a client of %s: %v", c.url, err)
			}
			n += k
		}
		if string(msg) == "2" {
			wsutil.WriteClientText(c.conn, []byte("3"))
			continue
		}
		return msg
	}
}

// next decodes the arguments of the next event, its name first.
func (c *client) next(t *testing.T, dst ...any) {
	t.Helper()
	msg := c.read(t)
	if !strings.HasPrefix(string(msg), "42[") {
		t.Fatalf("want an event, got %.100q", msg)
	}
	decode(t, msg[2:], dst...)
}
