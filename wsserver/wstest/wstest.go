// Package wstest has a Socket.IO client for tests of servers, as net/http/httptest has a client for
// HTTP. An error fails the test, and the failure says which events did come.
//
// [Dial] connects a [Client] to a handler, such as a *wsserver.Server, through memory: with a real
// HTTP request, WebSocket, Engine.IO and Socket.IO, but without a network. A test may run in a
// bubble of testing/synctest, where an hour passes at once. Make the server in the same bubble.
//
// [Client.Return] brings a client back after its connection was dropped by [Client.Abort], or while
// the server has not noticed yet that it is away, and says to the server what socket.io-client says
// for the recovery of its session.
//
// The client uses a WebSocket from the beginning: the server must have the transport "websocket".
//
// All methods may be called concurrently. Methods that can fail the test must be called on its
// goroutine, as t.Fatal must.
package wstest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A Config says how a client connects. The zero value means an ordinary client of the namespace
// "/".
type Config struct {
	// Namespace is the first namespace to connect to. Empty means "/".
	Namespace string

	// Auth is the client's option "auth", an object in JSON. nil means none.
	Auth any

	// Path is the path of the server. Empty means "/socket.io/".
	Path string

	// Query and Header are added to the request, and replace values of the same name, also the Host
	// "example.com".
	Query  url.Values
	Header http.Header

	// Codec is the server's. nil means packet.JSON.
	Codec packet.Codec

	// Timeout bounds every wait of the client. Zero means a minute.
	Timeout time.Duration
}

// Dial connects a client to h. When the test ends, it closes the client and ends everything that it
// has started. If h refuses, the test fails: see [Try].
func Dial(t testing.TB, h http.Handler, cfg Config) *Client {
	t.Helper()
	return New(t, wsrig.Serve(t, h), cfg)
}

// New is Dial for a server at the other end of a connection, which then belongs to the client.
func New(t testing.TB, nc net.Conn, cfg Config) *Client {
	t.Helper()
	return begin(t, nc, cfg).Of(orRoot(cfg.Namespace), cfg.Auth)
}

// Try is Dial for a namespace that may refuse. Then the client is nil, and refusal is the server's
// answer, such as {"message":"wrong token"}.
func Try(t testing.TB, h http.Handler, cfg Config) (client *Client, refusal json.RawMessage) {
	t.Helper()
	return begin(t, wsrig.Serve(t, h), cfg).Try(orRoot(cfg.Namespace), cfg.Auth)
}

func orRoot(namespace string) string {
	if namespace == "" {
		return "/"
	}
	return namespace
}

// Of connects to another namespace on the same connection. Close, Abort, Wait, Stall, Resume and
// Return concern the connection as a whole. If the server refuses, the test fails.
func (c *Client) Of(namespace string, auth any) *Client {
	c.t.Helper()
	other, refusal := c.Try(namespace, auth)
	if refusal != nil {
		c.t.Fatalf("wstest: the server refused namespace %s: %s", namespace, refusal)
	}
	return other
}

// Try is Of for a namespace that may refuse. Then the client is nil, and refusal is the server's
// answer, such as {"message":"wrong token"}.
func (c *Client) Try(namespace string, auth any) (client *Client, refusal json.RawMessage) {
	c.t.Helper()
	other := c.newClient(namespace, auth)
	other.connect()
	if refusal = other.answered(); refusal != nil {
		return nil, refusal
	}
	return other, nil
}

// Stall stops reading, so that what the server sends stays in the network, which holds 64 KiB of
// it: nothing is received, and no ping is answered.
func (c *Client) Stall() { c.current().Stall() }

// Resume ends a stall.
func (c *Client) Resume() { c.current().Resume() }

// Disconnect leaves the namespace. The connection stays.
func (c *Client) Disconnect() {
	c.t.Helper()
	c.send(&packet.Packet{Type: packet.Disconnect})
	c.lock.Update(func() { c.leave(parted) })
}

// Disconnected returns a channel that is closed when the client has left its namespace: by
// Disconnect, because the server said so, or because the connection has ended. After a return there
// is another.
func (c *Client) Disconnected() (lost <-chan struct{}) {
	c.lock.Update(func() { lost = c.lost })
	return lost
}

// An End is how a connection ended.
type End struct {
	Code   int    // of the server's Close frame (RFC 6455 section 7.4); 1005 if it had none; 0 without such a frame
	Reason string // of that frame
	Err    error  // of the last read: io.EOF if the server closed the connection
}

func (e End) String() string { return wsrig.End(e).String() }

// Close closes the connection with a Close frame, and waits until the server has closed it, too.
func (c *Client) Close() End {
	c.t.Helper()
	c.current().Shut()
	return c.Wait()
}

// Abort drops the connection without a Close frame, as a network does that breaks.
func (c *Client) Abort() { c.current().Abort() }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.current().Done() }

// Wait waits until the connection has ended.
func (c *Client) Wait() End {
	c.t.Helper()
	end, err := c.current().AwaitEnd()
	if err != nil {
		c.t.Fatalf("wstest: %v%s", err, c.history())
	}
	return End(end)
}
