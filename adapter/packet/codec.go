package packet

// A Codec writes packets as messages. All clients of a server, and all nodes of a cluster, use the
// same one. Its methods may be called concurrently.
type Codec interface {
	// Encode writes p. The result shares p's attachments, and neither may be modified from then on.
	// A decoder of the same codec accepts the result, unless its limits are narrower. If there can
	// be no such result, Encode returns an error.
	Encode(p *Packet) (Encoded, error)

	// WithID returns e, an Event that Encode wrote without an ack id, as if it had been written
	// with this id. The result shares e's memory; e is not modified. It costs about a copy of the
	// text. So a broadcast is encoded once for a cluster, and each node adds its own id.
	WithID(e Encoded, id uint64) (Encoded, error)

	// WithLast returns e, an Event that Encode wrote without an ack id, as if the string s, which
	// must be valid UTF-8, had been its last argument. The message that has the arguments is copied
	// into the memory of dst, if that is large enough; the result may share e's attachments. Neither
	// e nor s is modified or kept.
	WithLast(dst []byte, e Encoded, s []byte) (Encoded, error)

	// EndsInString reports whether a client that reads e takes a string of it for an offset, as it
	// does with the last of an Event's name and arguments, but not of an Event with an ack id: there
	// the last is the function that answers (socket.io-client 4.8, Socket.onevent and emitEvent).
	EndsInString(e Encoded) bool

	// NewDecoder returns the decoder of one connection. l is shared and only read; nil means the
	// defaults.
	NewDecoder(l *Limits) Decoder
}

// A Decoder turns the messages of one connection into packets. Its methods must not be called
// concurrently. They keep nothing of msg: the caller may reuse it at once.
//
// A nil packet without an error means that attachments are to come; how long to wait for them is
// the caller's decision. After an error the connection cannot be understood any more, and must be
// closed. The caller judges which packets are legal at the moment: a decoder also decodes a
// ConnectError, which only servers send.
type Decoder interface {
	Text(msg []byte) (*Packet, error)
	Binary(msg []byte) (*Packet, error)
}

// Encoded is a packet as messages: a text message, unless Text is empty, and then a binary message
// for each attachment, also for an empty one. The messages of one packet are sent in this order
// with no other packet's between them.
type Encoded struct {
	Text        []byte
	Attachments [][]byte
}
