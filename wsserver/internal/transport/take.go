package transport

import (
	"fmt"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// A Take is one answer to a client that asks what there is for it. It belongs to one goroutine, which begins it with [Exchange.Take], calls
// Wait once, and if that returns no error Done in the end.
type Take struct {
	// What Wait has found, as a payload: one or more packets.
	Payload    []byte
	NoCompress bool // it goes out as it is

	exchange *Exchange
	answer   chan byte     // a packet without payload that ends the wait: at most one
	probing  bool          // a WebSocket probes
	before   chan struct{} // closed when the take before is done; nil if there was none

	frames  []*outbox.Frame // of Payload
	last    bool            // the session ends with them
	written chan struct{}   // closed by Done; nil if there are no frames
	abort   func()          // guarded by exchange.mu
}

// Take begins a Take. An error is for the client: its session is over, or ends since another Take waits already.
func (x *Exchange) Take() (*Take, error) {
	t := &Take{exchange: x, answer: make(chan byte, 1)}
	x.mu.Lock()
	overlap := x.waits != nil
	gone := x.state >= pollingMoved
	if !overlap && !gone {
		x.waits = t
	}
	t.probing, t.before = x.probing, x.writing
	x.mu.Unlock()
	return t, x.turnAway(gone, overlap)
}

// turnAway is why a request is refused: its session is over, or it overlaps with another of its kind, which ends the session.
func (x *Exchange) turnAway(gone, overlap bool) error {
	switch {
	case overlap:
		x.fail(ErrOverlap)
		return ErrOverlap
	case gone:
		return errOver
	}
	return nil
}

// Wait waits until there is something for the client. An error, after the end of done, means that the client has gone: there is nobody to
// answer, and the session has ended.
func (t *Take) Wait(done <-chan struct{}) error {
	x, before := t.exchange, t.before
	var probe <-chan time.Time
	if t.probing {
		timer := time.NewTimer(probePoll)
		defer timer.Stop()
		probe = timer.C
	}
	for {
		if before == nil {
			if frames, last := x.box.Take(); len(frames) > 0 || last {
				t.carry(frames, last)
				return nil
			}
		}
		select {
		case <-before:
			// Not before: a client that takes no answer but asks again and again would have the server hold them all.
			before = nil
		case <-x.box.Arrived():
		case packet := <-t.answer:
			t.carryNothing(packet)
			return nil
		case <-probe:
			if x.stopWaiting(t) {
				t.carryNothing(noop)
				return nil
			}
		case <-done:
			x.stopWaiting(t)
			x.fail(ErrAborted)
			return ErrAborted
		}
	}
}

// carryNothing has t answer with a packet that carries nothing.
func (t *Take) carryNothing(packet byte) {
	t.exchange.box.StopWaiting()
	t.Payload, t.NoCompress = []byte{packet}, true
}

// carry has t answer with frames.
func (t *Take) carry(frames []*outbox.Frame, last bool) {
	x := t.exchange
	t.frames, t.last, t.written = frames, last, make(chan struct{})
	x.mu.Lock()
	waits := x.waits == t
	if waits {
		x.waits = nil
	}
	x.writing = t.written
	if !last {
		x.away = t
	}
	x.mu.Unlock()
	if len(frames) == 0 {
		packet := shutdown
		if !waits {
			packet = <-t.answer
		}
		t.Payload, t.NoCompress = []byte{packet}, true
		return
	}
	x.heardAll.Store(last && len(frames) == 1 && frames[0] == closePacket)
	t.Payload, t.NoCompress = payloadOf(frames)
	x.budget.Add(len(t.Payload)) // what goes to one client is its own, however many share its frames
	if last {
		x.Abort() // before the answer, so that no session is known to a client that has it
	}
}

// OnAbort has f called when nobody waits any more for t to be done, since its session has ended; at once, if it has ended by now. f must
// not call anything of the Exchange.
func (t *Take) OnAbort(f func()) {
	x := t.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	t.abort = f
	if x.away == t && x.state == pollingClosed {
		f()
	}
}

// Wrote says that the client has taken n more bytes of the answer.
func (t *Take) Wrote(n int) {
	if len(t.frames) > 0 {
		t.exchange.box.Wrote(n)
	}
}

// Done ends t. An error means that the client has not got all of it, which ends the session.
func (t *Take) Done(err error) {
	x := t.exchange
	if t.written == nil {
		return
	}
	x.mu.Lock()
	if x.away == t {
		x.away = nil
	}
	x.mu.Unlock()
	if err != nil && !t.last {
		x.fail(fmt.Errorf("%w: %w", ErrAborted, err))
	}
	if len(t.frames) > 0 {
		x.budget.Release(len(t.Payload))
		x.box.Done(t.frames)
	}
	close(t.written)
}

// stopWaiting ends the wait of a Take. It returns false if that was done before, with an answer for it.
func (x *Exchange) stopWaiting(t *Take) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waits != t {
		return false
	}
	x.waits = nil
	return true
}

// answerWaiting answers the Take that waits, if there is one. mu must be held.
func (x *Exchange) answerWaiting(packet byte) {
	if x.waits != nil {
		x.waits.answer <- packet
		x.waits = nil
	}
}
