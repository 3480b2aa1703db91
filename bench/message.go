package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// What travels. A publisher emits the event "publish" with one string; the server emits it to the room as "message". The string is the
// payload whose size is given: the publisher's id and the publish's number, each with a fixed width, and filler.
const (
	messagePrefix = `42["message","`
	publishPrefix = `42["publish","` + room + `","`
	messageSuffix = `"]`

	publisherDigits = 4
	numberDigits    = 12
	minSize         = publisherDigits + numberDigits

	maxPublishers = 10_000 // what publisherDigits can tell apart
)

// appendEvent appends the Socket.IO packet of an event to dst.
func appendEvent(dst []byte, prefix string, publisher, number, size int) []byte {
	dst = append(dst, prefix...)
	dst = fmt.Appendf(dst, "%0*d%0*d", publisherDigits, publisher, numberDigits, number)
	for range size - minSize {
		dst = append(dst, 'x')
	}
	return append(dst, messageSuffix...)
}

// A messageParser reads messages with payloads of one size.
type messageParser struct {
	filler []byte
	length int // of a packet
}

func newMessageParser(size int) messageParser {
	return messageParser{filler: bytes.Repeat([]byte("x"), size-minSize), length: len(messagePrefix) + size + len(messageSuffix)}
}

// parse takes a packet apart. It reports false for any that is not exactly what [appendEvent] makes, but
// for the offset that a server with recovery puts behind it.
func (m *messageParser) parse(packet []byte) (publisher, number int, ok bool) {
	if len(packet) < m.length || string(packet[:len(messagePrefix)]) != messagePrefix || !ends(packet[m.length-len(messageSuffix):]) {
		return 0, 0, false
	}
	data := packet[len(messagePrefix) : m.length-len(messageSuffix)]
	publisher, ok1 := digits(data[:publisherDigits])
	number, ok2 := digits(data[publisherDigits:minSize])
	return publisher, number, ok1 && ok2 && bytes.Equal(data[minSize:], m.filler)
}

// ends reports whether a packet may end so.
func ends(rest []byte) bool {
	if offset, ok := bytes.CutPrefix(rest, []byte(`","`)); ok {
		return len(offset) < 32 && bytes.IndexByte(offset, '"') == len(offset)-len(messageSuffix) && bytes.HasSuffix(offset, []byte(messageSuffix))
	}
	return string(rest) == messageSuffix
}

func digits(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// The opcodes of RFC 6455 section 5.2 that a client of the benchmark meets, with the FIN bit.
const (
	finText  = 0x81
	finClose = 0x88
	finPing  = 0x89
	finPong  = 0x8a
)

var errFrame = errors.New("not a whole, unmasked WebSocket frame")

// appendFrame appends a frame as a server sends it, without a mask (RFC 6455 section 5.2).
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	return append(appendHeader(dst, first, len(payload), 0), payload...)
}

// appendMasked appends a frame as a client sends it. The key protects proxies, of which there are none here; it is not secret.
func appendMasked(dst []byte, first byte, payload []byte) []byte {
	key := [4]byte{0x5a, 0x17, 0xc3, 0x8e}
	dst = append(appendHeader(dst, first, len(payload), 0x80), key[:]...)
	for i, b := range payload {
		dst = append(dst, b^key[i&3])
	}
	return dst
}

func appendHeader(dst []byte, first byte, length int, mask byte) []byte {
	switch {
	case length <= 125:
		return append(dst, first, mask|byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, mask|126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, mask|127), uint64(length))
}

// nextFrame takes the first frame off p. size is 0 if p does not hold all of it.
func nextFrame(p []byte) (first byte, payload []byte, size int, err error) {
	if len(p) < 2 {
		return 0, nil, 0, nil
	}
	if p[0]&0x80 == 0 || p[1]&0x80 != 0 {
		return 0, nil, 0, errFrame
	}
	header, length := 2, int(p[1])
	switch length {
	case 126:
		if header = 4; len(p) < header {
			return 0, nil, 0, nil
		}
		length = int(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if header = 10; len(p) < header {
			return 0, nil, 0, nil
		}
		n := binary.BigEndian.Uint64(p[2:])
		if n > 1<<30 {
			return 0, nil, 0, errFrame
		}
		length = int(n)
	}
	if len(p) < header+length {
		return 0, nil, 0, nil
	}
	return p[0], p[header : header+length], header + length, nil
}
