package wsserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/sockets"
)

// handshake is what is kept of a connection's first request. It is small, since it is kept as long
// as the connection.
type handshake struct {
	remote string
	query  string // without what Engine.IO put there, encoded
	header string // the values of Config.HTTP.KeepHeaders, in their order; see packHeader. Empty if there are none
	time   int64  // in milliseconds since 1970
	secure bool
}

func (srv *Server) handshake(r *http.Request) handshake {
	query := r.URL.Query()
	for _, name := range [...]string{"EIO", "transport", "sid", "t", "b64"} {
		query.Del(name)
	}
	return handshake{
		remote: strings.Clone(r.RemoteAddr),
		query:  query.Encode(),
		header: packHeader(r.Header, srv.cfg.HTTP.KeepHeaders),
		time:   time.Now().UnixMilli(),
		secure: r.TLS != nil,
	}
}

// keeps is how many bytes of a request are to be kept, about.
func keeps(r *http.Request, headers []string) int {
	n := len(r.URL.RawQuery)
	for _, name := range headers {
		for _, line := range r.Header.Values(name) {
			n += len(line)
		}
	}
	return n
}

// Between the names, and between several lines of one name: neither can be in a header's value (RFC
// 9110 section 5.5).
const (
	nextName = "\n"
	nextLine = "\r"
)

func packHeader(h http.Header, names []string) string {
	lines := make([]string, len(names))
	for i, name := range names {
		lines[i] = strings.Join(h.Values(name), nextLine)
	}
	packed := strings.Join(lines, nextName)
	if strings.Trim(packed, nextName) == "" {
		return ""
	}
	return strings.Clone(packed) // one value alone is a part of the request
}

func unpackHeader(packed string, names []string) http.Header {
	h := make(http.Header)
	if packed == "" {
		return h
	}
	for i, lines := range strings.Split(packed, nextName) {
		if lines != "" {
			h[http.CanonicalHeaderKey(names[i])] = strings.Split(lines, nextLine)
		}
	}
	return h
}

// Handshake returns what the client sent when it connected. Each call makes it anew.
func (s *Socket) Handshake() sockets.Handshake {
	kept := &s.conn.handshake
	query, _ := url.ParseQuery(kept.query) // it was encoded from values
	var auth json.RawMessage
	if s.auth != nil {
		auth = json.RawMessage(*s.auth)
	}
	return sockets.Handshake{
		Auth:       auth,
		Query:      query,
		Header:     unpackHeader(kept.header, s.conn.server.cfg.HTTP.KeepHeaders),
		RemoteAddr: kept.remote,
		Secure:     kept.secure,
		Time:       time.UnixMilli(kept.time),
	}
}

// DecodeAuth converts the client's option "auth" into the value that dst points to, as
// encoding/json does. If the client has none, dst stays as it is.
func (s *Socket) DecodeAuth(dst any) error {
	if s.auth == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(*s.auth), dst); err != nil {
		return fmt.Errorf("wsserver: auth of the client: %w", err)
	}
	return nil
}

// cookie is what a session that r opens has as its cookie.
func (srv *Server) cookie(r *http.Request) *http.Cookie {
	if srv.cfg.HTTP.Cookie == nil {
		return nil
	}
	cookie := *srv.cfg.HTTP.Cookie
	cookie.Secure = cookie.Secure || srv.secure(r)
	return &cookie
}
