package msgpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

const (
	event   = "\xa4type\x02\xa3nsp\xa1/\xa4data" // the members of an Event up to its data
	ack     = "\xa4type\x03\xa3nsp\xa1/\xa4data"
	connect = "\xa4type\x00\xa3nsp\xa1/\xa4data"
)

func decode(l *packet.Limits, msg string) (*packet.Packet, error) {
	return Codec{}.NewDecoder(l).Binary([]byte(msg))
}

// TestRefused has every class of message that is no packet. Where the default codec can say the same, it must refuse it for the same reason.
func TestRefused(t *testing.T) {
	small := &packet.Limits{Attachments: 2, AttachmentBytes: 4, Arguments: 3, Depth: 3, NamespaceBytes: 4}
	for _, tt := range []struct {
		name   string
		limits *packet.Limits
		msg    string
		json   string // the same for the default codec, if it can be said there
		want   error
	}{
		{"empty", nil, "", "", ErrMessage},
		{"a byte that is none of MessagePack", nil, "\xc1", "", ErrMessage},
		{"no map", nil, "\x93\xa4type\x02\x01", "", ErrMessage},
		{"JSON", nil, `2["x"]`, "", ErrMessage},
		{"nil", nil, "\xc0", "", ErrMessage},
		{"more members than there are", nil, "\x84" + event + "\x91\xa1x", "", ErrMessage},
		{"bytes that follow", nil, "\x83" + event + "\x91\xa1x\xc0", "", ErrMessage},
		{"another packet that follows", nil, strings.Repeat("\x83"+event+"\x91\xa1x", 2), "", ErrMessage},
		{"4 billion members", nil, "\xdf\xff\xff\xff\xff", "", ErrMessage},
		{"4 billion elements", nil, "\x83" + event + "\xdd\xff\xff\xff\xff", "", ErrMessage},
		{"4 billion members of an object", nil, "\x83" + event + "\x92\xa1x\xdf\xff\xff\xff\xff", "", ErrMessage},
		{"a string of 4 billion bytes", nil, "\x83" + event + "\x91\xdb\xff\xff\xff\xff", "", ErrMessage},
		{"a string of 2 billion bytes", nil, "\x83" + event + "\x91\xdb\x80\x00\x00\x00", "", ErrMessage},
		{"4 billion bytes", nil, "\x83" + event + "\x92\xa1x\xc6\xff\xff\xff\xff", "", ErrMessage},
		{"an ArrayBuffer of 4 billion bytes", nil, "\x83" + event + "\x92\xa1x\xc9\xff\xff\xff\xff\x00", "", ErrMessage},
		{"a key of 4 billion bytes", nil, "\x83\xdb\xff\xff\xff\xff------", "", ErrMessage},
		{"type twice", nil, "\x84\xa4type\x02" + event + "\x91\xa1x", "", ErrMessage},
		{"nsp twice", nil, "\x84\xa3nsp\xa1/" + event + "\x91\xa1x", "", ErrMessage},
		{"data twice", nil, "\x84" + event + "\x91\xa1x\xa4data\x91\xa1x", "", ErrMessage},
		{"id twice", nil, "\x85" + event + "\x91\xa1x\xa2id\x01\xa2id\x01", "", ErrMessage},
		{"id twice, first undefined", nil, "\x85" + event + "\x91\xa1x\xa2id\xd4\x00\x00\xa2id\x01", "", ErrMessage},

		{"nil for a key of the packet", nil, "\x84\xc0\x01" + event + "\x91\xa1x", "", ErrValue},
		{"bytes for a key", nil, "\x83" + event + "\x92\xa1x\x81\xc4\x01a\x01", "", ErrValue},
		{"an array for a key", nil, "\x83" + event + "\x92\xa1x\x81\x90\x01", "", ErrValue},
		{"true for a key", nil, "\x83" + event + "\x92\xa1x\x81\xc3\x01", "", ErrValue},
		{"the timestamp of MessagePack", nil, "\x83" + event + "\x92\xa1x\xd6\xff\x00\x00\x00\x00", "", ErrValue},
		{"another extension", nil, "\x83" + event + "\x92\xa1x\xc7\x01\x05a", "", ErrValue},
		{"an extension of type 0 that notepack.io does not have", nil, "\x83" + event + "\x92\xa1x\xd5\x00ab", "", ErrValue},
		{"fixext1 of another type", nil, "\x83" + event + "\x92\xa1x\xd4\x01a", "", ErrValue},
		{"a date after the last", nil, "\x83" + event + "\x92\xa1x\xd7\x00\x00\x1e\xb2\x08\xc2\xdc\x00\x01", "", ErrValue},
		{"a date before the first", nil, "\x83" + event + "\x92\xa1x\xd7\x00\x80\x00\x00\x00\x00\x00\x00\x00", "", ErrValue},
		{"an extension in what is ignored", nil, "\x84\xa1o\xd6\xff\x00\x00\x00\x00" + event + "\x91\xa1x", "", ErrValue},

		{"no members", nil, "\x80", "", packet.ErrType},
		{"no type", nil, "\x82\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"type 5", nil, "\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"type 7", nil, "\x83\xa4type\x07\xa3nsp\xa1/\xa4data\x91\xa1x", `7["x"]`, packet.ErrType},
		{"type 256", nil, "\x83\xa4type\xcd\x01\x00\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a type of 64 bits", nil, "\x83\xa4type\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a negative type", nil, "\x83\xa4type\xff\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a type with a fraction", nil, "\x83\xa4type\xca\x40\x20\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a type that would be 2 in 8 bits", nil, "\x83\xa4type\xd1\xff\x02\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a float that would be 2 in 8 bits", nil, "\x83\xa4type\xca\xc3\x7e\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a type that is not a number", nil, "\x83\xa4type\xca\x7f\xc0\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"a type that is no number", nil, "\x83\xa4type\xa12\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},
		{"an undefined type", nil, "\x83\xa4type\xd4\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1x", "", packet.ErrType},

		{"no namespace", nil, "\x82\xa4type\x02\xa4data\x91\xa1x", "", packet.ErrNamespace},
		{"an empty namespace", nil, "\x83\xa4type\x02\xa3nsp\xa0\xa4data\x91\xa1x", "", packet.ErrNamespace},
		{"a namespace without a slash", nil, "\x83\xa4type\x02\xa3nsp\xa1a\xa4data\x91\xa1x", "", packet.ErrNamespace},
		{"a namespace with a comma", nil, "\x83\xa4type\x02\xa3nsp\xa3/a,\xa4data\x91\xa1x", "", packet.ErrNamespace},
		{"a namespace that is no string", nil, "\x83\xa4type\x02\xa3nsp\xc4\x01/\xa4data\x91\xa1x", "", packet.ErrNamespace},
		{"a namespace that is no UTF-8", nil, "\x83\xa4type\x02\xa3nsp\xa2/\xff\xa4data\x91\xa1x", "2/\xff," + `["x"]`, packet.ErrNamespace},
		{"a namespace of 5 bytes", small, "\x83\xa4type\x02\xa3nsp\xa5/abcd\xa4data\x91\xa1x", `2/abcd,["x"]`, packet.ErrNamespace},

		{"a negative id", nil, "\x84" + event + "\x91\xa1x\xa2id\xff", "", packet.ErrID},
		{"an id beyond the integers that JavaScript holds", nil, "\x84" + event + "\x91\xa1x\xa2id\xcf\x00\x20\x00\x00\x00\x00\x00\x00", `29007199254740992["x"]`, packet.ErrID},
		{"an id of 64 bits", nil, "\x84" + event + "\x91\xa1x\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "", packet.ErrID},
		{"an id with a fraction", nil, "\x84" + event + "\x91\xa1x\xa2id\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "", packet.ErrID},
		{"an infinite id", nil, "\x84" + event + "\x91\xa1x\xa2id\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "", packet.ErrID},
		{"an id that is not a number", nil, "\x84" + event + "\x91\xa1x\xa2id\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "", packet.ErrID},
		{"an id that is nil", nil, "\x84" + event + "\x91\xa1x\xa2id\xc0", "", packet.ErrID},
		{"an id that is a string", nil, "\x84" + event + "\x91\xa1x\xa2id\xa11", "", packet.ErrID},
		{"a connect with an id", nil, "\x83\xa4type\x00\xa3nsp\xa1/\xa2id\x01", "01", packet.ErrID},

		{"a connect with nil", nil, "\x83" + connect + "\xc0", "0null", packet.ErrPayload},
		{"a connect with an array", nil, "\x83" + connect + "\x90", "0[]", packet.ErrPayload},
		{"a connect with a string", nil, "\x83" + connect + "\xa1x", `0"x"`, packet.ErrPayload},
		{"a connect with bytes in it", nil, "\x83" + connect + "\x81\xa1a\xc4\x01b", "", packet.ErrPayload},
		{"a connect of bytes", nil, "\x83" + connect + "\xc4\x01b", "", packet.ErrPayload},
		{"a disconnect with data", nil, "\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x80", "1{}", packet.ErrPayload},
		{"an event without data", nil, "\x82\xa4type\x02\xa3nsp\xa1/", "2", packet.ErrPayload},
		{"an event of nil", nil, "\x83" + event + "\xc0", "2null", packet.ErrPayload},
		{"an event of undefined", nil, "\x83" + event + "\xd4\x00\x00", "2", packet.ErrPayload},
		{"an event of a string", nil, "\x83" + event + "\xa1x", `2"x"`, packet.ErrPayload},
		{"an event of an object", nil, "\x83" + event + "\x81\xa10\xa1x", `2{"0":"x"}`, packet.ErrPayload},
		{"a connect error without data", nil, "\x82\xa4type\x04\xa3nsp\xa1/", "4", packet.ErrPayload},
		{"a connect error of a number", nil, "\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x01", "", packet.ErrPayload},
		{"a connect error of true", nil, "\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xc3", "4true", packet.ErrPayload},
		{"a connect error of an array", nil, "\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x90", "4[]", packet.ErrPayload},

		{"an event of nothing", nil, "\x83" + event + "\x90", "2[]", packet.ErrName},
		{"nil for a name", nil, "\x83" + event + "\x91\xc0", "2[null]", packet.ErrName},
		{"an object for a name", nil, "\x83" + event + "\x91\x80", "2[{}]", packet.ErrName},
		{"bytes for a name", nil, "\x83" + event + "\x91\xc4\x01x", "", packet.ErrName},
		{"a reserved name", nil, "\x83" + event + "\x91\xaddisconnecting", `2["disconnecting"]`, packet.ErrReserved},

		{"a name that is no UTF-8", nil, "\x83" + event + "\x91\xa2x\xff", "2[\"x\xff\"]", packet.ErrUTF8},
		{"a string that is no UTF-8", nil, "\x83" + event + "\x92\xa1x\xa3\xed\xa0\x80", "2[\"x\",\"\xed\xa0\x80\"]", packet.ErrUTF8},
		{"a key that is no UTF-8", nil, "\x83" + event + "\x92\xa1x\x81\xa1\xc3\x01", "2[\"x\",{\"\xc3\":1}]", packet.ErrUTF8},
		{"UTF-8 in two strings", nil, "\x83" + event + "\x93\xa1x\xa1\xc3\xa1\xa9", "", packet.ErrUTF8},
		{"credentials that are no UTF-8", nil, "\x83" + connect + "\x81\xa1a\xa1\xff", "0{\"a\":\"\xff\"}", packet.ErrUTF8},
		{"what is ignored is no UTF-8", nil, "\x84\xa1o\xa1\xff" + event + "\x91\xa1x", "", packet.ErrUTF8},

		{"arrays too deep", small, "\x83" + event + "\x92\xa1x\x91\x91\x91\x90", `2["x",[[[[]]]]]`, packet.ErrDepth},
		{"objects too deep", small, "\x83" + event + "\x92\xa1x\x81\xa1a\x81\xa1a\x81\xa1a\x80", `2["x",{"a":{"a":{"a":{}}}}]`, packet.ErrDepth},
		{"credentials too deep", small, "\x83" + connect + "\x81\xa1a\x81\xa1a\x81\xa1a\x80", `0{"a":{"a":{"a":{}}}}`, packet.ErrDepth},
		{"what is ignored is too deep", small, "\x84\xa1o\x91\x91\x91\x90" + event + "\x91\xa1x", "", packet.ErrDepth},
		{"a million arrays", nil, "\x83" + event + strings.Repeat("\x91", 1_000_000), "", packet.ErrDepth},
		{"a million objects", nil, "\x83" + event + strings.Repeat("\x81\xa0", 500_000), "", packet.ErrDepth},
		{"too many arguments", small, "\x83" + event + "\x94\xa1x\x01\x02\x03", `2["x",1,2,3]`, packet.ErrArguments},
		{"too many attachments", small, "\x83" + event + "\x92\xa1x\x93\xc4\x00\xc4\x00\xc4\x00", `53-["x"]`, packet.ErrAttachments},
		{"too many attachments in what is ignored", small, "\x84\xa1o\x93\xc4\x00\xc4\x00\xc4\x00" + event + "\x91\xa1x", "", packet.ErrAttachments},
		{"attachments too large", small, "\x83" + event + "\x93\xa1x\xc4\x03abc\xc4\x02de", "", packet.ErrTooLarge},
		{"an ArrayBuffer too large", small, "\x83" + event + "\x92\xa1x\xc7\x05\x00abcde", "", packet.ErrTooLarge},

		{"a placeholder before an attachment", nil, "\x83" + event + "\x93\xa1x\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01a", "", packet.ErrPlaceholder},
		{"a placeholder after an attachment", nil, "\x83" + event + "\x93\xa1x\xc4\x01a\x82\xac_placeholder\xc3\xa3num\x00", "", packet.ErrPlaceholder},
		{"a placeholder of another attachment", nil, "\x83" + event + "\x93\xa1x\xc4\x01a\x82\xac_placeholder\xc3\xa3num\x01", "", packet.ErrPlaceholder},
		{"a placeholder with more members", nil, "\x83" + event + "\x93\xa1x\xc4\x01a\x81\xac_placeholder\xc3", "", packet.ErrPlaceholder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(tt.limits, tt.msg)
			if p != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %s, %v; want %v", show(p), err, tt.want)
			}
			if tt.json == "" {
				return
			}
			if p, err := (packet.JSON{}).NewDecoder(tt.limits).Text([]byte(tt.json)); p != nil || !errors.Is(err, tt.want) {
				t.Errorf("the default codec: got %s, %v; want %v", show(p), err, tt.want)
			}
		})
	}
}

// What is one byte, or one element, below the limits of TestRefused is a packet.
func TestWithinLimits(t *testing.T) {
	small := &packet.Limits{Attachments: 2, AttachmentBytes: 4, Arguments: 3, Depth: 3, NamespaceBytes: 4}
	for _, tt := range []struct{ name, msg, want string }{
		{"depth", "\x83" + event + "\x92\xa1x\x91\x91\x90", `["x",[[[]]]]`},
		{"an ack without an id", "\x83" + ack + "\x91\xa1x", `["x"]`},
		{"an ack with an undefined id", "\x84" + ack + "\x91\xa1x\xa2id\xd4\x00\x00", `["x"]`},
		{"the highest id", "\x84" + event + "\x91\xa1x\xa2id\xcf\x00\x1f\xff\xff\xff\xff\xff\xff", `["x"]`},
		{"the highest id as a float", "\x84" + event + "\x91\xa1x\xa2id\xcb\x43\x3f\xff\xff\xff\xff\xff\xff", `["x"]`},
		{"arguments", "\x83" + event + "\x93\xa1x\x01\x02", `["x",1,2]`},
		{"attachments", "\x83" + event + "\x93\xa1x\xc4\x03abc\xc4\x01d", `["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`},
		{"namespace", "\x83\xa4type\x02\xa3nsp\xa4/abc\xa4data\x91\xa1x", `["x"]`},
		{"a type and an id that are floats", "\x84\xa4type\xca\x40\x00\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1x\xa2id\xcb\x40\x14\x00\x00\x00\x00\x00\x00", `["x"]`},
		{"a minus zero for an id", "\x84" + event + "\x91\xa1x\xa2id\xcb\x80\x00\x00\x00\x00\x00\x00\x00", `["x"]`},
		{"other keys", "\x87\xa7options\x81\xa8compress\xc3\xa4type\x02\x07\x93\xc4\x00\xc4\x00\xa0\xa3nsp\xa1/\xa4data\x91\xa1x\xabattachments\x02\xa0\xd4\x00\x00", `["x"]`},
		{"the longest forms", "\xdf\x00\x00\x00\x03\xdb\x00\x00\x00\x04type\xd3\x00\x00\x00\x00\x00\x00\x00\x02\xd9\x03nsp\xda\x00\x01/\xdb\x00\x00\x00\x04data\xdd\x00\x00\x00\x02\xd9\x01x\xdf\x00\x00\x00\x00", `["x",{}]`},
		{"integers for keys", "\x83" + event + "\x92\xa1x\x83\x07\x01\xff\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x03", `["x",{"7":1,"-1":2,"18446744073709551615":3}]`},
		{"integers of 64 bits", "\x83" + event + "\x93\xa1x\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `["x",18446744073709551615,-9223372036854775808]`},
		{"a float of 32 bits", "\x83" + event + "\x92\xa1x\xca\x3d\xcc\xcc\xcd", `["x",0.10000000149011612]`},
		{"floats without a fraction", "\x83" + event + "\x93\xa1x\xcb\x40\x14\x00\x00\x00\x00\x00\x00\xcb\x44\x4b\x1a\xe4\xd6\xe2\xef\x50", `["x",5,1e+21]`},
		{"floats that are zero", "\x83" + event + "\x93\xa1x\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xcb\x80\x00\x00\x00\x00\x00\x00\x00", `["x",0,0]`},
		{"a placeholder without attachments", "\x83" + event + "\x92\xa1x\x82\xac_placeholder\xc3\xa3num\x00", `["x",{"_placeholder":true,"num":0}]`},
		{"an object that says it is no placeholder", "\x83" + event + "\x93\xa1x\xc4\x00\x81\xac_placeholder\xc2", `["x",{"_placeholder":true,"num":0},{"_placeholder":false}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := kit.Must(decode(small, tt.msg))(t)
			if got := string(p.Args.JSON()); got != tt.want {
				t.Errorf("got %s, want %s", show(p), tt.want)
			}
		})
	}
}

func TestCutShort(t *testing.T) {
	for _, g := range goldens(t) {
		msg := g.message(t)
		for n := range len(msg) {
			if p, err := (Codec{}).NewDecoder(nil).Binary(msg[:n:n]); err == nil {
				t.Errorf("%s: %d of %d bytes: got %s", g.Name, n, len(msg), show(p))
			}
		}
	}
}

func TestText(t *testing.T) {
	d := Codec{}.NewDecoder(nil)
	if p, err := d.Text([]byte("0")); p != nil || !errors.Is(err, ErrText) {
		t.Errorf("got %s, %v; want %v", show(p), err, ErrText)
	}
}

// What a message makes the decoder allocate is bounded by the length of the message, whatever it says.
func TestDecoderAllocatesLittle(t *testing.T) {
	const n = 1 << 17
	elements := "\x83" + event + "\xdd\x00\x02\x00\x00"
	for name, msg := range map[string]string{
		"null":           elements + strings.Repeat("\xc0", n),
		"empty strings":  elements + strings.Repeat("\xa0", n),
		"floats":         elements + strings.Repeat("\xca\x00\x00\x00\x01", n),
		"control":        "\x83" + event + "\x91\xdb\x00\x02\x00\x00" + strings.Repeat("\x00", n),
		"string":         "\x83" + event + "\x91\xdb\x00\x02\x00\x00" + strings.Repeat("a", n),
		"empty objects":  elements + strings.Repeat("\x80", n),
		"ignored":        "\x82\xa1o\xdd\x00\x02\x00\x00" + strings.Repeat("\xc0", n),
		"bytes":          elements + strings.Repeat("\xc4\x00", n),
		"announced":      elements,
		"announced keys": "\xdf\xff\xff\xff\xff" + event,
	} {
		t.Run(name, func(t *testing.T) {
			d, b := Codec{}.NewDecoder(&packet.Limits{Arguments: 2 * n}), []byte(msg)
			// The text is at most six times as long. It doubles to twice of what it needs, after half of that, and so on.
			const slack, multiple = 64 << 10, 6 * 4
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = d.Binary(b)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > uint64(multiple*len(b)+slack) {
				t.Errorf("%d bytes for a message of %d", got, len(b))
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	args, err := packet.MarshalEvent("x")
	kit.OK(t, err)
	none, err := packet.Marshal()
	kit.OK(t, err)
	reserved, err := packet.Marshal("disconnect")
	kit.OK(t, err)
	for _, tt := range []struct {
		name string
		p    packet.Packet
		want error
	}{
		{"type", packet.Packet{Type: 5}, packet.ErrType},
		{"namespace", packet.Packet{Type: packet.Event, Namespace: "x", Args: args}, packet.ErrNamespace},
		{"id", packet.Packet{Type: packet.Event, HasID: true, ID: packet.MaxID + 1, Args: args}, packet.ErrID},
		{"connect", packet.Packet{Type: packet.Connect, HasID: true}, packet.ErrID},
		{"arguments", packet.Packet{Type: packet.Connect, Args: args}, packet.ErrPayload},
		{"data", packet.Packet{Type: packet.Event, Args: args, Data: []byte("{}")}, packet.ErrPayload},
		{"name", packet.Packet{Type: packet.Event, Args: none}, packet.ErrName},
		{"reserved", packet.Packet{Type: packet.Event, Args: reserved}, packet.ErrReserved},
		{"JSON", packet.Packet{Type: packet.Connect, Data: []byte(`{"a":}`)}, packet.ErrJSON},
		{"UTF-8", packet.Packet{Type: packet.Connect, Data: []byte("{\"\xff\":1}")}, packet.ErrUTF8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := (Codec{}).Encode(&tt.p); !errors.Is(err, tt.want) {
				t.Errorf("got %x, %v; want %v", e.Attachments, err, tt.want)
			}
			if _, err := (packet.JSON{}).Encode(&tt.p); !errors.Is(err, tt.want) {
				t.Errorf("the default codec: got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestWithID(t *testing.T) {
	args := kit.Must(packet.MarshalEvent("ask", []byte("bytes"), strings.Repeat("long", 100)))(t)
	for _, namespace := range []string{"", "/", "/admin", "/" + strings.Repeat("n", 300)} {
		p := &packet.Packet{Type: packet.Event, Namespace: namespace, Args: args}
		without := kit.Must(Codec{}.Encode(p))(t)
		kept := bytes.Clone(without.Attachments[0])
		for _, id := range []uint64{0, 127, 128, 70_000, packet.MaxID} {
			got := kit.Must(Codec{}.WithID(without, id))(t)
			p := &packet.Packet{Type: packet.Event, Namespace: namespace, ID: id, HasID: true, Args: args}
			if want, err := (Codec{}).Encode(p); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %x\nwant %x, error %v", got.Attachments, want.Attachments, err)
			}
			kit.Require(t, bytes.Equal(without.Attachments[0], kept),
				"the encoded packet has been modified")
		}
	}
}

func TestWithIDRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  string
		id   uint64
		want error
	}{
		{"id too high", "\x83" + event + "\x91\xa1x", packet.MaxID + 1, packet.ErrID},
		{"id there", "\x84" + event + "\x91\xa1x\xa2id\x01", 1, packet.ErrPayload},
		{"ack", "\x84" + ack + "\x91\xa1x\xa2id\x01", 1, packet.ErrType},
		{"connect", "\x83" + connect + "\x80", 1, packet.ErrType},
		{"disconnect", "\x82\xa4type\x01\xa3nsp\xa1/", 1, packet.ErrType},
		{"event without data", "\x82\xa4type\x02\xa3nsp\xa1/", 1, packet.ErrPayload},
		{"event of an object", "\x83" + event + "\x80", 1, packet.ErrPayload},
		{"empty", "", 1, ErrMessage},
		{"no packet", "\x93\xa4type\x02\x01", 1, ErrMessage},
		{"cut short", "\x83\xa4type", 1, ErrMessage},
		{"cut short in the namespace", "\x83\xa4type\x02\xa3nsp\xa5/", 1, ErrMessage},
		{"cut short before the data", "\x83" + event, 1, packet.ErrPayload},
		{"another order", "\x83\xa3nsp\xa1/\xa4type\x02\xa4data\x91\xa1x", 1, ErrMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := packet.Encoded{Attachments: [][]byte{[]byte(tt.msg)}}
			if got, err := (Codec{}).WithID(e, tt.id); !errors.Is(err, tt.want) {
				t.Errorf("got %x, %v; want %v", got.Attachments, err, tt.want)
			}
		})
	}
	for name, e := range map[string]packet.Encoded{
		"text":         {Text: []byte(`2["x"]`), Attachments: [][]byte{[]byte("\x83" + event + "\x91\xa1x")}},
		"nothing":      {},
		"two messages": {Attachments: [][]byte{{0x83}, {0x83}}},
	} {
		if _, err := (Codec{}).WithID(e, 1); !errors.Is(err, ErrText) && !errors.Is(err, ErrMessage) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

// What 64 bits do not hold is a float64. notepack.io cuts it to 64 bits and sends another number.
func TestNumbersBeyond64Bits(t *testing.T) {
	for text, want := range map[string]string{
		"18446744073709551615": "cf" + "ffffffffffffffff",
		"18446744073709551616": "cb" + "43f0000000000000",
		"-9223372036854775808": "d3" + "8000000000000000",
		"-9223372036854775809": "d3" + "8000000000000000", // the nearest float64
		"-9223372036854777856": "cb" + "c3e0000000000001",
		"1e300":                "cb" + "7e37e43c8800759c",
		"1e19":                 "cf" + "8ac7230489e80000",
		"-0":                   "00",
		"-0.0":                 "00",
		"1.0":                  "01",
		"-1e3":                 "d1" + "fc18",
		"0.5":                  "cb" + "3fe0000000000000",
	} {
		kit.Want(t, hex.EncodeToString(appendNumber(nil, []byte(text))), want, text)
	}
}

func show(p *packet.Packet) string {
	if p == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v %q id %d %t data %s args %.300s %.100x", p.Type, p.Namespace, p.ID, p.HasID, p.Data, p.Args.JSON(), p.Args.Attachments())
}
