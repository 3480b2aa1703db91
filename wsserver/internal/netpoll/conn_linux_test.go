package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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
		if s := await(t, "Data", got); s != "early" {
			t.Errorf("got %q, want %q", s, "early")
		}
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
		if err := await(t, "Closed", closed); err != io.EOF {
			t.Errorf("Closed: got %v, want io.EOF", err)
		}
		if got.String() != "last words" {
			t.Errorf("got %q before EOF, want %q", got.String(), "last words")
		}
		if n, err := c.Write([]byte("answer")); n != 6 || err != nil {
			t.Errorf("Write after EOF: got %d, %v, want 6, nil", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		answer, err := io.ReadAll(peer)
		if err != nil || string(answer) != "answer" {
			t.Errorf("peer got %q, %v, want %q", answer, err, "answer")
		}
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
	if err := await(t, "Closed", closed); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Closed: got %v, want ECONNRESET", err)
	}
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
				if err := await(t, "Closed", closed); !errors.Is(err, tc.want) {
					t.Errorf("Closed while paused: got %v, want %v", err, tc.want)
				}
				return
			}
			if len(got)+len(closed) != 0 {
				t.Fatal("Data or Closed was called while paused")
			}
			c.Resume()
			if s := await(t, "Data", got); s != "unread" {
				t.Errorf("after Resume: got %q, want %q", s, "unread")
			}
			if tc.want == io.EOF {
				if err := await(t, "Closed", closed); err != io.EOF {
					t.Errorf("Closed after Resume: got %v, want io.EOF", err)
				}
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
		await(t, "Closed", closed)
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
			if !reading.CompareAndSwap(true, false) {
				t.Error("Data was called although Data had called Pause")
			}
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
				if err != io.EOF {
					t.Errorf("Closed: got %v, want io.EOF", err)
				}
			case <-time.After(patience):
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
		if err := await(t, "Data", done); err != nil {
			t.Errorf("Close: %v", err)
		}
		if b, err := io.ReadAll(peer); err != nil || len(b) != 0 {
			t.Errorf("peer read %q, %v, want EOF", b, err)
		}
		close(held)
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := c.Start(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Start after Close: got %v, want net.ErrClosed", err)
		}
		if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("CloseWrite after Close: got %v, want net.ErrClosed", err)
		}
		newEcho(t, p, network).roundTrip(t, "x")
	})
}

// Close frees the descriptor's number while others write to it. If one of them still wrote, a connection that was given the number
// meanwhile would receive the bytes.
func TestCloseRacesWrite(t *testing.T) {
	p := newPoller(t)
	var drained sync.WaitGroup
	for round := range 40 {
		server, peer := pipe(t, "tcp")
		drained.Go(func() { io.Copy(io.Discard, peer) })
		c := attach(t, p, server, &handler{writable: func() {}, closed: func(error) {}})
		start(t, c)
		var writers sync.WaitGroup
		ready := make(chan struct{})
		for w := range 4 {
			writers.Go(func() {
				<-ready
				for {
					var err error
					if w%2 == 0 {
						_, err = c.Write([]byte("stray"))
					} else {
						_, err = c.Writev([][]byte{[]byte("st"), []byte("ray")})
					}
					if err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("Write: got %v, want net.ErrClosed", err)
						}
						return
					}
				}
			})
		}
		close(ready)
		runtime.Gosched()
		c.Close()
		// The next connections take the freed numbers. Nobody writes to them.
		fresh, freshPeer := pipe(t, "tcp")
		writers.Wait()
		fresh.Close()
		if b, err := io.ReadAll(freshPeer); err != nil || len(b) != 0 {
			t.Fatalf("round %d: a fresh connection received %q, %v, want EOF", round, b, err)
		}
		peer.Close()
	}
	drained.Wait()
}

// The same, step by step: the descriptor outlives Close until the last system call on it has ended.
func TestCloseDuringWrite(t *testing.T) {
	isOpen := func(fd int32) bool {
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		return errno == 0
	}
	p := newPoller(t)
	server, _ := pipe(t, "tcp")
	c := attach(t, p, server, &handler{})
	for range 2 { // two writes begin
		if !c.acquire() {
			t.Fatal("an open Conn cannot be used")
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: got %v, want net.ErrClosed", err)
	}
	if err := c.wrote(false, 0); err != nil || !isOpen(c.fd) {
		t.Errorf("first write: got %v, descriptor open: %v, want nil, true", err, isOpen(c.fd))
	}
	if err := c.wrote(true, syscall.EAGAIN); !errors.Is(err, net.ErrClosed) || isOpen(c.fd) {
		t.Errorf("last write: got %v, descriptor open: %v, want net.ErrClosed, false", err, isOpen(c.fd))
	}
}

// A peer that does not read: Write is cut short instead of waiting, Writable says when to go on, and nothing is lost in between.
func TestBackpressure(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		for _, vector := range []bool{false, true} {
			p := newPoller(t)
			server, peer := pipe(t, network)
			want := payload(8_000_000)
			rest := want
			var stalls int
			stalled, written := make(chan struct{}), make(chan struct{})
			var c *Conn
			var mu sync.Mutex // Writable may come before the Write that it follows has returned
			write := func() {
				mu.Lock()
				defer mu.Unlock()
				for len(rest) > 0 {
					piece := rest[:min(len(rest), 100_000)]
					var n int
					var err error
					if vector {
						n, err = c.Writev([][]byte{piece[:len(piece)/9], nil, piece[len(piece)/9 : len(piece)/2], piece[len(piece)/2:]})
					} else {
						n, err = c.Write(piece)
					}
					if err != nil {
						t.Errorf("Write: %v", err)
						break
					}
					rest = rest[n:]
					if n < len(piece) {
						if stalls++; stalls == 1 {
							close(stalled)
						}
						return
					}
				}
				close(written)
			}
			c = attach(t, p, server, &handler{writable: write})
			write() // before Start: writing needs none
			await(t, "a Write cut short", stalled)
			barrier := newEcho(t, p, network)
			quiet(t, p, barrier)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(peer, got); err != nil {
				t.Fatal(err)
			}
			await(t, "the last Write", written)
			if !bytes.Equal(got, want) {
				t.Error("the peer got other bytes than were written")
			}
			t.Logf("vector %v: cut short %d times", vector, stalls)
		}
	})
}

// A queue that waits for Writable must learn that the connection is gone, whether it is read or not.
func TestWritableAfterFailure(t *testing.T) {
	for _, pause := range []bool{false, true} {
		networks(t, func(t *testing.T, network string) {
			p := newPoller(t)
			server, peer := pipe(t, network)
			writable := make(chan error, 1)
			big := make([]byte, 1<<20)
			var c *Conn
			c = attach(t, p, server, &handler{closed: func(error) {}, writable: func() {
				// The kernel may have moved bytes to the peer meanwhile: then this Write is cut short too.
				if _, err := c.Write(big); err != nil {
					writable <- err
				}
			}})
			start(t, c)
			if pause {
				c.Pause()
			}
			for {
				n, err := c.Write(big)
				if err != nil {
					t.Fatal(err)
				}
				if n < len(big) {
					break
				}
			}
			peer.Close() // with unread bytes: a reset over TCP
			if err := await(t, "Writable", writable); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Write to a connection that is gone: got %v, want EPIPE or ECONNRESET", err)
			}
		})
	}
}

// One writev takes 64 buffers; Writev takes any number.
func TestWritevMany(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		p := newPoller(t)
		server, peer := pipe(t, network)
		c := attach(t, p, server, &handler{})
		want := payload(200)
		bufs := [][]byte{nil}
		for i := range want {
			bufs = append(bufs, want[i:i+1], nil)
		}
		if n, err := c.Writev(bufs); n != len(want) || err != nil {
			t.Errorf("Writev: got %d, %v, want %d, nil", n, err, len(want))
		}
		if n, err := c.Writev(bufs[:1]); n != 0 || err != nil {
			t.Errorf("Writev of nothing: got %d, %v, want 0, nil", n, err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("peer got %x, %v, want %x", got, err, want)
		}
	})
}

// A closed Conn leaves the epoll set even if someone else holds the connection open.
func TestCloseWithDuplicate(t *testing.T) {
	p := newPoller(t)
	barrier := newEcho(t, p, "tcp")
	server, peer := pipe(t, "tcp")
	duplicate, err := server.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
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
				if err := <-written; err != nil {
					t.Fatal(err)
				}
				await(t, "hang-up", hungUp)
				select {
				case err := <-closed:
					t.Fatalf("Closed(%v) while paused", err)
				default:
				}
				c.Resume()
				if err := await(t, "end", closed); err != io.EOF || got != unread {
					t.Errorf("got %d bytes and then %v, want %d and EOF", got, err, unread)
				}
			})
		}
	}
}

// TestUnacknowledged: a peer that does not read acknowledges what its kernel has room for, and no more.
func TestUnacknowledged(t *testing.T) {
	p := newPoller(t)
	server, peer := pipe(t, "tcp")
	h := &handler{writable: func() {}}
	c := attach(t, p, server, h)
	written := 0
	eventually(t, func() error { // until the kernels are full
		n, err := c.Write(make([]byte, 1<<20))
		written += n
		switch {
		case err != nil:
			t.Fatal(err)
		case n > 0 || c.Unacknowledged() == 0:
			return fmt.Errorf("the kernel took %d bytes more, %d are not acknowledged", n, c.Unacknowledged())
		}
		return nil
	})
	go io.Copy(io.Discard, peer)
	eventually(t, func() error {
		if n := c.Unacknowledged(); n > 0 {
			return fmt.Errorf("%d of %d bytes are not acknowledged by a peer that reads", n, written)
		}
		return nil
	})
	c.Close()
	if n := c.Unacknowledged(); n != 0 {
		t.Errorf("closed: got %d", n)
	}
}
