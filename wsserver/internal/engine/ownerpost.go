package engine

import (
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A heldPost is a POST request that another server passes on. It is answered when the session has taken
// the body, which may be here, or may come with a note.
type heldPost struct {
	server *Server
	call   Call
	put    *transport.Put
	come   atomic.Bool // the body, or that it will not come
}

func (srv *Server) servePost(c Call, polling *transport.Polling, call strayCall) {
	put, err := polling.Put()
	if err != nil {
		answerCall(c, strayAnswer{refusal: errRefused})
		return
	}
	p := &heldPost{server: srv, call: c, put: put}
	if call.coming {
		c.OnSilent(p.end)
		c.OnNote(p.note)
		put.OnAbort(func() { srv.shared.Go(func() { p.take(nil, transport.ErrOver) }) })
	} else {
		p.take(call.body, call.broken)
	}
	c.OnEnd(p.end)
}

// note brings the body. It does not block.
func (p *heldPost) note(b []byte) {
	body, err := bodyOf(b)
	p.server.shared.Go(func() { p.take(body, err) })
}

// take has the session take the body, or hear what is wrong with it. It does nothing the second time.
func (p *heldPost) take(body []byte, broken error) {
	if !p.come.CompareAndSwap(false, true) {
		return
	}
	p.put.OnAbort(nil)
	if broken != nil {
		p.done(broken)
		return
	}
	p.put.Hold(2 * len(body)) // and what will be made of it
	p.put.DeliverLater(body, p.done)
}

// end is that nobody waits for the answer any more, or nothing comes of who does.
func (p *heldPost) end() {
	p.take(nil, transport.ErrAborted)
	p.put.GiveUp()
}

func (p *heldPost) done(err error) {
	a := strayAnswer{}
	if p.put.Done(err) != nil {
		a.refusal = errRefused
	}
	answerCall(p.call, a)
}
