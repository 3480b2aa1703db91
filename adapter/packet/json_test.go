package packet

import (
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// The examples of "Packet encoding" and the sample session in the document of the Socket.IO protocol, version 5, and others of each form.
var golden = []struct {
	text        string
	attachments []string
	want        flat
}{
	{text: `0`, want: flat{Type: Connect, Namespace: "/"}},
	{text: `0{"token":"123"}`, want: flat{Type: Connect, Namespace: "/", Payload: `{"token":"123"}`}},
	{text: `0/admin,`, want: flat{Type: Connect, Namespace: "/admin"}},
	{text: `0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}`, want: flat{Type: Connect, Namespace: "/admin", Payload: `{"sid":"oSO0OpakMV_3jnilAAAA"}`}},
	{text: `1`, want: flat{Type: Disconnect, Namespace: "/"}},
	{text: `1/admin,`, want: flat{Type: Disconnect, Namespace: "/admin"}},
	{text: `2["foo"]`, want: flat{Type: Event, Namespace: "/", Event: "foo", Len: 1, Payload: `["foo"]`}},
	{text: `2["hello",1]`, want: flat{Type: Event, Namespace: "/", Event: "hello", Len: 2, Payload: `["hello",1]`}},
	{text: `2/admin,["bar"]`, want: flat{Type: Event, Namespace: "/admin", Event: "bar", Len: 1, Payload: `["bar"]`}},
	{text: `2/admin,456["project:delete",123]`, want: flat{Type: Event, Namespace: "/admin", ID: 456, HasID: true, Event: "project:delete", Len: 2, Payload: `["project:delete",123]`}},
	{text: `212["foo"]`, want: flat{Type: Event, Namespace: "/", ID: 12, HasID: true, Event: "foo", Len: 1, Payload: `["foo"]`}},
	{text: `20["foo"]`, want: flat{Type: Event, Namespace: "/", HasID: true, Event: "foo", Len: 1, Payload: `["foo"]`}},
	{text: `29007199254740991["foo"]`, want: flat{Type: Event, Namespace: "/", ID: MaxID, HasID: true, Event: "foo", Len: 1, Payload: `["foo"]`}},
	{text: `3/admin,13["bar"]`, want: flat{Type: Ack, Namespace: "/admin", ID: 13, HasID: true, Len: 1, Payload: `["bar"]`}},
	{text: `37[]`, want: flat{Type: Ack, Namespace: "/", ID: 7, HasID: true, Payload: `[]`}},
	{text: `30["connect"]`, want: flat{Type: Ack, Namespace: "/", HasID: true, Len: 1, Payload: `["connect"]`}},
	{text: `3["x"]`, want: flat{Type: Ack, Namespace: "/", Len: 1, Payload: `["x"]`}},
	{text: `3/admin,[]`, want: flat{Type: Ack, Namespace: "/admin", Payload: `[]`}},
	{text: `61-[{"_placeholder":true,"num":0}]`, attachments: []string{"x"},
		want: flat{Type: Ack, Namespace: "/", Len: 1, Payload: `[{"_placeholder":true,"num":0}]`, Attachments: "x"}},
	{text: `4{"message":"Not authorized"}`, want: flat{Type: ConnectError, Namespace: "/", Payload: `{"message":"Not authorized"}`}},
	{text: `4/nsp,{"message":"Invalid namespace"}`, want: flat{Type: ConnectError, Namespace: "/nsp", Payload: `{"message":"Invalid namespace"}`}},
	{text: `4"Not authorized"`, want: flat{Type: ConnectError, Namespace: "/", Payload: `"Not authorized"`}},
	{text: `51-["baz",{"_placeholder":true,"num":0}]`, attachments: []string{"\x01\x02\x03\x04"},
		want: flat{Type: Event, Namespace: "/", Event: "baz", Len: 2, Payload: `["baz",{"_placeholder":true,"num":0}]`, Attachments: "\x01\x02\x03\x04"}},
	{text: `52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, attachments: []string{"\x01\x02", "\x03\x04"},
		want: flat{Type: Event, Namespace: "/admin", Event: "baz", Len: 3, Payload: `["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, Attachments: "\x01\x02|\x03\x04"}},
	{text: `61-15["bar",{"_placeholder":true,"num":0}]`, attachments: []string{"\x01\x02\x03\x04"},
		want: flat{Type: Ack, Namespace: "/", ID: 15, HasID: true, Len: 2, Payload: `["bar",{"_placeholder":true,"num":0}]`, Attachments: "\x01\x02\x03\x04"}},
	{text: `61-/admin,456[{"_placeholder":true,"num":0}]`, attachments: []string{""},
		want: flat{Type: Ack, Namespace: "/admin", ID: 456, HasID: true, Len: 1, Payload: `[{"_placeholder":true,"num":0}]`}},
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		p, err := decode(nil, tt.text, tt.attachments...)
		if err != nil {
			t.Errorf("decode %s: %v", tt.text, err)
			continue
		}
		kit.Equal(t, flatten(p), tt.want, "decode", tt.text)
		e, err := JSON{}.Encode(p)
		if err != nil {
			t.Errorf("encode %s: %v", tt.text, err)
			continue
		}
		if string(e.Text) != tt.text || len(e.Attachments) != len(tt.attachments) {
			t.Errorf("encode: got %s with %d attachments, want %s with %d", e.Text, len(e.Attachments), tt.text, len(tt.attachments))
		}
	}
}

func TestEventName(t *testing.T) {
	for text, want := range map[string]string{
		`2["a"]`: "a", `2[ "\u0061\n\"" ]`: "a\n\"", `2["é"]`: "é",
		`2[1]`: "1", `2[1.0]`: "1", `2[-0]`: "0", `2[1e3]`: "1000", `2[0.1e1]`: "1", `2[1e21]`: "1e+21", `2[1e-7]`: "1e-7", `2[-1.50]`: "-1.5",
	} {
		p, err := decode(nil, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := p.Event(); got != want {
			t.Errorf("%s: got name %q, want %q", text, got, want)
		}
	}
	for _, p := range []Packet{{Type: Event}, {Type: Ack, Args: mustMarshal(t, "x")}, {Type: Event, Args: mustMarshal(t, true)}} {
		if got := p.Event(); got != "" {
			t.Errorf("%v %s: got name %q, want none", p.Type, p.Args.JSON(), got)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if !Reserved(name) {
			t.Errorf("%q is not reserved", name)
		}
	}
	for _, name := range []string{"", "error", "Connect", "connection", "message", "connect "} {
		if Reserved(name) {
			t.Errorf("%q is reserved", name)
		}
	}
}

func TestTypeString(t *testing.T) {
	for typ, want := range map[Type]string{Connect: "connect", Event: "event", ConnectError: "connect error", 5: "type(5)"} {
		kit.Equal(t, typ.String(), want)
	}
}
