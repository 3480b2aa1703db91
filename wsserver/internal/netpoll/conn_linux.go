package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// A Conn is a connection whose Handler is called by a Poller. Its methods may be called concurrently, also from within a Handler's
// call.
type Conn struct {
	poller  *Poller
	handler Handler

	mu    sync.Mutex // guards what follows, and fd against being closed
	fd    int32      // the number itself never changes
	gen   uint32     // never changes once the Conn is in the Poller's table
	refs  int32      // system calls under way; the last one closes fd once the Conn is closed
	flags connFlags
	isTCP bool   // never changes
	cut   moment // when the last Write was cut short
}

type connFlags uint8

const (
	started connFlags = 1 << iota
	paused
	ended     // Handler.Closed was called, or is about to be
	wantWrite // a Write was cut short and Writable has not been called since
	connClosed
	fast // the peer has highMark
)

// edge is EPOLLET, whose sign in package syscall depends on the architecture.
const edge = 1 << 31

// Start begins to read. What the owner read from the net.Conn before it was attached, it hands to its decoder first.
func (c *Conn) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags&connClosed != 0 {
		return net.ErrClosed
	}
	return c.change(started, 0)
}

// Write writes what the kernel takes of p at once and never waits. n < len(p) with a nil error means that the kernel is full:
// Handler.Writable will be called. Writes that run concurrently are not kept apart: the caller sees to their order.
func (c *Conn) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !c.acquire() {
		return 0, net.ErrClosed
	}
	n, errno := retry(syscall.SYS_WRITE, c.fd, unsafe.Pointer(&p[0]), len(p))
	return n, c.wrote(n < len(p), errno)
}

// maxIovecs is how many buffers go into one writev.
const maxIovecs = 64

// Writev writes the concatenation of bufs as Write does, and does not modify bufs.
func (c *Conn) Writev(bufs [][]byte) (n int, err error) {
	var iov [maxIovecs]syscall.Iovec
	for {
		count, size := 0, 0
		for len(bufs) > 0 && count < maxIovecs {
			if b := bufs[0]; len(b) > 0 {
				iov[count].Base = &b[0]
				iov[count].SetLen(len(b))
				count++
				size += len(b)
			}
			bufs = bufs[1:]
		}
		if count == 0 {
			return n, nil
		}
		if !c.acquire() {
			return n, net.ErrClosed
		}
		m, errno := retry(syscall.SYS_WRITEV, c.fd, unsafe.Pointer(&iov), count)
		n += m
		if err := c.wrote(m < size, errno); err != nil || m < size {
			return n, err
		}
	}
}

// Pause stops reading until Resume. One more Data may come if it was already on its way. While reading is paused, an orderly close by
// the peer waits behind the bytes that were not read, which Handler.HungUp says; a failure does not: Closed is called at once and what was
// not read is lost.
func (c *Conn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(paused, 0)
}

// Resume goes on reading after Pause.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(0, paused)
}

// Unacknowledged returns how many of the bytes written the peer's TCP has not acknowledged. It is zero for a Unix socket, and for a closed
// connection.
func (c *Conn) Unacknowledged() int {
	if !c.isTCP || !c.acquire() {
		return 0
	}
	defer c.release()
	var n int32
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(c.fd), siocOutq, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}

// CloseWrite sends FIN after what was written. Reading goes on.
func (c *Conn) CloseWrite() error {
	if !c.acquire() {
		return net.ErrClosed
	}
	err := syscall.Shutdown(int(c.fd), syscall.SHUT_WR)
	c.release()
	if err != nil {
		return fmt.Errorf("netpoll: shutdown: %w", err)
	}
	return nil
}

// Close closes the connection; a second Close does nothing. A system call that another goroutine has under way ends first, and the
// descriptor is closed with it. As ever with TCP, bytes that were not read turn the close into a reset, which may overtake what was
// written: to be sure of a last message, CloseWrite and wait for Closed.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.flags&connClosed != 0 {
		c.mu.Unlock()
		return nil
	}
	c.flags |= connClosed
	c.refs++
	// Closing would do it too, unless someone else holds a duplicate.
	err := c.control(syscall.EPOLL_CTL_DEL, 0)
	c.mu.Unlock()
	c.poller.remove(c)
	c.release()
	return err
}

// end marks the Conn as ended and reports whether Closed is due: never twice, nor after Close.
func (c *Conn) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags&(ended|connClosed) != 0 {
		return false
	}
	c.change(ended, 0)
	return true
}

// handle deals with one event, on the Poller's goroutine.
func (c *Conn) handle(events uint32, buf []byte) {
	const broken = syscall.EPOLLERR | syscall.EPOLLHUP
	c.mu.Lock()
	if c.flags&connClosed != 0 {
		c.mu.Unlock()
		return
	}
	reading := c.reads() && events&(syscall.EPOLLIN|broken) != 0
	waits := c.flags&(started|paused|ended) == started|paused
	failed := waits && events&syscall.EPOLLERR != 0
	hungUp := waits && !failed && events&syscall.EPOLLRDHUP != 0
	writable := c.flags&wantWrite != 0 && events&syscall.EPOLLOUT != 0 // a failed one counts as writable
	if writable {
		c.change(0, wantWrite)
		if c.isTCP {
			c.review()
		}
	}
	c.refs++
	c.mu.Unlock()

	var n int
	var err error
	switch {
	case reading:
		if size := c.poller.ReadSize; size != nil {
			buf = buf[:min(max(size(), minRead), maxRead)]
		}
		n, err = read(c.fd, buf, events&broken != 0)
	case failed:
		err = socketError(c.fd)
	}
	if !c.release() {
		return
	}
	if n > 0 {
		c.handler.Data(buf[:n])
	}
	if err != nil && c.end() {
		c.handler.Closed(err)
	}
	if hungUp && c.isOpen() {
		c.handler.HungUp()
	}
	if writable && c.isOpen() {
		c.handler.Writable()
	}
}

// reads reports whether bytes are wanted. c.mu must be held.
func (c *Conn) reads() bool { return c.flags&(started|paused|ended) == started }

// interest returns the events to wait for. c.mu must be held once the Conn is attached.
//
// The peer's FIN makes the connection readable; while nothing is read, it is an event of its own. Errors and hang-ups are always reported,
// asked for or not. While nothing is read they would be reported for ever, so the connection is then edge-triggered: it tells each once.
func (c *Conn) interest() uint32 {
	var events uint32 = edge | syscall.EPOLLRDHUP
	if c.reads() {
		events = syscall.EPOLLIN
	}
	if c.flags&wantWrite != 0 {
		events |= syscall.EPOLLOUT
	}
	return events
}

// change sets and clears flags and tells the kernel if the interest has changed with them. c.mu must be held. Telling it cannot fail
// for a descriptor that is in the set, since nothing is allocated; only Start and Write can pass on that it did.
func (c *Conn) change(set, clear connFlags) error {
	before := c.interest()
	c.flags = c.flags&^clear | set
	after := c.interest()
	if after == before || c.flags&connClosed != 0 {
		return nil
	}
	return c.control(syscall.EPOLL_CTL_MOD, after)
}

// control is epoll_ctl. The descriptor must be open, and in the set unless it is being added.
func (c *Conn) control(op int, events uint32) error {
	e := syscall.EpollEvent{Events: events, Fd: c.fd, Pad: int32(c.gen)}
	if err := syscall.EpollCtl(c.poller.epfd, op, int(c.fd), &e); err != nil {
		return fmt.Errorf("netpoll: epoll_ctl: %w", err)
	}
	return nil
}

// acquire keeps the descriptor open until release. It fails if the Conn is closed.
func (c *Conn) acquire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags&connClosed != 0 {
		return false
	}
	c.refs++
	return true
}

// release undoes acquire and reports whether the Conn is still open. If it is not, the last one to leave closes the descriptor.
func (c *Conn) release() bool {
	c.mu.Lock()
	c.refs--
	open := c.flags&connClosed == 0
	last := !open && c.refs == 0
	c.mu.Unlock()
	if last {
		syscall.Close(int(c.fd))
	}
	return open
}

func (c *Conn) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flags&connClosed == 0
}

// wrote ends a write and makes sure that Writable follows one that was cut short.
func (c *Conn) wrote(short bool, errno syscall.Errno) error {
	var err error
	if errno != 0 && errno != syscall.EAGAIN {
		err = fmt.Errorf("netpoll: write: %w", errno)
	} else if short {
		c.mu.Lock()
		c.cut = thisMoment()
		err = c.change(wantWrite, 0)
		c.mu.Unlock()
	}
	if !c.release() && short && err == nil {
		err = net.ErrClosed // Writable will not come.
	}
	return err
}

var errNothingToRead = errors.New("netpoll: connection failed without saying why")

// read reads once. Where the event said that the connection is broken, finding nothing is an error too: the event would come for ever.
func read(fd int32, buf []byte, broken bool) (int, error) {
	n, errno := retry(syscall.SYS_READ, fd, unsafe.Pointer(&buf[0]), len(buf))
	switch {
	case errno == syscall.EAGAIN && !broken:
		return 0, nil
	case errno == syscall.EAGAIN:
		return 0, socketError(fd)
	case errno != 0:
		return 0, fmt.Errorf("netpoll: read: %w", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// socketError returns why a connection failed. The kernel tells it once: a Write may have had it already.
func socketError(fd int32) error {
	errno, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return fmt.Errorf("netpoll: getsockopt: %w", err)
	}
	if errno == 0 {
		return errNothingToRead
	}
	return fmt.Errorf("netpoll: connection failed: %w", syscall.Errno(errno))
}

// retry calls read, write or writev until no signal interrupts it. It returns no negative n.
func retry(call uintptr, fd int32, p unsafe.Pointer, size int) (n int, errno syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(p), uintptr(size))
		switch errno {
		case 0:
			return int(r), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
