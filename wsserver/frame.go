package wsserver

import (
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// newFrame makes what goes over the wire of a packet, once for however many sockets: a text message, marked as an Engine.IO message,
// unless the codec writes none, and a binary one for each attachment.
func newFrame(e packet.Encoded) *outbox.Frame {
	size := 0
	if len(e.Text) > 0 {
		size = transport.FrameSize(1 + len(e.Text))
	}
	for _, a := range e.Attachments {
		size += transport.FrameSize(len(a))
	}
	b := make([]byte, 0, size)
	if len(e.Text) > 0 {
		b = transport.AppendHeader(b, transport.OpText, 1+len(e.Text))
		b = append(b, '4')
		b = append(b, e.Text...)
	}
	for _, a := range e.Attachments {
		b = transport.AppendFrame(b, transport.OpBinary, a)
	}
	return &outbox.Frame{Bytes: b}
}
