package protocol

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A conn is a connection on which a case writes the bytes it likes.
type conn struct {
	c *check
	net.Conn
	r *bufio.Reader
}

func newConn(c *check, nc net.Conn) *conn {
	nc.SetDeadline(time.Now().Add(patience))
	return &conn{c, nc, bufio.NewReader(nc)}
}

// send writes s. An error is left to whoever reads the answer: a server may close while it is being written to.
func (k *conn) send(s string) *conn {
	io.WriteString(k, s)
	return k
}

// drip writes s a byte at a time.
func (k *conn) drip(s string) {
	for i := range len(s) {
		k.send(s[i : i+1])
	}
}

// An answer is a server's answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string {
	return fmt.Sprintf("%d %q (%s)", a.status, a.body, a.header.Get("Content-Type"))
}

// answer reads the answer to the request that was sent.
func (k *conn) answer() answer {
	a, err := k.read()
	if err != nil {
		k.c.Fatalf("got no answer, but %v", err)
	}
	return a
}

func (k *conn) read() (answer, error) {
	res, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// ended waits for the server to close the connection, closes our side as well, and returns what came before.
func (k *conn) ended() string {
	rest, err := io.ReadAll(k.r)
	if timeout(err) {
		k.c.Fatalf("the connection is still open; after %s", brief(string(rest)))
	}
	k.Close()
	return string(rest)
}

func timeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

// polling is the query of a handshake, websocket that of one over WebSocket.
const (
	polling   = "EIO=4&transport=polling"
	websocket = "EIO=4&transport=websocket"
)

// request is the text of a request to the server's path. A nil header leaves the usual ones.
func (c *check) request(method, query, body string, header ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s?%s HTTP/1.1\r\nHost: %s\r\n", method, c.path, query, c.address)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

// do sends a request on a connection of its own and returns the answer.
func (c *check) do(method, query, body string, header ...string) answer {
	k := c.dial()
	defer k.Close()
	return k.send(c.request(method, query, body, header...)).answer()
}

// The errors of Engine.IO, as every server of it words them.
var refusals = []string{
	`{"code":0,"message":"Transport unknown"}`,
	`{"code":1,"message":"Session ID unknown"}`,
	`{"code":2,"message":"Bad handshake method"}`,
	`{"code":3,"message":"Bad request"}`,
	`{"code":4,"message":"Forbidden"}`,
	`{"code":5,"message":"Unsupported protocol version"}`,
}

// refused fails the case unless a is the refusal of that code.
func (c *check) refused(what string, a answer, code int) {
	if a.status != 400 || a.body != refusals[code] || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		c.Fatalf("%s: got %v, want 400 %q (application/json)", brief(what), a, refusals[code])
	}
}

// status fails the case unless a has that status.
func (c *check) status(what string, a answer, status int) {
	if a.status != status {
		c.Fatalf("%s: got %v, want status %d", what, a, status)
	}
}
