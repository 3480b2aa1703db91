// Package wsrig is a client's WebSocket for tests of wsserver, which does and leaves undone what they
// ask for. It answers pings, and knows nothing else of Engine.IO and Socket.IO. Package wstest has
// the client for programs, and stands on this.
//
// Nothing waits for anything but channels and locks, so that a test may run in a bubble of
// testing/synctest.
package wsrig

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// MaxReceived is how large a message of the server may be, in bytes. It is the server that is tested,
// so this bounds accidents only.
const MaxReceived = 1 << 28

var readerConfig = transport.ReaderConfig{MaxMessage: MaxReceived, Client: true}

// A Config is how a Conn connects. The zero value is an ordinary one.
type Config struct {
	// Path is where the server is. Empty means "/socket.io/".
	Path string

	// Query and Header are added to the request's, and replace what has the same name in it, the Host
	// "example.com" too.
	Query  url.Values
	Header http.Header

	// Timeout bounds every wait. Zero means a minute.
	Timeout time.Duration

	// Early are text messages that are sent behind the request, without waiting for its answer.
	Early []string

	// Lock is for connections that share one. nil means one of its own.
	Lock *Lock
}

// End is how a connection ended.
type End struct {
	Code   int    // of the server's Close frame; 1005 if it had none; 0 without such a frame
	Reason string // of that frame
	Err    error  // of the last Read: io.EOF if the server closed the connection
}

func (e End) String() string { return fmt.Sprintf("code %d, reason %q, %v", e.Code, e.Reason, e.Err) }

// A Conn is the client's end of a connection. Its methods may be called concurrently; those that fail
// the test are for the test's goroutine.
type Conn struct {
	t      testing.TB
	nc     net.Conn
	cfg    Config
	reader transport.Reader
	unread *bufio.Reader // of nc; may hold what came behind the answer

	receive func(binary bool, message []byte) error
	ending  func()
	done    chan struct{} // closed when read has returned

	writeMu sync.Mutex // held while something is written, which so stays whole

	*Lock              // guards what follows, and what users of Update keep
	messages []message // for Read
	pings    int
	silent   bool // answers no ping
	rude     bool // answers no Close frame
	stalled  bool
	closing  bool // this side has sent its Close frame
	ended    bool
	end      End
}

type message struct {
	binary bool
	data   []byte
}

// Dial connects to h through memory: see [Serve]. If h refuses, the test fails.
func Dial(t testing.TB, h http.Handler, cfg Config) *Conn {
	t.Helper()
	return New(t, Serve(t, h), cfg)
}

// New makes a Conn of a connection to a server, which belongs to it from then on, and ends with the
// test. If the server refuses, the test fails.
func New(t testing.TB, nc net.Conn, cfg Config) *Conn {
	t.Helper()
	c, err := Open(t, nc, cfg)
	if err != nil {
		t.Fatalf("wsrig: %v", err)
	}
	c.Start(c.keep, func() {})
	return c
}

// Open is New for a server that may refuse, and without Start.
func Open(t testing.TB, nc net.Conn, cfg Config) (*Conn, error) {
	if cfg.Path == "" {
		cfg.Path = "/socket.io/"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Lock == nil {
		cfg.Lock = NewLock()
	}
	c := &Conn{t: t, nc: nc, cfg: cfg, done: make(chan struct{}), Lock: cfg.Lock}
	c.reader.Config = &readerConfig
	r, err := c.handshake()
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.unread = r
	return c, nil
}

// Start begins to read. receive gets the server's messages, but for pings; message is its own during
// the call; an error ends the connection. ending is called under the lock of [Lock.Update] when the
// server's Close frame has come, and when the connection has ended.
func (c *Conn) Start(receive func(binary bool, message []byte) error, ending func()) {
	c.receive, c.ending = receive, ending
	go c.read()
	c.t.Cleanup(c.Abort)
}

// Under returns the connection of a client of package wstest, which sets this.
var Under func(client any) *Conn

// read takes what the server sends until the connection ends.
func (c *Conn) read() {
	defer close(c.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := c.unread.Read(buf)
		c.unstalled()
		if e := c.reader.Feed(buf[:n], (*receiver)(c)); e != nil && err == nil {
			err = fmt.Errorf("the server broke the protocol: %w", e)
		}
		if err != nil {
			c.finish(err)
			return
		}
	}
}

// unstalled waits until nobody wants the client to be stalled.
func (c *Conn) unstalled() {
	c.mu.Lock()
	for c.stalled && !c.ended {
		changed := c.changed
		c.mu.Unlock()
		<-changed
		c.mu.Lock()
	}
	c.mu.Unlock()
}

// finish notes the end of the connection.
func (c *Conn) finish(err error) {
	c.nc.Close()
	c.Update(func() {
		if c.end.Err == nil {
			c.end.Err = err
		}
		c.ended = true
		c.ending()
	})
}

// Await waits until ready, which is called under the lock, returns true. It returns an error
// if that does not happen in time, or can happen no more since the connection has ended.
func (c *Conn) Await(ready func() bool) error {
	timeout := time.NewTimer(c.cfg.Timeout)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		ok, changed, ended, end := ready(), c.changed, c.ended, c.end
		c.mu.Unlock()
		switch {
		case ok:
			return nil
		case ended:
			return fmt.Errorf("the connection has ended: %v", end)
		}
		select {
		case <-changed:
		case <-timeout.C:
			return fmt.Errorf("nothing within %v", c.cfg.Timeout)
		}
	}
}

// receiver is the Conn as its Reader sees it.
type receiver Conn

func (r *receiver) Control(op transport.Opcode, payload []byte) error {
	c := (*Conn)(r)
	switch op {
	case transport.OpPing:
		c.Write(Frame(byte(transport.OpPong), payload))
	case transport.OpClose:
		code, reason := transport.ParseClose(payload)
		var answer bool
		c.Update(func() {
			answer = !c.closing && !c.rude
			c.closing = true
			c.end.Code, c.end.Reason = int(code), string(reason)
			c.ending()
		})
		if answer {
			// The server closes the connection (RFC 6455 section 7.1.1).
			c.Write(Frame(byte(transport.OpClose), payload))
		}
	}
	return nil
}

func (r *receiver) Message(op transport.Opcode, payload []byte) error {
	c := (*Conn)(r)
	if op == transport.OpText && string(payload) == "2" {
		var answer bool
		c.Update(func() { c.pings++; answer = !c.silent })
		if answer {
			c.Write(Frame(byte(transport.OpText), []byte("3")))
		}
		return nil
	}
	return c.receive(op == transport.OpBinary, payload)
}

func (c *Conn) keep(binary bool, data []byte) error {
	m := message{binary, append([]byte{}, data...)}
	c.Update(func() { c.messages = append(c.messages, m) })
	return nil
}
