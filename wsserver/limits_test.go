package wsserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// everyNamespace is a server on which clients may connect to any namespace, each of which echoes.
func everyNamespace(t *testing.T, cfg wsserver.Config) *wsserver.Server {
	srv := newServer(t, cfg)
	srv.OfFunc(func(string) bool { return true }).On("echo", echo)
	return srv
}

// TestManyNamespaces: the namespaces of a connection have a bound, and a CONNECT beyond it is refused alone: nothing happens to the others,
// and there is room again when one of them was left.
func TestManyNamespaces(t *testing.T) {
	for _, test := range []struct{ set, want int }{{0, 256}, {1, 1}, {3, 3}, {300, 300}} {
		kit.Bubble(t, fmt.Sprint(test.set), func(t *testing.T) {
			srv := everyNamespace(t, wsserver.Config{Limits: wsserver.Limits{MaxSockets: test.set}})
			first := wstest.Dial(t, srv, wstest.Config{Namespace: "/0"})
			clients := []*wstest.Client{first}
			for i := 1; i < test.want; i++ {
				clients = append(clients, first.Of(fmt.Sprint("/", i), nil))
			}
			for range 3 {
				_, refusal := first.Try("/more", nil)
				if want := `{"message":"too many namespaces on one connection"}`; string(refusal) != want {
					t.Fatalf("one more: got %q, want %s", refusal, want)
				}
			}
			for _, c := range clients {
				if got := string(c.EmitWithAck("echo", 1).JSON()); got != "[1]" {
					t.Fatalf("got %s", got)
				}
			}
			clients[len(clients)-1].Disconnect()
			synctest.Wait()
			if test.want > 1 {
				first.Of("/more", nil).EmitWithAck("echo")
			}
		})
	}
}

// TestConnectTwice: a second CONNECT to a namespace is ignored, whatever stage the first is at: what the other namespaces wait for comes, and
// the first stands with its auth.
func TestConnectTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := everyNamespace(t, wsserver.Config{})
		release, answer := make(chan struct{}), make(chan struct{})
		var asked, connected int
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error { asked++; <-release; return nil })
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			connected++
			kit.Want(t, string(s.Handshake().Auth), `{"n":1}`, "auth (that of the first CONNECT)")
			return nil
		})
		srv.Of("/other").On("wait", func(ctx context.Context, e *wsserver.Event) error { <-answer; return e.Ack("done") })
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send(`40/other,`)
		c.Read()
		c.Send(`42/other,1["wait"]`, `40{"n":1}`, `40{"n":2}`, `40`)
		synctest.Wait()
		close(release) // the middleware's
		if got := c.Read(); !strings.HasPrefix(got, `40{"sid":`) {
			t.Errorf("got %s, want the first CONNECT's answer", got)
		}
		c.Send(`40{"n":3}`, `40/other,`, `40/other,{}`)
		synctest.Wait()
		close(answer)
		kit.Want(t, c.Read(), `43/other,1["done"]`, "the other namespace")
		if asked != 1 || connected != 1 || len(srv.Of("/").Sockets()) != 1 {
			t.Errorf("asked %d times, connected %d times, with %d sockets, want 1, 1 and 1", asked, connected, len(srv.Of("/").Sockets()))
		}
		c.Send(`41`, `40{"n":1}`) // not a second one: the first is over
		got := c.Read()
		synctest.Wait()
		kit.Check(t, strings.HasPrefix(got, `40{"sid":`) && connected == 2,
			"got %s, connected %d times, want again", got, connected)
	})
}

// TestConfigLimits: the limits of packets are the configuration's, for what clients send and for what they are sent, here and by another
// node; without one they are Socket.IO's.
func TestConfigLimits(t *testing.T) {
	many := func(n int) []any {
		args := make([]any, n)
		for i := range args {
			args[i] = []byte{byte(i)}
		}
		return args
	}
	deep := func(n int) (v any) {
		v = 1
		for range n {
			v = []any{v}
		}
		return v
	}
	moved := packet.Limits{Attachments: 300, Arguments: 2000, Depth: 1500}
	for _, codec := range []packet.Codec{packet.JSON{}, msgpack.Codec{}} {
		for _, test := range []struct {
			name   string
			limits packet.Limits
			args   []any
			want   error // nil: it arrives
		}{
			{"10 attachments", packet.Limits{}, many(10), nil},
			{"11 attachments", packet.Limits{}, many(11), packet.ErrAttachments},
			{"300 attachments", moved, many(300), nil},
			{"301 attachments", moved, many(301), packet.ErrAttachments},
			{"3 attachments of 2", packet.Limits{Attachments: 2}, many(3), packet.ErrAttachments},
			{"999 arguments and a name", packet.Limits{}, make([]any, 999), nil},
			{"1,000 arguments and a name", packet.Limits{}, make([]any, 1000), packet.ErrArguments},
			{"1,999 arguments and a name", moved, make([]any, 1999), nil},
			{"2,000 arguments and a name", moved, make([]any, 2000), packet.ErrArguments},
			{"1,000 levels", packet.Limits{}, []any{deep(1000)}, nil},
			{"1,001 levels", packet.Limits{}, []any{deep(1001)}, packet.ErrDepth},
			{"1,500 levels", moved, []any{deep(1500)}, nil},
			{"1,501 levels", moved, []any{deep(1501)}, packet.ErrDepth},
		} {
			kit.Bubble(t, fmt.Sprintf("%s, %T", test.name, codec), func(t *testing.T) {
				mem := new(adapter.Memory)
				cfg := wsserver.Config{Adapter: mem, Limits: wsserver.Limits{Packet: test.limits}, Codec: codec}
				near, far := newServer(t, cfg), newServer(t, cfg)
				for _, srv := range []*wsserver.Server{near, far} {
					kit.OK(t, srv.Ready(t.Context()))
				}
				told := 0
				far.Of("/").OnAnyOutgoing(func(*wsserver.Socket, *wsserver.OutgoingEvent) { told++ })
				c := wstest.Dial(t, near, wstest.Config{Codec: codec})
				elsewhere := wstest.Dial(t, far, wstest.Config{Codec: codec})
				err := near.Emit(t.Context(), "x", test.args...)
				kit.WantErr(t, err, test.want, "Emit")
				synctest.Wait()
				for _, client := range []*wstest.Client{c, elsewhere} {
					if got := len(client.Pending()); (got == 1) != (test.want == nil) {
						t.Errorf("a client: got %d events", got)
					}
				}
				kit.Check(t, (told == 1) == (test.want == nil), "OnAnyOutgoing was told of %d events", told)
				// The client's own limits are wide.
				c.Emit("echo", test.args...)
				synctest.Wait()
				select {
				case <-c.Done():
					kit.Check(t, test.want != nil, "what the client sent closed the connection")
				default:
					kit.Check(t, test.want == nil, "what the client sent was accepted")
				}
			})
		}
	}
}

// TestHighAckID: an event with the highest id that JavaScript holds is answered with it.
func TestHighAckID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send("40")
		c.Read()
		c.Send(`429007199254740991["echo",1]`)
		kit.Want(t, c.Read(), `439007199254740991[1]`)
	})
}

// TestHandshakeBytes: a request of which too much would be kept is refused, by polling and with a WebSocket, with headers and with a query;
// what is not kept does not count.
func TestHandshakeBytes(t *testing.T) {
	socket := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	for _, test := range []struct {
		name   string
		cfg    wsserver.Config
		query  int // bytes
		header string
		lines  []int // bytes of each
		status int   // 0: it is accepted
	}{
		{"a cookie of 60 kB", wsserver.Config{}, 0, "Cookie", []int{60_000}, 0},
		{"a cookie of 64 KiB and a byte", wsserver.Config{}, 0, "Cookie", []int{64<<10 + 1}, 431},
		{"a cookie of 900 kB", wsserver.Config{}, 0, "Cookie", []int{900_000}, 431},
		{"many lines", wsserver.Config{}, 0, "X-Forwarded-For", []int{30_000, 30_000, 30_000}, 431},
		{"a query", wsserver.Config{}, 70_000, "", nil, 431},
		{"a query and a header together", wsserver.Config{}, 40_000, "Authorization", []int{40_000}, 431},
		{"a header that is not kept", wsserver.Config{}, 0, "X-Other", []int{900_000}, 0},
		{"the cookie is not kept", wsserver.Config{HTTP: wsserver.HTTPConfig{KeepHeaders: []string{"Origin"}}}, 0, "Cookie", []int{900_000}, 0},
		{"less than the default", wsserver.Config{Limits: wsserver.Limits{HandshakeBytes: 1000}}, 0, "Cookie", []int{1001}, 431},
		{"more than the default", wsserver.Config{Limits: wsserver.Limits{HandshakeBytes: 1 << 20}}, 0, "Cookie", []int{900_000}, 0},
	} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(test.name+", "+transport, func(t *testing.T) {
				srv := newServer(t, test.cfg)
				hs := httptest.NewServer(srv)
				defer hs.Close()
				filler := url.Values{"q": {strings.Repeat("x", test.query)}}
				r, err := http.NewRequest("GET", hs.URL+"/socket.io/?EIO=4&transport="+transport+"&"+filler.Encode(), nil)
				kit.OK(t, err)
				want := http.StatusOK
				if transport == "websocket" {
					r.Header, want = socket.Clone(), http.StatusSwitchingProtocols
				}
				for _, n := range test.lines {
					r.Header.Add(test.header, strings.Repeat("x", n))
				}
				if test.status != 0 {
					want = test.status
				}
				answer, err := hs.Client().Do(r)
				kit.OK(t, err)
				defer answer.Body.Close()
				kit.Want(t, answer.StatusCode, want)
				if want == 431 {
					if body, _ := io.ReadAll(answer.Body); !bytes.Contains(body, []byte("Request header fields too large")) {
						t.Errorf("the answer: got %s", body)
					}
					kit.Want(t, srv.Stats().Refused, 1, "Stats.Refused")
				}
			})
		}
	}
}

// TestAuthBytes: what a connection's sockets have as their auth has a bound for all of them together.
func TestAuthBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := everyNamespace(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		token := func(n int) any { return map[string]string{"token": strings.Repeat("x", n)} }
		const tooLarge = `{"message":"auth too large"}`
		if _, refusal := c.Try("/a", token(900_000)); string(refusal) != tooLarge {
			t.Errorf("900 kB: got %q", refusal)
		}
		other := c.Of("/b", token(40_000))
		if _, refusal := c.Try("/c", token(40_000)); string(refusal) != tooLarge {
			t.Errorf("40 kB twice: got %q", refusal)
		}
		other.Disconnect()
		synctest.Wait()
		c.Of("/c", token(40_000)).EmitWithAck("echo")
	})
}

// TestLittleIsKept: connections that said as much of themselves as they may take memory for that, and not for all of their requests.
func TestLittleIsKept(t *testing.T) {
	const clients, each = 50, 100_000 // bytes, of all that there is of a connection, with its client, which is here, too
	srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{KeepHeaders: []string{"Origin"}}})
	header := http.Header{"Cookie": {strings.Repeat("x", 900_000)}, "Origin": {"http://example.com"}}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	dial := listen(t, srv, nil, false)
	before := heap()
	for range clients {
		wsrig.New(t, dial(), wsrig.Config{Header: header}).Read()
	}
	if grown := int64(heap()) - int64(before); grown > clients*each {
		t.Errorf("%d connections with a cookie of 900 kB that is not kept: the heap has grown by %d bytes", clients, grown)
	}
}
