package transport

import "slices"

const (
	// A message of up to maxInline bytes that inflates to no more than maxInlined is inflated where it was read, within the budgets: some ten
	// microseconds, a little more than handing it to a worker takes.
	maxInline  = 1 << 10
	maxInlined = 8 << 10
)

// An inflation is the compressed messages of one client. One that is not small is held: the client is not read, and what was read behind the
// message waits, until a worker has inflated it.
type inflation struct {
	config ReaderConfig // the client's, which points back here
	socket *WebSocket
	queue  *inflateQueue

	// What is held, used by whoever feeds the Reader: the goroutine that reads, or while something is held a worker.
	op      Opcode
	payload []byte // of the message
	rest    []byte // what was read behind it

	place // in the queue, guarded by its mu
}

// newInflation returns what a WebSocket needs if its peer may compress.
func (t *Shared) newInflation(w *WebSocket) *inflation {
	in := &inflation{socket: w, queue: t.inflating}
	in.config = ReaderConfig{MaxMessage: t.reader.MaxMessage, Deflate: true, inflation: in}
	return in
}

// inflate decompresses a message and delivers it, or holds it.
func (r *Reader) inflate(op Opcode, payload []byte, h Handler) error {
	in := r.Config.inflation
	switch {
	case in == nil:
		return r.inflateAtOnce(r.maxMessage(), op, payload, h)
	case in.socket.closing():
		return nil // nobody would take the message
	case len(payload) <= maxInline && in.queue.mayInline(in):
		began := in.queue.now()
		err := r.inflateAtOnce(min(r.maxMessage(), maxInlined), op, payload, h)
		in.queue.chargeInline(in, in.queue.now()-began)
		if err != errTooBig || r.maxMessage() <= maxInlined {
			return err
		}
	}
	r.state |= held
	in.op, in.payload = op, payload
	return nil
}

// inflateAtOnce decompresses a message of limit bytes at most and delivers it. What it needs for that it gives back before it returns.
func (r *Reader) inflateAtOnce(limit int, op Opcode, payload []byte, h Handler) error {
	in := inflaters.Get().(*inflater)
	defer in.free()
	return r.inflateWith(in, limit, op, payload, h)
}

func (r *Reader) inflateWith(in *inflater, limit int, op Opcode, payload []byte, h Handler) error {
	message, err := in.inflate(payload, limit)
	if err != nil {
		return err
	}
	return r.deliver(op, false, message, h)
}

// isHeld reports whether Feed has stopped at a compressed message, which waits for release, as does what came behind it.
func (r *Reader) isHeld() bool { return r.state&held != 0 }

// resume inflates the message that is held and decodes what came behind it, as Feed does: up to the next that is held.
func (r *Reader) resume(with *inflater, h Handler) error {
	in := r.Config.inflation
	r.state &^= held
	payload, rest := in.payload, in.rest
	in.payload, in.rest = nil, nil
	if !in.socket.closing() {
		began := in.queue.cpu()
		err := r.inflateWith(with, r.maxMessage(), in.op, payload, h)
		in.queue.charge(in, in.queue.cpu()-began)
		if err != nil {
			r.end()
			return err
		}
	}
	return r.Feed(rest, h)
}

// keep copies what is held: the buffer that Feed was given is somebody else's.
func (in *inflation) keep() {
	both := slices.Concat(in.payload, in.rest)
	in.payload, in.rest = both[:len(in.payload):len(in.payload)], both[len(in.payload):]
}

// A Holder is a Receiver that wants to know when what its peer sends is not received because a message waits to be inflated.
type Holder interface {
	// Held is called like Message and Fed: with true after Fed, and with false before anything else is received.
	Held(bool)
}

// hold gives what the Reader holds to a worker, and stops reading.
func (w *WebSocket) hold() {
	in := w.reader.Config.inflation
	in.keep()
	w.changePause(wsHeld, 0)
	if h, ok := w.receiver.(Holder); ok {
		h.Held(true)
	}
	in.queue.submit(in)
}

// unhold goes on reading.
func (w *WebSocket) unhold() {
	if h, ok := w.receiver.(Holder); ok {
		h.Held(false)
	}
	w.changePause(0, wsHeld)
}

// dropHeld has what is held dropped soon, since the connection closes: the peer's Close frame may be behind it.
func (w *WebSocket) dropHeld() {
	if w.reader.Config != nil && w.reader.Config.inflation != nil {
		in := w.reader.Config.inflation
		in.queue.moveToFront(in)
	}
}

func (w *WebSocket) closing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state&wsClosing != 0
}

// changePause changes the reasons for which nothing is read, and stops or goes on reading.
func (w *WebSocket) changePause(set, clear wsState) {
	const reasons = wsPaused | wsHeld
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.state&reasons != 0
	w.state = w.state&^clear | set
	after := w.state&reasons != 0
	switch {
	case before == after:
	case w.polled == nil:
		w.stream.pause(after)
	case after:
		w.polled.Pause()
	default:
		w.polled.Resume()
	}
}
