package wsrig_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

// pipeEnds hands out the server's end of a connection in memory.
func pipeEnds(t *testing.T) (client *wsrig.Conn, server net.Conn) {
	conns := make(chan net.Conn, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetDeadline(time.Time{})
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		conns <- conn
	})
	return wsrig.Dial(t, h, wsrig.Config{}), <-conns
}

// TestPipe: the connection in memory behaves as one of TCP does, deadlines included.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := pipeEnds(t)
		kit.Want(t, server.RemoteAddr().String(), "192.0.2.1:1234", "RemoteAddr")
		c.Write([]byte("hello"))
		kit.Want(t, c.Unread(), 5, "Unread")
		buf := make([]byte, 3)
		for _, want := range []string{"hel", "lo"} {
			kit.Want(t, string(buf[:kit.Must(server.Read(buf))(t)]), want, "Read")
		}
		start := time.Now()
		server.SetReadDeadline(start.Add(time.Minute))
		if _, err := server.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("Read: got %v after %v, want a timeout after a minute", err, time.Since(start))
		}
		server.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { server.SetReadDeadline(time.Unix(1, 0)) })
		if _, err := server.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read that waits when a deadline is set: got %v, want a timeout", err)
		}
		server.SetReadDeadline(time.Time{})

		c.Stall()
		server.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := server.Write(make([]byte, 1<<20))
		kit.Check(t, errors.Is(err, os.ErrDeadlineExceeded) && n >= 64<<10 && n <= 128<<10,
			"Write to a stalled client: got %d, %v, want about 64 KiB and a timeout", n, err)
		server.SetWriteDeadline(time.Time{})

		c.Write([]byte("x"))
		c.CloseWrite()
		kit.Want(t, string(kit.Must(io.ReadAll(server))(t)), "x", "after CloseWrite")
		c.Abort()
		if _, err := server.Write([]byte("x")); err == nil {
			t.Error("Write to a client that is gone: got no error")
		}
		server.Close()
		if _, err := server.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: got %v, want net.ErrClosed", err)
		}
	})
}
