package wsrig

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Serve has h serve a connection through memory, and returns the client's end. The server ends with
// the test. The memory holds 64 KiB on the way to a client that is stalled, and whatever the client
// sends: no method of it waits for the server to read.
func Serve(t testing.TB, h http.Handler) net.Conn {
	near, far := newPipe()
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listen(far)) // returns http.ErrServerClosed
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return near
}

// pipeBuffer is what a pipe holds on the way to a client that does not read, in bytes.
const pipeBuffer = 64 << 10

// pipe is one end of a connection in memory. It waits for nothing but a sync.Cond, so that it may be
// used in a bubble of testing/synctest.
type pipe struct {
	in, out       *half
	local, remote net.Addr
}

// newPipe returns the two ends. What the client writes never waits.
func newPipe() (client, server *pipe) {
	up, down := newHalf(0), newHalf(pipeBuffer)
	here := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234} // of TEST-NET-1, as in net/http/httptest
	there := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}
	return &pipe{down, up, here, there}, &pipe{up, down, there, here}
}

func (p *pipe) Read(b []byte) (int, error)         { return p.in.read(b) }
func (p *pipe) Write(b []byte) (int, error)        { return p.out.write(b) }
func (p *pipe) LocalAddr() net.Addr                { return p.local }
func (p *pipe) RemoteAddr() net.Addr               { return p.remote }
func (p *pipe) SetReadDeadline(t time.Time) error  { p.in.setDeadline(&p.in.reader, t); return nil }
func (p *pipe) SetWriteDeadline(t time.Time) error { p.out.setDeadline(&p.out.writer, t); return nil }

func (p *pipe) SetDeadline(t time.Time) error {
	p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}

// CloseWrite says that no more will be written, as TCP's FIN does.
func (p *pipe) CloseWrite() error {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.writer.closed = true
	p.out.changed.Broadcast()
	return nil
}

func (p *pipe) Close() error {
	p.CloseWrite()
	p.SetDeadline(time.Time{})
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.reader.closed = true
	p.in.buf = nil
	p.in.changed.Broadcast()
	return nil
}

// half is one direction of a pipe.
type half struct {
	limit int // bytes that it holds; zero means any number

	mu             sync.Mutex // guards what follows
	changed        sync.Cond
	buf            []byte
	reader, writer end
}

// end is what the reader or the writer of a half has said.
type end struct {
	closed   bool
	deadline time.Time
	timer    *time.Timer // broadcasts at the deadline; nil if there is none
}

func newHalf(limit int) *half {
	h := &half{limit: limit}
	h.changed.L = &h.mu
	return h
}

func (e *end) expired() bool { return !e.deadline.IsZero() && !time.Now().Before(e.deadline) }

func (h *half) setDeadline(e *end, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.deadline = t
	if left := time.Until(t); !t.IsZero() && left > 0 {
		e.timer = time.AfterFunc(left, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reader.closed:
			return 0, net.ErrClosed
		case h.reader.expired():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		case h.writer.closed:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

var errReset = &net.OpError{Op: "write", Net: "pipe", Err: os.NewSyscallError("write", syscall.ECONNRESET)}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.writer.closed:
			return n, net.ErrClosed
		case h.reader.closed:
			return n, errReset
		case h.writer.expired():
			return n, os.ErrDeadlineExceeded
		case len(b) == 0:
			return n, nil
		}
		room := len(b)
		if h.limit > 0 {
			room = min(room, h.limit-len(h.buf))
		}
		if room > 0 {
			h.buf = append(h.buf, b[:room]...)
			h.changed.Broadcast()
			b, n = b[room:], n+room
			continue
		}
		h.changed.Wait()
	}
}

func (h *half) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf)
}

// listener hands out one connection.
type listener struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{} // closed by Close
}

func listen(conn net.Conn) *listener {
	l := &listener{addr: conn.LocalAddr(), conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- conn
	return l
}

var errListener = errors.New("wsrig: listener closed")

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, errListener
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
