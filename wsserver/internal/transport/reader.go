package transport

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// defaultMaxMessage is Engine.IO's maxHttpBufferSize.
	defaultMaxMessage = 1_000_000

	// minBuffer is the size from which the buffer of a message that is still to grow starts, in bytes.
	minBuffer = 512

	// maxEmptyFragments bounds the fragments of one message that carry nothing. Fragments that carry something need no bound:
	// MaxMessage is one.
	maxEmptyFragments = 1024

	// A client may send maxControlBurst control frames at once, and controlRate a second for ever. The burst leaves room for what
	// gathers while the server does not read: minutes of a ping a second.
	maxControlBurst = 200
	controlRate     = 100
)

// A ProtocolError is a breach of RFC 6455, or of a limit, by the peer. The connection has to be closed with Code.
type ProtocolError struct {
	Code CloseCode
	Rule string // what was broken; one of a fixed set, without anything that the peer sent
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("transport: close code %d: %s", e.Code, e.Rule)
}

// Each rule has one error, so that a flood of bad frames allocates none.
var (
	errRSV           = &ProtocolError{CloseProtocolError, "reserved bit set (RFC 6455 section 5.2)"}
	errOpcode        = &ProtocolError{CloseProtocolError, "reserved opcode (RFC 6455 section 5.2)"}
	errLengthMSB     = &ProtocolError{CloseProtocolError, "most significant bit of the length set (RFC 6455 section 5.2)"}
	errNotMasked     = &ProtocolError{CloseProtocolError, "client frame without a mask (RFC 6455 section 5.1)"}
	errMasked        = &ProtocolError{CloseProtocolError, "server frame with a mask (RFC 6455 section 5.1)"}
	errControlLength = &ProtocolError{CloseProtocolError, "control frame of more than 125 bytes (RFC 6455 section 5.5)"}
	errControlFin    = &ProtocolError{CloseProtocolError, "control frame in fragments (RFC 6455 section 5.5)"}
	errContinuation  = &ProtocolError{CloseProtocolError, "continuation of no message (RFC 6455 section 5.4)"}
	errInterleaved   = &ProtocolError{CloseProtocolError, "message inside the fragments of another (RFC 6455 section 5.4)"}
	errCloseLength   = &ProtocolError{CloseProtocolError, "close frame of one byte (RFC 6455 section 5.5.1)"}
	errCloseCode     = &ProtocolError{CloseProtocolError, "close code that must not be sent (RFC 6455 section 7.4)"}
	errCloseReason   = &ProtocolError{CloseInvalidData, "close reason is not UTF-8 (RFC 6455 section 5.5.1)"}
	errText          = &ProtocolError{CloseInvalidData, "text message is not UTF-8 (RFC 6455 section 8.1)"}
	errTooBig        = &ProtocolError{CloseTooBig, "message over the limit (RFC 6455 section 10.4)"}
	errEmptyFlood    = &ProtocolError{ClosePolicy, "too many empty fragments"}
	errControlFlood  = &ProtocolError{ClosePolicy, "too many control frames"}
)

// A Handler takes what a [Reader] has decoded, in the order of arrival. The payload is the handler's to read and modify until the
// method returns. An error ends the Reader and is returned by Feed as it is. The methods do not call Feed.
type Handler interface {
	// Message takes a whole message. op is OpText, whose payload is valid UTF-8, or OpBinary.
	Message(op Opcode, payload []byte) error

	// Control takes a control frame. op is OpPing, which is to be answered with a Pong of the same payload, OpPong, or OpClose,
	// which is the last call: see [ParseClose].
	Control(op Opcode, payload []byte) error
}

// A ReaderConfig is shared by the readers of a server and not modified once one of them is in use.
type ReaderConfig struct {
	// MaxMessage bounds a message, all its fragments together, in bytes. Zero means 1,000,000.
	MaxMessage int

	// Deflate says that permessage-deflate has been negotiated. MaxMessage then bounds a compressed message as it arrives, and once more as
	// it is inflated.
	Deflate bool

	// Client decodes what a server sends: its frames must not be masked. For test clients.
	Client bool

	// inflation, if there is one, holds the messages that take long to inflate. A Config with one is for one Reader.
	inflation *inflation
}

// A Reader decodes the frames of one peer (RFC 6455 section 5), as they arrive and without I/O. The zero value, with or without a
// Config, is ready. Its methods must not be called concurrently.
//
// Between messages it holds no memory but itself. A message that lies whole in what Feed is given is not copied; the bytes of one
// that does not are kept in a buffer that grows with what has arrived, never with what was announced.
type Reader struct {
	// Config holds the limits. nil means a server's, with all defaults.
	Config *ReaderConfig

	// buf holds the payload of an incomplete message, and at its end that of an incomplete frame, still masked.
	buf []byte

	left      int             // what an incomplete frame's payload still lacks, in bytes
	header    [maxHeader]byte // of an incomplete frame
	headerLen uint8
	state     readerState
	empty     uint16 // empty fragments of this message

	// A bucket that leaks controlRate frames a second. controlTime is in milliseconds of the wall clock and wraps: a clock that
	// is set back empties the bucket.
	control     uint16
	controlTime uint32
}

type readerState uint8

const (
	inPayload   readerState = 1 << iota // the header is complete, the payload is not
	inFragments                         // a message has begun and its last fragment has not
	isText                              // that message is text
	isDeflated                          // that message is compressed
	held                                // a compressed message, and what is behind it: see release
	ended
)

// Partial reports whether a frame or message has begun and is not complete. Whoever bounds the time that a message may take asks
// this after Feed.
func (r *Reader) Partial() bool {
	return r.state&(inPayload|inFragments) != 0 || r.headerLen > 0
}

// Held is how much memory what is incomplete, or waits to be inflated, takes, in bytes.
func (r *Reader) Held() int {
	n := cap(r.buf)
	if r.isHeld() {
		n += cap(r.Config.inflation.payload) + cap(r.Config.inflation.rest)
	}
	return n
}

// Feed decodes p, the bytes that arrived next, and hands h what is complete. It modifies p, and keeps no part of it, but for what is held.
//
// A breach of the protocol is a [ProtocolError]. After an error, or a Close frame, the rest of p and of all later calls is discarded,
// without an error: RFC 6455 section 5.5.1 and 7.1.7. The clock is read for control frames only.
func (r *Reader) Feed(p []byte, h Handler) error {
	for len(p) > 0 && r.state&(ended|held) == 0 {
		n, err := r.frame(p, h)
		if err != nil {
			r.end()
			return err
		}
		p = p[n:]
	}
	if r.state&held != 0 {
		r.Config.inflation.rest = p
	}
	return nil
}

// frame decodes the frame at the start of p, or as much of it as p has, and returns how many bytes that was.
func (r *Reader) frame(p []byte, h Handler) (n int, err error) {
	if r.state&inPayload == 0 {
		var f frameHeader
		if n, f, err = r.readHeader(p); err != nil || f.size == 0 {
			return n, err
		}
		if err := r.admit(f); err != nil {
			return n, err
		}
		if whole := n + f.length; whole <= len(p) && (f.op.control() || f.fin && r.state&inFragments == 0) {
			payload := p[n:whole:whole]
			if f.masked {
				ws.Cipher(payload, f.key, 0)
			}
			r.headerLen = 0
			return whole, r.deliver(f.op, f.deflated, payload, h)
		}
		r.left = f.length
		r.state |= inPayload
	}
	m := min(r.left, len(p)-n)
	r.grow(m)
	r.buf = append(r.buf, p[n:n+m]...)
	r.left -= m
	if r.left == 0 {
		err = r.finish(h)
	}
	return n + m, err
}

// admit counts a frame against the bounds on frames that cost the peer next to nothing.
func (r *Reader) admit(f frameHeader) error {
	if f.op.control() {
		now := uint32(time.Now().UnixMilli())
		leaked := uint64(now-r.controlTime) * controlRate / 1000
		if leaked > 0 {
			r.control -= uint16(min(leaked, uint64(r.control)))
			r.controlTime = now
		}
		if r.control++; r.control > maxControlBurst {
			return errControlFlood
		}
		return nil
	}
	if f.op != OpContinuation {
		r.empty = 0
	}
	if f.length == 0 && !f.fin {
		if r.empty++; r.empty > maxEmptyFragments {
			return errEmptyFlood
		}
	}
	return nil
}

// grow makes room in r.buf for n more bytes, which have arrived. But for the smallest, no buffer is larger than twice its content.
func (r *Reader) grow(n int) {
	need := len(r.buf) + n
	if need <= cap(r.buf) {
		return
	}
	most := max(need, r.maxMessage())
	if r.header[0]&bitFin != 0 {
		most = len(r.buf) + r.left
	}
	buf := make([]byte, len(r.buf), min(most, max(2*need, minBuffer)))
	copy(buf, r.buf)
	r.buf = buf
}

// finish takes the frame whose payload is complete at the end of r.buf.
func (r *Reader) finish(h Handler) error {
	fin, op := r.header[0]&bitFin != 0, Opcode(r.header[0]&0xf)
	length, end := parseLength(r.header[:])
	start := len(r.buf) - int(length)
	payload := r.buf[start:]
	if r.header[1]&bitMask != 0 {
		ws.Cipher(payload, [4]byte(r.header[end:]), 0)
	}
	r.headerLen = 0
	r.state &^= inPayload

	if op.control() {
		if r.buf = r.buf[:start]; start == 0 {
			r.buf = nil
		}
		return r.deliver(op, false, payload, h)
	}
	if op != OpContinuation {
		r.state = (r.state | inFragments) &^ (isText | isDeflated)
		if op == OpText {
			r.state |= isText
		}
		if r.header[0]&bitRSV1 != 0 {
			r.state |= isDeflated
		}
	}
	if !fin {
		return nil
	}
	message := r.buf
	r.buf = nil
	r.state &^= inFragments
	op = OpBinary
	if r.state&isText != 0 {
		op = OpText
	}
	return r.deliver(op, r.state&isDeflated != 0, message, h)
}

// deliver checks the payload of a message or control frame and hands it to h.
func (r *Reader) deliver(op Opcode, deflated bool, payload []byte, h Handler) error {
	if deflated {
		return r.inflate(op, payload, h)
	}
	switch op {
	case OpText:
		if !utf8.Valid(payload) {
			return errText
		}
		return h.Message(op, payload)
	case OpBinary:
		return h.Message(op, payload)
	case OpClose:
		if err := checkClose(payload); err != nil {
			return err
		}
		r.end()
	}
	return h.Control(op, payload)
}

func checkClose(payload []byte) error {
	code, reason := ParseClose(payload)
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1:
		return errCloseLength
	case !code.sendable():
		return errCloseCode
	case !utf8.Valid(reason):
		return errCloseReason
	}
	return nil
}

func (r *Reader) end() {
	r.buf, r.left, r.headerLen, r.state = nil, 0, 0, ended
}

func (r *Reader) client() bool { return r.Config != nil && r.Config.Client }

func (r *Reader) maxMessage() int {
	if r.Config == nil || r.Config.MaxMessage <= 0 {
		return defaultMaxMessage
	}
	return r.Config.MaxMessage
}
