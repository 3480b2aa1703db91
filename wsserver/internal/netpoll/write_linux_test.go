package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

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
						kit.WantErr(t, err, net.ErrClosed, "Write")
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
		kit.Require(t, c.acquire(), "an open Conn cannot be used")
	}
	kit.OK(t, c.Close(), "Close")
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
			kit.Receive(t, "a Write cut short", stalled)
			barrier := newEcho(t, p, network)
			quiet(t, p, barrier)
			got := make([]byte, len(want))
			kit.Must(io.ReadFull(peer, got))(t)
			kit.Receive(t, "the last Write", written)
			kit.Check(t, bytes.Equal(got, want), "the peer got other bytes than were written")
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
				n := kit.Must(c.Write(big))(t)
				if n < len(big) {
					break
				}
			}
			peer.Close() // with unread bytes: a reset over TCP
			if err := kit.Receive(t, "Writable", writable); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
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

// TestUnacknowledged: a peer that does not read acknowledges what its kernel has room for, and no more.
func TestUnacknowledged(t *testing.T) {
	p := newPoller(t)
	server, peer := pipe(t, "tcp")
	h := &handler{writable: func() {}}
	c := attach(t, p, server, h)
	written := 0
	kit.Until(t, func() error { // until the kernels are full
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
	kit.Until(t, func() error {
		if n := c.Unacknowledged(); n > 0 {
			return fmt.Errorf("%d of %d bytes are not acknowledged by a peer that reads", n, written)
		}
		return nil
	})
	c.Close()
	kit.Want(t, c.Unacknowledged(), 0, "closed")
}
