package engineio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Protocol is the value of the query's EIO.
const Protocol = "4"

// A Code tells a client why its request was refused.
type Code int

const (
	CodeUnknownTransport    Code = 0
	CodeUnknownSID          Code = 1
	CodeBadHandshakeMethod  Code = 2
	CodeBadRequest          Code = 3
	CodeForbidden           Code = 4
	CodeUnsupportedProtocol Code = 5
)

var codeMessages = [...]string{
	CodeUnknownTransport:    "Transport unknown",
	CodeUnknownSID:          "Session ID unknown",
	CodeBadHandshakeMethod:  "Bad handshake method",
	CodeBadRequest:          "Bad request",
	CodeForbidden:           "Forbidden",
	CodeUnsupportedProtocol: "Unsupported protocol version",
}

// An Error is a refused request. The client gets Status and JSON.
type Error struct {
	Code    Code
	Message string // goes to the client
	Detail  string // for the log: what was wrong, without anything that the client sent
}

func refuse(code Code, detail string) *Error {
	return &Error{Code: code, Message: codeMessages[code], Detail: detail}
}

func (e *Error) Error() string {
	return fmt.Sprintf("engineio: request refused with code %d, %s: %s", e.Code, e.Message, e.Detail)
}

// Status is the HTTP status of the answer.
func (e *Error) Status() int {
	if e.Code == CodeForbidden {
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// JSON is the body of the answer, whose type is application/json.
func (e *Error) JSON() []byte {
	// An integer and a string always have a JSON form.
	b, _ := json.Marshal(struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}{e.Code, e.Message})
	return b
}

// A Request is what the checks of an HTTP request look at.
type Request struct {
	Method  string
	Query   url.Values
	Origin  []string // the lines of the Origin header
	Upgrade bool     // whether the request asks for a WebSocket

	// Known reports whether a session has this id. nil knows none.
	Known func(sid string) bool

	// Allow is the application's word on a request that would begin a session. The text of its error is what the client gets as
	// the message; an empty one stands for "Forbidden". nil allows all.
	Allow func() error
}

// Verify checks r in the reference's order (verify and handshake in engine.io/lib/server.ts) and returns nil if r may begin a
// session. The only transport is the WebSocket, which carries one session from its beginning to its end, so that no request may
// join one that there is already.
//
// A key that is given twice has no value: it is neither a transport, nor an id, nor a version.
func (r Request) Verify() *Error {
	if transport, ok := single(r.Query, "transport"); !ok || transport != "websocket" {
		return refuse(CodeUnknownTransport, "the transport is not websocket")
	}
	if len(r.Origin) > 1 || len(r.Origin) == 1 && !validHeaderValue(r.Origin[0]) {
		return refuse(CodeBadRequest, "the Origin header is malformed")
	}
	switch sid, ok := single(r.Query, "sid"); {
	case !ok || sid != "" && (r.Known == nil || !r.Known(sid)):
		return refuse(CodeUnknownSID, "no session has this id")
	case sid != "":
		return refuse(CodeBadRequest, "the session has its WebSocket already")
	case r.Method != http.MethodGet:
		return refuse(CodeBadHandshakeMethod, "the method is not GET")
	case !r.Upgrade:
		return refuse(CodeBadRequest, "the transport is websocket, but no upgrade is asked for")
	}
	if r.Allow != nil {
		if err := r.Allow(); err != nil {
			e := refuse(CodeForbidden, "not allowed")
			if message := err.Error(); message != "" {
				e.Message = message
			}
			return e
		}
	}
	if protocol, ok := single(r.Query, "EIO"); !ok || protocol != Protocol {
		return refuse(CodeUnsupportedProtocol, "EIO is not 4")
	}
	return nil
}

// single returns the value of key in query. It is empty for a key that is not there, and ok is false for one that is there twice.
func single(query url.Values, key string) (value string, ok bool) {
	switch values := query[key]; len(values) {
	case 0:
		return "", true
	case 1:
		return values[0], true
	}
	return "", false
}

// validHeaderValue reports whether v has no control characters but tabs (RFC 9110 section 5.5).
func validHeaderValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
