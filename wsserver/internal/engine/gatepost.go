package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// announceAfter is how long the body of a POST request may be on its way before the owner is told that
// there is one. What comes sooner costs one message.
const announceAfter = time.Millisecond

// brokenTimeout is how long an owner has to hear that the body of a request will not come.
const brokenTimeout = 2 * time.Second

// A strayPost is what a client sends for a session that another server has. The owner gets it when all
// of it is here. If that takes a while, the owner hears before that it comes: another POST request
// meanwhile breaks a rule, whichever server gets that. A strayPost is the [transport.BodyHolder].
type strayPost struct {
	server *Server
	owner  string
	call   strayCall
	ctx    context.Context // ends with the client, or by giveUp
	giveUp context.CancelFunc

	unannounced *time.Timer
	held        int // bytes counted against the budget

	told    chan func([]byte) error // gets the way to tell the owner more, once it has heard of the request
	over    chan struct{}           // closed when the owner has answered an announcement
	refusal *engineio.Error         // its answer

	mu    sync.Mutex // guards what follows
	abort func()     // ends the reading of the body; nil if it is not read
}

// forwardPost passes on what a client sends. The client has its answer when the owner has taken it: so
// what it sends next comes behind it, by whichever server.
func (srv *Server) forwardPost(w http.ResponseWriter, r *http.Request, owner string, call *strayCall) {
	w.Header().Del("Connection")
	p := &strayPost{
		server: srv, owner: owner, call: *call,
		told: make(chan func([]byte) error, 1), over: make(chan struct{}),
	}
	p.ctx, p.giveUp = context.WithCancel(r.Context())
	defer p.giveUp()
	defer p.Hold(0)
	p.unannounced = time.AfterFunc(announceAfter, p.announce)
	reading := r.WithContext(r.Context())
	reading.Body = &strayBody{r.Body, p, r.ContentLength}
	body, err := srv.shared.ReadBody(w, reading, p)
	early := err != nil && p.isOver()
	refusal := p.finish(body, err)
	switch {
	case early && refusal != nil:
		w.Header().Set("Connection", "close") // nobody reads the rest of the body
		srv.refuseStray(w, refusal)
	case err != nil || refusal == nil:
		srv.shared.AnswerPost(w, err)
	default:
		srv.refuseStray(w, refusal)
	}
}

// announce tells the owner that the body comes, and waits for its answer.
func (p *strayPost) announce() {
	call := p.call
	call.coming = true
	_, _, p.refusal = p.server.ask(p.ctx, p.owner, &call, func(tell func([]byte) error) { p.told <- tell })
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	if p.abort != nil {
		p.abort()
	}
}

func (p *strayPost) isOver() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// finish has the owner take the body, or hear what is wrong with it, and returns its answer.
func (p *strayPost) finish(body []byte, err error) *engineio.Error {
	if p.unannounced.Stop() {
		return p.send(body, err)
	}
	select {
	case <-p.over:
	case tell := <-p.told:
		switch failed := tell(appendBody(nil, body, err)); {
		case errors.Is(failed, ErrTooLarge):
			tell(appendBody(nil, nil, failed))
			<-p.over
			return errTooLarge
		case failed != nil:
			p.giveUp()
		}
		<-p.over
	}
	return p.refusal
}

// send is finish for an owner that does not know of the request.
func (p *strayPost) send(body []byte, err error) *engineio.Error {
	ctx := p.ctx
	if err != nil {
		if errors.Is(err, ErrTooLarge) {
			return nil // the session outlives it
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), brokenTimeout)
		defer cancel()
	}
	p.call.body, p.call.broken = body, err
	_, _, refusal := p.server.ask(ctx, p.owner, &p.call, nil)
	return refusal
}

// A strayBody is the body of a strayPost. It is announced as soon as it is known not to be here.
type strayBody struct {
	io.ReadCloser
	post *strayPost
	left int64 // bytes to come; negative if that is not known
}

func (b *strayBody) Read(p []byte) (n int, err error) {
	n, err = b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left > 0 && err == nil && n < len(p) && b.post.unannounced.Stop() {
		b.post.unannounced.Reset(0)
	}
	return n, err
}

// Hold implements [transport.BodyHolder].
func (p *strayPost) Hold(n int) {
	p.server.cfg.Budget.Add(n - p.held)
	p.held = n
}

// AwaitBudget implements [transport.BodyHolder].
func (p *strayPost) AwaitBudget(done <-chan struct{}) error {
	b := p.server.cfg.Budget
	for relief := b.Relief(); relief != nil; relief = b.Relief() {
		select {
		case <-relief:
		case <-p.over:
			return transport.ErrOver
		case <-done:
			return transport.ErrAborted
		}
	}
	return nil
}

// OnAbort implements [transport.BodyHolder].
func (p *strayPost) OnAbort(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abort = f
	if f != nil && p.isOver() {
		f()
	}
}
