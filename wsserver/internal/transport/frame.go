// Package transport carries bytes between a client and its session: the WebSocket of RFC 6455, as an opening handshake over
// net/http, a decoder of what arrives and functions that append frames to send.
package transport

import (
	"encoding/binary"
	"iter"
	"slices"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// An Opcode is the type of a frame (RFC 6455 section 5.2).
type Opcode uint8

const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xa
)

func (op Opcode) control() bool { return op&0x8 != 0 }

// message reports whether op begins a message or is that of a control frame: it is neither reserved nor a continuation.
func (op Opcode) message() bool {
	return op == OpText || op == OpBinary || OpClose <= op && op <= OpPong
}

// A CloseCode says why a connection is closed (RFC 6455 section 7.4).
type CloseCode uint16

const (
	CloseNormal        CloseCode = 1000
	CloseGoingAway     CloseCode = 1001
	CloseProtocolError CloseCode = 1002
	CloseNoStatus      CloseCode = 1005 // stands for a Close frame without a code; never sent
	CloseInvalidData   CloseCode = 1007
	ClosePolicy        CloseCode = 1008
	CloseTooBig        CloseCode = 1009
	CloseInternalError CloseCode = 1011
)

// sendable reports whether a Close frame may carry c: the codes of RFC 6455 section 7.4.1, those registered since (1012 to 1014),
// and those left to libraries and applications (section 7.4.2).
func (c CloseCode) sendable() bool {
	switch {
	case c < 1000 || c > 4999:
		return false
	case c < 3000:
		return c <= 1003 || 1007 <= c && c <= 1014
	}
	return true
}

const (
	// maxHeader is the length of the longest frame header, in bytes.
	maxHeader = 14
	// maxControl is the longest payload of a control frame, in bytes (RFC 6455 section 5.5).
	maxControl = 125

	bitFin  = 0x80
	bitsRSV = 0x70
	bitRSV1 = 0x40
	bitMask = 0x80
)

// FrameSize is the length of a server's frame with a payload of n bytes.
func FrameSize(n int) int {
	switch {
	case n <= 125:
		return 2 + n
	case n <= 0xffff:
		return 4 + n
	}
	return 10 + n
}

// AppendHeader appends the header of a server's frame to dst: final, not masked. The n bytes of its payload go behind it.
// For a control frame n is at most 125.
func AppendHeader(dst []byte, op Opcode, n int) []byte {
	return appendHeader(dst, op, 0, n)
}

// AppendFrame appends a server's frame to dst: final, not masked. With a nil dst it allocates once, what [FrameSize] says.
// The payload of a control frame has at most 125 bytes.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = grow(dst, FrameSize(len(payload)))
	dst = appendHeader(dst, op, 0, len(payload))
	return append(dst, payload...)
}

// AppendMaskedFrame appends a client's frame to dst: final, masked with key, which should be new and random for every frame
// (RFC 6455 section 5.3). The payload is not modified.
func AppendMaskedFrame(dst []byte, op Opcode, key [4]byte, payload []byte) []byte {
	dst = grow(dst, FrameSize(len(payload))+len(key))
	dst = appendHeader(dst, op, bitMask, len(payload))
	dst = append(dst, key[:]...)
	dst = append(dst, payload...)
	ws.Cipher(dst[len(dst)-len(payload):], key, 0)
	return dst
}

// AppendClose appends a server's Close frame to dst. A code that must not be sent, such as [CloseNoStatus], gives a frame without
// a code or reason. A reason of more than 123 bytes is cut, between two characters; one that is not UTF-8 is left out.
func AppendClose(dst []byte, code CloseCode, reason string) []byte {
	if !code.sendable() {
		return AppendHeader(dst, OpClose, 0)
	}
	if !utf8.ValidString(reason) {
		reason = ""
	}
	if end := maxControl - 2; len(reason) > end {
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = grow(dst, FrameSize(2+len(reason)))
	dst = AppendHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// ParseClose splits the payload of a Close frame as a [Reader] hands it out. Without a code it is [CloseNoStatus].
// reason is part of payload.
func ParseClose(payload []byte) (code CloseCode, reason []byte) {
	if len(payload) < 2 {
		return CloseNoStatus, nil
	}
	return CloseCode(binary.BigEndian.Uint16(payload)), payload[2:]
}

// Messages walks frames as [AppendHeader] and [AppendFrame] write them, and yields the opcode and the payload of each, which is part of
// frames and not to be modified. It stops at the first bytes that are no whole frame of that kind: final, neither masked nor compressed, and
// no continuation. What the server has not written itself is for a [Reader].
func Messages(frames []byte) iter.Seq2[Opcode, []byte] {
	return func(yield func(Opcode, []byte) bool) {
		for len(frames) >= 2 {
			op := Opcode(frames[0] &^ bitFin)
			length, start := parseLength(frames)
			if frames[0]&bitFin == 0 || !op.message() || frames[1]&bitMask != 0 || start == 0 || length > uint64(len(frames)-start) {
				return
			}
			end := start + int(length)
			if end != FrameSize(int(length)) || !yield(op, frames[start:end:end]) {
				return
			}
			frames = frames[end:]
		}
	}
}

// nextEnd returns where the frame ends in which the byte at offset is, in frames as [Messages] walks them.
func nextEnd(frames []byte, offset int) int {
	end := 0
	for end <= offset && len(frames)-end >= 2 {
		length, start := parseLength(frames[end:])
		if start == 0 || length > uint64(len(frames)-end-start) {
			return len(frames)
		}
		end += start + int(length)
	}
	return max(end, offset)
}

// grow makes room for n more bytes, and no more than that where there is nothing yet.
func grow(dst []byte, n int) []byte {
	if dst == nil {
		return make([]byte, 0, n)
	}
	return slices.Grow(dst, n)
}

func appendHeader(dst []byte, op Opcode, mask byte, n int) []byte {
	first := bitFin | byte(op)
	switch {
	case n <= 125:
		return append(dst, first, mask|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, mask|127), uint64(n))
}
