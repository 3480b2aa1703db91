package wsserver

import (
	"context"
	"sync"
	"sync/atomic"
)

// A stage is how far a socket has come in its life.
type stage uint32

const (
	connecting stage = iota
	connected
	ended   // for a reason, the cause of the context. It is in its rooms, and the events that wait may yet be handled
	parting // the handlers of OnDisconnecting have begun
	leaving // it leaves its rooms
	parted  // the handlers of OnDisconnect have begun
	gone    // they have ended
)

// A life is the one owner of how far a socket has come: whatever asks "is it over?" asks here. Its
// zero value has just begun.
type life struct {
	ctx   lifetime      // ends with the life, for the reason that is its cause
	stage atomic.Uint32 // a stage; changes under mu

	mu      sync.Mutex // held for a whole step, with all that belongs to it; guards what follows
	greeted bool       // the client was told that it is connected
	parked  bool       // a session has the seat
	barred  bool       // none may have it
}

// at returns the stage. A socket counts as connected while its client is being told so.
func (l *life) at() stage {
	at := stage(l.stage.Load())
	if at == connecting {
		l.mu.Lock()
		defer l.mu.Unlock()
		at = stage(l.stage.Load())
	}
	return at
}

// over reports whether the life has ended.
func (l *life) over() bool { return stage(l.stage.Load()) >= ended }

// reason is why the life has ended; nil if it has not.
func (l *life) reason() error {
	if !l.over() {
		return nil
	}
	l.mu.Lock() // the context ends in the same step, a moment later
	defer l.mu.Unlock()
	return context.Cause(&l.ctx)
}

// wasGreeted reports whether the client was ever told that it is connected.
func (l *life) wasGreeted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.greeted
}

// greet makes who is connecting connected, if tell reports that the client is told so. It reports
// false if the life goes on as it was, and does not call tell if it has ended.
func (l *life) greet(tell func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stage(l.stage.Load()) != connecting || !tell() {
		return false
	}
	l.greeted = true
	l.stage.Store(uint32(connected))
	return true
}

// end ends a life that has not come to before, which is connected or ended, and does what belongs
// to that step. It reports false, and does nothing, if it has.
func (l *life) end(before stage, reason error, do func(greeted bool)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stage(l.stage.Load()) >= before {
		return false
	}
	l.stage.Store(uint32(ended))
	l.ctx.end(reason)
	do(l.greeted)
	return true
}

// advance moves a life that has ended on to another stage. It waits for the step of its end.
func (l *life) advance(to stage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage.Store(uint32(to))
}

// park has pass leave a session on the seat, and reports whether it has.
func (l *life) park(pass func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked = l.parked || !l.barred && pass()
	return l.parked
}

// unpark has whoever lives take the seat of the session by take, or another, in one step. It reports
// false if take does.
func (l *life) unpark(take func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !take() {
		return false
	}
	l.parked = false
	return true
}

// bar has no session on the seat. It reports false if one was there already.
func (l *life) bar() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.barred = !l.parked
	return l.barred
}

// seated reports whether whoever lives still has its seat: it has neither left it nor left a session
// there.
func (l *life) seated() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.parked && stage(l.stage.Load()) < parted
}
