package main

import (
	"bytes"
	"embed"
	"io/fs"
	"net/http"
	"time"
)

//go:embed static
var static embed.FS

// files are what the page consists of, by path. Their types are given here since a host's own table
// may know better than it should.
var files = []struct{ path, name, contentType string }{
	{"/{$}", "index.html", "text/html; charset=utf-8"},
	{"/notify.css", "notify.css", "text/css; charset=utf-8"},
	{"/notify.js", "notify.js", "text/javascript; charset=utf-8"},
	{"/icon.svg", "icon.svg", "image/svg+xml"},
}

// policy lets the page load what its own node serves, and connect to any node.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves the page.
func page() http.Handler {
	mux := http.NewServeMux()
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

// clientFiles has the official client: the file of npm's socket.io-client, as it is.
func clientFiles() fs.FS {
	files, _ := fs.Sub(static, "static/client") // the name is valid
	return files
}
