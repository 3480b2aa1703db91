package netpoll

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A handler is a Handler made of functions; nil means that the call is a mistake.
type handler struct {
	t        *testing.T
	data     func(p []byte)
	writable func()
	hungUp   func() // nil: allowed
	closed   func(err error)
}

func (h *handler) Data(p []byte) {
	if h.data == nil {
		h.t.Errorf("unexpected Data(%q)", p)
		return
	}
	h.data(p)
}

func (h *handler) Writable() {
	if h.writable == nil {
		h.t.Error("unexpected Writable")
		return
	}
	h.writable()
}

func (h *handler) HungUp() {
	if h.hungUp != nil { // else nobody minds
		h.hungUp()
	}
}

func (h *handler) Closed(err error) {
	if h.closed == nil {
		h.t.Errorf("unexpected Closed(%v)", err)
		return
	}
	h.closed(err)
}

// newPoller returns a Poller that is closed with the test. The descriptors in use must then be those in use now.
func newPoller(t *testing.T) *Poller {
	t.Helper()
	before := descriptors(t)
	p := kit.Must(New())(t)
	t.Cleanup(func() {
		p.Close()
		kit.Until(t, func() error {
			if after := descriptors(t); after > before {
				return fmt.Errorf("%d descriptors are open, want %d", after, before)
			}
			return nil
		})
	})
	return p
}

// pipe returns both ends of a connection over loopback, "tcp" or "unix". peer is closed with the test.
func pipe(t *testing.T, network string) (server, peer net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	kit.OK(t, err)
	defer l.Close()
	if peer, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	peer.SetDeadline(time.Now().Add(kit.Patience))
	t.Cleanup(func() { peer.Close() })
	return server, peer
}

func attach(t *testing.T, p *Poller, c net.Conn, h *handler) *Conn {
	t.Helper()
	h.t = t
	conn := kit.Must(p.Attach(c, h))(t)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func start(t *testing.T, c *Conn) {
	t.Helper()
	kit.OK(t, c.Start())
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries := kit.Must(os.ReadDir("/proc/self/fd"))(t)
	return len(entries)
}

// loops is an error if not exactly want pollers run. Close returns a moment before the goroutine is gone from the stacks: ask it
// with kit.Until.
func loops(want int) error {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if got := bytes.Count(stacks, []byte("netpoll.(*Poller).run(")); got != want {
		return fmt.Errorf("%d loops run, want %d:\n%s", got, want, stacks)
	}
	return nil
}

// networks runs a test over each kind of connection.
func networks(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

// An echo is a started connection that answers what it gets. Its round trip shows that the loop has dealt with all earlier events.
type echo struct {
	peer net.Conn
	conn *Conn
}

func newEcho(t *testing.T, p *Poller, network string) *echo {
	t.Helper()
	server, peer := pipe(t, network)
	e := &echo{peer: peer}
	h := &handler{closed: func(error) { e.conn.Close() }}
	h.data = func(b []byte) {
		if n, err := e.conn.Write(b); n != len(b) || err != nil {
			t.Errorf("echo wrote %d of %d bytes: %v", n, len(b), err)
		}
	}
	e.conn = attach(t, p, server, h)
	start(t, e.conn)
	return e
}

func (e *echo) roundTrip(t *testing.T, msg string) {
	t.Helper()
	kit.Must(io.WriteString(e.peer, msg))(t)
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(e.peer, got); err != nil || string(got) != msg {
		t.Fatalf("echo: got %q, %v, want %q", got, err, msg)
	}
}

// payload returns n bytes that do not repeat, so that a piece out of place shows.
func payload(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// quiet checks that nothing keeps the loop awake: what it has dealt with is reported no more. A descriptor that stays ready would be
// reported to every epoll_wait, also to those made here.
func quiet(t *testing.T, p *Poller, barrier *echo) {
	t.Helper()
	barrier.roundTrip(t, "x")
	events := make([]syscall.EpollEvent, 8)
	kit.Until(t, func() error {
		for range 100 {
			n, err := epollWait(p.epfd, events)
			if err != nil {
				return err
			}
			if n > 0 {
				return fmt.Errorf("descriptor %d stays ready, events %#x: the loop spins", events[0].Fd, events[0].Events)
			}
		}
		return nil
	})
}
