package wsserver_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestHTTP: requests and their answers (engine.io, server.ts verify; bad input, 3.2 and 3.4).
func TestHTTP(t *testing.T) {
	socket := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	with := func(name, value string) map[string]string {
		header := map[string]string{name: value}
		for name, value := range socket {
			if _, ok := header[name]; !ok {
				header[name] = value
			}
		}
		return header
	}
	const good = "/socket.io/?EIO=4&transport=websocket"
	refuse := func(*http.Request) error { return errors.New("members only") }
	listed := func(r *http.Request) bool { return r.Header.Get("Origin") == "https://app.example" }
	for _, test := range []struct {
		name   string
		cfg    wsserver.Config
		method string
		target string
		header map[string]string
		status int
		body   string
	}{
		{"upgrade", wsserver.Config{}, "GET", good, socket, 101, ""},
		{"without the slash", wsserver.Config{}, "GET", "/socket.io?EIO=4&transport=websocket", socket, 404, "404 page not found"},
		{"parameters of old clients", wsserver.Config{}, "GET", good + "&t=abc&b64=1", socket, 101, ""},
		{"another path", wsserver.Config{}, "GET", "/?EIO=4&transport=websocket", socket, 404, "404 page not found"},
		{"a path that begins so", wsserver.Config{}, "GET", "/socket.ioo/?EIO=4&transport=websocket", socket, 404, "404 page not found"},
		{"configured path", wsserver.Config{Path: "live/rooms/"}, "GET", "/live/rooms/?EIO=4&transport=websocket", socket, 101, ""},
		{"configured path, the usual one", wsserver.Config{Path: "live/rooms/"}, "GET", good, socket, 404, "404 page not found"},
		{"polling", wsserver.Config{}, "GET", "/socket.io/?EIO=4&transport=polling", nil, 200, `0{"sid":"`},
		{"polling, which is not among the transports", wsserver.Config{Transports: []string{"websocket"}}, "GET", "/socket.io/?EIO=4&transport=polling", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"polling, refused by the application", wsserver.Config{HTTP: wsserver.HTTPConfig{AllowRequest: refuse}}, "GET", "/socket.io/?EIO=4&transport=polling", nil, 403, `{"code":4,"message":"members only"}`},
		{"an upgrade, refused by the application", wsserver.Config{HTTP: wsserver.HTTPConfig{AllowRequest: refuse}}, "GET", good, socket, 400, "members only"},
		{"polling from a foreign Origin", wsserver.Config{}, "GET", "/socket.io/?EIO=4&transport=polling", map[string]string{"Origin": "http://evil.example"}, 403, `{"code":4,"message":"origin not allowed"}`},
		{"no transport", wsserver.Config{}, "GET", "/socket.io/?EIO=4", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"a transport of all objects (CVE-2023-31125)", wsserver.Config{}, "GET", "/socket.io/?EIO=4&transport=__proto__", socket, 400, "Transport unknown"},
		{"transport twice", wsserver.Config{}, "GET", good + "&transport=websocket", socket, 400, "Transport unknown"},
		{"a session", wsserver.Config{}, "GET", good + "&sid=AAAA", socket, 400, "Session ID unknown"},
		{"POST", wsserver.Config{}, "POST", good, socket, 400, "Bad handshake method"},
		{"no upgrade", wsserver.Config{}, "GET", good, nil, 400, `{"code":3,"message":"Bad request"}`},
		{"EIO=3", wsserver.Config{}, "GET", "/socket.io/?EIO=3&transport=websocket", socket, 400, "Unsupported protocol version"},
		{"no EIO", wsserver.Config{}, "GET", "/socket.io/?transport=websocket", socket, 400, "Unsupported protocol version"},
		{"version 8 of WebSocket", wsserver.Config{}, "GET", good, with("Sec-WebSocket-Version", "8"), 426, "the Sec-WebSocket-Version header is not 13"},
		{"no key", wsserver.Config{}, "GET", good, with("Sec-WebSocket-Key", ""), 400, "the Sec-WebSocket-Key header is not one"},

		{"no Origin", wsserver.Config{}, "GET", good, socket, 101, ""},
		{"same Origin", wsserver.Config{}, "GET", good, with("Origin", "http://chat.example"), 101, ""},
		{"same Origin in TLS, which a proxy has taken off", wsserver.Config{}, "GET", good, with("Origin", "https://CHAT.example"), 101, ""},
		{"foreign Origin", wsserver.Config{}, "GET", good, with("Origin", "http://evil.example"), 400, "origin not allowed"},
		{"foreign port", wsserver.Config{}, "GET", good, with("Origin", "http://chat.example:81"), 400, "origin not allowed"},
		{"suffix of the host", wsserver.Config{}, "GET", good, with("Origin", "http://evil-chat.example"), 400, "origin not allowed"},
		{"subdomain of the host", wsserver.Config{}, "GET", good, with("Origin", "http://x.chat.example"), 400, "origin not allowed"},
		{"the host as a prefix", wsserver.Config{}, "GET", good, with("Origin", "http://chat.example.evil.example"), 400, "origin not allowed"},
		{"the host as a user", wsserver.Config{}, "GET", good, with("Origin", "http://chat.example@evil.example"), 400, "origin not allowed"},
		{"opaque Origin", wsserver.Config{}, "GET", good, with("Origin", "null"), 400, "origin not allowed"},
		{"Origin that is none", wsserver.Config{}, "GET", good, with("Origin", "://"), 400, "origin not allowed"},
		{"an Origin that the application allows", wsserver.Config{HTTP: wsserver.HTTPConfig{AllowOrigin: listed}}, "GET", good, with("Origin", "https://app.example"), 101, ""},
		{"the same Origin, if the application does not", wsserver.Config{HTTP: wsserver.HTTPConfig{AllowOrigin: listed}}, "GET", good, with("Origin", "http://chat.example"), 400, "origin not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, test.cfg)
			hs := httptest.NewServer(srv)
			defer hs.Close()
			r, err := http.NewRequest(test.method, hs.URL+test.target, nil)
			kit.OK(t, err)
			r.Host = "chat.example"
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			answer, err := hs.Client().Do(r)
			kit.OK(t, err)
			defer answer.Body.Close()
			kit.Require(t, answer.StatusCode == test.status,
				"status: got %d, want %d", answer.StatusCode, test.status)
			if test.status < 300 {
				kit.Eventually(t, "the connection", func() bool { return srv.Stats().Connections == 1 })
				if got := srv.Stats(); got.Accepted != 1 || got.Refused != 0 {
					t.Errorf("Stats: got %d accepted and %d refused, want 1 and 0", got.Accepted, got.Refused)
				}
				return
			}
			body, err := io.ReadAll(answer.Body)
			kit.Check(t, err == nil && strings.HasPrefix(string(body), test.body),
				"body: got %q, %v, want %q", body, err, test.body)
			if answer.Header.Get("Cache-Control") != "no-store" && test.status == 400 && strings.HasPrefix(test.body, "{") {
				t.Error("Cache-Control: not no-store")
			}
			if got, isJSON := answer.Header.Get("Content-Type"), strings.HasPrefix(test.body, "{"); isJSON && got != "application/json" {
				t.Errorf("Content-Type: got %q, want application/json", got)
			}
			stats, refused := srv.Stats(), uint64(1)
			if test.status == http.StatusNotFound {
				refused = 0 // not for this server
			}
			if stats.Accepted != 0 || stats.Refused != refused {
				t.Errorf("Stats: got %d accepted and %d refused, want 0 and %d", stats.Accepted, stats.Refused, refused)
			}
		})
	}
}
