package packet

// A Payload is an event on its way through a cluster: what nodes exchange of a broadcast.
type Payload struct {
	Encoded      // without an ack id
	Plain   bool // not to be compressed
	Ack     bool // to be acknowledged: each node gives it an ack id of its own ([Codec.WithID])
}

// The first byte of a payload is one of flags. Those that are not known here are left alone.
const (
	payloadPlain = 1 << iota
	payloadAck
)

// Append appends p to dst, for [ParsePayload]: a byte of flags, and the packet as
// [Encoded.AppendBlob] writes it.
func (p Payload) Append(dst []byte) []byte {
	var flags byte
	if p.Plain {
		flags |= payloadPlain
	}
	if p.Ack {
		flags |= payloadAck
	}
	return p.AppendBlob(append(dst, flags))
}

// Size returns how many bytes Append appends.
func (p Payload) Size() int { return 1 + p.BlobSize() }

// ParsePayload is the reverse of [Payload.Append]. The result shares the payload's memory.
func ParsePayload(payload []byte, l *Limits) (Payload, error) {
	if len(payload) == 0 {
		return Payload{}, ErrBlob
	}
	encoded, err := ParseBlob(payload[1:], l)
	if err != nil {
		return Payload{}, err
	}
	return Payload{Encoded: encoded, Plain: payload[0]&payloadPlain != 0, Ack: payload[0]&payloadAck != 0}, nil
}

// AppendBlob appends a to dst, for [ParseArgsBlob]: the text and the attachments, as
// [Encoded.AppendBlob] writes them. Nodes use it to pass on arguments that are not a packet of a
// client.
func (a Args) AppendBlob(dst []byte) []byte {
	return Encoded{Text: a.JSON(), Attachments: a.Attachments()}.AppendBlob(dst)
}

// ParseArgsBlob is the reverse of [Args.AppendBlob]. The result shares the blob's memory. The limit
// AttachmentBytes is ignored.
func ParseArgsBlob(blob []byte, l *Limits) (Args, error) {
	encoded, err := ParseBlob(blob, l)
	if err != nil {
		return Args{}, err
	}
	return ParseArgs(encoded.Text, encoded.Attachments, l)
}
