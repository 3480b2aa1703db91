package netpoll

import (
	"io"
	"net"
	"syscall"
	"testing"
	"unsafe"

	"github.com/belfry-io/belfry/test/kit"
)

// A markRig is a connection whose Writes are cut short, and read again step by step.
type markRig struct {
	conn     *Conn
	peer     net.Conn
	writable chan struct{}
	written  int
	read     int
}

func newMarkRig(t *testing.T) *markRig {
	t.Helper()
	server, peer := pipe(t, "tcp")
	r := &markRig{peer: peer, writable: make(chan struct{}, 1)}
	r.conn = attach(t, newPoller(t), server, &handler{writable: func() { r.writable <- struct{}{} }})
	return r
}

// fill writes until a Write is cut short.
func (r *markRig) fill(t *testing.T) {
	t.Helper()
	frame := make([]byte, 16<<10)
	for {
		n := kit.Must(r.conn.Write(frame))(t)
		r.written += n
		if n < len(frame) {
			return
		}
	}
}

// drain has the peer read all, after so many moments.
func (r *markRig) drain(t *testing.T, moments moment) {
	t.Helper()
	r.conn.mu.Lock()
	r.conn.cut -= moments
	r.conn.mu.Unlock()
	r.finish(t)
	kit.Receive(t, "Writable", r.writable)
}

func (r *markRig) finish(t *testing.T) {
	t.Helper()
	kit.Must(io.CopyN(io.Discard, r.peer, int64(r.written-r.read)))(t)
	r.read = r.written
}

func (r *markRig) mark(t *testing.T) int {
	t.Helper()
	return kit.Must(syscall.GetsockoptInt(int(r.conn.fd), syscall.IPPROTO_TCP, tcpNotSentLowat))(t)
}

// What a peer has shown to take decides how much the kernel takes for it; each row is a Write that was
// cut short, and how long it took until there was room again.
func TestMark(t *testing.T) {
	const (
		quarter = momentsASecond / 4
		minute  = 60 * momentsASecond
	)
	r := newMarkRig(t)
	kit.Equal(t, r.mark(t), lowMark, "the mark of a new connection")
	for i, step := range []struct {
		after moment
		want  int
	}{
		{minute, lowMark},      // slow from the first on
		{2 * quarter, lowMark}, // 8 KiB in half a second
		{0, highMark},
		{2 * quarter, highMark}, // 32 KiB in half a second
		{0, highMark},
		{5 * quarter, lowMark},
		{2 * quarter, lowMark},
		{0, highMark},
		{minute, lowMark},
	} {
		before := r.mark(t)
		r.fill(t)
		kit.Equal(t, r.mark(t), before, "step %d: the mark while the peer does not read", i)
		r.drain(t, step.after)
		kit.Equal(t, r.mark(t), step.want, "step %d: the mark after %d moments", i, step.after)
	}
}

// The mark is what the kernel goes by: it takes more for a fast peer, and no more than that.
func TestMarkHolds(t *testing.T) {
	held := func(fast bool) int {
		r := newMarkRig(t)
		kit.OK(t, syscall.SetsockoptInt(int(r.conn.fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1<<20))
		if fast {
			r.fill(t)
			r.drain(t, 0)
		}
		r.fill(t)
		unsent := r.conn.unsent(t)
		r.finish(t)
		return unsent
	}
	slow, fast := held(false), held(true)
	t.Logf("unsent when a Write was cut short: %d and %d bytes", slow, fast)
	// The kernel looks at the mark when it begins a segment, of up to 64 KiB.
	if slow < lowMark || slow > lowMark+64<<10 {
		t.Errorf("for a peer that is not known the kernel has %d bytes unsent, want about %d", slow, lowMark)
	}
	if fast < highMark || fast > highMark+64<<10 {
		t.Errorf("for a fast peer the kernel has %d bytes unsent, want about %d", fast, highMark)
	}
}

// unsent is how many of the bytes written the kernel has not sent once.
func (c *Conn) unsent(t *testing.T) int {
	t.Helper()
	const siocOutqNSD = 0x894b
	var n int32
	ioctl(t, c.fd, siocOutqNSD, &n)
	return int(n)
}

func ioctl(t *testing.T, fd int32, request uintptr, n *int32) {
	t.Helper()
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(n)))
	if errno != 0 {
		t.Fatal(errno)
	}
}
