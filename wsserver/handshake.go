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
	text   string // of three parts: see parts
	time   int64  // in milliseconds since 1970
	secure bool
}

// nextPart is between the parts: none of them can have it (RFC 9110 section 5.5, and a query is
// encoded).
const nextPart = "\x00"

// parts returns the client's address; the query, encoded, without what Engine.IO put there; and the
// values of Config.HTTP.KeepHeaders: see packHeader.
func (h *handshake) parts() (remote, query, header string) {
	remote, rest, _ := strings.Cut(h.text, nextPart)
	query, header, _ = strings.Cut(rest, nextPart)
	return remote, query, header
}

// remote is the client's address.
func (h *handshake) remote() string {
	remote, _, _ := h.parts()
	return remote
}

func (srv *Server) handshake(r *http.Request) handshake {
	query := r.URL.Query()
	for _, name := range [...]string{"EIO", "transport", "sid", "t", "b64"} {
		query.Del(name)
	}
	text := r.RemoteAddr + nextPart + query.Encode() + nextPart + packHeader(r.Header, srv.cfg.HTTP.KeepHeaders)
	return handshake{
		text:   strings.Clone(strings.TrimRight(text, nextPart)), // most have an address alone
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
	return packed
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
	remote, encoded, header := kept.parts()
	query, _ := url.ParseQuery(encoded) // it was encoded from values
	var auth json.RawMessage
	if s.auth != nil {
		auth = json.RawMessage(*s.auth)
	}
	return sockets.Handshake{
		Auth:       auth,
		Query:      query,
		Header:     unpackHeader(header, s.conn.server.cfg.HTTP.KeepHeaders),
		RemoteAddr: remote,
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
