package transport

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
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
)

// A PollingReceiver is the owner of a [Polling]. None of its methods may block; they may call those of the Polling.
type PollingReceiver interface {
	// Payload takes the body of a POST, which is the receiver's to modify until it returns. An error ends the session; one that wraps
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

// A Polling carries a session over HTTP long-polling (Engine.IO 4, "HTTP long-polling"): GET requests fetch what is for the client, POST
// requests bring what it sends, one of each at a time. It begins with Init and must not be copied. Its methods may be called concurrently.
type Polling struct {
	transports *Transports
	receiver   PollingReceiver
	box        outbox.Mailbox
	ending     chan struct{} // closed when the session is over

	mu      sync.Mutex    // guards what follows
	poll    *poll         // the GET that waits
	writing chan struct{} // closed when the latest GET that carries frames away has written them; nil if there was none
	answer  *answer       // of that GET; nil if it is not being written
	posting bool
	body    *http.ResponseController // of the POST whose body is coming; nil if none is
	held    int                      // counted of that body, in bytes
	began   time.Time                // when that body did
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

// A poll is a GET that waits.
type poll struct {
	answer chan byte // a packet without payload that ends it: at most one
}

// Packets that end a poll without carrying anything (Engine.IO 4, "Protocol").
const (
	noop     = byte(engineio.PacketNoop)
	shutdown = byte(engineio.PacketClose)
)

var closePacket = NewFrame(false, []byte{shutdown})

// Init makes p the polling of a new session.
func (p *Polling) Init(t *Transports, r PollingReceiver) {
	p.transports, p.receiver = t, r
	p.ending = make(chan struct{})
	p.box.Init(t.group, (*mailboxOwner)(p))
}

// Kind says what polling is to a session.
func (p *Polling) Kind() engineio.Transport { return engineio.TransportPolling }

// Append queues a frame for the next GET, and so does Send. After MoveTo it goes to the heir. They return false if it was not queued.
func (p *Polling) Append(f *outbox.Frame) bool { return p.box.Append(f) }
func (p *Polling) Send(f *outbox.Frame) bool   { return p.box.Append(f) }

// Get serves a GET request: it waits until there is something for the client.
func (p *Polling) Get(w http.ResponseWriter, r *http.Request) {
	own := &poll{answer: make(chan byte, 1)}
	p.mu.Lock()
	overlap := p.poll != nil
	gone := p.state >= pollingMoved
	if !overlap && !gone {
		p.poll = own
	}
	probing, writing := p.probing, p.writing
	p.mu.Unlock()
	if gone || overlap {
		p.turnAway(w, overlap)
		return
	}
	unhurried(w)
	var probe <-chan time.Time
	if probing {
		timer := time.NewTimer(probePoll)
		defer timer.Stop()
		probe = timer.C
	}
	for {
		if writing == nil {
			frames, last := p.box.Take()
			if len(frames) > 0 || last {
				p.answerPoll(w, r, own, frames, last)
				return
			}
		}
		select {
		case <-writing:
			// Not before: a client that takes no answer but asks again and again would have the server hold them all.
			writing = nil
		case <-p.box.Arrived():
		case packet := <-own.answer:
			p.box.Leave()
			p.transports.WritePayload(w, r, []byte{packet}, true)
			return
		case <-probe:
			if p.release(own) {
				p.box.Leave()
				p.transports.WritePayload(w, r, []byte{noop}, true)
				return
			}
		case <-r.Context().Done():
			p.release(own)
			p.fail(ErrAborted)
			return
		}
	}
}

// turnAway refuses a request whose session is over, or that overlaps with another of its kind, which ends the session.
func (p *Polling) turnAway(w http.ResponseWriter, overlap bool) {
	if overlap {
		p.fail(ErrOverlap)
	}
	refuseRequest(w)
}

// answerPoll answers a GET with frames.
func (p *Polling) answerPoll(w http.ResponseWriter, r *http.Request, own *poll, frames []*outbox.Frame, last bool) {
	written, a := make(chan struct{}), newAnswer(w)
	defer close(written)
	defer p.box.Done(frames)
	p.mu.Lock()
	waits := p.poll == own
	if waits {
		p.poll = nil
	}
	p.writing = written
	if !last {
		p.answer = a
		if p.state == pollingClosed {
			a.abandon() // since the frames were taken
		}
	}
	p.mu.Unlock()
	if len(frames) == 0 {
		packet := shutdown
		if !waits {
			packet = <-own.answer
		}
		p.transports.writePayload(a, r, []byte{packet}, true, func(int) {})
		return
	}
	payload, noCompress := payloadOf(frames)
	// What goes to one client is its own, however many share its frames.
	p.transports.budget.Take(len(payload))
	defer p.transports.budget.Give(len(payload))
	if last {
		p.Abort() // before the answer, so that no session is known to a client that has it
	}
	err := p.transports.writePayload(a, r, payload, noCompress, p.box.Wrote)
	p.mu.Lock()
	p.answer = nil // no later one waits for its turn: see written
	p.mu.Unlock()
	if err != nil && !last {
		p.fail(fmt.Errorf("%w: %w", ErrAborted, err))
	}
}

// release ends the wait of a poll. It returns false if that was done before, with an answer for it.
func (p *Polling) release(own *poll) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poll != own {
		return false
	}
	p.poll = nil
	return true
}

// end answers the GET that waits, if there is one. mu must be held.
func (p *Polling) end(packet byte) {
	if p.poll != nil {
		p.poll.answer <- packet
		p.poll = nil
	}
}

// Pause stops receiving: a POST waits for its answer until Resume, and so does all that the client sends behind it.
func (p *Polling) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
	}
}

// Resume ends a pause.
func (p *Polling) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// Probe says whether a WebSocket probes. The GET that waits when that begins is answered at once, and those that come meanwhile soon
// (Engine.IO 4, "Upgrade"): the client finishes its upgrade when none is left.
func (p *Polling) Probe(probing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing = probing
	if probing {
		p.end(noop)
	}
}

// MoveTo moves the session to another carrier, with all that is queued, and answers the GET that still waits. It returns false if the
// session is closing. A POST whose body is still coming will be received.
func (p *Polling) MoveTo(heir outbox.Heir) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != pollingOpen || !p.box.MoveTo(heir) {
		return false
	}
	p.state = pollingMoved
	p.end(noop)
	return true
}

// Idle reports whether no GET waits, and nothing waits for one.
func (p *Polling) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.box.Waiting()
	return p.poll == nil && waiting.Bytes == waiting.Writing
}

// Waiting returns what waits for the client, and what has come of a body that was not received yet.
func (p *Polling) Waiting() (out, in outbox.Waiting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.Bytes = p.held; in.Bytes > 0 {
		in.Oldest = time.Since(p.began)
		in.Writing = in.Bytes // whoever reads it gives it up
	}
	return p.box.Waiting(), in
}

// Taken, PingTaken and DropVolatile are those of its [outbox.Mailbox].
func (p *Polling) Taken() uint32   { return p.box.Taken() }
func (p *Polling) PingTaken() bool { return p.box.PingTaken() }
func (p *Polling) DropVolatile()   { p.box.DropVolatile() }

// Close ends the session: what was queued and a close packet are for the GET that waits, or for the next one. How long to wait for that,
// before Abort, is the caller's decision.
func (p *Polling) Close() {
	p.mu.Lock()
	if p.state == pollingOpen {
		p.state = pollingClosing
		close(p.ending)
	}
	p.mu.Unlock()
	p.box.CloseAfterFlush(closePacket)
}

// Abort ends the session at once. A GET that waits is answered with a close packet, and what is queued, or being written, is lost.
func (p *Polling) Abort() { p.abort(shutdown) }

// Dismiss is Abort for a client that has closed the session itself: a GET that waits is answered with a noop.
func (p *Polling) Dismiss() { p.abort(noop) }

func (p *Polling) abort(packet byte) {
	p.mu.Lock()
	if p.state >= pollingMoved {
		p.mu.Unlock()
		return
	}
	if p.state == pollingOpen {
		close(p.ending)
	}
	p.state = pollingClosed
	p.end(packet)
	if p.body != nil {
		p.body.SetReadDeadline(time.Now()) // nobody waits for it any more
	}
	if p.answer != nil {
		p.answer.abandon() // so it is with what is not read
	}
	p.mu.Unlock()
	p.box.Close()
	p.receiver.Closed()
}

// fail ends the session for a reason that its owner does not know yet.
func (p *Polling) fail(err error) {
	p.mu.Lock()
	first := p.state == pollingOpen
	moved := p.state == pollingMoved
	p.mu.Unlock()
	if first || moved && !errors.Is(err, ErrAborted) && !errors.Is(err, ErrOverlap) {
		p.receiver.Closing(err)
	}
	p.Abort()
}

// finish ends the session for a reason that its owner does not know yet, after what is queued has been fetched.
func (p *Polling) finish(err error) {
	p.mu.Lock()
	over := p.state >= pollingClosing
	moved := p.state == pollingMoved
	p.mu.Unlock()
	if !over || moved {
		p.receiver.Closing(err)
	}
	p.Close()
}

// mailboxOwner is the Polling as its Mailbox sees it.
type mailboxOwner Polling

func (o *mailboxOwner) Failed(err error) { (*Polling)(o).fail(err) }
func (o *mailboxOwner) Flushed()         {}
func (o *mailboxOwner) Large()           { o.receiver.Large() }
