package transport

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// A Take is one answer to a client that asks what there is for it. Whoever begins it with [Exchange.Take] calls
// Wait or Await, once, and if that brings no error Done in the end. While it waits, GiveUp and LetGo may be called
// concurrently.
type Take struct {
	// What was found, as a payload: one or more packets.
	Payload    []byte
	NoCompress bool // it goes out as it is

	by     string // who asks for the client: see TakeBy
	again  bool   // another Take has come while it waited there. Guarded by exchange.mu
	last   bool   // the session ends with frames
	answer byte   // ends the wait, without frames: a packet, or gone; zero if none is chosen. Guarded by exchange.mu

	state atomic.Int32  // takeLooks, takeWoken or takeParked
	woken chan struct{} // has Wait look again: whoever unparks t sends, so one at a time
	ready func(error)   // of Await

	exchange *Exchange
	probing  *time.Timer     // ends the wait while a WebSocket probes; nil if none does
	frames   []*outbox.Frame // of Payload
	abort    func()          // guarded by exchange.mu
}

// What a Take does that is not settled.
const (
	takeLooks  int32 = iota // it looks whether there is something
	takeWoken               // likewise, or it is about to, and it is to look once more
	takeParked              // it has found nothing, and whoever wakes it has it look again
)

// Answers that are no packets.
const (
	gone     = byte(0xff) // of a Take whose client has gone
	overlaps = byte(0xfe) // of one that should not be
)

// Take begins a Take. An error is for the client: its session is over, or ends since another Take waits already.
func (x *Exchange) Take() (*Take, error) { return x.TakeBy("") }

// TakeBy is Take for somebody who asks for the client. A Take that waits for somebody else is answered with a close packet. It may
// have ended there, and another has been asked to repeat it; but if the client has that answer, it is one of two
// that overlap.
func (x *Exchange) TakeBy(by string) (*Take, error) {
	t := &Take{exchange: x, by: by}
	x.mu.Lock()
	if before := x.waiter.Load(); before != nil && before.by != "" && before.by != by {
		before.again = true
		x.answerWaiting(shutdown)
	}
	overlap := x.waiter.Load() != nil
	over := x.state >= pollingMoved
	if !overlap && !over {
		x.waiter.Store(t)
		if x.probing {
			t.probing = time.AfterFunc(probePoll, t.LetGo)
		}
	}
	x.mu.Unlock()
	return t, x.turnAway(over, overlap)
}

// turnAway is why a request is refused: its session is over, or it overlaps with another of its kind, which ends the session.
func (x *Exchange) turnAway(over, overlap bool) error {
	switch {
	case overlap:
		x.fail(ErrOverlap)
		return ErrOverlap
	case over:
		return ErrOver
	}
	return nil
}

// Wait waits until there is something for the client. The end of done is GiveUp.
func (t *Take) Wait(done <-chan struct{}) error {
	if t.poll() {
		return t.result()
	}
	t.woken = make(chan struct{}, 1)
	for !t.look() {
		select {
		case <-t.woken:
		case <-done:
			t.GiveUp()
		}
	}
	return t.result()
}

// Await is Wait without a goroutine that waits: ready is called once, with what Wait returns, on a goroutine of the
// Shared's. If that is closed, which comes after the end of all sessions, it is called before Await returns.
func (t *Take) Await(ready func(err error)) {
	t.ready = ready
	if !t.exchange.shared.group.Go(t.run) {
		t.run()
	}
}

// run looks once for Await.
func (t *Take) run() {
	if t.look() {
		t.ready(t.result())
	}
}

// GiveUp says that the client has gone: the session ends, and then the wait with ErrAborted. It does nothing if the
// Take waits no more.
func (t *Take) GiveUp() { t.choose(gone) }

// LetGo ends the wait with a noop, for a client that is to ask elsewhere. It does nothing if the Take waits no more.
func (t *Take) LetGo() { t.choose(noop) }

// look polls until t is settled, or there is nothing and t is parked. It reports whether t is settled.
func (t *Take) look() bool {
	for {
		t.state.Store(takeLooks)
		if t.poll() {
			return true
		}
		if t.state.CompareAndSwap(takeLooks, takeParked) {
			return false
		}
	}
}

// wake has t look again. It does not wait: locks may be held.
func (t *Take) wake() {
	switch {
	case t.state.Swap(takeWoken) != takeParked:
	case t.woken != nil:
		t.woken <- struct{}{}
	default:
		t.exchange.shared.group.Go(t.run)
	}
}

// poll settles t if an answer was chosen, or there is something to take. It reports whether t is settled.
func (t *Take) poll() bool {
	x := t.exchange
	x.mu.Lock()
	chosen, away := t.answer != 0, x.away != nil
	x.mu.Unlock()
	if chosen {
		t.settle(nil, false)
		return true
	}
	if away { // a client that takes no answer but asks again and again would have the server hold them all
		return false
	}
	frames, last := x.box.Take()
	if len(frames) == 0 && !last {
		return false
	}
	t.settle(frames, last)
	return true
}

// settle has t answer with frames, or if there are none with the answer that was chosen, or a close packet.
func (t *Take) settle(frames []*outbox.Frame, last bool) {
	x := t.exchange
	x.mu.Lock()
	if x.waiter.Load() == t {
		x.waiter.Store(nil)
		t.answer = shutdown // unless there are frames
	}
	if len(frames) > 0 && t.result() == nil {
		x.away = t
		t.frames, t.last = frames, last
	}
	x.mu.Unlock()
	if t.probing != nil {
		t.probing.Stop()
	}
	switch {
	case t.answer == gone || t.answer == overlaps:
		x.box.Done(frames) // lost with the session
		x.fail(t.result())
	case len(frames) == 0:
		x.box.StopWaiting()
		t.Payload, t.NoCompress = []byte{t.answer}, true
	default:
		x.heardAll.Store(last && len(frames) == 1 && frames[0] == closePacket)
		t.Payload, t.NoCompress = payloadOf(frames)
		x.shared.budget.Add(len(t.Payload)) // what goes to one client is its own, however many share its frames
		if last {
			x.Abort() // before the answer, so that no session is known to a client that has it
		}
	}
}

// result is what Wait returns.
func (t *Take) result() error {
	switch t.answer {
	case gone:
		return ErrAborted
	case overlaps:
		return ErrOverlap
	}
	return nil
}

// OnAbort has f called when nobody waits any more for t to be done, since its session has ended; at once, if it has ended by now. f must
// not call anything of the Exchange. nil ends that.
func (t *Take) OnAbort(f func()) {
	x := t.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	t.abort = f
	if f != nil && x.away == t && !t.last && x.state == pollingClosed {
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
	if len(t.frames) == 0 {
		x.mu.Lock()
		defer x.mu.Unlock()
		if t.again && err == nil {
			x.answerWaiting(overlaps)
			x.shared.group.Go(func() { x.fail(ErrOverlap) })
		}
		return
	}
	t.OnAbort(nil)
	if err != nil && !t.last {
		x.fail(fmt.Errorf("%w: %w", ErrAborted, err))
	}
	x.shared.budget.Release(len(t.Payload))
	x.box.Done(t.frames)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.away = nil
	if waiter := x.waiter.Load(); waiter != nil {
		waiter.wake()
	}
}

// choose ends the wait of t with an answer, unless it waits no more.
func (t *Take) choose(answer byte) {
	x := t.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waiter.Load() == t {
		x.answerWaiting(answer)
	}
}

// answerWaiting answers the Take that waits, if there is one. mu must be held.
func (x *Exchange) answerWaiting(answer byte) {
	if t := x.waiter.Load(); t != nil {
		t.answer = answer
		x.waiter.Store(nil)
		t.wake()
	}
}
