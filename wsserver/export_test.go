package wsserver

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/belfry-io/belfry/adapter/packet"
)

// PendingAcks is the number of acknowledgements that s waits for.
func (s *Socket) PendingAcks() int {
	s.acks.mu.Lock()
	defer s.acks.mu.Unlock()
	return len(s.acks.waiting)
}

// Expect is what a broadcast does that asks s, and finds out meanwhile that it has ended.
func (s *Socket) Expect() error { return s.expect(0, func(packet.Args, bool) {}) }

// Listening reports whether the rooms tell the namespace of their events.
func (ns *Namespace) Listening() bool {
	ns.server.mu.Lock()
	defer ns.server.mu.Unlock()
	return ns.unlisten != nil
}

// The steps of a hand-over, and of a move: the calls that Around is for.
const (
	Offer = callOffer
	Give  = callGive
	Claim = callClaim
	Take  = callTake
	Done  = callDone
)

// Around has step called in place of each call of a kind that the server is to answer. It has the
// call served by serve, and returns whether the caller gets the answer.
func (srv *Server) Around(kind string, step func(serve func()) (answer bool)) {
	rec := srv.recovery
	switch kind {
	case Offer:
		around(srv, kind, rec.serveOffer, step)
	case Give:
		around(srv, kind, rec.serveGive, step)
	case Claim:
		around(srv, kind, rec.serveClaim, step)
	case Take:
		around(srv, kind, rec.serveTake, step)
	case Done:
		around(srv, kind, rec.serveDone, step)
	}
}

func around[Q, A any](srv *Server, kind string, serve func(context.Context, string, Q) A, step func(func()) bool) {
	srv.hub.Handle(kind, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(payload, &q); err != nil {
			return nil, err
		}
		var a A
		if !step(func() { a = serve(ctx, from, q) }) {
			return nil, errors.New("the answer is lost")
		}
		return json.Marshal(a)
	})
}

// HeirOf is the node to which the session of a socket goes first.
func (srv *Server) HeirOf(id string) string {
	alive, _, _ := srv.recovery.others()
	return heir(id, alive)
}

// Unfinished is what a hand-over has under way: sessions that were offered to this server, and
// sockets that it has sent away.
func (srv *Server) Unfinished() (offered, departures int) {
	rec := srv.recovery
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return len(rec.offered), len(rec.departures)
}
