package test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
)

// browserCore are the checks that stand for all where another run of the browser makes them all.
var browserCore = []string{
	"connect", "upgrade", "auth", "all types of JSON", "binary, also nested", "names of events", "acknowledgements from the server",
	"acknowledgements from the client", "twenty namespaces over one connection", "the order of text and binary", "large messages",
}

// browserPolling are more of them, in which polling from a browser is special.
var browserPolling = slices.Concat(browserCore, []string{
	"query", "a slow middleware, and events that wait for it", "volatile from the server", "the server emits, then disconnects",
	"the server closes the connection", "the client disconnects", "the connection breaks, and the client reconnects",
	"a thousand events in one burst from the client", "a thousand events in one burst from the server", "large messages in one burst",
	"a message that is too large", "pings of the server",
})

// browserFew are those for which a browser has code that Node.js has not: sessions, headers, binary of each transport, and how it all ends.
var browserFew = []string{
	"connect", "upgrade", "auth", "binary, also nested", "acknowledgements from the client", "the order of text and binary",
	"the connection breaks, and the client reconnects", "a thousand events in one burst from the server",
}

// A browserRun is what node/browser.mjs is told.
type browserRun struct {
	Name    string         `json:"name"`
	Page    string         `json:"page"`
	URL     string         `json:"url"`
	Mode    string         `json:"mode"`
	Options map[string]any `json:"options,omitempty"`
	Only    []string       `json:"only,omitempty"`
	Plan    *recoveryPlan  `json:"plan,omitempty"` // for the checks of node/recoverychecks.mjs
}

// TestClientInBrowser has the bundles of the official client make the checks of node/checks.mjs in a real browser, from pages of the
// server's own origin and of another: all of them, in more modes, with -modes.
func TestClientInBrowser(t *testing.T) {
	t.Parallel()
	node, chromium := needNode(t), need.Chromium(t)
	elsewhere := httptest.NewServer(interopPage())
	t.Cleanup(elsewhere.Close)
	withCredentials := &wsserver.CORS{Origins: []string{elsewhere.URL}, Credentials: true}
	known := startBrowserServer(t, "json", withCredentials)
	open := startBrowserServer(t, "json", &wsserver.CORS{Origins: []string{"*"}})
	own := startBrowserServer(t, "json", nil)
	msgpack := startBrowserServer(t, "msgpack", withCredentials)
	credentials, none := map[string]any{"withCredentials": true, "extraHeaders": map[string]string{"X-Test": "asks first"}}, map[string]any{}
	refused := []string{"refused by origin"}
	few := func(all []string, few ...string) []string {
		if *everyMode {
			return all
		}
		return few
	}
	run := func(name, page, url, mode string, options map[string]any, only []string) browserRun {
		return browserRun{Name: name, Page: page, URL: url, Mode: mode, Options: options, Only: only}
	}
	plan := []browserRun{
		run("own origin, default", own.url, own.url, "default", none, few(nil, browserFew...)), // all have no names
		run("other origin, polling, credentials", elsewhere.URL, known.url, "polling", credentials, few(browserPolling, "connect", "auth", "binary, also nested")),
		run("other origin, default, no credentials", elsewhere.URL, open.url, "default", none, few(browserCore, "connect", "upgrade")),
		run("other origin, default, msgpack", elsewhere.URL, msgpack.url, "default-msgpack", credentials, few(browserCore, "connect", "binary, also nested")),
		run("unknown origin, polling", elsewhere.URL, own.url, "polling", none, refused),
		run("unknown origin, websocket", elsewhere.URL, own.url, "websocket", none, refused),
	}
	if *everyMode {
		plan = append(plan,
			run("other origin, websocket", elsewhere.URL, open.url, "websocket", none, browserCore),
			run("own origin, polling, msgpack", msgpack.url, msgpack.url, "polling-msgpack", none, browserCore))
	}
	runs, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	runChecks(t, node, "browser.mjs", chromium, string(runs))
	for _, want := range []struct {
		what      string
		server    *browserServer
		credulous bool
	}{{"with credentials", known, true}, {"without credentials", open, false}} {
		if with, without := want.server.polls(); want.credulous && (with == 0 || without > 0) || !want.credulous && (with > 0 || without == 0) {
			t.Errorf("%s: %d polls with the page's cookie, %d without", want.what, with, without)
		}
	}
}

// A browserServer is the application, and the page, on a server that looks at the cookies of polls.
type browserServer struct {
	url string

	mu            sync.Mutex // guards what follows
	with, without int        // polls with the page's cookie, and others
}

func startBrowserServer(t *testing.T, parser string, cors *wsserver.CORS) *browserServer {
	t.Helper()
	s := &browserServer{}
	cfg := interopConfig(parser)
	cfg.HTTP.CORS = cors
	// Browsers offer it with every WebSocket.
	cfg.Compression.PerMessageDeflate, cfg.Compression.HTTP, cfg.Compression.Threshold = parser == "msgpack", parser == "msgpack", 64
	srv := newServer(t, cfg)
	serveInteropApp(t, srv)
	mux := http.NewServeMux()
	mux.Handle("/", interopPage())
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
		s.look(r)
		srv.ServeHTTP(w, r)
	})
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

// look counts a poll. A browser sends no cookies with the question whether a header is allowed, and always with a WebSocket.
func (s *browserServer) look(r *http.Request) {
	if r.Method == http.MethodOptions || r.URL.Query().Get("transport") != "polling" {
		return
	}
	_, err := r.Cookie("belfry")
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.with++
	} else {
		s.without++
	}
}

func (s *browserServer) polls() (with, without int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.with, s.without
}

// interopPage serves an empty page, the checks, and the client's bundles.
func interopPage() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, `<!doctype html><title>checks</title><link rel="icon" href="data:,">`)
	})
	for _, script := range []string{"checks.mjs", "recoverychecks.mjs"} {
		mux.HandleFunc("GET /"+script, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			http.ServeFile(w, r, "node/"+script)
		})
	}
	bundles := http.FileServer(http.Dir("node/node_modules/socket.io-client/dist"))
	mux.Handle("GET /client/", http.StripPrefix("/client", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		}
		bundles.ServeHTTP(w, r)
	})))
	return mux
}
