package transport

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// answerTimeout bounds the writing of the 101 answer.
const answerTimeout = 10 * time.Second

// A HandshakeError is an opening handshake that was refused, and answered with Status.
type HandshakeError struct {
	Status int    // HTTP status of the answer
	Rule   string // the rule that the request breaks, without anything that the client sent
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("transport: handshake refused with %d: %s", e.Status, e.Rule)
}

// IsUpgrade reports whether r asks for a WebSocket (RFC 6455 section 4.2.1, items 3 and 4). [Upgrade] may still refuse it.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

// Upgrade makes r's connection a WebSocket (RFC 6455 section 4.2). Of the subprotocols that the client offers, which mean nothing here, it
// takes the first: browsers fail a connection whose server takes none. The only extension is permessage-deflate, if the caller wants it: deflated then reports whether it was negotiated, without context takeover (RFC 7692). An offer that is not acceptable is
// no error.
//
// The caller owns conn from then on; it has no deadlines. early is what the client sent behind its request and net/http has
// already read, often its first frames: it comes before whatever is read from conn. It is a copy, and nil if there is none.
// Nothing that net/http buffers with is kept.
//
// On an error conn is nil, the request has been answered or its connection closed, and nothing is left to do: a refusal is a
// [HandshakeError]. Upgrade does not look at Origin.
func Upgrade(w http.ResponseWriter, r *http.Request, deflate bool) (conn net.Conn, early []byte, deflated bool, err error) {
	refusal := check(r)
	answer := make(http.Header)
	if deflate && refusal == nil {
		extensions, ok := negotiate(r.Header["Sec-Websocket-Extensions"])
		if !ok {
			refusal = &HandshakeError{http.StatusBadRequest, "the Sec-WebSocket-Extensions header is malformed (RFC 6455 section 9.1)"}
		} else if extensions != "" {
			answer["Sec-WebSocket-Extensions"], deflated = []string{extensions}, true
		}
	}
	if refusal != nil {
		refuse(w, refusal)
		return nil, nil, false, refusal
	}
	if name := subprotocol(r.Header["Sec-Websocket-Protocol"]); name != "" {
		answer["Sec-WebSocket-Protocol"] = []string{name}
	}
	// The upgrader looks only at the first line of a header that has several, so it gets what was checked in its plainest form.
	plain := &http.Request{
		Method: r.Method, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Host: r.Host,
		Header: http.Header{
			"Upgrade":               {"websocket"},
			"Connection":            {"Upgrade"},
			"Sec-Websocket-Version": r.Header["Sec-Websocket-Version"],
			"Sec-Websocket-Key":     r.Header["Sec-Websocket-Key"],
		},
	}
	conn, rw, _, err := ws.HTTPUpgrader{Timeout: answerTimeout, Header: answer}.Upgrade(plain, w)
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, nil, false, fmt.Errorf("transport: handshake: %w", err)
	}
	if n := rw.Reader.Buffered(); n > 0 {
		unread, err := rw.Reader.Peek(n)
		if err != nil {
			conn.Close()
			return nil, nil, false, fmt.Errorf("transport: handshake: first bytes: %w", err)
		}
		early = bytes.Clone(unread)
	}
	return conn, early, deflated, nil
}

// check holds r to RFC 6455 section 4.2.1 and returns nil if it may be upgraded.
func check(r *http.Request) *HandshakeError {
	version, key := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return &HandshakeError{http.StatusHTTPVersionNotSupported, "the protocol is not HTTP/1.1 (RFC 6455 section 4.2.1)"}
	case r.Method != http.MethodGet:
		return &HandshakeError{http.StatusMethodNotAllowed, "the method is not GET (RFC 6455 section 4.2.1)"}
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		// A body would stand before the first frame, and a proxy may see its end elsewhere than net/http does.
		return &HandshakeError{http.StatusBadRequest, "the request has a body"}
	case r.Host == "":
		return &HandshakeError{http.StatusBadRequest, "the Host header is missing (RFC 6455 section 4.2.1)"}
	case !hasToken(r.Header["Connection"], "upgrade"):
		return &HandshakeError{http.StatusBadRequest, "the Connection header lacks Upgrade (RFC 6455 section 4.2.1)"}
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return &HandshakeError{http.StatusBadRequest, "the Upgrade header lacks websocket (RFC 6455 section 4.2.1)"}
	case len(version) == 0 || version[0] == "":
		return &HandshakeError{http.StatusBadRequest, "the Sec-WebSocket-Version header is missing (RFC 6455 section 4.2.1)"}
	case len(version) > 1 || version[0] != "13":
		return &HandshakeError{http.StatusUpgradeRequired, "the Sec-WebSocket-Version header is not 13 (RFC 6455 section 4.4)"}
	case len(key) != 1 || !validKey(key[0]):
		return &HandshakeError{http.StatusBadRequest, "the Sec-WebSocket-Key header is not one of 16 bytes in base64 (RFC 6455 section 4.2.1)"}
	}
	return nil
}

func refuse(w http.ResponseWriter, refusal *HandshakeError) {
	h := w.Header()
	h["Connection"] = []string{"close"}
	switch refusal.Status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	case http.StatusUpgradeRequired:
		// RFC 9110 section 15.5.22 wants the protocol that is required named.
		h.Set("Upgrade", "websocket")
		h["Connection"] = []string{"close", "Upgrade"} // net/http closes only where close is the first line, alone
	}
	// RFC 6455 section 4.4 asks for the versions with a wrong version; a client can use them with any refusal.
	h["Sec-WebSocket-Version"] = []string{"13"}
	http.Error(w, refusal.Rule, refusal.Status)
}

func validKey(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16
}

// subprotocol returns the first in the list of a header's lines (RFC 6455 section 11.3.4); "" if there is none, or it is no token.
func subprotocol(lines []string) string {
	first, _, _ := strings.Cut(strings.Join(lines, ","), ",")
	if name := trim(first); isToken(name) {
		return name
	}
	return ""
}

// hasToken reports whether one of the comma-separated elements in a header's lines is token, which is lower case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(trim(element), token) {
				return true
			}
		}
	}
	return false
}
