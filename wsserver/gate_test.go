package wsserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A guest is a client that comes with an address and a key, through the proxy that wsrig's connections and httptest's requests are from.
type guest struct {
	t         *testing.T
	srv       *wsserver.Server
	transport string
	address   string
	key       string
}

var proxy = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}

func (g guest) header() http.Header {
	return http.Header{"X-Forwarded-For": {g.address}, "X-Key": {g.key}}
}

func keyOf(r *http.Request) string { return r.Header.Get("X-Key") }

// serve serves a request of a guest that polls.
func (g guest) serve(method, query, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/socket.io/?"+query, strings.NewReader(body))
	r.Header = g.header()
	w := httptest.NewRecorder()
	g.srv.ServeHTTP(w, r)
	return w
}

// come opens a connection, which leave closes. If it is refused, leave is nil.
func (g guest) come() (leave func(), refusal string) {
	if g.transport == "websocket" {
		c, err := wsrig.Open(g.t, wsrig.Serve(g.t, g.srv), wsrig.Config{Header: g.header()})
		if err != nil {
			return nil, err.Error()
		}
		c.Start(func(bool, []byte) error { return nil }, func() {})
		return func() { c.Close() }, ""
	}
	w := g.serve("GET", "EIO=4&transport=polling", "")
	if w.Code != 200 {
		return nil, w.Result().Status + ": " + w.Body.String() + w.Header().Get("Retry-After")
	}
	sid := kit.Must(wsrig.SID(w.Body.String()))(g.t)
	return func() { g.serve("POST", "EIO=4&transport=polling&sid="+sid, "1") }, ""
}

// want has the guest come, and be refused with a status and a text, or not if the status is zero.
func (g guest) want(status, text string) (leave func()) {
	g.t.Helper()
	leave, refusal := g.come()
	if status == "" && leave == nil {
		g.t.Fatalf("%+v: refused: %s", g, refusal)
	}
	if status != "" && (!strings.Contains(refusal, status) || !strings.Contains(refusal, text)) {
		g.t.Fatalf("%s of %s: got %q, want %s, %q", g.transport, g.address, refusal, status, text)
	}
	return leave
}

// TestGate: a limit lets exactly as many in, on both transports together; somebody else is none of it; who leaves makes room.
func TestGate(t *testing.T) {
	const n = 3
	for _, test := range []struct {
		name         string
		limits       wsserver.Limits
		other        guest // whom the limit does not concern; without an address if it concerns all
		status, text string
		count        func(wsserver.Refusals) *uint64
	}{
		{"in all", wsserver.Limits{MaxConnections: n}, guest{}, "503", "as many connections as it may",
			func(r wsserver.Refusals) *uint64 { return &r.Full }},
		{"by address", wsserver.Limits{PerAddress: n}, guest{address: "198.51.100.2", key: "k"}, "429", "from this address",
			func(r wsserver.Refusals) *uint64 { return &r.Address }},
		{"by key", wsserver.Limits{PerKey: n}, guest{address: "198.51.100.1", key: "other"}, "429", "with this key",
			func(r wsserver.Refusals) *uint64 { return &r.Key }},
		{"without a key", wsserver.Limits{PerKey: n}, guest{address: "198.51.100.1"}, "429", "with this key",
			func(r wsserver.Refusals) *uint64 { return &r.Key }},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Limits: test.limits, HTTP: wsserver.HTTPConfig{TrustedProxies: proxy, Key: keyOf}})
			guests := make(map[string]guest)
			var leave []func()
			for _, transport := range []string{"polling", "websocket"} {
				guests[transport] = guest{t, srv, transport, "198.51.100.1", "k"}
			}
			for _, transport := range []string{"polling", "websocket", "polling"} {
				leave = append(leave, guests[transport].want("", ""))
			}
			for _, g := range guests {
				g.want(test.status, test.text)
			}
			if test.other.address != "" {
				for range n {
					other := test.other
					other.t, other.srv, other.transport = t, srv, "polling"
					defer other.want("", "")()
				}
			}
			stats := srv.Stats()
			if got := *test.count(stats.Refusals); got != 2 || stats.Refused != 2 {
				t.Errorf("got %+v, %d in all, want 2", stats.Refusals, stats.Refused)
			}
			for i, transport := range []string{"websocket", "polling", "websocket"} {
				leave[i]()
				synctest.Wait()
				leave[i] = guests[transport].want("", "")
				guests[transport].want(test.status, test.text)
			}
		})
	}
}

// TestGateAnswer: what a client is told is an answer of Engine.IO, and says when to come back.
func TestGateAnswer(t *testing.T) {
	srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxConnections: 1}})
	g := guest{t: t, srv: srv, transport: "polling"}
	g.want("", "")
	w := g.serve("GET", "EIO=4&transport=polling", "")
	var answer struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Code != 4 || answer.Message == "" {
		t.Errorf("got %s, %v", w.Body, err)
	}
	if w.Code != 503 || w.Header().Get("Retry-After") != "5" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
}

// TestGateUpgrade: the change to a WebSocket is no new connection, also at the limit, and one that fails ends none.
func TestGateUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxConnections: 1, PerAddress: 1}})
		g := guest{t: t, srv: srv, transport: "polling"}
		w := g.serve("GET", "EIO=4&transport=polling", "")
		sid := kit.Must(wsrig.SID(w.Body.String()))(t)
		upgrade := func(messages ...string) *wsrig.Conn {
			c := wsrig.Dial(t, srv, wsrig.Config{Query: map[string][]string{"sid": {sid}}, Header: g.header()})
			c.Send(messages...)
			return c
		}
		upgrade("2wrong").Wait()
		g.want("503", "")
		c := upgrade("2probe")
		if got := c.Read(); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		c.Send("5")
		synctest.Wait()
		g.want("503", "")
		c.Close()
		synctest.Wait()
		g.want("", "")
		if got := srv.Stats(); got.Refused != 2 || got.Accepted != 2 {
			t.Errorf("got %d refused and %d accepted, want 2 and 2", got.Refused, got.Accepted)
		}
	})
}

// TestGateGivesBack: a connection's place is free again however it ends, or does not begin.
func TestGateGivesBack(t *testing.T) {
	open := func(g guest, cfg wsrig.Config) *wsrig.Conn {
		cfg.Header = g.header()
		c := wsrig.Dial(g.t, g.srv, cfg)
		c.Read()
		return c
	}
	panics := errors.New("panics")
	ways := map[string]func(g guest){
		"closed":          func(g guest) { open(g, wsrig.Config{}).Close() },
		"aborted":         func(g guest) { open(g, wsrig.Config{}).Abort() },
		"never connected": func(g guest) { open(g, wsrig.Config{}); time.Sleep(2 * time.Minute) },
		"pings unanswered": func(g guest) {
			c := open(g, wsrig.Config{})
			c.Send("40")
			c.IgnorePings()
			time.Sleep(2 * time.Minute)
		},
		"broken rules": func(g guest) { open(g, wsrig.Config{}).Send("x"); time.Sleep(10 * time.Second) },
		"ended by the program": func(g guest) {
			open(g, wsrig.Config{}).Send("40")
			synctest.Wait()
			g.srv.Of("/").Sockets()[0].Close()
			time.Sleep(10 * time.Second)
		},
		"polls no more": func(g guest) { g.serve("GET", "EIO=4&transport=polling", ""); time.Sleep(3 * time.Minute) },
		"another EIO":   func(g guest) { g.serve("GET", "EIO=3&transport=polling", "") },
		"refused":       func(g guest) { g.key = "refuse"; g.want("403", "no entry") },
		"a panic": func(g guest) {
			defer func() { recover() }()
			g.key = "panic"
			g.serve("GET", "EIO=4&transport=polling", "")
		},
		"a foreign page": func(g guest) { g.key = "foreign"; g.want("403", "origin") },
		"a handshake of WebSocket that fails": func(g guest) {
			nc := wsrig.Serve(g.t, g.srv)
			io.WriteString(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: "+g.address+"\r\nX-Key: k\r\n"+
				"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			answer := make([]byte, 12)
			io.ReadFull(nc, answer)
			nc.Close()
			kit.Want(g.t, string(answer), "HTTP/1.1 400")
		},
	}
	for _, limits := range []wsserver.Limits{{MaxConnections: 1}, {PerAddress: 1}, {PerKey: 1}} {
		for name, way := range ways {
			kit.Bubble(t, name, func(t *testing.T) {
				srv := newServer(t, wsserver.Config{Limits: limits, HTTP: wsserver.HTTPConfig{
					TrustedProxies: proxy, Key: keyOf,
					AllowOrigin: func(r *http.Request) bool { return keyOf(r) != "foreign" },
					AllowRequest: func(r *http.Request) error {
						switch keyOf(r) {
						case "refuse":
							return errors.New("no entry")
						case "panic":
							panic(panics)
						}
						return nil
					},
				}})
				g := guest{t, srv, "polling", "198.51.100.1", "k"}
				way(g)
				synctest.Wait()
				g.want("", "")
				if leave, _ := g.come(); leave != nil {
					t.Error("one too many has come: the limit counts no more")
				}
			})
		}
	}
}

// TestGateClosed: a server that closes gives all places back, and a request after it is refused for that.
func TestGateClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxConnections: 2}})
		g := guest{t: t, srv: srv, transport: "polling"}
		for range 2 {
			g.want("", "")
		}
		srv.Close(context.Background())
		for range 3 {
			g.want("503", "shutting down")
		}
		if got := srv.Stats().Refusals; got.Closing != 3 || got.Full != 0 {
			t.Errorf("got %+v, want 3 while closing", got)
		}
	})
}
