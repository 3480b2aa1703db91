package transport

import (
	"errors"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A Put is what a client sends at once. Whoever begins it with [Exchange.Put], before the payload comes, calls Deliver or
// DeliverLater at most once, and Done in the end. Its methods may be called concurrently.
type Put struct {
	exchange *Exchange

	// exchange.mu guards what follows.
	began time.Time
	held  int             // counted against the budget, in bytes
	abort func()          // ends what brings the payload
	waits func(err error) // ends the wait of DeliverLater; nil if there is none
}

// An ownError is one of the receiver's own: for Engine.IO the payload was in order.
type ownError struct{ error }

// Put begins a Put. An error is for the client: its session is over, or ends since there is another Put.
func (x *Exchange) Put() (*Put, error) {
	p := &Put{exchange: x, began: time.Now()}
	x.mu.Lock()
	overlap := x.put != nil
	over := x.state >= pollingMoved
	if !overlap && !over {
		x.put = p
	}
	x.mu.Unlock()
	return p, x.turnAway(over, overlap)
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
	x.shared.budget.Add(n - p.held)
	p.held = n
}

// AwaitBudget waits while the budget is used up, until the end of the session or of done, which are errors.
func (p *Put) AwaitBudget(done <-chan struct{}) error {
	b := p.exchange.shared.budget
	for relief := b.Relief(); relief != nil; relief = b.Relief() {
		select {
		case <-relief:
		case <-p.exchange.ending:
			return ErrOver
		case <-done:
			return ErrAborted
		}
	}
	return nil
}

// Deliver gives the session what has come, which is the receiver's to modify, once it is not paused. The end of done ends
// the wait for that, with ErrAborted.
func (p *Put) Deliver(payload []byte, done <-chan struct{}) error {
	for {
		p.exchange.mu.Lock()
		paused := p.exchange.pause()
		p.exchange.mu.Unlock()
		if paused == nil {
			return p.deliver(payload)
		}
		select {
		case <-paused:
		case <-done:
			return ErrAborted
		}
	}
}

// DeliverLater is Deliver without a goroutine that waits: delivered is called once, with what Deliver returns, before
// DeliverLater returns or on a goroutine of the Shared's. It may call Done.
func (p *Put) DeliverLater(payload []byte, delivered func(err error)) {
	x := p.exchange
	x.mu.Lock()
	waits := x.pause() != nil
	if waits {
		p.waits = func(err error) {
			if err != nil {
				delivered(err)
			} else {
				p.DeliverLater(payload, delivered)
			}
		}
	}
	x.mu.Unlock()
	if !waits {
		delivered(p.deliver(payload))
	}
}

// GiveUp says that the client has gone: the wait of DeliverLater ends with ErrAborted, before GiveUp returns. It does
// nothing if that waits no more.
func (p *Put) GiveUp() {
	x := p.exchange
	x.mu.Lock()
	waits := p.waits
	p.waits = nil
	x.mu.Unlock()
	if waits != nil {
		waits(ErrAborted)
	}
}

// pause is closed when the session is not paused any more; nil if it receives, or is over. mu must be held.
func (x *Exchange) pause() <-chan struct{} {
	if x.state == pollingClosing || x.state == pollingClosed {
		return nil
	}
	return x.paused
}

// deliver gives the session what has come.
func (p *Put) deliver(payload []byte) error {
	x := p.exchange
	x.mu.Lock()
	state := x.state
	x.mu.Unlock()
	switch state {
	case pollingClosed:
		return ErrOver
	case pollingClosing: // nothing more is received, but a client that is told of an error may not fetch what is queued
		return nil
	}
	err := x.receiver.Payload(payload)
	if err != nil && !errors.Is(err, engineio.ErrParse) && !errors.Is(err, engineio.ErrDirection) {
		return ownError{err}
	}
	return err
}

// Done ends p with the error of what has brought its payload, or of Deliver: the next Put may begin, and a session that
// is not to go on ends. It returns what the client is to learn: see [Shared.AnswerPost]. It comes before the answer,
// since the client may send the next payload at once.
func (p *Put) Done(err error) error {
	p.Hold(0)
	x := p.exchange
	x.mu.Lock()
	x.put = nil
	x.mu.Unlock()
	var own ownError
	switch {
	case errors.As(err, &own):
		x.closeFor(own.error)
		return nil
	case err != nil && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrOver):
		x.fail(err)
	}
	return err
}
