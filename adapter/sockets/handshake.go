package sockets

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// A Handshake is what a client sent when it connected.
type Handshake struct {
	Auth       json.RawMessage `json:"auth,omitempty"` // the client's option "auth", an object; nil for none
	Query      url.Values      `json:"query"`          // of the connection's first request, without Engine.IO's own parameters
	Header     http.Header     `json:"header"`         // of that request: the headers in the server's Config.HTTP.KeepHeaders
	RemoteAddr string          `json:"remoteAddr"`     // as in http.Request
	Secure     bool            `json:"secure"`         // the request came over TLS that ended in the server
	Time       time.Time       `json:"time"`           // of that request
}
