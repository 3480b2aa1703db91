// Package wstest has a Socket.IO client for tests, as net/http/httptest has a client and a server for HTTP.
//
// [Dial] connects a [Client] to a handler, such as a *wsserver.Server, through memory: with a real HTTP request, upgrade, WebSocket,
// Engine.IO and Socket.IO, but without a network. Nothing waits for anything but channels and locks, so that a test may run in a bubble
// of testing/synctest and let hours pass at once. Make the server in the same bubble.
//
// The client uses a WebSocket from the beginning. It neither polls nor upgrades, so the server is to have the transport "websocket".
//
// What goes wrong fails the test by t.Fatal, which is meant for the goroutine of the test. The methods of a Client may be called
// concurrently otherwise.
package wstest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Config is how a client connects and behaves. The zero value is an ordinary client of the namespace "/".
type Config struct {
	// Namespace is the first namespace to connect to. Empty means "/".
	Namespace string

	// Auth is what the client says of itself, an object in JSON. nil means nothing.
	Auth any

	// Path is where the server is. Empty means "/socket.io/".
	Path string

	// Query is added to the request's, and replaces what has the same name in it.
	Query url.Values

	// Header is added to the request's, and replaces what has the same name in it, the Host "example.com" too.
	Header http.Header

	// Codec is the server's. nil means packet.JSON.
	Codec packet.Codec

	// Timeout bounds every wait of the client. Zero means a minute.
	Timeout time.Duration

	// Early sends the first CONNECT, or the messages of EarlyText, behind the request without waiting for an answer.
	Early bool

	// EarlyText is what a raw client sends with Early.
	EarlyText []string

	// NoConnect asks for no namespace at first: see [Client.Of] and [Client.Try].
	NoConnect bool

	// Raw leaves Engine.IO and Socket.IO to the test, which uses [Client.Send] and [Client.Read]. Only pings are still answered.
	Raw bool

	// NoPong leaves the server's pings unanswered.
	NoPong bool

	// NoClose leaves the server's Close frame unanswered.
	NoClose bool
}

// End is how a connection ended.
type End struct {
	Code   int    // of the server's Close frame (RFC 6455 section 7.4); 1005 if it had none; 0 without such a frame
	Reason string // of that frame
	Err    error  // of the last Read: io.EOF if the server closed the connection
}

func (e End) String() string { return fmt.Sprintf("code %d, reason %q, %v", e.Code, e.Reason, e.Err) }

// Dial connects a client to h, through an http.Server and memory. The client is closed, and everything ends that Dial has started, when
// the test ends. If h refuses, the test fails.
//
// The memory holds 64 KiB on the way to a client that is stalled, and whatever the client sends: no method of it waits for the server to
// read.
func Dial(t testing.TB, h http.Handler, cfg Config) *Client {
	t.Helper()
	near, far := newPipe()
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listen(far)) // returns http.ErrServerClosed
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return New(t, near, cfg)
}

// New makes a client of a connection to a server, which belongs to it from then on and is closed when the test ends.
func New(t testing.TB, nc net.Conn, cfg Config) *Client {
	t.Helper()
	if cfg.Namespace == "" {
		cfg.Namespace = "/"
	}
	if cfg.Path == "" {
		cfg.Path = "/socket.io/"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Codec == nil {
		cfg.Codec = packet.JSON{}
	}
	c := &conn{
		t: t, nc: nc, cfg: cfg,
		decoder: cfg.Codec.NewDecoder(&limits),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		clients: make(map[string]*Client),
	}
	c.reader.Config = &readerConfig
	client := newClient(c, cfg.Namespace)
	var early []byte
	switch {
	case cfg.Early && cfg.Raw:
		early = frames(cfg.EarlyText)
	case cfg.Early && !cfg.NoConnect:
		early = client.connectPacket(cfg.Auth)
	}
	r, err := c.handshake(early)
	if err != nil {
		nc.Close()
		t.Fatalf("wstest: %v", err)
	}
	go c.read(r)
	t.Cleanup(client.Abort)
	if cfg.Raw {
		return client
	}
	c.wait("the open packet", func() bool { return c.opened })
	if cfg.NoConnect {
		return client
	}
	if !cfg.Early {
		c.write(client.connectPacket(cfg.Auth))
	}
	if refusal := client.answer(); refusal != nil {
		t.Fatalf("wstest: namespace %s: %s", cfg.Namespace, refusal)
	}
	return client
}

// Of connects to another namespace on the same connection. What concerns the connection as a whole, such as Close, may be called on any
// of its clients. If the server refuses, the test fails.
func (c *Client) Of(namespace string, auth any) *Client {
	c.conn.t.Helper()
	other, refusal := c.Try(namespace, auth)
	if refusal != nil {
		c.conn.t.Fatalf("wstest: namespace %s: %s", namespace, refusal)
	}
	return other
}

// Try is Of for a namespace that may refuse: the client is then nil, and refusal is what it was told, in JSON.
func (c *Client) Try(namespace string, auth any) (client *Client, refusal json.RawMessage) {
	c.conn.t.Helper()
	other := newClient(c.conn, namespace)
	c.conn.write(other.connectPacket(auth))
	if refusal := other.answer(); refusal != nil {
		return nil, refusal
	}
	return other, nil
}

func frames(texts []string) []byte {
	var b []byte
	for _, text := range texts {
		b = appendFrame(b, transport.OpText, []byte(text))
	}
	return b
}

// Frame is a frame as a client sends it (RFC 6455 section 5.2): final, masked, with any opcode and payload, for [Client.Write].
func Frame(opcode byte, payload []byte) []byte {
	return appendFrame(nil, transport.Opcode(opcode), payload)
}

// Send sends text messages as they are, all in one piece: Send(`41`, `40`).
func (c *Client) Send(messages ...string) { c.conn.write(frames(messages)) }

// SendBinary sends a binary message.
func (c *Client) SendBinary(data []byte) { c.Write(Frame(byte(transport.OpBinary), data)) }

// Write sends bytes as they are, in one piece.
func (c *Client) Write(p []byte) { c.conn.write(p) }

// Read waits for the next message of a raw client. A text message is returned as it came, a binary one with "b" before it.
func (c *Client) Read() string {
	c.conn.t.Helper()
	var m message
	c.conn.wait("a message", func() bool {
		if len(c.conn.messages) == 0 {
			return false
		}
		m = c.conn.messages[0]
		c.conn.messages = c.conn.messages[1:]
		return true
	})
	var b strings.Builder
	if m.binary {
		b.WriteByte('b')
	}
	b.Write(m.data)
	return b.String()
}

// Pings is how many pings the server has sent.
func (c *Client) Pings() int {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.conn.pings
}

// Unread is how many bytes the client has sent that the server has not read yet. It is known for a client of Dial alone, and else 0.
func (c *Client) Unread() int {
	if p, ok := c.conn.nc.(*pipe); ok {
		return p.out.len()
	}
	return 0
}

// Stall stops reading, so that what the server sends stays in the network: nothing is received, no ping is answered.
func (c *Client) Stall() { c.conn.update(func() { c.conn.stalled = true }) }

// Resume ends a stall.
func (c *Client) Resume() { c.conn.update(func() { c.conn.stalled = false }) }

// Close closes the connection as RFC 6455 section 7.1.2 has it, with the code 1000, and waits for the server to do its part.
func (c *Client) Close() End {
	c.conn.t.Helper()
	var closing bool
	c.conn.update(func() {
		closing = c.conn.closing
		c.conn.closing = true
	})
	if !closing {
		c.Write(Frame(byte(transport.OpClose), closePayload(int(transport.CloseNormal))))
	}
	return c.Wait()
}

// CloseWrite ends what the client sends, without a Close frame, and still reads: a half-closed connection.
func (c *Client) CloseWrite() {
	c.conn.t.Helper()
	half, ok := c.conn.nc.(interface{ CloseWrite() error })
	if !ok {
		c.conn.t.Fatalf("wstest: a %T cannot be half closed", c.conn.nc)
	}
	half.CloseWrite()
}

// Abort drops the connection without a word, and returns when nothing of the client is left.
func (c *Client) Abort() {
	c.conn.nc.Close()
	c.conn.update(func() { c.conn.stalled = false })
	<-c.conn.done
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.conn.done }

// Wait waits until the connection has ended.
func (c *Client) Wait() End {
	c.conn.t.Helper()
	timeout := time.NewTimer(c.conn.cfg.Timeout)
	defer timeout.Stop()
	select {
	case <-c.conn.done:
	case <-timeout.C:
		c.conn.t.Fatalf("wstest: waiting for the end of the connection: it is open after %v", c.conn.cfg.Timeout)
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.conn.end
}
