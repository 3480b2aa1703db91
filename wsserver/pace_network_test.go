package wsserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A network is a kind of real connection.
type network struct {
	name   string
	listen func(t *testing.T) net.Listener
	secure bool
}

// networks are all kinds: the first one is polled, and of the others each has a goroutine that reads; of a Unix socket the kernel does not tell
// what the peer has taken.
var networks = []network{
	{"tcp", func(t *testing.T) net.Listener { return localhost(t) }, false},
	{"tls", func(t *testing.T) net.Listener { return localhost(t) }, true},
	{"wrapped", func(t *testing.T) net.Listener { return hiddenListener{localhost(t)} }, false},
	{"unix", unixSocket, false},
}

func unixSocket(t *testing.T) net.Listener {
	dir, err := os.MkdirTemp("", "") // t.TempDir may be too long for an address
	kit.OK(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil && runtime.GOOS == "windows" {
		t.Skip("no Unix sockets:", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantKept checks that no connection was ended for what it did not take.
func wantKept(t *testing.T, srv *wsserver.Server) {
	t.Helper()
	s := srv.Stats()
	if e := s.Ended; e.TooSlow+e.Behind+e.Incomplete+e.OverBudget+e.PingTimeout+e.TransportError > 0 {
		t.Errorf("connections were ended: %+v", e)
	}
	kit.Check(t, s.Lost <= 0, "%d frames were lost", s.Lost)
}

// TestLargeMessageNetwork: what a server sends a client on connecting arrives, whatever its size: an event, a broadcast, a small event behind it,
// and the handler's own ack, over every kind of connection and by each transport. A plain run has the large ones over TCP alone.
func TestLargeMessageNetwork(t *testing.T) {
	for _, n := range networks {
		for _, size := range []int{900_000, 5_000_000, 20_000_000} {
			plain := size == 900_000 || size == 5_000_000 && n.name == "tcp"
			if !plain && !kit.All() || size == 20_000_000 && n.name != "tcp" {
				continue
			}
			t.Run(fmt.Sprint(n.name, "/", size), func(t *testing.T) {
				srv := newServer(t, wsserver.Config{})
				dial := listen(t, srv, n.listen(t), n.secure)
				big := strings.Repeat("x", size)
				srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
					wsserver.On(s, "more", func(ctx context.Context, _ *wsserver.Socket, _ string) error {
						return errors.Join(srv.To(s.ID()).Emit(ctx, "big", big), s.Emit(ctx, "bytes", []byte(big)), s.Emit(ctx, "small"))
					})
					return errors.Join(s.Emit(ctx, "big", big), s.Emit(ctx, "small"))
				})

				c := wstest.New(t, dial(), wstest.Config{})
				wantBig := func() {
					t.Helper()
					var text string
					if err := c.Next("big").Decode(&text); err != nil || text != big {
						t.Errorf("the large one: got %d bytes, %v", len(text), err)
					}
				}
				c.EmitWithAck("echo", "behind")
				wantBig()
				c.Next("small")
				c.Emit("more", "")
				wantBig()
				var data []byte
				if err := c.Next("bytes").Decode(&data); err != nil || string(data) != big {
					t.Errorf("the large one of bytes: got %d, %v", len(data), err)
				}
				c.Next("small")

				p := newPoller(t, dial)
				p.post(`421["echo","behind"]`)
				p.poll()
				if got := p.next(); !strings.HasPrefix(got, "0{") {
					t.Errorf("by polling: got %.50q, want the answer to CONNECT", got)
				}
				want := []string{`2["big","` + big + `"]`, `2["small"]`, `31["behind"]`}
				for _, want := range want {
					if got := p.next(); got != want {
						t.Fatalf("by polling: got %d bytes, %.50q, want %d, %.50q", len(got), got, len(want), want)
					}
				}
				p.post(`42["more",""]`)
				for _, want := range []string{want[0], `51-["bytes",{"_placeholder":true,"num":0}]`, "b" + big, `2["small"]`} {
					if got := p.next(); got != want {
						t.Fatalf("by polling: got %d bytes, %.50q, want %d, %.50q", len(got), got, len(want), want)
					}
				}
				wantKept(t, srv)
			})
		}
	}
}

// TestUploadsNetwork: one client sends four events of 900 kB to a room, or eight with -all; who is in it gets them all and stays, by each
// transport.
func TestUploadsNetwork(t *testing.T) {
	t.Parallel()
	uploads, size := 4, 900_000
	if kit.All() {
		uploads = 8
	}
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel() // the pollers read slowly
			srv := newServer(t, wsserver.Config{})
			dial := listen(t, srv, n.listen(t), n.secure)
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				wsserver.On(s, "say", func(ctx context.Context, _ *wsserver.Socket, text string) error {
					return s.To("r").Emit(ctx, "said", text)
				})
				return s.Join(ctx, "r")
			})
			var members []*wstest.Client
			var pollers []*poller
			for range 3 {
				members = append(members, wstest.New(t, dial(), wstest.Config{}))
				p := newPoller(t, dial)
				p.rate = 4_000_000
				p.poll()
				p.next()
				pollers = append(pollers, p)
			}
			from := wstest.New(t, dial(), wstest.Config{})
			text := strings.Repeat("x", size)
			for i := range uploads {
				from.Emit("say", fmt.Sprint(i, text))
			}
			for i := range uploads {
				want := fmt.Sprint(i, text)
				for _, c := range members {
					var got string
					if err := c.Next("said").Decode(&got); err != nil || got != want {
						t.Fatalf("upload %d: got %d bytes, %v", i, len(got), err)
					}
				}
				for _, p := range pollers {
					if got := p.next(); got != `2["said","`+want+`"]` {
						t.Fatalf("upload %d, by polling: got %d bytes, %.50q", i, len(got), got)
					}
				}
			}
			wantKept(t, srv)
			kit.Eventually(t, "nothing to wait", func() bool { return srv.Stats().Waiting == 0 })
		})
	}
}

// deaf is a server whose handlers of "wait" return when their socket has ended.
func deaf(t *testing.T, cfg wsserver.Config) (*wsserver.Server, <-chan farewell) {
	srv := newServer(t, cfg)
	srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error { <-ctx.Done(); return nil })
	return srv, farewells(srv.Of("/"))
}

// busySlack is what a busy machine may be behind by, besides.
const busySlack = 30 * time.Second

// wantGone checks that a client goes within a ping interval, the time-out and five seconds.
func wantGone(t *testing.T, gone <-chan farewell, begin time.Time, cfg wsserver.Config) {
	t.Helper()
	select {
	case f := <-gone:
		limit := cfg.PingInterval + cfg.PingTimeout + 5*time.Second + busySlack
		if passed := f.at.Sub(begin); passed > limit {
			t.Errorf("gone after %v: %v; want within %v", passed, f.reason, limit)
		}
	case <-time.After(kit.Patience):
		t.Error("the client is still there")
	}
}

// TestDeafNetwork: a handler waits for its socket's end, and events fill the queue and the buffers of the kernels. Who leaves is gone in time,
// however it leaves; who is there stays.
func TestDeafNetwork(t *testing.T) {
	t.Parallel()
	for _, n := range networks {
		for _, size := range []int{1_000, 8_000_000} { // of the events together: some wait for the handlers, or they wait everywhere
			for _, test := range []struct {
				name string
				do   func(c *wstest.Client, nc net.Conn)
			}{
				{"answers pings", nil},
				{"answers no ping", func(c *wstest.Client, nc net.Conn) { wsrig.Under(c).IgnorePings() }},
				{"closes", func(c *wstest.Client, nc net.Conn) { nc.Close() }},
				{"resets", func(c *wstest.Client, nc net.Conn) { nc.(*net.TCPConn).SetLinger(0); nc.Close() }},
				{"half-closes", func(c *wstest.Client, nc net.Conn) { nc.(interface{ CloseWrite() error }).CloseWrite() }},
				{"closes with a handshake", func(c *wstest.Client, nc net.Conn) { wsrig.Under(c).Write(wsrig.Frame(8, []byte{3, 232})) }},
				{"reads no more", func(c *wstest.Client, nc net.Conn) { c.Stall() }},
			} {
				if test.name == "resets" && (n.secure || n.name == "unix") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", n.name, test.name, size), func(t *testing.T) {
					t.Parallel()
					cfg := wsserver.Config{PingInterval: time.Second, PingTimeout: 2 * time.Second}
					if test.do == nil {
						cfg = wsserver.Config{PingInterval: 250 * time.Millisecond, PingTimeout: 10 * time.Second}
					}
					srv, gone := deaf(t, cfg)
					nc := listen(t, srv, n.listen(t), n.secure)()
					c := wstest.New(t, nc, wstest.Config{})
					event := wsrig.Frame(1, []byte(`42["wait","`+strings.Repeat("x", 1000)+`"]`))
					written := make(chan struct{})
					go func() {
						defer close(written)
						wsrig.Under(c).Write(bytes.Repeat(event, max(1, size/len(event))))
					}()
					t.Cleanup(func() { nc.Close(); <-written })
					kit.Eventually(t, "the handler", func() bool { return srv.Stats().Events > 0 })
					if test.do == nil {
						// The next ping goes out when the client was found to be there after the one before.
						kit.Eventually(t, "pings", func() bool { return wsrig.Under(c).Pings() >= 8 })
						stays(t, gone)
						wantKept(t, srv)
						return
					}
					begin := time.Now()
					acted := make(chan struct{})
					go func() {
						defer close(acted)
						test.do(c, nc)
					}()
					wantGone(t, gone, begin, cfg)
					nc.Close()
					<-acted
				})
			}
		}
	}
}

// TestDeafPolling is TestDeafNetwork for a client that polls.
func TestDeafPolling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(p *poller) // nil: it stays
	}{
		{"answers pings", nil},
		{"answers no ping", func(p *poller) {}},
		{"polls no more", func(p *poller) {}},
		{"drops its connections", func(p *poller) { p.stop() }},
		{"closes", func(p *poller) { p.post("1") }},
	} {
		for _, events := range []int{1, 1000} {
			t.Run(fmt.Sprint(test.name, " after ", events), func(t *testing.T) {
				t.Parallel()
				cfg := wsserver.Config{PingInterval: time.Second, PingTimeout: 2 * time.Second}
				if test.do == nil {
					cfg = wsserver.Config{PingInterval: 250 * time.Millisecond, PingTimeout: 10 * time.Second}
				}
				srv, gone := deaf(t, cfg)
				p := newPoller(t, listen(t, srv, localhost(t), false))
				p.noPong = test.name == "answers no ping"
				if test.name != "polls no more" {
					p.poll()
					p.next()
				}
				packets := make([]string, events)
				for i := range packets {
					packets[i] = `42["wait","` + strings.Repeat("x", 900) + `"]`
				}
				p.done.Go(func() {
					p.post(packets...)
					p.post(packets...)
				})
				kit.Eventually(t, "the handler", func() bool { return srv.Stats().Events > 0 })
				if test.do == nil {
					kit.Eventually(t, "pings", func() bool { return p.pings.Load() >= 8 })
					stays(t, gone)
					wantKept(t, srv)
					return
				}
				begin := time.Now()
				p.done.Go(func() { test.do(p) })
				wantGone(t, gone, begin, cfg)
				p.stop()
			})
		}
	}
}
