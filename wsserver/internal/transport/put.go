package transport

import (
	"errors"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A Put is what a client sends at once. It belongs to one goroutine, which begins it with [Exchange.Put] before the payload comes, and calls
// Done in the end.
type Put struct {
	exchange *Exchange

	// exchange.mu guards what follows.
	began time.Time
	held  int    // counted against the budget, in bytes
	abort func() // ends what brings the payload
}

var errOver = errors.New("transport: session is over")

// An ownError is one of the receiver's own: for Engine.IO the payload was in order.
type ownError struct{ error }

// Put begins a Put. An error is for the client: its session is over, or ends since there is another Put.
func (x *Exchange) Put() (*Put, error) {
	p := &Put{exchange: x, began: time.Now()}
	x.mu.Lock()
	overlap := x.put != nil
	gone := x.state >= pollingMoved
	if !overlap && !gone {
		x.put = p
	}
	x.mu.Unlock()
	return p, x.turnAway(gone, overlap)
}

// OnAbort has f called when nobody waits any more for what p brings, since the session has ended; at once, if it has ended by now. f must
// not call anything of the Exchange. nil ends that.
func (p *Put) OnAbort(f func()) {
	x := p.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	p.abort = f
	if f != nil && x.state == pollingClosed {
		f()
	}
}

// Hold counts n bytes, in all, of what has come and what will be made of it.
func (p *Put) Hold(n int) {
	x := p.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	x.budget.Add(n - p.held)
	p.held = n
}

// AwaitBudget waits while the budget is used up, until the end of the session or of done, which are errors.
func (p *Put) AwaitBudget(done <-chan struct{}) error {
	b := p.exchange.budget
	for relief := b.Relief(); relief != nil; relief = b.Relief() {
		select {
		case <-relief:
		case <-p.exchange.ending:
			return errOver
		case <-done:
			return ErrAborted
		}
	}
	return nil
}

// Deliver gives the session what has come, which is the receiver's to modify, once it is not paused. The end of done ends the wait for that.
func (p *Put) Deliver(payload []byte, done <-chan struct{}) error {
	x := p.exchange
	state, err := x.awaitTurn(done)
	switch {
	case err != nil:
		return err
	case state == pollingClosed:
		return errOver
	case state == pollingClosing: // nothing more is received, but a client that is told of an error may not fetch what is queued
		return nil
	}
	err = x.receiver.Payload(payload)
	if err != nil && !errors.Is(err, engineio.ErrParse) && !errors.Is(err, engineio.ErrDirection) {
		return ownError{err}
	}
	return err
}

// awaitTurn waits until the session is not paused, or over, and returns its state.
func (x *Exchange) awaitTurn(done <-chan struct{}) (pollingState, error) {
	for {
		x.mu.Lock()
		paused, state := x.paused, x.state
		x.mu.Unlock()
		if paused == nil || state == pollingClosing || state == pollingClosed {
			return state, nil
		}
		select {
		case <-paused:
		case <-x.ending:
		case <-done:
			return state, ErrAborted
		}
	}
}

// Done ends p; the next one may begin. It comes before the answer, since the client may send that at once.
func (p *Put) Done() {
	p.Hold(0)
	x := p.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	x.put = nil
}
