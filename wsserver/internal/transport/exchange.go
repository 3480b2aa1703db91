package transport

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// probePoll is how long a poll may wait while a WebSocket probes: the client cannot finish its upgrade before the poll has its
// answer. It is the reference's, and not shorter, since the client may poll again at once.
const probePoll = 100 * time.Millisecond

var (
	// ErrOverlap is a second GET, or a second POST, while there is one (Engine.IO 4, "Sending and receiving data").
	ErrOverlap = errors.New("transport: two requests of a kind at a time")

	// ErrContentType is a POST of bytes: in Engine.IO 4 they travel as base64.
	ErrContentType = errors.New("transport: payload is not text")

	// ErrAborted is a request that its client gave up: what it would have carried away may be lost.
	ErrAborted = errors.New("transport: request aborted by the client")

	// ErrTooLarge is a payload of more bytes than a message may have. The client learns it, and the session goes on.
	ErrTooLarge = errors.New("transport: payload too large")

	// ErrOver is a request for a session that is over.
	ErrOver = errors.New("transport: session is over")
)

// An ExchangeReceiver is the owner of an [Exchange]. None of its methods may block; they may call those of the Exchange.
type ExchangeReceiver interface {
	// Payload takes the payload of a [Put], which is the receiver's to modify until it returns. An error ends the session; one that wraps
	// [engineio.ErrParse] or [engineio.ErrDirection] refuses the request as well.
	Payload(body []byte) error

	// Large says that a large frame is the next to be fetched: see [outbox.Owner].
	Large()

	// Closing says why nothing more will come: an error of Payload, of this package, of the network, [outbox.ErrTooSlow] or
	// [outbox.ErrBehind]. It is called once, unless Close or Abort came first.
	Closing(err error)

	// Closed says that nothing more goes either way. It is called once after Init, unless the session has moved to another carrier.
	Closed()
}

// An Exchange carries a session whose client polls (Engine.IO 4, "HTTP long-polling"): a [Take] fetches what is for the client, a [Put]
// brings what it sends, one of each at a time. It knows no HTTP: see [Polling]. It begins with Init and must not be copied. Its methods
// may be called concurrently.
type Exchange struct {
	receiver ExchangeReceiver
	shared   *Shared
	box      outbox.Mailbox
	waiter   atomic.Pointer[Take] // waits for something; nil if none does. Written with mu held
	ending   chan struct{}        // closed when the session is over
	heardAll atomic.Bool

	mu      sync.Mutex // guards what follows; taken before the mailbox's
	away    *Take      // carries frames and is not done; nil if there is none
	put     *Put       // nil if there is none
	probing bool
	paused  chan struct{} // closed at the end of the pause; nil if there is none
	state   pollingState
}

type pollingState uint8

const (
	pollingOpen    pollingState = iota
	pollingClosing              // what is queued is still fetched, and nothing more is received
	pollingMoved                // another carrier has the session
	pollingClosed
)

// Packets that end a poll without carrying anything (Engine.IO 4, "Protocol").
const (
	noop     = byte(engineio.PacketNoop)
	shutdown = byte(engineio.PacketClose)
)

var closePacket = NewFrame(false, []byte{shutdown})

// Init makes x that of a new session.
func (x *Exchange) Init(t *Shared, r ExchangeReceiver) {
	x.receiver, x.shared = r, t
	x.ending = make(chan struct{})
	x.box.Init(t.group, (*mailboxOwner)(x))
}

// Kind says what polling is to a session.
func (x *Exchange) Kind() engineio.Transport { return engineio.TransportPolling }

// Append queues a frame for the next Take, and so does Send. After MoveTo it goes to the heir. They return false if it was not queued.
func (x *Exchange) Append(f *outbox.Frame) bool { return x.box.Append(f) }
func (x *Exchange) Send(f *outbox.Frame) bool   { return x.box.Append(f) }

// Pause stops receiving: a Put waits until Resume, and so does all that the client sends behind it.
func (x *Exchange) Pause() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.paused == nil {
		x.paused = make(chan struct{})
	}
}

// Resume ends a pause.
func (x *Exchange) Resume() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.resume()
}

// resume has the Put that waits go on. mu must be held.
func (x *Exchange) resume() {
	if x.paused == nil {
		return
	}
	close(x.paused)
	x.paused = nil
	if x.put != nil && x.put.waits != nil {
		waits := x.put.waits
		x.put.waits = nil
		x.shared.group.Go(func() { waits(nil) })
	}
}

// Probe says whether a WebSocket probes. The Take that waits when that begins is answered at once, and those that come meanwhile soon
// (Engine.IO 4, "Upgrade"): the client finishes its upgrade when none is left.
func (x *Exchange) Probe(probing bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.probing = probing
	if probing {
		x.answerWaiting(noop)
	}
}

// MoveTo moves the session to another carrier, with all that is queued, and answers the Take that still waits. It returns false if the
// session is closing. A Put that has begun will be received.
func (x *Exchange) MoveTo(heir outbox.Heir) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state != pollingOpen || !x.box.MoveTo(heir) {
		return false
	}
	x.state = pollingMoved
	x.answerWaiting(noop)
	return true
}

// Idle reports whether no Take waits, and nothing waits for one.
func (x *Exchange) Idle() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	waiting := x.box.Waiting()
	return x.waiter.Load() == nil && waiting.Bytes == waiting.Writing
}

// Waiting returns what waits for the client, and what has come of a body that was not received yet.
func (x *Exchange) Waiting() (out, in outbox.Waiting) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.put != nil && x.put.held > 0 {
		in.Bytes, in.Oldest = x.put.held, time.Since(x.put.began)
		in.Writing = in.Bytes // whoever reads it gives it up
	}
	return x.box.Waiting(), in
}

// Taken, PingTaken and DropVolatile are those of its [outbox.Mailbox].
func (x *Exchange) Taken() uint32   { return x.box.Taken() }
func (x *Exchange) PingTaken() bool { return x.box.PingTaken() }
func (x *Exchange) DropVolatile()   { x.box.DropVolatile() }

// Close ends the session: what was queued and a close packet are for the Take that waits, or for the next one. How long to wait for that,
// before Abort, is the caller's decision.
func (x *Exchange) Close() {
	x.mu.Lock()
	if x.state == pollingOpen {
		x.state = pollingClosing
		close(x.ending)
		x.resume()
	}
	x.mu.Unlock()
	x.box.CloseAfterFlush(closePacket)
}

// HeardAll implements the engine's Carrier: the close packet was the answer to a request of its own, and so
// the client had all answers before.
func (x *Exchange) HeardAll() bool { return x.heardAll.Load() }

// GoAway is Close: a close packet has no reason.
func (x *Exchange) GoAway() { x.Close() }

// Abort ends the session at once. A Take that waits is answered with a close packet, and what is queued, or being written, is lost.
func (x *Exchange) Abort() { x.abort(shutdown) }

// Dismiss is Abort for a client that has closed the session itself: a Take that waits is answered with a noop.
func (x *Exchange) Dismiss() { x.abort(noop) }

func (x *Exchange) abort(packet byte) {
	x.mu.Lock()
	if x.state >= pollingMoved {
		x.mu.Unlock()
		return
	}
	if x.state == pollingOpen {
		close(x.ending)
	}
	x.state = pollingClosed
	x.resume()
	x.answerWaiting(packet)
	if x.put != nil && x.put.abort != nil {
		x.put.abort() // nobody waits for it any more
	}
	if x.away != nil && x.away.abort != nil {
		x.away.abort()
	}
	x.mu.Unlock()
	x.box.Close()
	x.receiver.Closed()
}

// fail ends the session for a reason that its owner does not know yet.
func (x *Exchange) fail(err error) {
	x.mu.Lock()
	first := x.state == pollingOpen
	moved := x.state == pollingMoved
	x.mu.Unlock()
	if first || moved && !errors.Is(err, ErrAborted) && !errors.Is(err, ErrOverlap) {
		x.receiver.Closing(err)
	}
	x.Abort()
}

// closeFor ends the session for a reason that its owner does not know yet, after what is queued has been fetched.
func (x *Exchange) closeFor(err error) {
	x.mu.Lock()
	over := x.state >= pollingClosing
	moved := x.state == pollingMoved
	x.mu.Unlock()
	if !over || moved {
		x.receiver.Closing(err)
	}
	x.Close()
}

// mailboxOwner is the Exchange as its Mailbox sees it.
type mailboxOwner Exchange

func (o *mailboxOwner) Failed(err error) { (*Exchange)(o).fail(err) }
func (o *mailboxOwner) Large()           { o.receiver.Large() }

func (o *mailboxOwner) Arrived() {
	if t := o.waiter.Load(); t != nil {
		t.wake()
	}
}
