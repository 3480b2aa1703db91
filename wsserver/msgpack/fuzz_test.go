package msgpack

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// FuzzDecoder holds the decoder to: it does not panic, takes no more memory than it may, and what it accepts is encoded and decoded again
// to the same, by this codec and by the default one.
func FuzzDecoder(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.message(f))
	}
	f.Add([]byte("\x84\xa1o\x81\x01\xc7\x02\x00ab\xa4data\x93\x05\xc4\x01a\x81\xac_placeholder\xc2\xa3nsp\xa2/a\xa4type\xca\x40\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		sent := bytes.Clone(msg)
		p, err := Codec{}.NewDecoder(nil).Binary(msg)
		kit.Require(t, bytes.Equal(msg, sent), "the decoder has modified the message")
		if err != nil {
			kit.Check(t, p == nil, "a packet and the error %v", err)
			return
		}
		clear(msg)
		const placeholders = 10 * len(`{"_placeholder":true,"num":0}`)
		if got := len(p.Args.JSON()) + len(p.Data); got > 6*len(sent)+placeholders {
			t.Errorf("%d bytes of JSON for a message of %d", got, len(sent))
		}
		kit.Check(t, p.Namespace != "" && p.Namespace[0] == '/', "namespace %q", p.Namespace)
		kit.Check(t, !packet.Reserved(p.Event()), "reserved name %q", p.Event())
		e, err := Codec{}.Encode(p)
		if err != nil {
			t.Fatalf("%s cannot be encoded again: %v", show(p), err)
		}
		again, err := Codec{}.NewDecoder(nil).Binary(e.Attachments[0])
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("decoded again:\n got %s, %v\nwant %s", show(again), err, show(p))
		}
		if other := throughJSON(t, nil, p); !reflect.DeepEqual(other, p) {
			t.Fatalf("the default codec has %s, want %s", show(other), show(p))
		}
		if p.Type != packet.Event || p.HasID {
			return
		}
		withID, err := Codec{}.WithID(e, 7)
		if err != nil {
			t.Fatalf("%x takes no id: %v", e.Attachments, err)
		}
		p.ID, p.HasID = 7, true
		if got, err := (Codec{}).NewDecoder(nil).Binary(withID.Attachments[0]); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("with an id:\n got %s, %v\nwant %s", show(got), err, show(p))
		}
	})
}

// FuzzJSON holds the encoder to: JSON of any form comes back with the same meaning.
func FuzzJSON(f *testing.F) {
	for _, g := range goldens(f) {
		if g.JSON != nil && len(g.Attachments) == 0 {
			f.Add([]byte(*g.JSON), 0)
		}
	}
	f.Add([]byte(` [ -0 , 1.0, 1e3 ,-9223372036854775809,18446744073709551616, 1e19,-1E-7, "\ud800\u00e9\/" , { } , [ ] , {"\u0061" : [ { } ] } ] `), 0)
	f.Add([]byte(`[{"_placeholder":true,"num":0},{"_placeholder":false}]`), 0)
	f.Add([]byte(`[ { "num" : 1 , "\u005fplaceholder" : true } ,[],{"a":{"_placeholder":true,"num":0}},[1,{}]]`), 2)
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		attachments := [][]byte{[]byte("first"), {}, bytes.Repeat([]byte("third"), 60)}
		args, err := packet.ParseArgs(text, attachments[:min(max(n, 0), len(attachments))], nil)
		if err != nil {
			return
		}
		p := &packet.Packet{Type: packet.Ack, Namespace: "/", HasID: true, Args: args}
		e, err := Codec{}.Encode(p)
		kit.OK(t, err)
		got, err := Codec{}.NewDecoder(nil).Binary(e.Attachments[0])
		if err != nil {
			t.Fatalf("%q: %x: %v", text, e.Attachments[0], err)
		}
		if !same(t, got, p) {
			t.Errorf("got %s, want %s", show(got), show(p))
		}
		if again, err := (Codec{}).Encode(got); err != nil || !bytes.Equal(again.Attachments[0], e.Attachments[0]) {
			t.Errorf("encoded again: got %x, %v, want %x", again.Attachments, err, e.Attachments)
		}
	})
}
