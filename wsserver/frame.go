package wsserver

import (
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// messages are those that carry a packet. A packet in binary has no text.
func messages(e packet.Encoded) engine.Messages {
	m := engine.Messages{Binary: e.Attachments}
	if len(e.Text) > 0 {
		m.Text = e.Text
	}
	return m
}

// newFrame makes what goes to clients of a packet, once for however many sockets.
func newFrame(e packet.Encoded) *engine.Frame { return frameOf(e, false, false) }

// frameOf is newFrame for a packet that may be dropped, or is not to be compressed. It keeps nothing
// of e.
func frameOf(e packet.Encoded, volatile, plain bool) *engine.Frame {
	m := messages(e)
	m.Volatile, m.NoCompress = volatile, plain
	return engine.NewFrame(m)
}
