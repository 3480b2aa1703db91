package engine

import (
	"context"
	"errors"
	"net/http"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A request may come to a server that does not have its session: the gate. It passes the request on to the owner, which treats it as one
// of its own, and answers its client as the owner says. The gate reads the client's bytes and writes them, at the pace of its own clients;
// everything that has to do with the session is the owner's.

// A Network is the way to the other servers. Its methods may be called concurrently.
type Network interface {
	// Find returns the server that has a session which is not here, or why a request for it is refused: the id is nobody's, or the server has
	// gone, or is silent for too long. Find may wait for that. upgrade says that the request is one, which is always refused.
	Find(r *http.Request, sid string, upgrade bool) (server string, refusal *engineio.Error)

	// Call has a server take a call by [Server.Serve], and returns its answer, and the way to tell it more. sent is called, with the same,
	// when the call is on its way. ctx ends the call. An error means that the server does not answer. One of Call or of tell that
	// wraps [ErrTooLarge] means that so much does not go from server to server.
	Call(ctx context.Context, server string, call []byte, sent func(tell func([]byte) error)) (answer []byte, tell func([]byte) error, err error)

	// Absent notes that no session has this id, and never will.
	Absent(sid string)
}

// ErrTooLarge is more than goes from server to server: the client learns it, and the session goes on.
var ErrTooLarge = transport.ErrTooLarge

// ErrSilent refuses a request that its session's server does not answer (RFC 9110 section 15.6.4).
var ErrSilent = &engineio.Error{
	Code: engineio.CodeBadRequest, Message: "the server that has the session does not answer", Refusal: engineio.RefusedSilent,
	Answer: http.StatusServiceUnavailable, RetryAfter: 1,
}

// forward serves a request whose session is not here.
func (srv *Server) forward(w http.ResponseWriter, r *http.Request, request *engineio.Request, sid string) {
	if srv.enter() != nil {
		srv.shuttingDown(w)
		return
	}
	defer srv.live.Done()
	server, refusal := srv.cfg.Network.Find(r, sid, request.Upgrade)
	if refusal != nil {
		srv.refuse(w, request.Upgrade, refusal)
		return
	}
	call := &strayCall{SID: sid, Method: r.Method, Transport: request.Query.Get("transport")}
	if protocol := request.Query["EIO"]; len(protocol) == 1 {
		call.Protocol = protocol[0]
	}
	srv.forwarded.Add(1)
	if r.Method == http.MethodPost {
		srv.forwardPost(w, r, server, call)
	} else {
		srv.forwardGet(w, r, server, call)
	}
}

// ask has the owner take a call, and decodes its answer.
func (srv *Server) ask(ctx context.Context, server string, call *strayCall, sent func(tell func([]byte) error)) (
	a strayAnswer, tell func([]byte) error, refusal *engineio.Error,
) {
	b, tell, err := srv.cfg.Network.Call(ctx, server, call.append(nil), sent)
	if err == nil {
		err = a.decode(b)
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return a, nil, errTooLarge
	case err != nil:
		srv.cfg.Logger.Debug("belfry: a request was not answered by the server that has its session", "other", server, "error", err)
		return a, nil, ErrSilent
	case a.refusal != nil && a.refusal.Code == engineio.CodeUnknownSID:
		srv.cfg.Network.Absent(call.SID)
	}
	return a, tell, a.refusal
}

// refuseStray answers a request as its owner does, which counts what it refuses within a session.
func (srv *Server) refuseStray(w http.ResponseWriter, refusal *engineio.Error) {
	switch refusal {
	case errRefused:
		transport.RefuseRequest(w)
	case errTooLarge:
		srv.shared.AnswerPost(w, transport.ErrTooLarge)
	default:
		srv.refuse(w, false, refusal)
	}
}

// forwardGet passes on that a client asks what there is for it.
func (srv *Server) forwardGet(w http.ResponseWriter, r *http.Request, server string, call *strayCall) {
	transport.Unhurried(w)
	g := &strayGet{server: srv}
	a, tell, refusal := srv.ask(r.Context(), server, call, g.sent)
	g.over()
	if refusal != nil {
		srv.refuseStray(w, refusal)
		return
	}
	srv.cfg.Budget.Add(len(a.payload))
	defer srv.cfg.Budget.Release(len(a.payload))
	n := 0 // bytes that the owner does not know of yet
	err := srv.shared.WritePayload(w, r, a.payload, a.noCompress, func(taken int) {
		if n > 0 {
			tell(strayNote{noteTaken, n}.encode())
		}
		n = taken
	})
	last := strayNote{noteDone, n}
	if err != nil {
		last.kind = noteFailed
	}
	tell(last.encode()) // if it does not get there, the owner is not there
}

// A strayGet is a request that waits for the owner's answer.
type strayGet struct {
	server *Server
	tell   func([]byte) error // guarded by server.mu
}

// sent notes that the request is on its way. It is let go if the server closes, since the client's next one comes to another.
func (g *strayGet) sent(tell func([]byte) error) {
	srv := g.server
	srv.mu.Lock()
	g.tell = tell
	srv.strayGets[g] = struct{}{}
	closed := srv.closed != nil
	srv.mu.Unlock()
	if closed {
		tell(strayNote{kind: noteLetGo}.encode())
	}
}

func (g *strayGet) over() {
	g.server.mu.Lock()
	defer g.server.mu.Unlock()
	delete(g.server.strayGets, g)
}

// letStraysGo has all requests answered that wait for other servers.
func (srv *Server) letStraysGo() {
	srv.mu.Lock()
	var all []func([]byte) error
	for g := range srv.strayGets {
		all = append(all, g.tell)
	}
	srv.mu.Unlock()
	for _, tell := range all {
		tell(strayNote{kind: noteLetGo}.encode())
	}
}
