package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supported says why the benchmark cannot run on this system; nil if it can.
func supported() error { return nil }

// endWithParent makes a command's process end with the thread that starts it, however that ends.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// usedCPU is what this process has used.
func usedCPU() (cpu, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return cpu{}, fmt.Errorf("getrusage: %w", err)
	}
	return cpu{User: time.Duration(u.Utime.Nano()), System: time.Duration(u.Stime.Nano())}, nil
}

// clockTick is the unit of times in /proc; the kernel tells user space no other on any architecture that Go knows.
const clockTick = 10 * time.Millisecond

// processCPU is what the kernel says that a process has used, in steps of clockTick: proc(5), fields 14 and 15 of stat.
func processCPU(pid int) (cpu, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cpu{}, err
	}
	_, rest, ok := bytes.Cut(stat, []byte(") ")) // the name before it may hold blanks
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return cpu{}, fmt.Errorf("/proc/%d/stat: not understood: %q", pid, stat)
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return cpu{User: time.Duration(user) * clockTick, System: time.Duration(system) * clockTick}, errors.Join(err1, err2)
}

// machineCPU is what all programs together have used of the processors, and what the machine's host took from them: proc(5), stat.
func machineCPU() (time.Duration, error) {
	fields := strings.Fields(firstLine("/proc/stat"))
	const idle, wait, steal = 4, 5, 8
	if len(fields) <= steal {
		return 0, fmt.Errorf("/proc/stat: not understood: %q", fields)
	}
	var busy time.Duration
	for i, f := range fields[1 : steal+1] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i+1 != idle && i+1 != wait {
			busy += time.Duration(ticks) * clockTick
		}
	}
	return busy, nil
}

// residentMemory is what a process occupies of the memory: proc(5), smaps_rollup.
func residentMemory(pid int) (resident, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return resident{}, err
	}
	var r resident
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return resident{}, fmt.Errorf("/proc/%d/smaps_rollup: %q: %w", pid, line, err)
		}
		switch fields[0] {
		case "Rss:":
			r.Total = n << 10
		case "Anonymous:":
			r.Anonymous = n << 10
		}
	}
	if r.Anonymous == 0 {
		return resident{}, fmt.Errorf("/proc/%d/smaps_rollup: no anonymous memory in it", pid)
	}
	return r, nil
}

// allowFiles makes sure that this process may open n files.
func allowFiles(n int) error {
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
		return fmt.Errorf("%d open files are needed and %d allowed: raise the hard limit (ulimit -Hn), or ask for fewer sockets", n, limit.Cur)
	}
	return nil
}

// dialTimeout bounds each step of a connection's beginning.
const dialTimeout = 20 * time.Second

// dial connects a blocking TCP socket whose reads and writes give up after dialTimeout. It stays out of Go's own poller, so that each
// packet wakes one thread at the most.
func dial(address string) (fd int, err error) {
	target, err := sockaddr(address)
	if err != nil {
		return 0, err
	}
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	limit := syscall.NsecToTimeval(dialTimeout.Nanoseconds())
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit),
	)
	if err == nil {
		err = retry(func() error { return syscall.Connect(fd, target) })
	}
	if err != nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("connect to %s: %w", address, err)
	}
	return fd, nil
}

// listen makes a blocking listener on a free port of the loopback interface.
func listen() (fd int, address string, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, "", fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 4096),
	)
	if err != nil {
		syscall.Close(fd)
		return 0, "", fmt.Errorf("listen: %w", err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		syscall.Close(fd)
		return 0, "", fmt.Errorf("getsockname: %w", err)
	}
	return fd, net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port)), nil
}

// accept waits for a connection, which is a blocking one.
func accept(listener int) (fd int, err error) {
	err = retry(func() error {
		fd, _, err = syscall.Accept4(listener, syscall.SOCK_CLOEXEC)
		return err
	})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err != nil {
		return 0, fmt.Errorf("accept: %w", err)
	}
	return fd, nil
}

func sockaddr(address string) (*syscall.SockaddrInet4, error) {
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	return &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}, nil
}

// read reads what there is; n is 0 without an error if a non-blocking socket has nothing. A peer that has closed is errClosed.
func read(fd int, p []byte) (n int, err error) {
	err = retry(func() error {
		n, err = syscall.Read(fd, p)
		return err
	})
	switch {
	case err == syscall.EAGAIN:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, errClosed
	}
	return n, nil
}

// write writes all of p. A non-blocking socket that does not take it at once is an error.
func write(fd int, p []byte) (calls int, err error) {
	for len(p) > 0 {
		n, err := syscall.Write(fd, p)
		calls++
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return calls, fmt.Errorf("write: %w", err)
		}
		p = p[n:]
	}
	return calls, nil
}

func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// A poller waits for bytes on many sockets.
type poller struct {
	fd     int
	events []syscall.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &poller{fd: fd, events: make([]syscall.EpollEvent, 256)}, nil
}

// add makes fd non-blocking and waits for it too. key is what wait calls it.
func (p *poller) add(fd, key int) error {
	if err := syscall.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("set non-blocking: %w", err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(key)}
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove waits for fd no more.
func (p *poller) remove(fd int) error {
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait calls ready with the key of each socket that has something to read, once there is one.
func (p *poller) wait(ready func(key int)) error {
	n := 0
	err := retry(func() (err error) {
		n, err = syscall.EpollWait(p.fd, p.events, -1)
		return err
	})
	if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for _, e := range p.events[:n] {
		ready(int(e.Fd))
	}
	return nil
}
