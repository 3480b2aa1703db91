package engine

import (
	"bytes"
	"testing"

	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// TestNewFrame: a text is a message also if it is empty, and so is what is binary; no text is none.
func TestNewFrame(t *testing.T) {
	text := func(s string) []byte { return transport.AppendFrame(nil, transport.OpText, []byte(s)) }
	binary := func(s string) []byte { return transport.AppendFrame(nil, transport.OpBinary, []byte(s)) }
	for _, test := range []struct {
		what     string
		messages Messages
		want     []byte
	}{
		{"nothing", Messages{}, nil},
		{"an empty text", Messages{Text: []byte{}}, text("4")},
		{"a text", Messages{Text: []byte("a")}, text("4a")},
		{"an empty binary message", Messages{Binary: [][]byte{{}}}, binary("")},
		{"both", Messages{Text: []byte("a"), Binary: [][]byte{[]byte("b"), nil}}, bytes.Join([][]byte{text("4a"), binary("b"), binary("")}, nil)},
	} {
		if got := NewFrame(test.messages).out.Bytes; !bytes.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
	}
}
