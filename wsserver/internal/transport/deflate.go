package transport

import (
	"bytes"
	"compress/flate"
	"io"
	"math"
	"sync"

	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

const (
	// deflateLevel is the fastest. On JSON of 1 to 64 KiB the default level is 4 to 17 percent smaller, and takes 1.5 to 4 times as long.
	deflateLevel = flate.BestSpeed

	// maxPooled bounds the buffers that are kept for the next message, in bytes.
	maxPooled = 64 << 10

	// maxStreams bounds the DEFLATE streams of one message, for each costs the receiver far more than its sender. Senders that cannot
	// flush begin a new one, but with every message and not with every byte.
	maxStreams = 64

	flateWindow = 32 << 10
)

// flushed is how a flushed DEFLATE stream ends: an empty block without compression, less its first byte. It is not sent (RFC 7692
// section 7.2.1).
const flushed = "\x00\x00\xff\xff"

// finalBlock is an empty block that ends a DEFLATE stream.
const finalBlock = "\x01" + flushed

var (
	errInflate = &ProtocolError{CloseInvalidData, "compressed message is not DEFLATE (RFC 7692 section 7.2.2)"}

	deflaters = sync.Pool{New: func() any {
		d := new(deflater)
		d.writer, _ = flate.NewWriter(nil, deflateLevel) // fails for a wrong level only
		return d
	}}
	inflaters = sync.Pool{New: func() any {
		in := new(inflater)
		in.reader = flate.NewReader(&in.source)
		return in
	}}
)

// A deflater compresses frames.
type deflater struct {
	writer *flate.Writer
	buf    bytes.Buffer // of one message
	out    []byte
}

// deflated is the form of a frame for peers that inflate: every message of at least threshold bytes that becomes smaller is compressed by
// itself (RFC 7692 section 7.2.1).
func deflated(threshold int) *outbox.Form {
	return &outbox.Form{Make: func(f *outbox.Frame) []byte { return deflate(f.Bytes, threshold) }}
}

// deflate returns frames in the form of deflated; nil if no message becomes smaller.
func deflate(frames []byte, threshold int) []byte {
	var d *deflater
	rest := 0 // where what is not yet in d.out begins
	at := 0
	for op, payload := range Messages(frames) {
		start := at
		at += FrameSize(len(payload))
		if op.control() || len(payload) < threshold {
			continue
		}
		if d == nil {
			d = deflaters.Get().(*deflater)
			defer d.free()
		}
		small := d.deflate(payload)
		if len(small) >= len(payload) {
			continue
		}
		d.out = append(d.out, frames[rest:start]...)
		header := len(d.out)
		d.out = AppendFrame(d.out, op, small)
		d.out[header] |= bitRSV1
		rest = at
	}
	if rest == 0 {
		return nil
	}
	return append(bytes.Clone(d.out), frames[rest:]...)
}

// deflate compresses a message. The result is good until the next.
func (d *deflater) deflate(payload []byte) []byte {
	d.buf.Reset()
	d.writer.Reset(&d.buf)
	d.writer.Write(payload) // a bytes.Buffer returns no errors
	d.writer.Flush()
	return bytes.TrimSuffix(d.buf.Bytes(), []byte(flushed))
}

func (d *deflater) free() {
	if d.buf.Cap() > maxPooled {
		d.buf = bytes.Buffer{}
	}
	if d.out = d.out[:0]; cap(d.out) > maxPooled {
		d.out = nil
	}
	deflaters.Put(d)
}

// An inflater decompresses messages.
type inflater struct {
	reader io.ReadCloser // of the flate package
	source tailed
	buf    []byte
}

// inflate decompresses a message of limit bytes at most. The memory that it takes grows with what has been inflated. The result is good until
// the next.
//
// A stream that ends with a final block may be followed by more, which begin with a byte of their own (RFC 7692 section 7.2.1). What was cut
// off in the middle of a block may inflate to a message of other bytes: DEFLATE has no checksum.
func (in *inflater) inflate(payload []byte, limit int) ([]byte, error) {
	limit = min(limit, math.MaxInt-1)
	in.source = tailed{payload, flushed + finalBlock}
	out := in.buf[:0]
	var window []byte
	for range maxStreams {
		if err := in.reader.(flate.Resetter).Reset(&in.source, window); err != nil {
			return nil, err
		}
		var err error
		if out, err = in.stream(out, limit); err != nil {
			return nil, err
		}
		// It has taken all, or has ended with a final block of its own: the last of the payload, or one that flushed completes.
		if left := in.source.left(); left == 0 || left == len(finalBlock) || left == len(flushed+finalBlock) {
			in.buf = out
			return out, nil
		}
		window = out[max(0, len(out)-flateWindow):]
	}
	return nil, errInflate
}

// stream appends a DEFLATE stream to out.
func (in *inflater) stream(out []byte, limit int) ([]byte, error) {
	for {
		if len(out) == cap(out) {
			// One byte more than the limit, to see that it is exceeded.
			grown := make([]byte, len(out), min(limit+1, max(2*cap(out), minBuffer)))
			copy(grown, out)
			out = grown
		}
		n, err := in.reader.Read(out[len(out):min(cap(out), limit+1)])
		out = out[:len(out)+n]
		switch {
		case len(out) > limit:
			return nil, errTooBig
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, errInflate
		}
	}
}

func (in *inflater) free() {
	in.source = tailed{}
	if cap(in.buf) > maxPooled {
		in.buf = nil
	}
	inflaters.Put(in)
}

// tailed reads a payload and then a tail. It is an io.ByteReader, so that the flate package reads no byte that it does not need.
type tailed struct {
	payload []byte
	tail    string
}

func (t *tailed) left() int { return len(t.payload) + len(t.tail) }

func (t *tailed) Read(p []byte) (n int, err error) {
	n = copy(p, t.payload)
	t.payload = t.payload[n:]
	m := copy(p[n:], t.tail)
	t.tail = t.tail[m:]
	if n+m == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n + m, nil
}

func (t *tailed) ReadByte() (b byte, err error) {
	switch {
	case len(t.payload) > 0:
		b, t.payload = t.payload[0], t.payload[1:]
	case len(t.tail) > 0:
		b, t.tail = t.tail[0], t.tail[1:]
	default:
		err = io.EOF
	}
	return b, err
}
