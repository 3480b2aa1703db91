// Package crowd is many clients of a real-time server in one process, which connect, join rooms, send
// and receive, and count what they receive: what is missing, what came twice, what came out of order.
//
// It is made to take less of the processors than the server does. On Linux, WebSockets without TLS are
// descriptors that one goroutine reads with epoll; everything else has goroutines for each client.
package crowd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Dialect is the protocol that clients speak.
type Dialect string

const (
	SocketIO   Dialect = "socket.io"  // Socket.IO 5 over Engine.IO 4
	Centrifuge Dialect = "centrifuge" // the bidirectional JSON protocol of Centrifugo and centrifuge
)

// The transports of a [Config].
const (
	WebSocket = "websocket"
	Polling   = "polling" // of Socket.IO alone
)

// A Config says how clients reach their server.
type Config struct {
	// URLs are where the servers are, such as http://host:port; clients take turns. A path takes the
	// place of the dialect's, which is /socket.io/ or /connection/websocket. ws and wss mean http and
	// https.
	URLs      []string
	Dialect   Dialect         // "" is SocketIO
	Transport string          // "" is WebSocket
	Namespace string          // of Socket.IO; "" is "/"
	Codec     string          // of Socket.IO: "" is its own, or MessagePack
	Auth      json.RawMessage `json:",omitempty"` // of Socket.IO's CONNECT, or centrifuge's connect: its data
	Header    http.Header     // of each request
	AtOnce    int             // connects under way at a time; 0 is 64
	Rate      float64         // connects a second; 0 is as fast as it goes
	Deflate   bool            // offer permessage-deflate; what is sent is never compressed
	Insecure  bool            // do not check certificates
}

// A Crowd is clients. Connect, Join and Run follow each other; the other methods may be called at any
// time, by any goroutine.
type Crowd struct {
	cfg     Config
	poll    *poller
	http    *http.Client    // for polling
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // all goroutines
	epoch   time.Time
	buf     []byte // of the loop

	mu      sync.Mutex // guards what follows
	targets []*url.URL
	byFD    []*client // whose link is a descriptor
	known   addresses // that have been looked up
	clients []*client // that have connected, in the order in which they began to
	alive   int
	rooms   []*room
	joins   int // calls of Join so far
	phase   *phase
	run     *run
	routes  []*route // of runs that Check has not dealt with
	before  int      // routes before these
	checked Faults   // of those
	badly   int      // messages that nobody sent
	filler  []byte
	scratch []byte // for one message
	spare   [][]byte
	inflate inflater
	dirty   []*client     // with something in out
	waited  time.Duration // of the loop, for something to happen
	closed  bool
}

// New makes a crowd of nobody. It must be closed.
func New(cfg Config) (*Crowd, error) {
	cfg.Dialect = cmp.Or(cfg.Dialect, SocketIO)
	cfg.Transport = cmp.Or(cfg.Transport, WebSocket)
	cfg.AtOnce = cmp.Or(cfg.AtOnce, 64)
	cfg.Namespace = "/" + strings.TrimPrefix(cfg.Namespace, "/")
	switch {
	case cfg.Dialect != SocketIO && cfg.Dialect != Centrifuge:
		return nil, fmt.Errorf("no dialect %q: want %s or %s", cfg.Dialect, SocketIO, Centrifuge)
	case cfg.Transport != WebSocket && (cfg.Transport != Polling || cfg.Dialect != SocketIO):
		return nil, fmt.Errorf("no transport %q of the dialect %s", cfg.Transport, cfg.Dialect)
	case cfg.AtOnce < 0 || cfg.Rate < 0:
		return nil, errors.New("AtOnce and Rate must not be negative")
	case len(cfg.Auth) > 0 && !json.Valid(cfg.Auth):
		return nil, fmt.Errorf("auth %.100q is not JSON", cfg.Auth)
	}
	if err := checkCodec(cfg); err != nil {
		return nil, err
	}
	c := &Crowd{cfg: cfg, epoch: time.Now(), buf: make([]byte, bufferSize), known: addresses{}}
	if err := c.Use(cfg.URLs...); err != nil {
		return nil, err
	}
	var err error
	if c.poll, err = newPoller(); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.http = newHTTPClient(cfg)
	c.running.Go(c.loop)
	return c, nil
}

// Use has all clients that connect later take turns at other servers.
func (c *Crowd) Use(urls ...string) error {
	if len(urls) == 0 {
		return errors.New("no URL of a server")
	}
	var targets []*url.URL
	for _, text := range urls {
		u, err := parseURL(text, c.cfg)
		if err != nil {
			return err
		}
		targets = append(targets, u)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets = targets
	return nil
}

// parseURL makes the URL of the requests of a transport from what a user has written.
func parseURL(text string, cfg Config) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("URL %q: want one like http://localhost:3000", text)
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("URL %q: its scheme is not http, https, ws or wss", text)
	}
	if cfg.Dialect == Centrifuge {
		if u.Path == "" || u.Path == "/" {
			u.Path = "/connection/websocket"
		}
		return u, nil
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/socket.io/"
	}
	query := u.Query()
	query.Set("EIO", "4")
	query.Set("transport", cfg.Transport)
	u.RawQuery = query.Encode()
	return u, nil
}

// Alive is how many clients are connected.
func (c *Crowd) Alive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive
}

// Close ends all connections, and returns when nothing of the crowd is left.
func (c *Crowd) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.fail(errClosing)
		c.poll.wake()
	}
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.http.CloseIdleConnections()
	return c.poll.close()
}

// errClosing ends clients when the crowd does.
var errClosing = errors.New("the crowd has been closed")

// now is the time on the crowd's clock.
func (c *Crowd) now() time.Duration { return time.Since(c.epoch) }

// loop is the one goroutine that waits: for bytes of descriptors, and for what is due.
func (c *Crowd) loop() {
	for {
		c.mu.Lock()
		c.step()
		stop, limit := c.closed, c.pause()
		c.mu.Unlock()
		if stop {
			return
		}
		begun := c.now()
		n, err := c.poll.wait(limit)
		ended := c.now()
		c.mu.Lock()
		if c.run != nil { // a wait before it is not the run's
			begun = max(begun, c.run.begun)
		}
		c.waited += max(ended-begun, 0)
		for i := range n {
			c.ready(c.poll.event(i))
		}
		if err != nil {
			c.fail(err)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// fail ends all clients, since they cannot be read any more. c.mu must be held.
func (c *Crowd) fail(err error) {
	c.closed = true
	for _, cl := range slices.Clone(c.clients) {
		c.drop(cl, err)
	}
	if c.phase != nil {
		c.phase.abandon(err)
	}
	if c.run != nil {
		c.run.end()
	}
}

// tick is how long the loop waits at the most while something is going on.
const tick = 50 * time.Millisecond

// pause is how long nothing is due; less than 0 means forever. c.mu must be held.
func (c *Crowd) pause() time.Duration {
	if c.phase == nil && c.run == nil {
		return -1
	}
	limit, now := tick, c.now()
	if c.phase != nil {
		limit = min(limit, c.phase.due()-now)
	}
	if c.run != nil {
		limit = min(limit, c.run.due()-now)
	}
	return max(limit, 0)
}

// step does what is due, and writes what clients have to say. c.mu must be held.
func (c *Crowd) step() {
	if c.phase != nil {
		c.phase.step()
	}
	if c.run != nil {
		c.run.step()
	}
	for len(c.dirty) > 0 { // a client that fails may give others something to say
		all := c.dirty
		c.dirty = nil
		for _, cl := range all {
			cl.dirty = false
			if cl.state != gone {
				if err := cl.link.flush(cl); err != nil {
					c.drop(cl, err)
				}
			}
		}
		if len(c.dirty) == 0 {
			c.dirty = all[:0]
			return
		}
	}
}

// drop ends a client. c.mu must be held.
func (c *Crowd) drop(cl *client, err error) {
	if cl.state == gone {
		return
	}
	if cl.state == alive {
		c.alive--
	}
	cl.state = gone
	cl.link.close(cl)
	cl.out, cl.rest, cl.parts = nil, nil, nil
	if cl.busy && c.phase != nil {
		c.phase.finish(cl, err)
	}
	if c.run != nil {
		c.run.lose(cl, err)
	}
}
