package transport

import (
	"iter"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// NewFrame makes a frame of one packet: text with its type, or the payload of a binary message.
func NewFrame(binary bool, packet []byte) *outbox.Frame {
	op := OpText
	if binary {
		op = OpBinary
	}
	return &outbox.Frame{Bytes: AppendFrame(nil, op, packet)}
}

// Packets walks the packets of a frame: text with their type, and the payloads of binary messages. They are not to be modified.
func Packets(f *outbox.Frame) iter.Seq2[bool, []byte] {
	return func(yield func(bool, []byte) bool) {
		for op, packet := range Messages(f.Bytes) {
			if !yield(op == OpBinary, packet) {
				return
			}
		}
	}
}

// payloadForm is how packets travel in the payload of a poll. It is made for the first client that polls.
var payloadForm = &outbox.Form{Make: func(f *outbox.Frame) []byte {
	var payload []byte
	for binary, packet := range Packets(f) {
		if !binary && FrameSize(len(packet)) == len(f.Bytes) {
			return packet // a text alone is its own payload
		}
		payload = engineio.AppendPacket(payload, binary, packet)
	}
	return payload
}}

// payloadOf returns the payload that carries frames, and whether none of them may be compressed.
func payloadOf(frames []*outbox.Frame) (payload []byte, noCompress bool) {
	if len(frames) == 1 {
		return frames[0].As(payloadForm).Bytes, frames[0].NoCompress
	}
	size := len(frames) // of what separates them, and their packets
	noCompress = true
	for _, f := range frames {
		size += len(f.As(payloadForm).Bytes)
		noCompress = noCompress && f.NoCompress
	}
	payload = make([]byte, 0, size)
	for _, f := range frames {
		payload = engineio.AppendPayload(payload, f.As(payloadForm).Bytes)
	}
	return payload, noCompress
}
