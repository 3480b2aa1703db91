package wsserver

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// clientFile matches the names of the client's files, as the reference serves them
// (socket.io/lib/index.ts, attachServe).
var clientFile = regexp.MustCompile(`^socket\.io(\.msgpack|\.esm)?(\.min)?\.js(\.map)?$`)

// serveClientFile answers a GET request for a file of the client, which the pages of many tutorials
// load from the server. It reports false if that is not what r is.
func (srv *Server) serveClientFile(w http.ResponseWriter, r *http.Request) bool {
	name, ok := strings.CutPrefix(r.URL.Path, srv.cfg.Path)
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead || !clientFile.MatchString(name) {
		return false
	}
	serve := func(w http.ResponseWriter, r *http.Request) { srv.clientFile(w, r, name) }
	if srv.cors != nil {
		srv.cors.ServeHTTP(w, r, serve)
	} else {
		serve(w, r)
	}
	return true
}

func (srv *Server) clientFile(w http.ResponseWriter, r *http.Request, name string) {
	var content []byte
	err := fs.ErrNotExist
	if srv.cfg.HTTP.ClientFiles != nil {
		content, err = fs.ReadFile(srv.cfg.HTTP.ClientFiles, name)
	}
	if err != nil {
		http.Error(w, name+` is not here: this server does not bring the client of Socket.IO with it. Load it from https://cdn.socket.io, or from the
package socket.io-client of npm, whose folder dist the server's program can also give to this server: Config.HTTP.ClientFiles.`, http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json")
	}
	h.Set("ETag", fmt.Sprintf("\"%x\"", sha256.Sum256(content)))
	h.Set("Cache-Control", "public, max-age=0")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
