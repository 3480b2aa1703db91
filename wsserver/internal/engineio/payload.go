package engineio

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

const (
	separator    = 0x1e
	binaryPrefix = 'b'
)

// canonical refuses padding bits that are not zero. Like every encoding of its package it skips CR and LF.
var canonical = base64.StdEncoding.Strict()

// AppendPacket appends a packet to a payload of HTTP long-polling that is being built (Engine.IO 4, "Packet encoding", "HTTP
// long-polling"), and returns it like append. An empty payload is one without packets.
//
// If binary is false, packet includes the packet's type, so that it is never empty. It must be valid UTF-8 without the character 0x1e,
// which separates packets and cannot be escaped; in JSON it does not occur. If binary is true, packet is the payload of a message, may be
// empty, and is written as base64. packet is not kept.
func AppendPacket(payload []byte, binary bool, packet []byte) []byte {
	if len(payload) > 0 {
		payload = append(payload, separator)
	}
	if !binary {
		return append(payload, packet...)
	}
	return base64.StdEncoding.AppendEncode(append(payload, binaryPrefix), packet)
}

// AppendPayload appends the packets of another payload, which is not kept, to one that is being built, and returns it like append.
func AppendPayload(payload, packets []byte) []byte {
	if len(payload) > 0 && len(packets) > 0 {
		payload = append(payload, separator)
	}
	return append(payload, packets...)
}

// DecodePayload calls each for every packet of the body of a client's POST, in order (Engine.IO 4, "Packet encoding", "HTTP
// long-polling"). The arguments are those of [State.Receive]: text includes its type, which is not looked at here; binary is the payload
// of a message, without prefix and decoded.
//
// The packets are parts of payload, which is decoded in place: DecodePayload modifies it, and each may modify and keep its packet.
//
// The first error of each ends the decoding and is returned as it is. All others wrap [ErrParse]: a payload that is empty or is not valid
// UTF-8, of which no packet is handed out, and a packet that is empty or whose base64 is not exactly what an encoder writes, that is the
// standard alphabet with padding (RFC 4648 section 4), without line breaks and with zero as the unused bits. What comes before such a
// packet has been handed out, what comes after it is not looked at.
func DecodePayload(payload []byte, each func(binary bool, packet []byte) error) error {
	if !utf8.Valid(payload) {
		return fmt.Errorf("%w: payload is not UTF-8", ErrParse)
	}
	for more := true; more; {
		packet := payload
		if end := bytes.IndexByte(payload, separator); end >= 0 {
			// Without spare capacity, an append to this packet cannot run into the next.
			packet, payload = payload[:end:end], payload[end+1:]
		} else {
			more = false
		}
		if len(packet) == 0 {
			return fmt.Errorf("%w: empty packet in a payload", ErrParse)
		}
		binary := packet[0] == binaryPrefix
		if binary {
			text := packet[1:]
			// What is written never overtakes what is read: 4 characters become 3 bytes.
			n, err := canonical.Decode(text, text)
			if err != nil {
				return fmt.Errorf("%w: binary packet in a payload: %w", ErrParse, err)
			}
			if canonical.EncodedLen(n) != len(text) {
				return fmt.Errorf("%w: binary packet in a payload: line break in base64", ErrParse)
			}
			packet = text[:n]
		}
		if err := each(binary, packet); err != nil {
			return err
		}
	}
	return nil
}
