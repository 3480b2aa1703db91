package wsserver

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A turnstile lets requests begin connections at Config.Limits.Handshakes a second, in the order in
// which they came. A request that gives up while it waits costs the others no time.
type turnstile struct {
	limiter *rate.Limiter // asked by whoever has the turn; while nobody waits, under mu
	turn    chan struct{} // holds a value while nobody has the turn. A channel wakes who waits in order
	closed  chan struct{} // closed at the end of the server

	mu      sync.Mutex // guards what follows
	waiting int        // requests that wait for the turn, or have it
}

func newTurnstile() *turnstile {
	t := &turnstile{limiter: rate.NewLimiter(rate.Inf, 1), turn: make(chan struct{}, 1), closed: make(chan struct{})}
	t.turn <- struct{}{}
	return t
}

// set changes the rate. What comes in a twentieth of a second may pass at once.
func (t *turnstile) set(l *Limits) {
	if l.Handshakes == 0 {
		t.limiter.SetLimit(rate.Inf)
		return
	}
	t.limiter.SetBurst(max(1, l.Handshakes/20))
	t.limiter.SetLimit(rate.Limit(l.Handshakes))
}

// close ends all waits. It is called once.
func (t *turnstile) close() { close(t.closed) }

// pass waits until a request may begin a connection, or returns why it may not.
func (t *turnstile) pass(ctx context.Context, l *Limits) *engineio.Error {
	if l.Handshakes == 0 {
		return nil
	}
	t.mu.Lock()
	switch {
	case t.waiting == 0 && t.limiter.Allow():
		t.mu.Unlock()
		return nil
	case t.waiting >= l.handshakeQueue():
		t.mu.Unlock()
		return errHandshakes(l.HandshakeWait)
	}
	t.waiting++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
	}()
	tooLate := time.NewTimer(l.HandshakeWait)
	defer tooLate.Stop()
	if refusal := t.await(ctx, t.turn, tooLate.C, l); refusal != nil {
		return refusal
	}
	defer func() { t.turn <- struct{}{} }()
	reserved := t.limiter.Reserve() // nobody else reserves, so that a Cancel gives all of it back
	ready := make(chan struct{})
	timer := time.AfterFunc(reserved.Delay(), func() { close(ready) })
	defer timer.Stop()
	refusal := t.await(ctx, ready, tooLate.C, l)
	if refusal != nil {
		reserved.Cancel()
	}
	return refusal
}

// await waits for what.
func (t *turnstile) await(
	ctx context.Context, what <-chan struct{}, tooLate <-chan time.Time, l *Limits,
) *engineio.Error {
	select {
	case <-what:
		return nil
	case <-t.closed:
		return errClosing
	case <-ctx.Done():
	case <-tooLate:
	}
	return errHandshakes(l.HandshakeWait)
}
