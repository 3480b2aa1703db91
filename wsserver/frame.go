package wsserver

import (
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// newFrame makes what goes to clients of a packet, once for however many sockets.
func newFrame(e packet.Encoded) *engine.Frame {
	return engine.NewFrame(engine.Messages{Text: e.Text, Binary: e.Attachments})
}
