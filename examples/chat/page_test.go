package main

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	p := launch(t, alone...)
	for path, want := range map[string]struct{ contentType, content string }{
		"/":          {"text/html; charset=utf-8", `<script type="module" src="/chat.js">`},
		"/chat.css":  {"text/css; charset=utf-8", "prefers-color-scheme: dark"},
		"/chat.js":   {"text/javascript; charset=utf-8", `from "./socket.js"`},
		"/view.js":   {"text/javascript; charset=utf-8", "export function draw"},
		"/socket.js": {"text/javascript; charset=utf-8", "export class Socket"},
		"/icon.svg":  {"image/svg+xml", "<svg"},
	} {
		response, err := http.Get(p.nodes[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(content), want.content) {
			t.Errorf("GET %s: got %s, %.60q, %v; want 200 and %q in it", path, response.Status, content, err, want.content)
		}
		if got := response.Header.Get("Content-Type"); got != want.contentType {
			t.Errorf("GET %s: got type %q, want %q", path, got, want.contentType)
		}
		if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("GET %s: got X-Content-Type-Options %q, want nosniff", path, got)
		}
		csp := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") {
			t.Errorf("GET %s: got policy %q, want one that begins with nothing", path, csp)
		}
		for _, directive := range strings.Split(csp, ";") {
			for _, source := range strings.Fields(directive)[1:] {
				if source != "'self'" && source != "'none'" {
					t.Errorf("GET %s: the policy allows %s, want 'self' or 'none'", path, source)
				}
			}
		}
	}
	for _, path := range []string{"/nothing", "/static/chat.js", "/index.html/x", "/../main.go"} {
		w := httptest.NewRecorder()
		page(nil).ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: mustParse(t, path)})
		if w.Code == http.StatusOK {
			t.Errorf("GET %s: got 200, want it not to be there", path)
		}
	}
	w := httptest.NewRecorder()
	page(nil).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: got %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

var (
	outside = regexp.MustCompile(`(?i:(https?:|wss?:)?//[a-z0-9])|@import|\burl\(`)
	// Ways in which a user's text could become markup or code, and what the policy would stop.
	markup = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|\bon[a-z]+="|style="`)
)

// The page loads nothing from other hosts, and puts text into the document as text only.
func TestPageStandsAlone(t *testing.T) {
	served := make(map[string]bool)
	for _, f := range files {
		served["static/"+f.name] = true
	}
	err := fs.WalkDir(static, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !served[name] {
			t.Errorf("%s is not served", name)
		}
		content, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), `xmlns="http://www.w3.org/2000/svg"`, "") // a name, which nobody fetches
		for _, found := range outside.FindAllString(text, -1) {
			t.Errorf("%s: got %q, want nothing from outside", name, found)
		}
		for _, found := range markup.FindAllString(text, -1) {
			t.Errorf("%s: got %q, want text put in as text", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
