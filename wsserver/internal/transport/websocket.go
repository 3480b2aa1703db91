package transport

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/netpoll"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// ErrPeerClosed is why a connection is closing when the peer closed it.
var ErrPeerClosed = errors.New("transport: closed by the peer")

// A Receiver is the owner of a WebSocket. Message and Fed are called from one goroutine at a time, the others from any; none may block,
// on pain of all other connections waiting.
type Receiver interface {
	// Message takes a message, whose payload is valid and the receiver's to modify until it returns. An error closes the connection.
	Message(binary bool, payload []byte) error

	// Fed follows the Messages of what was read at once, which was n bytes. partial reports whether a message has begun that is not complete.
	Fed(n int, partial bool)

	// HungUp says that the peer has closed its side while reading is paused, or takes nothing any more: what it sent last, and its end, are
	// to be read.
	HungUp()

	// Large says that a large frame is the next to be written: see [outbox.Owner].
	Large()

	// Closing says why nothing more will come: an error of Message, a [*ProtocolError], [ErrPeerClosed], [outbox.ErrTooSlow],
	// [outbox.ErrBehind], or an error of the network. It is called once, unless Close or Abort came first.
	Closing(err error)

	// Closed says that nothing is left of the connection. It is called once after Serve, whatever happens.
	Closed()
}

// A WebSocket is a connection after its handshake. The zero value is ready for [Shared.Serve]. It must not be copied. Its methods
// may be called concurrently, also from its Receiver.
type WebSocket struct {
	shared   *Shared
	receiver Receiver
	reader   Reader
	queue    outbox.Queue
	polled   *netpoll.Conn // one of polled and stream is not nil
	stream   *stream

	mu    sync.Mutex // guards held and state
	held  int32      // what the reader holds, as the budget knows it, in bytes
	state wsState

	deflate bool // the peer inflates; set once by Serve
}

type wsState uint8

const (
	wsClosing wsState = 1 << iota // nothing more is received; a Close frame is the last that is sent
	wsPeer                        // the peer has said that it closes: nothing is to be waited for after our Close frame
	wsFlushed                     // our Close frame is out
	wsClosed                      // the descriptor is gone
	wsPaused                      // the owner does not want to read
	wsHeld                        // nothing is read until a message is inflated
	wsHeard                       // the peer has answered the Close frame of GoAway
)

// Serve makes w the WebSocket of nc, which belongs to it from then on. deflate is what [Upgrade] says was negotiated. Nothing is read before
// Start; Send and Append work at once.
func (t *Shared) Serve(w *WebSocket, nc net.Conn, deflate bool, r Receiver) {
	w.shared, w.receiver = t, r
	w.reader.Config = &t.reader
	if deflate {
		w.reader.Config = &t.newInflation(w).config
		w.deflate = t.threshold > 0
	}
	if poller := t.pollerFor(nc); poller != nil {
		if polled, err := poller.Attach(nc, (*pollHandler)(w)); err == nil {
			w.polled = polled
			w.queue.Init(t.shards, polled, (*queueOwner)(w))
			return
		}
		// A connection that cannot be attached keeps a goroutine. One that has failed by now will say so there.
	}
	w.stream = newStream(nc)
	w.queue.Init(t.group, outbox.Stream{Writer: nc}, (*queueOwner)(w))
}

// Start begins to receive. early is what the peer has sent already.
func (w *WebSocket) Start(early []byte) {
	if len(early) > 0 {
		w.feed(early)
	}
	if w.polled != nil {
		if err := w.polled.Start(); err != nil {
			w.fail(err)
		}
		return
	}
	if !w.shared.read(w) {
		w.fail(net.ErrClosed)
	}
}

// read starts the goroutine of a stream, unless Close waits for those already.
func (t *Shared) read(w *WebSocket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.streams.Go(func() { w.stream.read(w) })
	}
	return !t.closed
}

// Kind says what a WebSocket is to a session.
func (w *WebSocket) Kind() engineio.Transport { return engineio.TransportWebSocket }

// Append queues a frame of a broadcast, and Send one for this peer alone: see [outbox.Queue]. Frames are whole messages, as [AppendFrame]
// writes them. If permessage-deflate is negotiated their compressed form is queued, which is made once for all peers.
func (w *WebSocket) Append(f *outbox.Frame) bool {
	return w.queue.Append(w.form(f))
}

func (w *WebSocket) Send(f *outbox.Frame) bool { return w.queue.Send(w.form(f)) }

// Adopt queues frames that were admitted elsewhere: the peer has come from another transport.
func (w *WebSocket) Adopt(frames []*outbox.Frame) { w.queue.Adopt(frames) }

// form returns f as the peer gets it.
func (w *WebSocket) form(f *outbox.Frame) *outbox.Frame {
	if !w.deflate || f.NoCompress || len(f.Bytes) < w.shared.threshold {
		return f
	}
	return f.As(w.shared.deflated)
}

// Waiting returns what waits for the peer, and how many bytes have come of a message that is not complete.
func (w *WebSocket) Waiting() (out, in outbox.Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.Waiting(), outbox.Waiting{Bytes: int(w.held)}
}

// Taken, PingTaken and DropVolatile are those of its [outbox.Queue].
func (w *WebSocket) Taken() uint32   { return w.queue.Taken() }
func (w *WebSocket) PingTaken() bool { return w.queue.PingTaken() }
func (w *WebSocket) DropVolatile()   { w.queue.DropVolatile() }

// Pause stops reading: what the peer sends stays in the network, and in the end with the peer. A little may still come.
func (w *WebSocket) Pause() { w.changePause(wsPaused, 0) }

// Resume ends a pause.
func (w *WebSocket) Resume() { w.changePause(0, wsPaused) }

// CloseWith begins the closing handshake (RFC 6455 section 7.1.2): what was queued is sent first, then a Close frame with code. The
// connection is gone when the peer has answered; how long to wait for that, before Abort, is the caller's decision.
func (w *WebSocket) CloseWith(code CloseCode) { w.closeFor(code, 0, nil) }

// Close is CloseWith no code.
func (w *WebSocket) Close() { w.CloseWith(CloseNoStatus) }

// GoAway is CloseWith the code of a server that goes down (RFC 6455 section 7.4.1).
func (w *WebSocket) GoAway() { w.CloseWith(CloseGoingAway) }

// HeardAll implements the engine's Carrier: after GoAway, the peer has answered with the same code (RFC
// 6455 section 5.5.1), and so has what was sent before.
func (w *WebSocket) HeardAll() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state&wsHeard != 0
}

// heard takes the code of the peer's Close frame.
func (w *WebSocket) heard(code CloseCode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if code == CloseGoingAway && w.state&wsFlushed != 0 {
		w.state |= wsHeard
	}
}

// Dismiss is Close: the peer waits for the closing handshake whoever has ended the session.
func (w *WebSocket) Dismiss() { w.Close() }

// Idle is false: a peer that is connected notices an end.
func (w *WebSocket) Idle() bool { return false }

// closeFor queues the last frame. Whoever calls it first decides the code, and has the receiver told why, unless reason is nil: before the
// frame, since Closed may follow that at once.
func (w *WebSocket) closeFor(code CloseCode, flags wsState, reason error) {
	w.mu.Lock()
	first := w.state&wsClosing == 0
	w.state |= wsClosing | flags
	flushed := w.state&wsFlushed != 0
	w.mu.Unlock()
	switch {
	case first:
		if reason != nil {
			w.receiver.Closing(reason)
		}
		w.Resume() // the peer's answer is to be read
		w.dropHeld()
		if !w.queue.CloseAfterFlush(&outbox.Frame{Bytes: AppendClose(nil, code, "")}) {
			w.Abort()
		}
	case flags&wsPeer != 0 && flushed:
		w.Abort()
	}
}

// Abort ends the connection at once. What is queued is lost.
func (w *WebSocket) Abort() {
	w.mu.Lock()
	if w.state&wsClosed != 0 {
		w.mu.Unlock()
		return
	}
	w.state |= wsClosing | wsClosed
	w.shared.budget.Release(int(w.held)) // held itself is the reading goroutine's to change
	w.mu.Unlock()
	w.queue.Close()
	if w.polled != nil {
		w.polled.Close()
	} else {
		w.stream.close()
	}
	w.dropHeld()
	w.receiver.Closed()
}

// fail ends the connection for a reason that leaves nothing to say to the peer.
func (w *WebSocket) fail(err error) {
	w.mu.Lock()
	first := w.state&wsClosing == 0
	w.state |= wsClosing
	w.mu.Unlock()
	if first {
		w.receiver.Closing(err)
	}
	w.Abort()
}

// feed decodes what was read.
func (w *WebSocket) feed(p []byte) {
	w.fed(len(p), w.reader.Feed(p, (*frameHandler)(w)))
	w.count(w.reader.Held())
	if w.reader.isHeld() {
		w.hold()
	}
}

// inflate decodes what was held, and reports whether something is held again.
func (w *WebSocket) inflate(with *inflater) bool {
	w.fed(0, w.reader.resume(with, (*frameHandler)(w)))
	w.count(w.reader.Held())
	return w.reader.isHeld()
}

// fed follows what was decoded, of n bytes that arrived.
func (w *WebSocket) fed(n int, err error) {
	if err == nil {
		w.receiver.Fed(n, w.reader.Partial())
		return
	}
	code := CloseNoStatus
	var broken *ProtocolError
	if errors.As(err, &broken) {
		code = broken.Code
	}
	w.closeFor(code, 0, err)
}

// count counts against the budget what the reader holds. Whoever feeds the reader alone calls it, so that it may look at held.
func (w *WebSocket) count(n int) {
	if n == int(w.held) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state&wsClosed == 0 {
		w.shared.budget.Add(n - int(w.held))
		w.held = int32(n)
	}
}

// readEnded takes the end of what can be read.
func (w *WebSocket) readEnded(err error) {
	if errors.Is(err, io.EOF) {
		err = ErrPeerClosed
	}
	w.fail(err)
}

// frameHandler is the WebSocket as its Reader sees it.
type frameHandler WebSocket

func (h *frameHandler) Message(op Opcode, payload []byte) error {
	w := (*WebSocket)(h)
	w.mu.Lock()
	closing := w.state&wsClosing != 0
	w.mu.Unlock()
	if closing {
		return nil
	}
	return w.receiver.Message(op == OpBinary, payload)
}

func (h *frameHandler) Control(op Opcode, payload []byte) error {
	w := (*WebSocket)(h)
	switch op {
	case OpPing:
		w.queue.Send(&outbox.Frame{Bytes: AppendFrame(nil, OpPong, payload)})
	case OpClose:
		code, _ := ParseClose(payload)
		w.heard(code)
		w.closeFor(code, wsPeer, ErrPeerClosed)
	}
	return nil
}

// queueOwner is the WebSocket as its Queue sees it.
type queueOwner WebSocket

// Failed ends the connection, unless it was a write that failed: the peer may have sent something before it went away, which is still to be
// received. The end of what can be read follows, or else no pong does.
func (o *queueOwner) Failed(err error) {
	if errors.Is(err, outbox.ErrTooSlow) || errors.Is(err, outbox.ErrBehind) {
		(*WebSocket)(o).fail(err)
		return
	}
	o.mu.Lock()
	closing := o.state&wsClosing != 0
	o.mu.Unlock()
	if closing {
		(*WebSocket)(o).Abort() // nothing is received any more
		return
	}
	o.receiver.HungUp()
}

func (o *queueOwner) Large() { o.receiver.Large() }

func (o *queueOwner) Flushed() {
	w := (*WebSocket)(o)
	w.mu.Lock()
	w.state |= wsFlushed
	peer := w.state&wsPeer != 0
	w.mu.Unlock()
	if peer {
		w.Abort() // both Close frames are through: the server closes first (RFC 6455 section 7.1.1)
		return
	}
	if w.polled != nil {
		w.polled.CloseWrite()
	} else if c, ok := w.stream.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// pollHandler is the WebSocket as the poller sees it.
type pollHandler WebSocket

func (h *pollHandler) Data(p []byte)    { (*WebSocket)(h).feed(p) }
func (h *pollHandler) Writable()        { (*WebSocket)(h).queue.Writable() }
func (h *pollHandler) HungUp()          { h.receiver.HungUp() }
func (h *pollHandler) Closed(err error) { (*WebSocket)(h).readEnded(err) }
