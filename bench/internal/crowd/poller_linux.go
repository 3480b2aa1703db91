package crowd

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"
	"unsafe"
)

// A poller waits for descriptors, for a time, or to be woken. wait and event are for one goroutine.
type poller struct {
	fd     int
	wakeup [2]int // a pipe
	events []syscall.EpollEvent
	coarse bool // the kernel has no epoll_pwait2
}

func newPoller() (*poller, error) {
	p := &poller{events: make([]syscall.EpollEvent, 512)}
	var err error
	if p.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := syscall.Pipe2(p.wakeup[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(p.fd)
		return nil, fmt.Errorf("pipe2: %w", err)
	}
	return p, p.add(p.wakeup[0], false)
}

// close must be called when nobody waits any more.
func (p *poller) close() error {
	return errors.Join(syscall.Close(p.fd), syscall.Close(p.wakeup[0]), syscall.Close(p.wakeup[1]))
}

// wake ends the wait that is going on, or the next one.
func (p *poller) wake() {
	syscall.Write(p.wakeup[1], []byte{0}) // a pipe that is full wakes, too
}

func (p *poller) control(op, fd int, read, write bool) error {
	event := syscall.EpollEvent{Fd: int32(fd)}
	if read {
		event.Events |= syscall.EPOLLIN
	}
	if write {
		event.Events |= syscall.EPOLLOUT
	}
	if err := syscall.EpollCtl(p.fd, op, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// add waits for fd, too: until it can be read, and until it can be written.
func (p *poller) add(fd int, write bool) error {
	return p.control(syscall.EPOLL_CTL_ADD, fd, true, write)
}

// change says what to wait for. Closing a descriptor ends that.
func (p *poller) change(fd int, read, write bool) error {
	return p.control(syscall.EPOLL_CTL_MOD, fd, read, write)
}

// sysEpollPwait2 is the same on all architectures that number system calls from 0 on; elsewhere the kernel
// knows none of this number.
const sysEpollPwait2 = 441

// wait waits until something is ready, or for limit, which is less than 0 if there is none. It returns how
// many events there are.
func (p *poller) wait(limit time.Duration) (n int, err error) {
	if limit > 0 && !p.coarse {
		spec := syscall.NsecToTimespec(limit.Nanoseconds())
		r, _, errno := syscall.Syscall6(sysEpollPwait2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
		switch errno {
		case 0:
			return int(r), nil
		case syscall.EINTR:
			return 0, nil
		case syscall.ENOSYS:
			p.coarse = true
		default:
			return 0, fmt.Errorf("epoll_pwait2: %w", errno)
		}
	}
	ms := -1
	if limit >= 0 {
		ms = int(min(limit/time.Millisecond, math.MaxInt32))
	}
	n, err = syscall.EpollWait(p.fd, p.events, ms)
	switch err {
	case nil:
		return n, nil
	case syscall.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_wait: %w", err)
}

// A ready is a descriptor with something to do.
type ready struct {
	fd          int
	read, write bool
}

// event is one of those that wait has found.
func (p *poller) event(i int) ready {
	e := &p.events[i]
	if int(e.Fd) == p.wakeup[0] {
		var b [64]byte
		syscall.Read(p.wakeup[0], b[:]) // what is left wakes again
	}
	return ready{int(e.Fd), e.Events&^syscall.EPOLLOUT != 0, e.Events&syscall.EPOLLOUT != 0}
}
