package crowd

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// addresses are what hosts and ports stand for.
type addresses = map[string]syscall.Sockaddr

// raw reports whether clients of a server are descriptors that the loop reads.
func raw(cfg Config, u *url.URL) bool { return cfg.Transport == WebSocket && u.Scheme == "http" }

// A rawLink is a non-blocking socket that stays out of Go's own poller, so that a packet wakes one thread
// at the most.
type rawLink struct {
	crowd *Crowd
	stuck bool // until it can be written
}

// dialRaw begins to connect a client. c.mu must be held, as in all that follow.
func (c *Crowd) dialRaw(cl *client) error {
	family, to, err := c.resolve(hostPort(cl.target))
	if err != nil {
		return err
	}
	const kind = syscall.SOCK_STREAM | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK
	fd, err := syscall.Socket(family, kind, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err == nil {
		err = syscall.Connect(fd, to)
	}
	if err == syscall.EINPROGRESS || err == syscall.EINTR {
		err = nil
	}
	if err == nil {
		err = c.poll.add(fd, true)
	}
	if err != nil {
		syscall.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	cl.fd, cl.link = fd, &rawLink{crowd: c, stuck: true}
	for len(c.byFD) <= fd {
		c.byFD = append(c.byFD, nil)
	}
	c.byFD[fd] = cl
	cl.out = c.handshake(cl)
	return nil
}

// resolve finds what an address stands for, once.
func (c *Crowd) resolve(address string) (family int, to syscall.Sockaddr, err error) {
	if to = c.known[address]; to == nil {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			return 0, nil, err
		}
		if ip := a.IP.To4(); ip != nil || a.IP == nil {
			v4 := &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte{127, 0, 0, 1}}
			copy(v4.Addr[:], ip)
			to = v4
		} else {
			to = &syscall.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}
		}
		c.known[address] = to
	}
	if _, ok := to.(*syscall.SockaddrInet6); ok {
		return syscall.AF_INET6, to, nil
	}
	return syscall.AF_INET, to, nil
}

// ready goes on with a client that can be read or written.
func (c *Crowd) ready(e ready) {
	if e.fd >= len(c.byFD) || c.byFD[e.fd] == nil { // the poller's own, or a client that has just ended
		return
	}
	cl := c.byFD[e.fd]
	var err error
	if e.write {
		cl.link.(*rawLink).stuck = false
		if err = cl.link.flush(cl); err == nil && !cl.link.(*rawLink).stuck {
			err = c.poll.change(cl.fd, !cl.slow, false)
		}
	}
	if e.read && err == nil {
		err = c.read(cl)
	}
	if err != nil {
		c.drop(cl, err)
	}
}

// read takes what a client has received: as much as there is room for. The rest of a message that is not
// whole is copied before the next read, or stays where it is if it is large.
func (c *Crowd) read(cl *client) error {
	p, kept := c.buf, len(cl.rest)
	large := kept > 0 && cl.need > largeMessage
	if large {
		p = cl.rest[:cap(cl.rest)]
	} else {
		copy(p, cl.rest)
	}
	n, err := syscall.Read(cl.fd, p[kept:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return closedEarly(cl, errClosed)
	}
	p = p[:kept+n]
	rest := p
	if !large || len(p) >= cl.need {
		if rest, err = c.handle(cl, p); err != nil || cl.state == gone {
			return err
		}
	}
	c.keep(cl, rest, large)
	return nil
}

// largeMessage is how large a message is that is read to where it stays.
const largeMessage = bufferSize / 4

// keep keeps the rest of what was read for a client, which is in its own buffer already if that was large.
func (c *Crowd) keep(cl *client, rest []byte, large bool) {
	if large && len(rest) > 0 && &rest[0] == &cl.rest[0] {
		cl.rest = rest
		return
	}
	need := 0
	if len(rest) > 0 {
		need, _ = frameSize(rest) // nextFrame has found it good
	}
	old := cl.rest
	if cl.need = need; need > largeMessage {
		cl.rest = slices.Grow(c.borrow(), need)[:0]
	} else if large {
		cl.rest = nil
	} else {
		old = nil
	}
	cl.rest = append(cl.rest[:0], rest...)
	if large {
		c.giveBack(old)
	}
}

func (l *rawLink) flush(cl *client) error {
	if l.stuck {
		return nil
	}
	for len(cl.out) > 0 {
		n, err := syscall.Write(cl.fd, cl.out)
		switch err {
		case nil:
			cl.out = append(cl.out[:0], cl.out[n:]...)
		case syscall.EINTR:
		case syscall.EAGAIN:
			l.stuck = true
			return l.crowd.poll.change(cl.fd, !cl.slow, true)
		default:
			return err
		}
	}
	if cap(cl.out) > bufferSize {
		l.crowd.giveBack(cl.out)
		cl.out = nil
	}
	return nil
}

func (l *rawLink) pause(cl *client, on bool) error {
	return l.crowd.poll.change(cl.fd, !on, l.stuck)
}

func (l *rawLink) close(cl *client) {
	l.crowd.byFD[cl.fd] = nil
	syscall.Close(cl.fd)
}

// spareFiles is how many files a process opens besides its sockets.
const spareFiles = 100

// allowFiles makes sure that this process may open n sockets.
func allowFiles(n int) error {
	n += spareFiles
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("setrlimit: %w", err)
		}
	}
	if uint64(n) > limit.Cur {
		return fmt.Errorf("%d open files are needed and %d allowed: raise the hard limit (ulimit -Hn), "+
			"or ask for fewer sockets", n, limit.Cur)
	}
	return nil
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
