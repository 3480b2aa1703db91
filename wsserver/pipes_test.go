package wsserver_test

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A pipeListener hands out one end of each pipe that was dialled. Nothing waits in a pipe, so that what a client does not read waits in the
// server, and time is that of a bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.close(); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	return near
}

// A pacedConn reads so many bytes a second. Zero is no bound.
type pacedConn struct {
	net.Conn
	rate int
}

func (c pacedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
	}
	return n, err
}

// inPipes runs a test in a bubble, with a way to connect a client that reads so many bytes a second.
func inPipes(t *testing.T, cfg wsserver.Config, test func(t *testing.T, srv *wsserver.Server, client func(rate int, cfg wstest.Config) *wstest.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, cfg)
		l := newPipes()
		listen(t, srv, l, false)
		test(t, srv, func(rate int, cfg wstest.Config) *wstest.Client {
			cfg.Timeout = time.Hour
			return wstest.New(t, pacedConn{l.dial(), rate}, cfg)
		})
	})
}
