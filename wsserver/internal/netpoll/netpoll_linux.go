package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// maxEvents is how many events one epoll_wait fetches.
const maxEvents = 128

// A Poller waits for bytes on the connections that were attached to it. Its methods may be called concurrently.
type Poller struct {
	epfd int
	file *os.File      // epfd, waited for by the runtime's poller
	done chan struct{} // closed when run has returned

	// ReadSize, if it is not nil, bounds what one event reads, in bytes. It is set before the first Attach.
	ReadSize func() int

	mu     sync.Mutex // guards what follows; taken under no Conn's mu
	conns  []*Conn    // by descriptor
	gen    uint32     // of the last Conn attached
	closed bool
}

// New returns a running Poller. It owns one goroutine, which ends with Close.
func New() (*Poller, error) {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netpoll: epoll_create1: %w", err)
	}
	if err := syscall.SetNonblock(epfd, true); err != nil {
		syscall.Close(epfd)
		return nil, fmt.Errorf("netpoll: set non-blocking: %w", err)
	}
	// A non-blocking descriptor joins the runtime's poller: the loop then parks as a goroutine instead of holding a thread in
	// epoll_wait. Deadlines work only on such a file, so that setting one shows whether it did.
	p := &Poller{epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll"), done: make(chan struct{})}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("netpoll: nest epoll in the runtime's poller: %w", err)
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("netpoll: nest epoll in the runtime's poller: %w", err)
	}
	go p.run(raw)
	return p, nil
}

// Attach takes over c, a bare *net.TCPConn or a stream *net.UnixConn, and returns the Conn that replaces it: the descriptor is
// duplicated and c closed. Deadlines of c are gone; nothing is read before Start. No goroutine may be reading from c or writing to it.
//
// Where Attach fails, c is as it was. The error wraps [errors.ErrUnsupported] if c is of another kind, such as a TLS connection, and
// the system's error otherwise: EMFILE, for one, since for a moment two descriptors are needed.
func (p *Poller) Attach(c net.Conn, h Handler) (*Conn, error) {
	raw, isTCP, err := rawConn(c)
	if err != nil {
		return nil, fmt.Errorf("netpoll: attach %T: %w", c, err)
	}
	fd, err := duplicate(raw)
	if err != nil {
		return nil, fmt.Errorf("netpoll: duplicate descriptor: %w", err)
	}
	conn := &Conn{poller: p, handler: h, fd: int32(fd), isTCP: isTCP}
	if err := p.add(conn); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	if isTCP {
		if err := setMark(fd, lowMark); err != nil {
			conn.Close()
			return nil, fmt.Errorf("netpoll: set TCP_NOTSENT_LOWAT: %w", err)
		}
	}
	c.Close() // An error would concern this descriptor only, and the connection lives on in the other.
	return conn, nil
}

// Close closes all connections, after having told their Handlers Closed(ErrClosed), and waits for the Poller's goroutine. It must not
// be called from a Handler.
func (p *Poller) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if first {
		// Wakes the loop, which closes the file itself once nothing uses the descriptor any more.
		p.file.SetReadDeadline(time.Unix(1, 0))
	}
	<-p.done
	return nil
}

// run is the loop: it handles events until the Poller is closed.
func (p *Poller) run(raw syscall.RawConn) {
	defer close(p.done)
	events := make([]syscall.EpollEvent, maxEvents)
	buf := make([]byte, maxRead)
	var failure error
	for failure == nil {
		var n int
		// The runtime learns of the nested descriptor by edges: only an empty epoll_wait makes sure that the next event brings one.
		err := raw.Read(func(uintptr) bool {
			n, failure = epollWait(p.epfd, events)
			return n > 0 || failure != nil
		})
		if p.isClosed() {
			failure = nil
			break
		}
		if err != nil {
			failure = err
		}
		for i := range n {
			if c := p.lookup(&events[i]); c != nil {
				c.handle(events[i].Events, buf)
			}
		}
	}
	p.shutdown(failure)
}

// shutdown closes all connections and then the epoll descriptor. failure is why the loop ended by itself, nil if Close ended it.
func (p *Poller) shutdown(failure error) {
	if failure == nil {
		failure = ErrClosed
	} else {
		failure = fmt.Errorf("netpoll: wait for events: %w", failure)
	}
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		if c == nil {
			continue
		}
		if c.end() {
			c.handler.Closed(failure)
		}
		c.Close()
	}
	// No Conn is open and none can be added, so nothing uses the descriptor's number any more.
	p.file.Close()
}

func (p *Poller) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// add enters c in the table and in the epoll set.
func (p *Poller) add(c *Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	fd := int(c.fd)
	if fd >= len(p.conns) {
		p.conns = append(p.conns, make([]*Conn, fd+1-len(p.conns))...)
	}
	p.gen++
	c.gen = p.gen
	p.conns[fd] = c
	if err := c.control(syscall.EPOLL_CTL_ADD, c.interest()); err != nil {
		p.conns[fd] = nil
		return err
	}
	return nil
}

// remove takes c out of the table. The descriptor must still be open, since its number may be another's afterwards.
func (p *Poller) remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd := int(c.fd); fd < len(p.conns) && p.conns[fd] == c {
		p.conns[fd] = nil
	}
}

// lookup returns the Conn that e is about, nil if it is gone. Since e was fetched, its descriptor may have been closed and given to
// another connection: the generation tells them apart.
func (p *Poller) lookup(e *syscall.EpollEvent) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(e.Fd) >= len(p.conns) {
		return nil
	}
	c := p.conns[e.Fd]
	if c == nil || c.gen != uint32(e.Pad) {
		return nil
	}
	return c
}

// rawConn returns what gives access to c's descriptor, and whether c is a TCP connection.
func rawConn(c net.Conn) (raw syscall.RawConn, isTCP bool, err error) {
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
		return raw, true, err
	case *net.UnixConn:
		if addr := c.LocalAddr(); addr == nil || addr.Network() != "unix" {
			return nil, false, errors.ErrUnsupported // Datagrams have no end and no partial write.
		}
		raw, err = c.SyscallConn()
		return raw, false, err
	default:
		return nil, false, errors.ErrUnsupported
	}
}

// duplicate returns a second descriptor for raw's connection. It is non-blocking, as the net package's are.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	ctlErr := raw.Control(func(old uintptr) {
		r, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			err = errno
		}
		fd = int(r)
	})
	if ctlErr != nil {
		return 0, ctlErr
	}
	return fd, err
}

// epollWait fetches what is there and does not wait.
//
// This and the calls in conn_linux.go are raw: none of them waits, and telling the scheduler of each costs up to a fifth of the CPU.
func epollWait(epfd int, events []syscall.EpollEvent) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
