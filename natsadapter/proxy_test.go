package natsadapter

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A proxy stands between links and a server and can stop moving bytes, as a broken network or a hung server does, or move them late, as a long way.
type proxy struct {
	delay    time.Duration // each way
	t        *testing.T
	listener net.Listener
	target   string
	tasks    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	gate  chan struct{} // closed while bytes may pass
	held  bool
}

// newProxy returns a proxy for the server at target, a URL. It ends with the test.
func newProxy(t *testing.T, target string) *proxy { return newFarProxy(t, target, 0) }

// newFarProxy is newProxy, with a delay each way.
func newFarProxy(t *testing.T, target string, delay time.Duration) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	kit.OK(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(t, err)
	p := &proxy{t: t, delay: delay, listener: ln, target: u.Host, conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("proxy: %v", err)
		}
		p.cut()
		p.release()
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // the client sees that there is no server
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.tasks.Go(func() { p.pump(client, p.far(server)) })
		p.tasks.Go(func() { p.pump(server, p.far(client)) })
	}
}

// far returns c, with a delay before each write.
func (p *proxy) far(c net.Conn) net.Conn {
	if p.delay == 0 {
		return c
	}
	f := &farConn{Conn: c, delay: p.delay, late: make(chan lateBytes, 1<<12), closed: make(chan struct{})}
	p.tasks.Go(f.run)
	return f
}

// A farConn writes later.
type farConn struct {
	net.Conn
	delay  time.Duration
	late   chan lateBytes
	close  sync.Once
	closed chan struct{}
}

type lateBytes struct {
	at    time.Time
	bytes []byte
}

func (c *farConn) Write(p []byte) (int, error) {
	select {
	case c.late <- lateBytes{time.Now().Add(c.delay), slices.Clone(p)}:
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *farConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return nil // run closes it when it is through
}

func (c *farConn) run() {
	defer func() { _ = c.Conn.Close() }() // the proxy may have closed it
	for {
		select {
		case b := <-c.late:
			time.Sleep(time.Until(b.at))
			if _, err := c.Conn.Write(b.bytes); err != nil {
				_ = c.Close() // nil
				return
			}
		case <-c.closed:
			if len(c.late) == 0 {
				return
			}
		}
	}
}

func (p *proxy) pump(from, to net.Conn) {
	defer func() {
		p.drop(from, to)
		if far, ok := to.(*farConn); ok {
			_ = far.Close() // nil
		}
	}()
	buf := make([]byte, 16<<10)
	for {
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		<-gate
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			gate := p.gate
			p.mu.Unlock()
			<-gate
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				p.t.Logf("proxy: %v", err)
			}
			return
		}
	}
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns[c] {
			delete(p.conns, c)
			_ = c.Close() // an error here is the fault that is played
		}
	}
}

// hold stops all bytes, both ways, until release.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held {
		p.held, p.gate = true, make(chan struct{})
	}
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		close(p.gate)
	}
}

// end ends all connections, and takes no more.
func (p *proxy) end() {
	if err := p.listener.Close(); err != nil {
		p.t.Errorf("proxy: %v", err)
	}
	p.cut()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	conns := make([]net.Conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	p.drop(conns...)
}

// A failingDialer makes connections of which a write can be made to fail, once, as if it had timed out at its first byte.
type failingDialer struct {
	mu      sync.Mutex // guards what follows
	failing bool
}

func (d *failingDialer) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = true
}

func (d *failingDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return failingConn{c, d}, err
}

type failingConn struct {
	net.Conn
	dialer *failingDialer
}

func (c failingConn) Write(p []byte) (int, error) {
	c.dialer.mu.Lock()
	failing := c.dialer.failing
	c.dialer.failing = false
	c.dialer.mu.Unlock()
	if failing {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(p)
}

// An inProcess is a server whose connections a failingDialer makes, as nats.InProcessServer takes it.
type inProcess struct {
	dialer *failingDialer
	url    string
}

func (p inProcess) InProcessConn() (net.Conn, error) {
	return p.dialer.Dial("tcp", strings.TrimPrefix(p.url, "nats://"))
}

// A gatedDialer makes connections unless it is held: then Dial waits.
type gatedDialer struct {
	mu      sync.Mutex    // guards what follows
	gate    chan struct{} // nil while connections are made
	entered chan struct{} // gets a value when Dial begins to wait
}

// hold makes Dial wait. It returns a channel that gets a value when Dial does, and what ends that.
func (d *gatedDialer) hold() (entered <-chan struct{}, release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.gate, d.entered = gate, make(chan struct{}, 1)
	return d.entered, sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		close(gate)
		d.gate = nil
	})
}

func (d *gatedDialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	gate, entered := d.gate, d.entered
	d.mu.Unlock()
	if gate != nil {
		notify(entered)
		<-gate
	}
	return net.Dial(network, address)
}

// A routedDialer connects to where it is told, whatever it is asked for.
type routedDialer struct{ address atomic.Pointer[string] }

// route makes further connections go to the server at target, a URL.
func (d *routedDialer) route(target string) {
	address := strings.TrimPrefix(target, "nats://")
	d.address.Store(&address)
}

func (d *routedDialer) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, *d.address.Load())
}
