package transport

import (
	"encoding/binary"
)

// A frameHeader is decoded once its last byte has arrived; until then its size is zero.
type frameHeader struct {
	size     int // in bytes
	fin      bool
	deflated bool
	op       Opcode
	masked   bool
	key      [4]byte
	length   int
}

// readHeader decodes the header at the start of p, whose first bytes may have come before, and returns how many bytes of p it took.
// r.header holds it as far as it has come.
func (r *Reader) readHeader(p []byte) (n int, f frameHeader, err error) {
	if r.headerLen == 0 {
		f, err = r.parseHeader(p)
		if f.size == 0 {
			n = len(p)
		} else {
			n = f.size
		}
		if err == nil {
			r.headerLen = uint8(copy(r.header[:], p[:n]))
		}
		return n, f, err
	}
	for n < len(p) && f.size == 0 && err == nil {
		r.header[r.headerLen] = p[n]
		r.headerLen++
		n++
		f, err = r.parseHeader(r.header[:r.headerLen])
	}
	return n, f, err
}

// parseHeader decodes the header at the start of b and checks of it what b has.
func (r *Reader) parseHeader(b []byte) (f frameHeader, err error) {
	if len(b) < 2 {
		return f, nil
	}
	op, fin, masked := Opcode(b[0]&0xf), b[0]&bitFin != 0, b[1]&bitMask != 0
	switch {
	case b[0]&bitsRSV != 0 && !r.mayDeflate(b[0]):
		return f, errRSV
	case op > OpBinary && op < OpClose || op > OpPong:
		return f, errOpcode
	case masked == r.client():
		if masked {
			return f, errMasked
		}
		return f, errNotMasked
	case op.control() && !fin:
		return f, errControlFin
	case op.control() && b[1]&^bitMask > maxControl:
		return f, errControlLength
	case op == OpContinuation && r.state&inFragments == 0:
		return f, errContinuation
	case (op == OpText || op == OpBinary) && r.state&inFragments != 0:
		return f, errInterleaved
	}
	length, size := parseLength(b)
	switch {
	case size == 0:
		return f, nil
	case length >= 1<<63:
		return f, errLengthMSB
	case !op.control() && length > uint64(r.maxMessage()-len(r.buf)):
		return f, errTooBig
	}
	if masked {
		if len(b) < size+len(f.key) {
			return f, nil
		}
		size += copy(f.key[:], b[size:])
	}
	f.size, f.fin, f.deflated, f.op, f.masked, f.length = size, fin, b[0]&bitRSV1 != 0, op, masked, int(length)
	return f, nil
}

// mayDeflate reports whether RSV1 may be set in a frame with this first byte, and is alone: in the first of a message that is compressed
// (RFC 7692 section 6.1).
func (r *Reader) mayDeflate(first byte) bool {
	op := Opcode(first & 0xf)
	return first&bitsRSV == bitRSV1 && (op == OpText || op == OpBinary) && r.Config != nil && r.Config.Deflate
}

// parseLength decodes the length in a header and says where it ends: zero if b is too short for it.
func parseLength(b []byte) (length uint64, end int) {
	switch n := b[1] &^ bitMask; {
	case n < 126:
		return uint64(n), 2
	case n == 126 && len(b) >= 4:
		return uint64(binary.BigEndian.Uint16(b[2:])), 4
	case n == 127 && len(b) >= 10:
		return binary.BigEndian.Uint64(b[2:]), 10
	}
	return 0, 0
}
