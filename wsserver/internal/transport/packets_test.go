package transport

import (
	"strings"
	"testing"

	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// TestPayloadForm: what a poll carries, of which each frame's part is made once for all who poll. A text alone is not copied.
func TestPayloadForm(t *testing.T) {
	text := NewFrame(false, []byte("4"+strings.Repeat("é", 1000)))
	attached := &outbox.Frame{Bytes: AppendFrame(AppendFrame(nil, OpText, []byte("451-x")), OpBinary, []byte{0, 255})}
	binary := &outbox.Frame{Bytes: AppendFrame(nil, OpBinary, nil), NoCompress: true}
	for _, test := range []struct {
		frames     []*outbox.Frame
		want       string
		noCompress bool
	}{
		{[]*outbox.Frame{text}, "4" + strings.Repeat("é", 1000), false},
		{[]*outbox.Frame{attached}, "451-x\x1ebAP8=", false},
		{[]*outbox.Frame{binary}, "b", true},
		{[]*outbox.Frame{attached, NewFrame(false, []byte("2")), binary}, "451-x\x1ebAP8=\x1e2\x1eb", false},
		{[]*outbox.Frame{binary, binary}, "b\x1eb", true},
	} {
		if payload, noCompress := payloadOf(test.frames); string(payload) != test.want || noCompress != test.noCompress {
			t.Errorf("got %.50q, %v, want %.50q, %v", payload, noCompress, test.want, test.noCompress)
		}
	}
	if payload, _ := payloadOf([]*outbox.Frame{text}); &payload[0] != &text.Bytes[FrameSize(2001)-2001] {
		t.Error("a text was copied")
	}
	for _, f := range []*outbox.Frame{attached, binary} {
		one, _ := payloadOf([]*outbox.Frame{f})
		if other, _ := payloadOf([]*outbox.Frame{f}); &one[0] != &other[0] {
			t.Errorf("%q was made twice", one)
		}
	}
}
