package main

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

//go:embed static
var static embed.FS

// files are what the page consists of, by path. Their types are given here since a host's own table
// may know better than it should.
var files = []struct{ path, name, contentType string }{
	{"/{$}", "index.html", "text/html; charset=utf-8"},
	{"/chat.css", "chat.css", "text/css; charset=utf-8"},
	{"/chat.js", "chat.js", "text/javascript; charset=utf-8"},
	{"/view.js", "view.js", "text/javascript; charset=utf-8"},
	{"/socket.js", "socket.js", "text/javascript; charset=utf-8"},
	{"/icon.svg", "icon.svg", "image/svg+xml"},
}

// policy lets the page load what its own node serves, and connect to the other nodes; nothing else:
// no inline script, no other host, no frame around it.
func policy(peers []string) string {
	connect := "connect-src 'self'"
	for _, peer := range peers {
		connect += " ws://" + peer
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// page serves the page, which may connect to peers.
func page(peers []string) http.Handler {
	mux := http.NewServeMux()
	policy := policy(peers)
	for _, f := range files {
		content, err := static.ReadFile("static/" + f.name)
		mux.HandleFunc("GET "+f.path, func(w http.ResponseWriter, r *http.Request) {
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			h := w.Header()
			h.Set("Content-Type", f.contentType)
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(content))
		})
	}
	return mux
}
