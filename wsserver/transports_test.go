package wsserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// listen serves srv on a listener, over TLS if secure, and returns how to reach it.
func listen(t testing.TB, srv http.Handler, l net.Listener, secure bool) (dial func() net.Conn) {
	t.Helper()
	hs := httptest.NewUnstartedServer(srv)
	if l != nil {
		hs.Listener.Close()
		hs.Listener = l
	}
	addr := hs.Listener.Addr()
	if secure {
		hs.StartTLS()
	} else {
		hs.Start()
	}
	t.Cleanup(hs.Close)
	return func() net.Conn {
		t.Helper()
		nc := kit.Must(net.Dial(addr.Network(), addr.String()))(t)
		if secure {
			cfg := hs.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			cfg.ServerName = "example.com"
			return tls.Client(nc, cfg)
		}
		return nc
	}
}

// hidden is a connection whose descriptor cannot be had.
type hidden struct{ net.Conn }

type hiddenListener struct{ net.Listener }

func (l hiddenListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hidden{conn}, nil
}

func localhost(t testing.TB) net.Listener {
	t.Helper()
	l := kit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	return l
}

// TestConnections runs the same over every kind of connection.
func TestConnections(t *testing.T) {
	for _, test := range networks {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			dial := listen(t, srv, test.listen(t), test.secure)
			gone := farewells(srv.Of("/"))
			a, b := wstest.New(t, dial(), wstest.Config{}), wstest.New(t, dial(), wstest.Config{})

			text, data := strings.Repeat("ö", 450_000), bytes.Repeat([]byte{0, 1, 255}, 300_000)
			for range 3 {
				answer := a.EmitWithAck("echo", text, data, "end")
				var gotText, end string
				var gotData []byte
				if err := answer.Decode(&gotText, &gotData, &end); err != nil || gotText != text || !bytes.Equal(gotData, data) || end != "end" {
					t.Errorf("echo: got %d and %d bytes, %q, %v", len(gotText), len(gotData), end, err)
				}
			}
			s := socketOf(t, srv, b)
			kit.OK(t, s.Join(t.Context(), "x"))
			for i := range 1000 {
				kit.OK(t, srv.To("x").Emit(t.Context(), "n", i, data[:i]))
			}
			for i := range 1000 {
				var n int
				var got []byte
				if err := b.Next("n").Decode(&n, &got); err != nil || n != i || !bytes.Equal(got, data[:i]) {
					t.Fatalf("event %d: got %d with %d bytes, %v", i, n, len(got), err)
				}
			}
			if got := a.Close(); got.Code != 1000 || got.Err != io.EOF {
				t.Errorf("Close: got %v, want a Close frame and EOF", got)
			}
			if f := <-gone; f.id != a.ID() || !errors.Is(f.reason, wsserver.ErrTransportClose) {
				t.Errorf("got %v, want ErrTransportClose", f)
			}
			s.Close()
			if got := b.Wait(); got.Code != 1005 || got.Err != io.EOF {
				t.Errorf("Socket.Close: got %v, want a Close frame and EOF", got)
			}
			early := wsrig.New(t, dial(), wsrig.Config{Early: []string{"40"}})
			early.Read() // of Engine.IO
			if got := early.Read(); !strings.HasPrefix(got, "40{") {
				t.Errorf("a CONNECT behind the request: got %q", got)
			}
			early.Close()
			kit.Eventually(t, "no connections", func() bool { return srv.Stats().Connections == 0 })
		})
	}
}

// TestVanishing: a client that is gone is gone at once, in whatever way it goes.
func TestVanishing(t *testing.T) {
	for _, kind := range []struct {
		name string
		wrap func(net.Listener) net.Listener
	}{
		{"polled", func(l net.Listener) net.Listener { return l }},
		{"stream", func(l net.Listener) net.Listener { return hiddenListener{l} }},
	} {
		for _, test := range []struct {
			name string
			act  func(c *wstest.Client, nc *net.TCPConn)
		}{
			{"FIN", func(c *wstest.Client, nc *net.TCPConn) { nc.CloseWrite() }},
			{"RST", func(c *wstest.Client, nc *net.TCPConn) { nc.SetLinger(0); nc.Close() }},
			{"close", func(c *wstest.Client, nc *net.TCPConn) { nc.Close() }},
		} {
			t.Run(kind.name+"/"+test.name, func(t *testing.T) {
				srv := newServer(t, wsserver.Config{})
				gone := farewells(srv.Of("/"))
				dial := listen(t, srv, kind.wrap(localhost(t)), false)
				nc := dial().(*net.TCPConn)
				c := wstest.New(t, nc, wstest.Config{})
				test.act(c, nc)
				select {
				case f := <-gone:
					if !errors.Is(f.reason, wsserver.ErrTransportClose) && !(test.name == "RST" && errors.Is(f.reason, wsserver.ErrTransport)) {
						t.Errorf("reason: got %v", f.reason)
					}
				case <-time.After(kit.Patience / 2): // shorter than the closing handshake and the ping interval would take
					t.Fatal("the socket is still there")
				}
				kit.Eventually(t, "no connections", func() bool { return srv.Stats().Connections == 0 })
			})
		}
	}
}

// TestResetAtOnce: clients that reset the connection right after the upgrade leave nothing behind (CVE-2022-41940).
func TestResetAtOnce(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	dial := listen(t, srv, nil, false)
	const n = 200
	for range n {
		nc := dial().(*net.TCPConn)
		io.WriteString(nc, upgrade)
		nc.SetLinger(0)
		nc.Close()
	}
	wstest.New(t, dial(), wstest.Config{}).Close()
	kit.Eventually(t, "no connections", func() bool { return srv.Stats().Connections == 0 })
}

// TestSlowClient: a client that never reads is dropped within the bounds of Config.Limits.QueueBytes, over a real network, and holds nobody up
// (faults, F7).
func TestSlowClient(t *testing.T) {
	for _, kind := range []struct {
		name   string
		listen func(net.Listener) net.Listener
	}{
		{"polled", func(l net.Listener) net.Listener { return l }},
		{"stream", func(l net.Listener) net.Listener { return hiddenListener{l} }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			const limit = 256 << 10
			srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{QueueBytes: limit, SlowAfter: time.Second}})
			gone := farewells(srv.Of("/"))
			dial := listen(t, srv, kind.listen(localhost(t)), false)
			slow, other := wstest.New(t, dial(), wstest.Config{}), wstest.New(t, dial(), wstest.Config{})
			for _, c := range []*wstest.Client{slow, other} {
				socketOf(t, srv, c).Join(t.Context(), "x")
			}
			slow.Stall()
			big := strings.Repeat("x", 16<<10)
			var f farewell
			sent := 0
			const most = 64 << 20 // what two ends of the kernel hold at the very most, and more
			for f.id == "" && sent*len(big) < most {
				kit.OK(t, srv.To("x").Emit(t.Context(), "n", sent, big))
				sent++
				other.EmitWithAck("echo") // keeps the pace of one that reads
				select {
				case f = <-gone:
				default:
				}
			}
			if f.id == "" {
				f = <-gone
			}
			kit.Require(t, f.id == slow.ID() && errors.Is(f.reason, wsserver.ErrTooSlow),
				"got %v, want ErrTooSlow for the slow one", f)
			for i := range sent {
				var n int
				if err := other.Next("n").Decode(&n); err != nil || n != i {
					t.Fatalf("the other: got %d, %v, want %d", n, err, i)
				}
			}
			kit.Eventually(t, "one connection", func() bool { return srv.Stats().Connections == 1 })
			if got := srv.Stats(); got.TooSlow != 1 || got.Lost == 0 {
				t.Errorf("Stats: got %d too slow and %d lost, want 1 and more than 0", got.TooSlow, got.Lost)
			}
		})
	}
}

// upgrade is a request to become a WebSocket.
const upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// TestIdle: a thousand sockets that do nothing have no goroutine, and close without leaving a descriptor.
func TestIdle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is a poller on Linux only")
	}
	const n = 1000
	before := descriptors(t)
	srv := newServer(t, wsserver.Config{})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "x") })
	gone := farewells(srv.Of("/"))
	dial := listen(t, srv, nil, false)

	type client struct {
		nc net.Conn
		r  *bufio.Reader
	}
	// until reads until one of the client's frames ends with text.
	until := func(c client, text string) {
		t.Helper()
		c.nc.SetReadDeadline(time.Now().Add(kit.Patience))
		var line []byte
		for !bytes.HasSuffix(line, []byte(text)) {
			b, err := c.r.ReadByte()
			if err != nil {
				t.Fatalf("waiting for %q after %q: %v", text, line, err)
			}
			line = append(line, b)
		}
	}
	connect := func() client {
		nc := dial()
		t.Cleanup(func() { nc.Close() })
		nc.Write(append([]byte(upgrade), wsrig.Frame(1, []byte("40"))...))
		c := client{nc, bufio.NewReaderSize(nc, 512)}
		until(c, `"maxPayload":1000000}`)
		until(c, `"}`)
		return c
	}
	clients := []client{connect()} // after which all that there is for all is running
	kit.Eventually(t, "idle goroutines", func() bool { return runtime.NumGoroutine() < 30 })
	start := runtime.NumGoroutine()
	for range n - 1 {
		clients = append(clients, connect())
	}
	kit.Eventually(t, "goroutines no more than 10 beyond those at the start", func() bool { return runtime.NumGoroutine() < start+10 })
	kit.Want(t, srv.Stats().Connections, n, "Stats.Connections")

	for _, c := range clients {
		c.nc.Write(wsrig.Frame(1, []byte(`421["echo",7]`)))
	}
	for _, c := range clients {
		until(c, `431[7]`)
	}
	kit.OK(t, srv.To("x").Emit(t.Context(), "all"))
	for _, c := range clients {
		until(c, `42["all"]`)
	}
	kit.Eventually(t, "the goroutines to be gone again", func() bool { return runtime.NumGoroutine() < start+10 })

	closed := make(chan error, 1)
	go func() { closed <- srv.Close(context.Background()) }()
	for _, c := range clients {
		until(c, "\x88\x00")
		c.nc.Write(wsrig.Frame(8, nil))
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after the Close frame: got %v, want EOF", err)
		}
		c.nc.Close()
	}
	kit.OK(t, <-closed, "Close")
	kit.Want(t, len(gone), n, "OnDisconnect calls")
	// The listener of the test, and what the runtime needs for its own poller, may have come.
	kit.Eventually(t, fmt.Sprintf("the %d descriptors of the start", before), func() bool { return descriptors(t) <= before+4 })

	nc := dial()
	defer nc.Close()
	io.WriteString(nc, upgrade)
	answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
	kit.Check(t, err == nil && answer.StatusCode == http.StatusServiceUnavailable,
		"a request after Close: got %v, %v, want 503", answer, err)
	kit.Want(t, srv.Stats().Refused, 1, "Stats.Refused")
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries := kit.Must(os.ReadDir("/proc/self/fd"))(t)
	return len(entries)
}
