package netpoll

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/belfry-io/belfry/test/kit"
)

// Two connections fail at once. The first to be told closes the other, whose event has been fetched already, and a new connection takes
// its descriptor: the event must not make that one fail.
func TestEventOfFormerOwner(t *testing.T) {
	p := newPoller(t)
	reused := 0
	for range 20 {
		blocked, hold := make(chan struct{}), make(chan struct{})
		blocker, blockerPeer := pipe(t, "tcp")
		start(t, attach(t, p, blocker, &handler{closed: func(error) {}, data: func([]byte) { close(blocked); <-hold }}))

		fresh, _ := pipe(t, "tcp")
		var freshConn *Conn
		var conns [2]*Conn
		var peers [2]net.Conn
		var once sync.Once
		done := make(chan bool, 1)
		for i := range conns {
			var server net.Conn
			server, peers[i] = pipe(t, "tcp")
			other := &conns[1-i]
			conns[i] = attach(t, p, server, &handler{closed: func(error) {
				once.Do(func() {
					fd := (*other).fd
					fillLowerDescriptors(t, int(fd))
					(*other).Close()
					freshConn = attach(t, p, fresh, &handler{}) // Closed fails the test
					start(t, freshConn)
					done <- freshConn.fd == fd
				})
			}})
			start(t, conns[i])
		}
		// While the loop is held up, both fail: one epoll_wait fetches both events.
		io.WriteString(blockerPeer, "x")
		<-blocked
		for _, peer := range peers {
			peer.(*net.TCPConn).SetLinger(0)
			peer.Close()
		}
		close(hold)
		if kit.Receive(t, "Closed", done) {
			reused++
		}
		newEcho(t, p, "tcp").roundTrip(t, "x")
		freshConn.Close()
	}
	kit.Check(t, reused != 0, "no descriptor was reused: the test has shown nothing")
}

// fillLowerDescriptors occupies, until the test ends, all free descriptors below limit: limit is then the next to be given out once it
// is closed.
func fillLowerDescriptors(t *testing.T, limit int) {
	t.Helper()
	for {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { syscall.Close(fd) })
		if fd > limit {
			return
		}
	}
}

func TestChurn(t *testing.T) {
	p := newPoller(t)
	var mu sync.Mutex
	seen := map[int32]int{}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 100 {
				e := newEcho(t, p, "tcp")
				mu.Lock()
				seen[e.conn.fd]++
				mu.Unlock()
				e.roundTrip(t, fmt.Sprintf("%d-%d", w, i))
				if i%2 == 0 {
					e.conn.Close()
				}
				e.peer.Close()
			}
		})
	}
	workers.Wait()
	kit.Check(t, len(seen) != 400, "no descriptor was reused: the test has shown nothing")
}

func TestIdleConnections(t *testing.T) {
	const conns = 2000
	p := newPoller(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(t, err)
	defer l.Close()
	before := runtime.NumGoroutine()
	peers := make([]net.Conn, conns)
	var data atomic.Int64
	all := make(chan struct{})
	for i := range peers {
		if peers[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer peers[i].Close()
		server := kit.Must(l.Accept())(t)
		c := attach(t, p, server, &handler{data: func(b []byte) {
			if data.Add(int64(len(b))) == conns {
				close(all)
			}
		}, closed: func(error) {}})
		start(t, c)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d idle connections own %d goroutines", conns, after-before)
	}
	kit.Until(t, func() error { return loops(1) }) // that of the test before may not be gone yet
	for _, peer := range peers {
		io.WriteString(peer, "x")
	}
	kit.Receive(t, "one byte from each", all)
	if size := unsafe.Sizeof(Conn{}); size > 48 {
		t.Errorf("a Conn takes %d bytes, want 48 or less", size)
	}
}

// A connection that floods gets one read of at most maxRead bytes, then it is the others' turn.
func TestFairness(t *testing.T) {
	p := newPoller(t)
	// Alternation is visible only if both have much to read, so both wait unread until they are full.
	var order []int
	done := make(chan struct{})
	conns := make([]*Conn, 2)
	left := 0
	for i := range conns {
		server, peer := pipe(t, "tcp")
		const size = 1 << 20
		left += size
		conns[i] = attach(t, p, server, &handler{closed: func(error) {}, data: func(b []byte) {
			kit.Check(t, len(b) <= maxRead, "Data got %d bytes, want %d or less", len(b), maxRead)
			order = append(order, i)
			if left -= len(b); left == 0 {
				close(done)
			}
		}})
		go peer.Write(make([]byte, size))
		kit.Until(t, func() error {
			var n int32
			if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(conns[i].fd), syscall.TIOCINQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
				return errno
			}
			if n < 3*maxRead/2 {
				return fmt.Errorf("only %d bytes wait to be read", n)
			}
			return nil
		})
	}
	blocked, hold := make(chan struct{}), make(chan struct{})
	blocker, blockerPeer := pipe(t, "tcp")
	b := attach(t, p, blocker, &handler{closed: func(error) {}, data: func([]byte) { close(blocked); <-hold }})
	start(t, b)
	io.WriteString(blockerPeer, "x")
	<-blocked
	start(t, conns[0])
	start(t, conns[1])
	close(hold)
	kit.Receive(t, "all data", done)
	if len(order) < 4 || order[0] == order[1] {
		t.Errorf("the connections were read in the order %v, want them to alternate", order[:min(len(order), 8)])
	}
}

func TestAttachUnsupported(t *testing.T) {
	p := newPoller(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server, _ := pipe(t, "tcp")
	defer server.Close()
	path := filepath.Join(t.TempDir(), "d")
	datagrams := kit.Must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}))(t)
	defer datagrams.Close()
	for _, c := range []net.Conn{a, tls.Server(server, &tls.Config{}), struct{ net.Conn }{server}, datagrams} {
		if _, err := p.Attach(c, &handler{t: t}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Attach(%T): got %v, want errors.ErrUnsupported", c, err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Errorf("%T was touched: %v", c, err)
		}
	}
}

// Without a free descriptor Attach fails and leaves the connection usable.
func TestAttachWithoutDescriptor(t *testing.T) {
	p := newPoller(t)
	server, peer := pipe(t, "tcp")
	defer server.Close()
	var limit syscall.Rlimit
	kit.OK(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	tight := limit
	tight.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &tight); err != nil {
		t.Skipf("cannot lower the limit of descriptors: %v", err)
	}
	_, err := p.Attach(server, &handler{t: t})
	kit.OK(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	kit.Require(t, errors.Is(err, syscall.EMFILE), "Attach: got %v, want EMFILE", err)
	io.WriteString(server, "still here")
	got := make([]byte, 10)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "still here" {
		t.Errorf("peer got %q, %v, want %q", got, err, "still here")
	}
}

func TestOptions(t *testing.T) {
	p := newPoller(t)
	server, _ := pipe(t, "tcp")
	c := attach(t, p, server, &handler{})
	for _, o := range []struct {
		name         string
		option, want int
	}{
		{"TCP_NOTSENT_LOWAT", tcpNotSentLowat, lowMark},
		{"TCP_NODELAY", syscall.TCP_NODELAY, 1},
	} {
		kit.Equal(t, kit.Must(syscall.GetsockoptInt(int(c.fd), syscall.IPPROTO_TCP, o.option))(t), o.want,
			o.name)
	}
}

func TestPollerClose(t *testing.T) {
	p := newPoller(t)
	started, startedPeer := pipe(t, "tcp")
	idle, idlePeer := pipe(t, "unix")
	gone, _ := pipe(t, "tcp")
	closed := make(chan error, 3)
	h := &handler{closed: func(err error) { closed <- err }}
	start(t, attach(t, p, started, h))
	attach(t, p, idle, h)
	attach(t, p, gone, h).Close()
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() { p.Close() })
	}
	closers.Wait()
	kit.Until(t, func() error { return loops(0) })
	close(closed)
	n := 0
	for err := range closed {
		if n++; err != ErrClosed {
			t.Errorf("Closed: got %v, want ErrClosed", err)
		}
	}
	kit.Equal(t, n, 2, "connections were told Closed")
	for _, peer := range []net.Conn{startedPeer, idlePeer} {
		kit.Len(t, kit.Must(io.ReadAll(peer))(t), 0, "peer read")
	}
	late, _ := pipe(t, "tcp")
	defer late.Close()
	if _, err := p.Attach(late, h); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach after Close: got %v, want ErrClosed", err)
	}
}
