package wsserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestWrongConfig: what cannot be meant is an error of Ready, a line in the log, the answer to every request, and the error of whatever would
// reach the cluster; it never is a default.
func TestWrongConfig(t *testing.T) {
	const negative = time.Duration(-1)
	cors := func(c wsserver.CORS) wsserver.Config { return wsserver.Config{HTTP: wsserver.HTTPConfig{CORS: &c}} }
	for i, test := range []struct {
		cfg  wsserver.Config
		want string // what the error names
	}{
		{wsserver.Config{Cluster: wsserver.ClusterConfig{QueueBytes: -1}}, "Cluster.QueueBytes"},
		{wsserver.Config{Cluster: wsserver.ClusterConfig{RepairBytes: -1}}, "Cluster.RepairBytes"},
		{wsserver.Config{Cluster: wsserver.ClusterConfig{NameSuspects: negative}}, "Cluster.NameSuspects"},
		{wsserver.Config{Cluster: wsserver.ClusterConfig{NodeName: "two\nlines"}}, "Cluster.NodeName"},
		{wsserver.Config{Limits: wsserver.Limits{MaxPayload: -1}}, "Limits.MaxPayload"},
		{wsserver.Config{Limits: wsserver.Limits{QueueBytes: -1}}, "Limits.QueueBytes"},
		{wsserver.Config{Limits: wsserver.Limits{MaxEvents: -1}}, "Limits.MaxEvents"},
		{wsserver.Config{Limits: wsserver.Limits{MaxSockets: -1}}, "Limits.MaxSockets"},
		{wsserver.Config{Limits: wsserver.Limits{MaxNamespaces: -1}}, "Limits.MaxNamespaces"},
		{wsserver.Config{Limits: wsserver.Limits{HandshakeBytes: -1}}, "Limits.HandshakeBytes"},
		{wsserver.Config{Compression: wsserver.Compression{Threshold: -1}}, "Compression.Threshold"},
		{wsserver.Config{Limits: wsserver.Limits{SlowRate: -1}}, "Limits.SlowRate"},
		{wsserver.Config{Limits: wsserver.Limits{BudgetBytes: -1}}, "Limits.BudgetBytes"},
		{wsserver.Config{Limits: wsserver.Limits{BudgetBytes: 1 << 19}}, "Limits.BudgetBytes"},
		{wsserver.Config{Limits: wsserver.Limits{BudgetBytes: 4 << 20, MaxPayload: 5 << 20}}, "Limits.BudgetBytes"},
		{wsserver.Config{Limits: wsserver.Limits{SlowAfter: negative}}, "Limits.SlowAfter"},
		{wsserver.Config{Limits: wsserver.Limits{BehindFor: negative}}, "Limits.BehindFor"},
		{wsserver.Config{PingInterval: negative}, "PingInterval"},
		{wsserver.Config{PingTimeout: negative}, "PingTimeout"},
		{wsserver.Config{ConnectTimeout: negative}, "ConnectTimeout"},
		{wsserver.Config{UpgradeTimeout: negative}, "UpgradeTimeout"},
		{wsserver.Config{AckTimeout: negative}, "AckTimeout"},
		{wsserver.Config{PingInterval: time.Microsecond}, "PingInterval"},
		{wsserver.Config{PingTimeout: 999 * time.Microsecond}, "PingTimeout"},
		{wsserver.Config{PingInterval: 25 * 24 * time.Hour}, "PingInterval"},
		{wsserver.Config{PingTimeout: 24*24*time.Hour + 21*time.Hour}, "PingInterval"}, // with the interval's default
		{wsserver.Config{PingInterval: 13 * 24 * time.Hour, PingTimeout: 13 * 24 * time.Hour}, "PingInterval"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{Attachments: -1}}}, "Limits.Packet: Attachments"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{AttachmentBytes: -1}}}, "Limits.Packet: AttachmentBytes"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{Arguments: -1}}}, "Limits.Packet: Arguments"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{Depth: -1}}}, "Limits.Packet: Depth"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{Depth: 10_001}}}, "Limits.Packet: Depth"},
		{wsserver.Config{Limits: wsserver.Limits{Packet: packet.Limits{NamespaceBytes: -1}}}, "Limits.Packet: NamespaceBytes"},
		{wsserver.Config{Path: "/a?b"}, "Path"},
		{wsserver.Config{Path: "/a#b"}, "Path"},
		{wsserver.Config{Path: "/a//b/"}, "Path"},
		{wsserver.Config{Path: "/a/../b"}, "Path"},
		{wsserver.Config{Path: "."}, "Path"},
		{wsserver.Config{Path: "/a\nb"}, "Path"},
		{wsserver.Config{Transports: []string{"websocket", "webtransport"}}, "Transports"},
		{wsserver.Config{Transports: []string{"WebSocket"}}, "Transports"},
		{wsserver.Config{Transports: []string{}}, "Transports"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{KeepHeaders: []string{"Cookie", "User Agent"}}}, "HTTP.KeepHeaders"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{KeepHeaders: []string{""}}}, "HTTP.KeepHeaders"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{Cookie: &http.Cookie{Name: "a b"}}}, "HTTP.Cookie"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{Cookie: &http.Cookie{Name: "io", Path: "/;"}}}, "HTTP.Cookie"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{Cookie: &http.Cookie{Domain: "a b"}}}, "HTTP.Cookie"},
		{wsserver.Config{HTTP: wsserver.HTTPConfig{TrustedProxies: []netip.Prefix{{}}}}, "HTTP.TrustedProxies"},
		{cors(wsserver.CORS{Origins: []string{"*"}, Credentials: true}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example", "*"}, Credentials: true}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"a.example"}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example/"}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example/app"}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://*.*.example"}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{""}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example"}, Headers: []string{"x y"}}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example"}, MaxAge: -time.Second}), "HTTP.CORS"},
		{cors(wsserver.CORS{Origins: []string{"https://a.example"}, MaxAge: time.Millisecond}), "HTTP.CORS"},
	} {
		t.Run(fmt.Sprint(i, " ", test.want), func(t *testing.T) {
			var log kit.Log
			test.cfg.Logger = log.Logger()
			test.cfg.Adapter = new(adapter.Memory)
			srv := wsserver.New(test.cfg)
			defer srv.Close(t.Context())
			named := func(what, text string) {
				t.Helper()
				kit.Check(t, strings.Contains(text, "Config."+test.want),
					"%s: got %q, want %s named", what, text, test.want)
			}
			err := srv.Ready(t.Context())
			kit.Require(t, err != nil, "Ready: got nil")
			named("Ready", err.Error())
			named("the log", log.String())
			for _, target := range []string{"/socket.io/?EIO=4&transport=polling", "/", "/socket.io/socket.io.js"} {
				w := httptest.NewRecorder()
				srv.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
				kit.Want(t, w.Code, http.StatusInternalServerError, target)
				named(target, w.Body.String())
			}
			if err := srv.To("x").Emit(t.Context(), "said"); err == nil {
				t.Error("Emit: got nil")
			} else {
				named("Emit", err.Error())
			}
			if _, err := srv.All().FetchSockets(t.Context()); err == nil {
				t.Error("FetchSockets: got nil")
			}
		})
	}
	t.Run("all of them at once", func(t *testing.T) {
		var log kit.Log
		srv := wsserver.New(wsserver.Config{Limits: wsserver.Limits{MaxPayload: -1}, PingInterval: -1, Path: "?", Logger: log.Logger()})
		defer srv.Close(t.Context())
		for _, want := range []string{"MaxPayload", "PingInterval", "Path"} {
			if err := srv.Ready(t.Context()); !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s, too", err, want)
			}
		}
	})
}

// TestRightConfig: what looks odd and can be meant is none.
func TestRightConfig(t *testing.T) {
	for _, cfg := range []wsserver.Config{
		{},
		{PingInterval: time.Millisecond, PingTimeout: time.Millisecond},
		{PingInterval: 24 * 24 * time.Hour},
		{Path: "/"}, {Path: "a"}, {Path: "a/b/"}, {Path: "/ä ö/"}, {Path: "/a..b/"},
		{Transports: []string{"polling", "polling"}},
		{HTTP: wsserver.HTTPConfig{KeepHeaders: []string{}}}, {HTTP: wsserver.HTTPConfig{KeepHeaders: []string{"x-mine", "X_Mine"}}},
		{HTTP: wsserver.HTTPConfig{Cookie: new(http.Cookie)}}, {HTTP: wsserver.HTTPConfig{Cookie: &http.Cookie{Name: "io", Path: "/", Domain: "a.example"}}},
		{HTTP: wsserver.HTTPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}},
		{HTTP: wsserver.HTTPConfig{CORS: new(wsserver.CORS)}},
		{HTTP: wsserver.HTTPConfig{CORS: &wsserver.CORS{Origins: []string{"*"}, Headers: []string{"*"}}}},
		{HTTP: wsserver.HTTPConfig{CORS: &wsserver.CORS{Origins: []string{"https://*.a.example", "http://localhost:3000", "null", "app://x"}, Credentials: true, MaxAge: time.Second}}},
		{Limits: wsserver.Limits{Packet: packet.Limits{Depth: 10_000}}},
	} {
		srv := newServer(t, cfg)
		if err := srv.Ready(t.Context()); err != nil {
			t.Errorf("%+v: got %v", cfg, err)
		}
		w := httptest.NewRecorder()
		path := "/" + strings.Trim(cfg.Path, "/") + "/"
		switch cfg.Path {
		case "":
			path = "/socket.io/"
		case "/":
			path = "/"
		}
		r := httptest.NewRequest("GET", "/?EIO=4&transport=polling", nil)
		r.URL.Path = path
		if srv.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%+v: GET %s got %d", cfg, path, w.Code)
		}
	}
}

// TestClientFiles: a page's script tag gets the client, if the program has it, and is told where it is otherwise.
func TestClientFiles(t *testing.T) {
	files := fstest.MapFS{
		"socket.io.js":                 {Data: []byte("the client")},
		"socket.io.min.js":             {Data: []byte("the small client")},
		"socket.io.min.js.map":         {Data: []byte("{}")},
		"socket.io.esm.min.js":         {Data: []byte("the module")},
		"socket.io.msgpack.min.js":     {Data: []byte("the other parser")},
		"socket.io.msgpack.min.js.map": {Data: []byte("{}")},
		"secret.js":                    {Data: []byte("not to be had")},
	}
	const script, where = "text/javascript; charset=utf-8", "socket.io-client"
	for _, test := range []struct {
		name   string
		cfg    wsserver.Config
		method string
		target string
		status int
		kind   string // Content-Type
		body   string // a part of it
	}{
		{"without files", wsserver.Config{}, "GET", "/socket.io/socket.io.js", 404, "text/plain; charset=utf-8", where},
		{"without files, another one", wsserver.Config{}, "GET", "/socket.io/socket.io.esm.min.js", 404, "text/plain; charset=utf-8", where},
		{"without files, with what defeats a cache", wsserver.Config{}, "GET", "/socket.io/socket.io.js?v=1", 404, "text/plain; charset=utf-8", where},
		{"another path, without files", wsserver.Config{Path: "/chat/"}, "GET", "/chat/socket.io.js", 404, "text/plain; charset=utf-8", where},
		{"all paths", wsserver.Config{Path: "/"}, "GET", "/socket.io.min.js", 404, "text/plain; charset=utf-8", where},
		{"the client", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.js", 200, script, "the client"},
		{"its name alone", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "HEAD", "/socket.io/socket.io.js", 200, script, ""},
		{"minified", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.min.js", 200, script, "the small client"},
		{"its map", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.min.js.map", 200, "application/json", "{}"},
		{"a module", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.esm.min.js", 200, script, "the module"},
		{"the other parser", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.msgpack.min.js", 200, script, "the other parser"},
		{"a file that is not there", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/socket.io.js.map", 404, "text/plain; charset=utf-8", where},
		{"a file that is none of the client's", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/secret.js", 400, "application/json", "Transport unknown"},
		{"a way out", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io/../socket.io.js", 400, "application/json", "Transport unknown"},
		{"POST", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "POST", "/socket.io/socket.io.js", 400, "application/json", "Transport unknown"},
		{"beside the path", wsserver.Config{HTTP: wsserver.HTTPConfig{ClientFiles: files}}, "GET", "/socket.io.js", 404, "text/plain; charset=utf-8", "404 page not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, test.cfg)
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, httptest.NewRequest(test.method, test.target, nil))
			if got := w.Header().Get("Content-Type"); w.Code != test.status || got != test.kind || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("got %d, %s, %q; want %d, %s, %q", w.Code, got, w.Body, test.status, test.kind, test.body)
			}
			if tag := w.Header().Get("ETag"); (tag != "") != (test.status == 200) {
				t.Errorf("ETag: got %q", tag)
			} else if tag != "" {
				again := httptest.NewRequest(test.method, test.target, nil)
				again.Header.Set("If-None-Match", tag)
				w := httptest.NewRecorder()
				if srv.ServeHTTP(w, again); w.Code != http.StatusNotModified {
					t.Errorf("asked again: got %d, want 304", w.Code)
				}
			}
		})
	}
	t.Run("a page of another origin", func(t *testing.T) {
		srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{
			ClientFiles: files,
			CORS:        &wsserver.CORS{Origins: []string{"https://app.example"}},
		}})
		r := httptest.NewRequest("GET", "/socket.io/socket.io.esm.min.js", nil)
		r.Header.Set("Origin", "https://app.example")
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 200 || got != "https://app.example" {
			t.Errorf("got %d, Access-Control-Allow-Origin %q", w.Code, got)
		}
	})
}
