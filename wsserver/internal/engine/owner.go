package engine

import (
	"net/url"
	"sync"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Call is a request that another server passes on for a session of this one: see [Network]. Its methods may be called concurrently.
type Call interface {
	Payload() []byte
	From() string // names the other server

	// Answer is called once. It may wait; an error means that nobody gets the answer.
	Answer([]byte) error

	// OnNote sets what is told what the other server says of the call, one note at a time and in order; it may not block. OnSilent, first, sets
	// what is called if nothing comes of the other server, although it may be back. OnEnd sets what is called if it wants nothing any
	// more, or is gone. Each may be called at once, and none after Done.
	OnNote(func([]byte))
	OnSilent(func())
	OnEnd(func())

	// Done ends the use of a call.
	Done()
}

// Serve takes a request that another server passes on. No goroutine waits with a request that asks what there is for a client.
func (srv *Server) Serve(c Call) {
	srv.served.Add(1)
	var call strayCall
	if call.decode(c.Payload()) != nil {
		answerCall(c, strayAnswer{refusal: engineio.ErrBadRequest})
		return
	}
	var session *Session
	request := engineio.Request{
		Method: call.Method,
		Query: url.Values{
			"transport": {call.Transport}, "EIO": {call.Protocol}, "sid": {call.SID},
		},
		Session: func(sid string) (engineio.Transport, bool) {
			if session = srv.session(sid); session == nil {
				return 0, false
			}
			return session.Transport(), true
		},
	}
	action, refusal := request.Verify()
	var polling *transport.Polling
	if refusal == nil {
		if polling = session.polling(); polling == nil { // it was upgraded meanwhile
			refusal = engineio.ErrBadRequest
		}
	}
	switch {
	case refusal != nil:
		answerCall(c, strayAnswer{refusal: refusal})
	case action == engineio.ActionPoll:
		srv.serveGet(c, polling)
	default:
		srv.servePost(c, polling, call)
	}
}

// answerCall answers a call of which nothing more is to be heard.
func answerCall(c Call, a strayAnswer) {
	c.Answer(a.encode()) // an error means that nobody wants to know
	c.Done()
}

// A heldGet is a request of another server that asks what there is for a client.
type heldGet struct {
	server *Server
	call   Call
	take   *transport.Take

	mu       sync.Mutex // guards what follows
	answered bool       // what there is has been taken, for the client
	lost     bool       // whoever asks is silent, or wants nothing any more
	done     bool       // take is
}

func (srv *Server) serveGet(c Call, polling *transport.Polling) {
	take, err := polling.TakeBy(c.From())
	if err != nil {
		answerCall(c, strayAnswer{refusal: errRefused})
		return
	}
	g := &heldGet{server: srv, call: c, take: take}
	srv.heldGets.Add(1)
	c.OnSilent(g.silent)
	c.OnNote(g.note)
	take.Await(g.ready) // which may answer at once, and be told that all has been taken
	c.OnEnd(g.end)
}

// ready answers with what there is for the client.
func (g *heldGet) ready(err error) {
	g.server.heldGets.Add(-1)
	if err != nil {
		answerCall(g.call, strayAnswer{refusal: errRefused})
		return
	}
	g.mu.Lock()
	g.answered = true
	lost := g.lost
	g.mu.Unlock()
	if lost {
		g.finish(transport.ErrAborted) // which a noop, or a close packet, does not mind
		return
	}
	a := strayAnswer{payload: g.take.Payload, noCompress: g.take.NoCompress}
	if err := g.call.Answer(a.encode()); err != nil {
		g.finish(err)
	}
}

// note is what the gate says of the request. It does not block.
func (g *heldGet) note(b []byte) {
	var n strayNote
	if !n.decode(b) {
		return
	}
	switch n.kind {
	case noteLetGo:
		g.take.LetGo()
	case noteTaken:
		g.take.Wrote(n.n)
	case noteDone:
		g.take.Wrote(n.n)
		g.finish(nil)
	case noteFailed:
		g.server.shared.Go(func() { g.finish(transport.ErrAborted) })
	}
}

// end is that the gate, or its client, has gone.
func (g *heldGet) end() { g.lose(g.take.GiveUp) }

// silent is that nothing comes of the gate. If there was nothing for the client yet, it asks elsewhere, and has lost nothing.
func (g *heldGet) silent() { g.lose(g.take.LetGo) }

// lose ends the request, whose answer does not reach the client. What it has of one that is on its way is not known.
func (g *heldGet) lose(wait func()) {
	g.mu.Lock()
	g.lost = true
	answered := g.answered
	g.mu.Unlock()
	if answered {
		g.finish(transport.ErrAborted)
	} else {
		wait()
	}
}

// finish ends the request, which has been answered. An error means that the client may not have all of it.
func (g *heldGet) finish(err error) {
	g.mu.Lock()
	first := !g.done && g.answered
	g.done = true
	g.mu.Unlock()
	if first {
		g.take.Done(err)
		g.call.Done()
	}
}
