// Package slowlink joins two hosts by a network of its own, for tests of clients that read slowly. On it TCP behaves as between two machines:
// what is read is acknowledged in steps of a few KiB, where loopback, whose packets have 64 KiB, acknowledges in steps of as much.
package slowlink

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A Link is two hosts and the wire between them, whose packets have 1,500 bytes at the most. Each host is a network namespace of Linux; nothing of
// them has a name outside the process, or stays behind.
type Link struct {
	Server, Client *Host // they are alike
}

// New makes a link, which ends with the test; sockets that are open then live on. It needs Linux, the rights of root, and ip of iproute2: otherwise
// the test skips, and fails in CI.
func New(t *testing.T) *Link {
	t.Helper()
	return newLink(t)
}

// A Host is one end of a Link. Its methods may be called concurrently, and do their work one after the other.
type Host struct {
	IP net.IP

	jobs chan func()   // for the goroutine whose thread is in the host's namespace
	done chan struct{} // closed when that has returned
}

// Listen returns a listener on a free port of the host. It, and what it accepts, may be used on any goroutine.
func (h *Host) Listen() (l net.Listener, err error) {
	// A plain TCP socket: Go would make one of MPTCP, whose acknowledgements are its own.
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	h.do(func() { l, err = config.Listen(context.Background(), "tcp4", net.JoinHostPort(h.IP.String(), "0")) })
	return l, err
}

// dialTimeout bounds a Dial: the host does nothing else meanwhile.
const dialTimeout = 10 * time.Second

// Dial connects the host to an address, such as a listener's on the other one. The connection may be used on any goroutine.
func (h *Host) Dial(address string) (c *net.TCPConn, err error) {
	h.do(func() {
		var nc net.Conn
		if nc, err = net.DialTimeout("tcp4", address, dialTimeout); err == nil {
			c = nc.(*net.TCPConn)
		}
	})
	return c, err
}

// Start starts a program on the host, as [exec.Cmd.Start] does.
func (h *Host) Start(cmd *exec.Cmd) (err error) {
	h.do(func() { err = cmd.Start() })
	return err
}

// do runs f on the host's thread. f must not start a goroutine that makes sockets.
func (h *Host) do(f func()) {
	done := make(chan struct{})
	h.jobs <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Slow returns c with a Read that takes perSecond bytes a second at the most, in steps of a tenth of a second. What c has received and
// nobody has read waits in its buffer, some 64 KiB unless SetReadBuffer makes it smaller: a server finds its client slow only once that is full. A
// sixteenth of the buffer must be free before the kernel tells its peer that there is room.
func Slow(c net.Conn, perSecond int) net.Conn {
	return &slow{Conn: c, perSecond: perSecond, closed: make(chan struct{})}
}

type slow struct {
	net.Conn
	perSecond int

	closeOnce sync.Once
	closed    chan struct{}

	mu   sync.Mutex // guards what follows; held by a Read while it waits
	next time.Time  // when the next Read may begin
}

func (s *slow) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(s.next); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	n, err := s.Conn.Read(p[:min(len(p), max(1, s.perSecond/10))])
	s.next = time.Now().Add(time.Duration(n) * time.Second / time.Duration(s.perSecond))
	return n, err
}

func (s *slow) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// run runs a program and returns an error that says what it wrote.
func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}
