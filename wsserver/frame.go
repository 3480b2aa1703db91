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
func newFrame(e packet.Encoded) *engine.Frame { return engine.NewFrame(messages(e)) }
