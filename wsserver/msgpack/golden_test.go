package msgpack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// golden is a packet as the official parser encodes it; testdata/golden.mjs says how they came about.
type golden struct {
	Name, How, Hex string
	Type           packet.Type
	Namespace      string `json:"nsp"`
	ID             *uint64
	JSON           *string
	Attachments    []string
	Reason         string
}

func goldens(t testing.TB) []golden {
	t.Helper()
	text := kit.Must(os.ReadFile("testdata/golden.json"))(t)
	var all struct{ Packets []golden }
	kit.OK(t, json.Unmarshal(text, &all))
	kit.Require(t, len(all.Packets) >= 100, "%d packets only", len(all.Packets))
	return all.Packets
}

func (g golden) message(t testing.TB) []byte {
	t.Helper()
	msg := kit.Must(hex.DecodeString(g.Hex))(t)
	return msg
}

// packet is what must come of the message: what the default codec makes of the same data.
func (g golden) packet(t *testing.T) *packet.Packet {
	t.Helper()
	p := &packet.Packet{Type: g.Type, Namespace: g.Namespace}
	if g.ID != nil {
		p.ID, p.HasID = *g.ID, true
	}
	switch {
	case g.JSON == nil:
	case g.Type == packet.Event || g.Type == packet.Ack:
		var attachments [][]byte
		for _, a := range g.Attachments {
			b := kit.Must(hex.DecodeString(a))(t)
			attachments = append(attachments, b)
		}
		args := kit.Must(packet.ParseArgs([]byte(*g.JSON), attachments, nil))(t)
		p.Args = args
	default:
		p.Data = json.RawMessage(*g.JSON)
	}
	return p
}

func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.Name, func(t *testing.T) {
			msg := g.message(t)
			sent := bytes.Clone(msg)
			got, err := Codec{}.NewDecoder(nil).Binary(msg)
			if g.How == "refuse" {
				kit.Check(t, err != nil, "got %+v; the official parser says %q", got, g.Reason)
				return
			}
			kit.OK(t, err)
			kit.Check(t, bytes.Equal(msg, sent), "the decoder has modified the message")
			clear(msg) // nothing of it may have been kept
			want := g.packet(t)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", show(got), show(want))
			}
			e, err := Codec{}.Encode(want)
			kit.OK(t, err)
			if len(e.Text) > 0 || len(e.Attachments) != 1 {
				t.Fatalf("got a text of %d bytes and %d attachments, want one message", len(e.Text), len(e.Attachments))
			}
			if g.How == "both" && !bytes.Equal(e.Attachments[0], sent) {
				t.Errorf("encoded:\n got %x\nwant %x", e.Attachments[0], sent)
			}
		})
	}
}
