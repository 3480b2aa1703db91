package crowd

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What the first byte of a WebSocket's frame says: RFC 6455 section 5.2, RFC 7692 section 6.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	opcode         = 0xf
	fin            = 0x80
	compressed     = 0x40
	reserved       = 0x30
)

var (
	errFrame = errors.New("the server has sent a frame that is none of a WebSocket's server")
	errLarge = fmt.Errorf("the server has sent a message of more than %d bytes", maxMessage)
)

// A frame is what a server sends. Its payload is that of the buffer which it was read from.
type frame struct {
	first   byte
	payload []byte
}

func (f frame) op() byte { return f.first & opcode }

// nextFrame takes the first frame off p. size is 0 if p does not hold all of it.
func nextFrame(p []byte) (f frame, size int, err error) {
	size, err = frameSize(p)
	if err != nil || size == 0 || len(p) < size {
		return frame{}, 0, err
	}
	header := 2
	switch p[1] {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	return frame{p[0], p[header:size]}, size, nil
}

// frameSize is the length of the frame that p begins with; 0 if p is too short to tell.
func frameSize(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	if p[0]&reserved != 0 || p[1]&0x80 != 0 {
		return 0, errFrame
	}
	header, length := 2, uint64(p[1])
	switch length {
	case 126:
		if header = 4; len(p) < header {
			return 0, nil
		}
		length = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if header = 10; len(p) < header {
			return 0, nil
		}
		length = binary.BigEndian.Uint64(p[2:])
	}
	if length > maxMessage {
		return 0, errLarge
	}
	return header + int(length), nil
}

// appendMasked appends a frame as a client sends it. The key of a mask is not secret here: it protects
// proxies from pages that somebody else has written.
func appendMasked(dst []byte, first byte, payload []byte) []byte {
	const key, masked = 0x8ec3175a8ec3175a, 0x80
	switch length := len(payload); {
	case length <= 125:
		dst = append(dst, first, masked|byte(length))
	case length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, masked|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, masked|127), uint64(length))
	}
	dst = append(binary.LittleEndian.AppendUint32(dst, key&0xffffffff), payload...)
	p := dst[len(dst)-len(payload):]
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^key)
	}
	for i := range p {
		p[i] ^= byte(uint64(key) >> (8 * i))
	}
	return dst
}

// closedBy is the error of a frame with which a server closes: RFC 6455 section 5.5.1.
func closedBy(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed by the server")
	}
	code, reason := binary.BigEndian.Uint16(payload), payload[2:]
	if len(reason) == 0 {
		return fmt.Errorf("closed by the server with code %d", code)
	}
	return fmt.Errorf("closed by the server with code %d: %s", code, reason)
}

// An inflater decompresses messages of RFC 7692, each for itself.
type inflater struct {
	reader io.ReadCloser
	out    bytes.Buffer
}

// inflate returns a message, which is valid until the next one.
func (i *inflater) inflate(p []byte) ([]byte, error) {
	// RFC 7692 section 7.2.2; the second block is the last one, so that the reader knows of the end.
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	in := io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(tail)))
	if i.reader == nil {
		i.reader = flate.NewReader(in)
	} else if err := i.reader.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	i.out.Reset()
	if _, err := i.out.ReadFrom(io.LimitReader(i.reader, maxMessage+1)); err != nil {
		return nil, fmt.Errorf("a compressed message: %w", err)
	}
	if i.out.Len() > maxMessage {
		return nil, errLarge
	}
	return i.out.Bytes(), nil
}
