package payload

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// TestPayload: the flags and the packet come back, and what an older node has written still means the same.
func TestPayload(t *testing.T) {
	encoded := packet.Encoded{Text: []byte(`2["x"]`), Attachments: [][]byte{[]byte("a"), {}}}
	for _, p := range []Payload{{Encoded: encoded}, {encoded, true, false}, {encoded, false, true}, {encoded, true, true}} {
		b := p.Append([]byte("before"))[len("before"):]
		kit.Equal(t, p.Size(), len(b), p, "Size")
		got, err := Parse(b, nil)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, error %v, want %+v", got, err, p)
		}
		b[0] |= 0x80
		if got, err := Parse(b, nil); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("with a flag of the future: got %+v, error %v, want %+v", got, err, p)
		}
	}
	golden := []byte("\x03\x00\x062[\"x\"]")
	if got := (Payload{packet.Encoded{Text: []byte(`2["x"]`)}, true, true}).Append(nil); !bytes.Equal(got, golden) {
		t.Errorf("got %q, want %q: nodes of other versions would not understand it", got, golden)
	}
	for _, bad := range [][]byte{nil, {}, {0}, {0, 0}, {0, 11, 0}} {
		if _, err := Parse(bad, nil); !errors.Is(err, packet.ErrBlob) {
			t.Errorf("%q: got error %v, want ErrBlob", bad, err)
		}
	}
}

// TestArgs: arguments come back, attachments included; what does not fit together does not.
func TestArgs(t *testing.T) {
	for _, values := range [][]any{nil, {1, "two", nil}, {[]byte("b"), map[string]any{"deep": []byte{}}}} {
		args, err := packet.Marshal(values...)
		kit.OK(t, err)
		got, err := ParseArgs(AppendArgs(nil, args))
		if err != nil || got.Len() != args.Len() || !bytes.Equal(got.JSON(), args.JSON()) ||
			len(got.Attachments()) != len(args.Attachments()) {
			t.Errorf("%v: got %s, error %v, want %s", values, got.JSON(), err, args.JSON())
		}
		for i, a := range got.Attachments() {
			if !bytes.Equal(a, args.Attachments()[i]) {
				t.Errorf("%v: attachment %d is %q", values, i, a)
			}
		}
	}
	for _, bad := range []packet.Encoded{
		{Text: []byte(`{}`)},
		{Text: []byte(`[`)},
		{Text: []byte(`[1]`), Attachments: [][]byte{{1}}},
	} {
		if args, err := ParseArgs(bad.AppendBlob(nil)); err == nil {
			t.Errorf("%s with %d attachments: got %s, want an error", bad.Text, len(bad.Attachments), args.JSON())
		}
	}
	if _, err := ParseArgs(nil); !errors.Is(err, packet.ErrBlob) {
		t.Errorf("empty: got error %v, want ErrBlob", err)
	}
}
