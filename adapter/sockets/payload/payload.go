// Package payload is how nodes pass on what programs emit: a [Payload] is an event for sockets, and
// [AppendArgs] writes arguments that are not a packet of a client, such as those of a server event.
// Package sockets writes what package wsserver reads, and the other way round.
package payload

import (
	"math"

	"github.com/belfry-io/belfry/adapter/packet"
)

// Limits bound nothing. They are for what a node of the same cluster has encoded, within its own limits.
var Limits = &packet.Limits{
	Attachments:     math.MaxInt,
	AttachmentBytes: math.MaxInt,
	Arguments:       math.MaxInt,
	Depth:           math.MaxInt,
	NamespaceBytes:  math.MaxInt,
}

// A Payload is an event on its way through a cluster: what nodes exchange of a broadcast.
type Payload struct {
	packet.Encoded      // without an ack id
	Plain          bool // not to be compressed
	Ack            bool // to be acknowledged: each node gives it an ack id of its own ([packet.Codec.WithID])
}

// The first byte of a payload is one of flags. Those that are not known here are left alone.
const (
	flagPlain = 1 << iota
	flagAck
)

// Append appends p to dst, for [Parse]: a byte of flags, and the packet as
// [packet.Encoded.AppendBlob] writes it.
func (p Payload) Append(dst []byte) []byte {
	var flags byte
	if p.Plain {
		flags |= flagPlain
	}
	if p.Ack {
		flags |= flagAck
	}
	return p.AppendBlob(append(dst, flags))
}

// Size returns how many bytes Append appends.
func (p Payload) Size() int { return 1 + p.BlobSize() }

// Parse is the reverse of [Payload.Append]. The result shares the memory of b.
func Parse(b []byte, l *packet.Limits) (Payload, error) {
	if len(b) == 0 {
		return Payload{}, packet.ErrBlob
	}
	encoded, err := packet.ParseBlob(b[1:], l)
	if err != nil {
		return Payload{}, err
	}
	return Payload{Encoded: encoded, Plain: b[0]&flagPlain != 0, Ack: b[0]&flagAck != 0}, nil
}

// AppendArgs appends args to dst, for [ParseArgs]: the text and the attachments, as
// [packet.Encoded.AppendBlob] writes them.
func AppendArgs(dst []byte, args packet.Args) []byte {
	return packet.Encoded{Text: args.JSON(), Attachments: args.Attachments()}.AppendBlob(dst)
}

// ParseArgs is the reverse of [AppendArgs], within [Limits]. The result shares the memory of b.
func ParseArgs(b []byte) (packet.Args, error) {
	encoded, err := packet.ParseBlob(b, Limits)
	if err != nil {
		return packet.Args{}, err
	}
	return packet.ParseArgs(encoded.Text, encoded.Attachments, Limits)
}
