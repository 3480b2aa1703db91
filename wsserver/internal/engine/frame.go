package engine

import (
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// Messages are what a [Frame] is made of.
type Messages struct {
	Text   []byte   // the first message, which may be empty; nil for none
	Binary [][]byte // those that follow

	Volatile   bool // they may be dropped: when the client is not ready, or to make room
	NoCompress bool // they go out as they are, whatever was negotiated
}

// A Frame is messages for clients, which go out together. It is encoded once, and may be given to any number of sessions.
type Frame struct{ out outbox.Frame }

// Len is how many bytes the frame has.
func (f *Frame) Len() int { return len(f.out.Bytes) }

// NewFrame makes a frame. It keeps nothing of m.
func NewFrame(m Messages) *Frame {
	size := 0
	if m.Text != nil {
		size = transport.FrameSize(1 + len(m.Text))
	}
	for _, b := range m.Binary {
		size += transport.FrameSize(len(b))
	}
	frame := make([]byte, 0, size)
	if m.Text != nil {
		frame = transport.AppendHeader(frame, transport.OpText, 1+len(m.Text))
		frame = append(frame, byte(engineio.PacketMessage))
		frame = append(frame, m.Text...)
	}
	for _, b := range m.Binary {
		frame = transport.AppendFrame(frame, transport.OpBinary, b)
	}
	return &Frame{outbox.Frame{Bytes: frame, Volatile: m.Volatile, NoCompress: m.NoCompress}}
}
