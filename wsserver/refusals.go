package wsserver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// Refusals counts the requests that were answered with an error, by reason.
type Refusals struct {
	Rules      uint64 // they broke a rule of HTTP, WebSocket or Engine.IO
	Session    uint64 // they named a session that no server has: it has ended, or its server has gone
	Silent     uint64 // the node that has their session did not answer
	Upgrade    uint64 // they would have upgraded a session of another node: the client goes on with polling
	Origin     uint64 // their page may not connect: Config.HTTP.AllowOrigin
	TooLarge   uint64 // they were more than Config.Limits.HandshakeBytes
	Request    uint64 // Config.HTTP.AllowRequest did not allow them
	Full       uint64 // Config.Limits.MaxConnections
	Address    uint64 // Config.Limits.PerAddress
	Key        uint64 // Config.Limits.PerKey
	Handshakes uint64 // Config.Limits.Handshakes, and the wait for it
	Closing    uint64 // the server was closing, or closed
	Draining   uint64 // Server.Drain was sending the clients to other nodes
	Config     uint64 // the server's Config was wrong: see Server.Ready
}

// The refusals of a server's own.
var (
	errOrigin = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "origin not allowed", Refusal: engineio.RefusedOrigin,
	}

	// RFC 6585 section 5.
	errHandshake = &engineio.Error{
		Code: engineio.CodeBadRequest, Message: "Request header fields too large", Refusal: engineio.RefusedTooLarge,
		Detail: "the query and the headers that are kept are more than Config.Limits.HandshakeBytes",
		Answer: http.StatusRequestHeaderFieldsTooLarge,
	}

	errFull = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "the server has as many connections as it may: try again later",
		Refusal: engineio.RefusedFull, Answer: http.StatusServiceUnavailable, RetryAfter: retrySeconds,
	}

	// RFC 6585 section 4, and so the next.
	errAddress = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "too many connections from this address: close some, or try again later",
		Refusal: engineio.RefusedAddress, Answer: http.StatusTooManyRequests, RetryAfter: retrySeconds,
	}
	errKey = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "too many connections with this key: close some, or try again later",
		Refusal: engineio.RefusedKey, Answer: http.StatusTooManyRequests, RetryAfter: retrySeconds,
	}

	errClosing = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "server shutting down", Refusal: engineio.RefusedClosing,
		Answer: http.StatusServiceUnavailable,
	}

	errDraining = &engineio.Error{
		Code: engineio.CodeForbidden, Message: "server shutting down: connect to another",
		Refusal: engineio.RefusedDraining, Answer: http.StatusServiceUnavailable, RetryAfter: 1,
	}
)

// retrySeconds is what clients are told that find no place: how soon there is one cannot be known.
const retrySeconds = 5

// errHandshakes refuses a request that could not begin a connection within the wait.
func errHandshakes(wait time.Duration) *engineio.Error {
	seconds := max(1, int(wait.Seconds()))
	return &engineio.Error{
		Code: engineio.CodeForbidden, Message: fmt.Sprintf("too many clients are connecting: try again in %d s", seconds),
		Refusal: engineio.RefusedHandshakes, Answer: http.StatusServiceUnavailable, RetryAfter: seconds,
	}
}

// refuse logs a refusal that one of the Limits causes, of each sort one a minute, and returns it.
func (srv *Server) refuse(refusal *engineio.Error, r *http.Request) error {
	if more, ok := srv.refusals[refusal.Refusal].allow(); ok {
		srv.cfg.Logger.Warn("belfry: a client was refused by one of Config.Limits", "reason", refusal.Message,
			"remote", r.RemoteAddr, "others since the last line", more)
	}
	return refusal
}

// refusalStats returns the counts, and their sum.
func (srv *Server) refusalStats(n [engineio.NumRefusals]uint64) (sum uint64, by Refusals) {
	by = Refusals{
		Rules: n[engineio.RefusedRules], Session: n[engineio.RefusedSession],
		Origin: n[engineio.RefusedOrigin], TooLarge: n[engineio.RefusedTooLarge],
		Request: n[engineio.RefusedProgram], Full: n[engineio.RefusedFull],
		Address: n[engineio.RefusedAddress], Key: n[engineio.RefusedKey],
		Handshakes: n[engineio.RefusedHandshakes], Closing: n[engineio.RefusedClosing],
		Draining: n[engineio.RefusedDraining], Silent: n[engineio.RefusedSilent], Upgrade: n[engineio.RefusedStray],
		Config: srv.counts.unusable.Load(),
	}
	sum = by.Config
	for _, of := range n {
		sum += of
	}
	return sum, by
}
