package crowd

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A hub is a server of centrifuge's JSON protocol, as its documentation has it. It answers all commands of a
// frame in one frame, pushes and replies together.
type hub struct {
	pongs atomic.Int64

	mu       sync.Mutex // guards what follows
	channels map[string][]net.Conn
}

type command struct {
	ID        int              `json:"id"`
	Connect   *json.RawMessage `json:"connect"`
	Subscribe *struct {
		Channel string `json:"channel"`
	} `json:"subscribe"`
	Publish *struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
	} `json:"publish"`
	RPC *struct {
		Method string          `json:"method"`
		Data   json.RawMessage `json:"data"`
	} `json:"rpc"`
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/connection/websocket" {
		http.NotFound(w, r)
		return
	}
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		frame, _, err := wsutil.ReadClientData(conn)
		if err != nil {
			return
		}
		var replies []string
		for d := json.NewDecoder(strings.NewReader(string(frame))); ; {
			var c command
			if err := d.Decode(&c); err == io.EOF {
				break
			} else if err != nil {
				return
			}
			replies = append(replies, h.do(conn, c)...)
		}
		h.mu.Lock()
		wsutil.WriteServerText(conn, []byte(strings.Join(replies, "\n")))
		h.mu.Unlock()
	}
}

func (h *hub) do(conn net.Conn, c command) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := func(what string) string { return fmt.Sprintf(`{"id":%d,%s}`, c.ID, what) }
	switch {
	case c.ID == 0:
		h.pongs.Add(1)
		return nil
	case c.Connect != nil:
		if string(*c.Connect) == `{"data":"bad"}` {
			return []string{done(`"error":{"code":101,"message":"unauthorized"}`)}
		}
		return []string{done(`"connect":{"client":"c1","version":"0","ping":25,"pong":true}`), "{}"}
	case c.Subscribe != nil:
		if c.Subscribe.Channel == "room-2" {
			return []string{done(`"error":{"code":103,"message":"permission denied"}`)}
		}
		h.channels[c.Subscribe.Channel] = append(h.channels[c.Subscribe.Channel], conn)
		return []string{done(`"subscribe":{}`)}
	case c.RPC != nil:
		return []string{done(fmt.Sprintf(`"rpc":{"data":%s}`, c.RPC.Data))}
	}
	push := fmt.Sprintf(`{"push":{"channel":%q,"pub":{"data":%s}}}`, c.Publish.Channel, c.Publish.Data)
	var own []string
	for _, other := range h.channels[c.Publish.Channel] {
		if other == conn {
			own = append(own, push)
		} else {
			wsutil.WriteServerText(other, []byte(push))
		}
	}
	return append(own, done(`"publish":{}`))
}

func TestCentrifuge(t *testing.T) {
	h := &hub{channels: make(map[string][]net.Conn)}
	srv := httptest.NewServer(h)
	defer srv.Close()
	const sockets = 6
	cfg := Config{URLs: []string{srv.URL}, Dialect: Centrifuge}
	c := newCrowd(t, cfg, sockets)
	join(t, c, Join{Rooms: 2}, sockets)
	check(t, c, runFlow(t, c, Flow{Kind: Room, InFlight: 5, Publishes: 40}), 40, 40*sockets/2)
	check(t, c, runFlow(t, c, Flow{Kind: Room, Rate: 500, Publishes: 40}), 40, 40*sockets/2)
	check(t, c, runFlow(t, c, Flow{Kind: Echo, InFlight: 5, Publishes: 40}), 40, 40)
	if got := h.pongs.Load(); got != sockets {
		t.Errorf("got %d answers to pings, want %d", got, sockets)
	}
	for _, f := range []Flow{
		{Kind: Private, InFlight: 1, Publishes: 1}, // they share rooms
		{Kind: Room, Binary: true, InFlight: 1, Publishes: 1},
	} {
		if _, err := c.Run(within(t), f); err == nil {
			t.Errorf("%+v: got no error", f)
		}
	}
	join(t, c, Join{Rooms: sockets}, sockets) // room-0-2 and so on, one for each
	check(t, c, runFlow(t, c, Flow{Kind: Private, InFlight: 5, Publishes: 40}), 40, 40)

	refused := newCrowd(t, cfg, 3)
	done, err := refused.Join(within(t), Join{Rooms: 3})
	if err != nil || done.Failures != 1 || done.Why["refused: permission denied (code 103)"] != 1 {
		t.Errorf("got %+v, %v; want one refused", done, err)
	}
	cfg.Auth = json.RawMessage(`"bad"`)
	wantRefused(t, cfg, "refused: unauthorized (code 101)")
}

// wantRefused wants all clients to be refused, for one reason that contains a text.
func wantRefused(t *testing.T, cfg Config, reason string) {
	t.Helper()
	c := newCrowd(t, cfg, 0)
	done, err := c.Connect(within(t), 3)
	if err != nil || done.Failures != 3 || done.Sockets != 0 || len(done.Why) != 1 || c.Alive() != 0 {
		t.Errorf("got %+v, %v; want all refused for one reason", done, err)
	}
	for why := range done.Why {
		if !strings.Contains(why, reason) {
			t.Errorf("refused because of %q, want %q", why, reason)
		}
	}
}

// What is no server of ours is told by its reason.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			io.WriteString(w, "<html>")
		case "/old": // Socket.IO 2 ignores EIO=4
			if r.URL.Query().Get("transport") == Polling {
				io.WriteString(w, `96:0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}2:40`)
				return
			}
			conn, _, _, err := ws.UpgradeHTTP(r, w)
			if err == nil {
				wsutil.WriteServerText(conn, []byte(`0{"sid":"x","upgrades":[],"pingInterval":25000}`))
				wsutil.WriteServerText(conn, []byte("40"))
				wsutil.ReadClientData(conn) // until the client goes
				wsutil.ReadClientData(conn)
				conn.Close()
			}
		case "/no":
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"code":3,"message":"Bad request"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	for _, transport := range []string{WebSocket, Polling} {
		for url, reason := range map[string]string{
			nobody:              "connection refused",
			web.URL:             "404",
			web.URL + "/old":    "older protocol",
			web.URL + "/no":     `"message":"Bad request"`,
			web.URL + "/page":   map[string]string{WebSocket: "200", Polling: "no Socket.IO server"}[transport],
			web.URL + "/?q=a b": "404",
		} {
			wantRefused(t, Config{URLs: []string{url}, Transport: transport}, reason)
		}
	}
	for _, url := range []string{"", "localhost:3000", "ftp://localhost", "http://"} {
		if _, err := New(Config{URLs: []string{url}}); err == nil {
			t.Errorf("URL %q: got no error", url)
		}
	}
}
