package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestEcho(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		e := newEcho(t, newPoller(t), network)
		e.roundTrip(t, "hello")
		for i := range 256 {
			e.roundTrip(t, string([]byte{byte(i)}))
		}
	})
}

func TestNothingReadBeforeStart(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		barrier := newEcho(t, p, network)
		got := make(chan string, 1)
		h := &handler{}
		c := attach(t, p, server, h)
		io.WriteString(peer, "early")
		barrier.roundTrip(t, "x") // h.data is nil: Data before Start fails the test
		h.data = func(b []byte) { got <- string(b) }
		start(t, c)
		kit.Want(t, kit.Receive(t, "Data", got), "early")
	})
}

// The peer's last bytes and its FIN may be one event: the bytes come first, and the other direction lives on.
func TestHalfClose(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		var got bytes.Buffer
		closed := make(chan error, 2)
		c := attach(t, p, server, &handler{
			data:   func(b []byte) { got.Write(b) },
			closed: func(err error) { closed <- err },
		})
		io.WriteString(peer, "last words")
		peer.(interface{ CloseWrite() error }).CloseWrite()
		start(t, c)
		kit.Want(t, kit.Receive(t, "Closed", closed), io.EOF, "Closed")
		kit.Want(t, got.String(), "last words", "before EOF")
		if n, err := c.Write([]byte("answer")); n != 6 || err != nil {
			t.Errorf("Write after EOF: got %d, %v, want 6, nil", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		answer, err := io.ReadAll(peer)
		kit.Check(t, err == nil && string(answer) == "answer",
			"peer got %q, %v, want %q", answer, err, "answer")
		peer.Close()
		newEcho(t, p, network).roundTrip(t, "x")
		if len(closed) != 0 {
			t.Errorf("Closed was called twice, then with %v", <-closed)
		}
	})
}

func TestReset(t *testing.T) {
	p := newPoller(t)
	server, peer := pipe(t, "tcp")
	closed := make(chan error, 1)
	c := attach(t, p, server, &handler{closed: func(err error) { closed <- err }})
	start(t, c)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	kit.WantErr(t, kit.Receive(t, "Closed", closed), syscall.ECONNRESET, "Closed")
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after reset: got %v, want EPIPE", err)
	}
}

// A paused connection cannot be read, so that what makes its descriptor ready for ever must not wake the loop for ever.
func TestPausedDoesNotSpin(t *testing.T) {
	for _, tc := range []struct {
		name, network string
		closePeer     func(c *Conn, peer net.Conn)
		want          error // told while paused; io.EOF comes only once reading goes on
	}{
		{"data", "tcp", func(*Conn, net.Conn) {}, nil},
		{"FIN", "tcp", func(_ *Conn, peer net.Conn) { peer.Close() }, io.EOF},
		{"FIN both ways", "tcp", func(c *Conn, peer net.Conn) { c.CloseWrite(); io.ReadAll(peer); peer.Close() }, io.EOF},
		{"RST", "tcp", func(_ *Conn, peer net.Conn) { peer.(*net.TCPConn).SetLinger(0); peer.Close() }, syscall.ECONNRESET},
		{"hang-up", "unix", func(_ *Conn, peer net.Conn) { peer.Close() }, io.EOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPoller(t)
			server, peer := pipe(t, tc.network)
			barrier := newEcho(t, p, "tcp")
			got := make(chan string, 1)
			closed := make(chan error, 1)
			c := attach(t, p, server, &handler{
				data:   func(b []byte) { got <- string(b) },
				closed: func(err error) { closed <- err },
			})
			start(t, c)
			c.Pause()
			io.WriteString(peer, "unread")
			tc.closePeer(c, peer)

			quiet(t, p, barrier)
			if failed := tc.want != nil && tc.want != io.EOF; failed {
				kit.WantErr(t, kit.Receive(t, "Closed", closed), tc.want, "Closed while paused")
				return
			}
			kit.Require(t, len(got)+len(closed) == 0, "Data or Closed was called while paused")
			c.Resume()
			kit.Want(t, kit.Receive(t, "Data", got), "unread", "after Resume")
			if tc.want == io.EOF {
				kit.Want(t, kit.Receive(t, "Closed", closed), io.EOF, "Closed after Resume")
			}
		})
	}
}

// Closed once, a connection that its owner leaves open must not wake the loop either.
func TestEndedDoesNotSpin(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		barrier := newEcho(t, p, network)
		closed := make(chan error, 2)
		c := attach(t, p, server, &handler{closed: func(err error) { closed <- err }})
		start(t, c)
		peer.Close()
		kit.Receive(t, "Closed", closed)
		c.Write([]byte("x")) // over TCP this draws a reset
		c.Pause()
		c.Resume()
		quiet(t, p, barrier)
		if len(closed) != 0 {
			t.Errorf("Closed was called twice, then with %v", <-closed)
		}
	})
}

// Pausing within Data, and resuming from another goroutine, loses and repeats nothing.
func TestPauseWithDataInFlight(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		want := payload(4 << 20)
		var got bytes.Buffer
		var reading atomic.Bool
		turns := make(chan struct{}, 1)
		closed := make(chan error, 1)
		var c *Conn
		h := &handler{closed: func(err error) { closed <- err }}
		h.data = func(b []byte) {
			kit.Check(t, reading.CompareAndSwap(true, false),
				"Data was called although Data had called Pause")
			got.Write(b)
			c.Pause()
			turns <- struct{}{}
		}
		c = attach(t, p, server, h)
		reading.Store(true)
		start(t, c)
		go func() {
			peer.Write(want)
			peer.Close()
		}()
		for {
			select {
			case <-turns:
				reading.Store(true)
				c.Resume()
				continue
			case err := <-closed:
				kit.Want(t, err, io.EOF, "Closed")
			case <-time.After(kit.Patience):
				t.Fatal("no end in sight")
			}
			break
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("got %d bytes that differ from the %d sent", got.Len(), len(want))
		}
	})
}

func TestCloseFromData(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		held := make(chan struct{})
		done := make(chan error, 1)
		var c *Conn
		h := &handler{} // Closed because of Close fails the test
		h.data = func([]byte) {
			err := c.Close()
			if _, werr := c.Write([]byte("x")); !errors.Is(werr, net.ErrClosed) {
				t.Errorf("Write after Close: got %v, want net.ErrClosed", werr)
			}
			done <- err
			<-held // the descriptor must be closed by now, not when Data returns
		}
		c = attach(t, p, server, h)
		start(t, c)
		io.WriteString(peer, "x")
		if err := kit.Receive(t, "Data", done); err != nil {
			t.Errorf("Close: %v", err)
		}
		if b, err := io.ReadAll(peer); err != nil || len(b) != 0 {
			t.Errorf("peer read %q, %v, want EOF", b, err)
		}
		close(held)
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		kit.WantErr(t, c.Start(), net.ErrClosed, "Start after Close")
		kit.WantErr(t, c.CloseWrite(), net.ErrClosed, "CloseWrite after Close")
		newEcho(t, p, network).roundTrip(t, "x")
	})
}

// A closed Conn leaves the epoll set even if someone else holds the connection open.
func TestCloseWithDuplicate(t *testing.T) {
	p := newPoller(t)
	barrier := newEcho(t, p, "tcp")
	server, peer := pipe(t, "tcp")
	duplicate := kit.Must(server.(*net.TCPConn).File())(t)
	defer duplicate.Close()
	c := attach(t, p, server, &handler{})
	start(t, c)
	c.Close()
	io.WriteString(peer, "to the duplicate")
	quiet(t, p, barrier)
}

// TestHungUp: while reading is paused, the peer's FIN is told at once, whatever waits before it; Resume then shows all, and the end.
func TestHungUp(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, unread := range []int{0, 1, 100_000} {
			t.Run(fmt.Sprint(network, " ", unread), func(t *testing.T) {
				p := newPoller(t)
				server, peer := pipe(t, network)
				hungUp, closed := make(chan struct{}, 1), make(chan error, 1)
				got := 0 // used by the poller alone until closed
				h := &handler{
					data:   func(p []byte) { got += len(p) },
					hungUp: func() { hungUp <- struct{}{} },
					closed: func(err error) { closed <- err },
				}
				c := attach(t, p, server, h)
				c.Pause()
				start(t, c)
				written := make(chan error, 1)
				go func() {
					_, err := peer.Write(make([]byte, unread))
					if err == nil {
						err = peer.(interface{ CloseWrite() error }).CloseWrite()
					}
					written <- err
				}()
				kit.OK(t, <-written)
				kit.Receive(t, "hang-up", hungUp)
				select {
				case err := <-closed:
					t.Fatalf("Closed(%v) while paused", err)
				default:
				}
				c.Resume()
				if err := kit.Receive(t, "end", closed); err != io.EOF || got != unread {
					t.Errorf("got %d bytes and then %v, want %d and EOF", got, err, unread)
				}
			})
		}
	}
}
