package main

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

func TestPage(t *testing.T) {
	n := newTestNode(t, nil)
	for path, want := range map[string]struct{ contentType, content string }{
		"/":           {"text/html; charset=utf-8", `<script type="module" src="/notify.js">`},
		"/notify.css": {"text/css; charset=utf-8", "light-dark"},
		"/notify.js":  {"text/javascript; charset=utf-8", `from "/socket.io/socket.io.esm.min.js"`},
		"/icon.svg":   {"image/svg+xml", "<svg"},
	} {
		w := httptest.NewRecorder()
		n.web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want.content) || w.Header().Get("Content-Type") != want.contentType {
			t.Errorf("GET %s: got %d %s, %.60q; want %q in it", path, w.Code, w.Header().Get("Content-Type"), w.Body, want.content)
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s: got policy %q", path, csp)
		}
	}
	w := httptest.NewRecorder()
	n.web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/socket.io/socket.io.esm.min.js", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Socket.IO v4") {
		t.Errorf("the client: got %d %.60q", w.Code, w.Body)
	}
	for _, path := range []string{"/static/notify.js", "/client/LICENSE", "/index.html", "/main.go"} {
		w := httptest.NewRecorder()
		n.web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("GET %s: got %d, want 404", path, w.Code)
		}
	}
}

// Ways in which a text could become markup or code.
var markup = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|\bon[a-z]+="|style="`)

// The page puts what others wrote into the document as text only.
func TestPageHasNoMarkup(t *testing.T) {
	for _, f := range files {
		content, err := fs.ReadFile(static, "static/"+f.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range markup.FindAllString(string(content), -1) {
			t.Errorf("%s: got %q, want text put in as text", f.name, found)
		}
	}
}

// The client is the one of npm that all tests use, but for the line that names its source map.
func TestClientIsPublished(t *testing.T) {
	_, installed := need.Node(t, "socket.io-client")
	want, err := os.ReadFile(filepath.Join(installed, "dist", "socket.io.esm.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := fs.ReadFile(clientFiles(), "socket.io.esm.min.js")
	if err != nil {
		t.Fatal(err)
	}
	code, _, _ := strings.Cut(string(want), "//# sourceMappingURL")
	if string(got) != code {
		t.Error("static/client is not of the version in test/node/package.json: copy it from node_modules/socket.io-client/dist")
	}
}
