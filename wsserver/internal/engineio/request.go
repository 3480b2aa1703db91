package engineio

import (
	"encoding/json"
	"errors"
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

// An Error is a refused request.
//
// An HTTP request is answered with Status, and with JSON of the type application/json. A refused upgrade is answered with 400, unless it has
// an Answer, and with Message of the type text/html (abortUpgrade in engine.io/lib/server.ts).
type Error struct {
	Code    Code
	Message string   // goes to the client
	Detail  string   // for the log: what was wrong, without anything that the client sent
	Allow   []string // the methods that the session takes instead (RFC 9110 section 10.2.1); nil unless Status is 405

	Refusal    Refusal // why, for those who count
	Answer     int     // Status; zero means that of Code
	RetryAfter int     // how long the client is to wait, in seconds (RFC 9110 section 10.2.3); zero says nothing
}

// A Refusal is why a request was refused.
type Refusal uint8

const (
	RefusedRules      Refusal = iota // it breaks a rule of HTTP, WebSocket or Engine.IO
	RefusedSession                   // no session has the id that it names
	RefusedOrigin                    // its page may not connect
	RefusedTooLarge                  // too much would be kept of it
	RefusedProgram                   // the program does not allow it
	RefusedFull                      // there are too many sessions in all
	RefusedAddress                   // there are too many sessions of its address
	RefusedKey                       // there are too many sessions of its key
	RefusedHandshakes                // too many requests begin a session at the moment
	RefusedClosing                   // the server closes
	RefusedDraining                  // the server sends its clients to others
	RefusedSilent                    // the server that has its session does not answer
	RefusedStray                     // it would upgrade a session of another server
	NumRefusals
)

// ErrBadRequest is the refusal of a request that has no place in its session.
var ErrBadRequest = refuse(CodeBadRequest, "the request has no place in its session")

func refuse(code Code, detail string) *Error {
	refusal := &Error{Code: code, Message: codeMessages[code], Detail: detail}
	if code == CodeUnknownSID {
		refusal.Refusal = RefusedSession
	}
	return refusal
}

func (e *Error) Error() string {
	return fmt.Sprintf("engineio: request refused with code %d, %s: %s", e.Code, e.Message, e.Detail)
}

// Status is the HTTP status of the answer.
func (e *Error) Status() int {
	switch {
	case e.Allow != nil:
		return http.StatusMethodNotAllowed
	case e.Answer != 0:
		return e.Answer
	case e.Code == CodeForbidden:
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

// An Action is what a request asks for that may be served.
type Action uint8

const (
	ActionOpen    Action = iota + 1 // begins a session: on a WebSocket if the request is an upgrade, else one that polls
	ActionPoll                      // GET of a session that polls
	ActionSend                      // POST of a session that polls
	ActionUpgrade                   // a WebSocket for a session, which may be one that has or gets another WebSocket already
)

// A Request is what the checks of an HTTP request look at.
type Request struct {
	Method  string
	Query   url.Values
	Origin  []string // the lines of the Origin header
	Upgrade bool     // whether the request asks for a WebSocket

	// Transports are the transports that are enabled, joined with |. Zero enables both.
	Transports Transport

	// Session looks for the session with this id and returns its transport. It is called at most once. nil knows none.
	Session func(sid string) (transport Transport, ok bool)

	// Allow is the application's word on a request that would begin a session or open a WebSocket for one. It is called at most once.
	// The text of its error is what the client gets as the message; an empty one stands for "Forbidden". An [*Error] is the refusal
	// itself. nil allows all.
	Allow func() error
}

// Verify checks r in the reference's order (verify and handshake in engine.io/lib/server.ts), and says what r asks for or why it is refused.
//
// A key that is given twice has no value: it is neither a transport, nor an id, nor a version.
func (r Request) Verify() (Action, *Error) {
	name, _ := single(r.Query, "transport")
	transport, ok := parseTransport(name)
	if !ok || r.Transports != 0 && r.Transports&transport == 0 {
		return 0, refuse(CodeUnknownTransport, "the transport is unknown or not enabled")
	}
	if transport == TransportPolling && r.Query.Has("j") {
		return 0, refuse(CodeBadRequest, "JSONP is not supported")
	}
	if len(r.Origin) > 1 || len(r.Origin) == 1 && !validHeaderValue(r.Origin[0]) {
		return 0, refuse(CodeBadRequest, "the Origin header is malformed")
	}
	switch sid, ok := single(r.Query, "sid"); {
	case !ok:
		return 0, refuse(CodeUnknownSID, "the id is given more than once")
	case sid != "":
		return r.verifyJoin(transport, sid)
	}
	return r.verifyOpen(transport)
}

// verifyOpen checks a request without an id (Engine.IO 4, "Handshake").
func (r Request) verifyOpen(transport Transport) (Action, *Error) {
	if r.Method != http.MethodGet {
		return 0, refuse(CodeBadHandshakeMethod, "the method is not GET")
	}
	if refusal := r.verifyUpgrade(transport); refusal != nil {
		return 0, refusal
	}
	if refusal := r.verifyAllowed(); refusal != nil {
		return 0, refusal
	}
	if !r.speaksProtocol() {
		return 0, refuse(CodeUnsupportedProtocol, "EIO is not 4")
	}
	return ActionOpen, nil
}

// verifyJoin checks a request with an id (Engine.IO 4, "Sending and receiving data" and "Upgrade").
func (r Request) verifyJoin(transport Transport, sid string) (Action, *Error) {
	if r.Session == nil {
		return 0, refuse(CodeUnknownSID, "no session has this id")
	}
	current, ok := r.Session(sid)
	if !ok {
		return 0, refuse(CodeUnknownSID, "no session has this id")
	}
	if !r.Upgrade && transport != current {
		return 0, refuse(CodeBadRequest, "the session has another transport")
	}
	if !r.speaksProtocol() {
		return 0, refuse(CodeBadRequest, "EIO is not that of the session")
	}
	if refusal := r.verifyUpgrade(transport); refusal != nil {
		return 0, refusal
	}
	switch {
	case r.Upgrade && r.Method != http.MethodGet:
		return 0, refuse(CodeBadHandshakeMethod, "the method of the upgrade is not GET")
	case r.Upgrade:
		if refusal := r.verifyAllowed(); refusal != nil {
			return 0, refusal
		}
		return ActionUpgrade, nil
	case r.Method == http.MethodGet:
		return ActionPoll, nil
	case r.Method == http.MethodPost:
		return ActionSend, nil
	}
	// The reference answers with 500. Either way the session goes on.
	refusal := refuse(CodeBadRequest, "the method is neither GET nor POST")
	refusal.Allow = []string{http.MethodGet, http.MethodPost}
	return 0, refusal
}

// verifyUpgrade checks that the request is an upgrade if the transport is the WebSocket, and only then.
func (r Request) verifyUpgrade(transport Transport) *Error {
	switch {
	case transport == TransportWebSocket && !r.Upgrade:
		return refuse(CodeBadRequest, "the transport is websocket, but no upgrade is asked for")
	case transport == TransportPolling && r.Upgrade:
		return refuse(CodeBadRequest, "the transport is polling, but an upgrade is asked for")
	}
	return nil
}

func (r Request) verifyAllowed() *Error {
	if r.Allow == nil {
		return nil
	}
	err := r.Allow()
	if err == nil {
		return nil
	}
	return RefusalOf(err)
}

// RefusalOf is an error of the application as a refusal: see [Request.Allow].
func RefusalOf(err error) *Error {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal
	}
	refusal = refuse(CodeForbidden, "not allowed")
	refusal.Refusal = RefusedProgram
	if message := err.Error(); message != "" {
		refusal.Message = message
	}
	return refusal
}

func (r Request) speaksProtocol() bool {
	protocol, _ := single(r.Query, "EIO")
	return protocol == Protocol
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
