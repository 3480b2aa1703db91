package packet

import (
	"errors"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

func mustMarshal(t testing.TB, args ...any) Args {
	t.Helper()
	a, err := Marshal(args...)
	kit.OK(t, err, "Marshal", args)
	return a
}

func TestEncode(t *testing.T) {
	bytes := []byte{1}
	for _, tt := range []struct {
		p    Packet
		want string
	}{
		{Packet{}, `0`},
		{Packet{Type: Connect, Namespace: "/", Data: []byte(`{"sid":"x"}`)}, `0{"sid":"x"}`},
		{Packet{Type: Disconnect, Namespace: "/nsp"}, `1/nsp,`},
		{Packet{Type: Ack, HasID: true}, `30[]`},
		{Packet{Type: Ack, HasID: true, ID: MaxID}, `39007199254740991[]`},
		{Packet{Type: Event, ID: 5, Args: mustMarshal(t, "x")}, `2["x"]`},
		{Packet{Type: Event, Namespace: "/a", HasID: true, Args: mustMarshal(t, "x", bytes, 1, bytes)}, `52-/a,0["x",{"_placeholder":true,"num":0},1,{"_placeholder":true,"num":1}]`},
	} {
		e, err := JSON{}.Encode(&tt.p)
		if err != nil || string(e.Text) != tt.want {
			t.Errorf("got %s, error %v, want %s", e.Text, err, tt.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	x := mustMarshal(t, "x")
	for _, tt := range []struct {
		p    Packet
		want error
	}{
		{Packet{Type: 5, Args: x}, ErrType}, {Packet{Type: 255}, ErrType},
		{Packet{Namespace: "admin"}, ErrNamespace}, {Packet{Namespace: "/a,b"}, ErrNamespace}, {Packet{Namespace: "/\xff"}, ErrNamespace}, {Packet{Namespace: ","}, ErrNamespace},
		{Packet{Type: Event, Args: x, HasID: true, ID: MaxID + 1}, ErrID}, {Packet{HasID: true}, ErrID}, {Packet{Type: Disconnect, HasID: true}, ErrID},
		{Packet{Type: Event}, ErrName}, {Packet{Type: Event, Args: mustMarshal(t, nil)}, ErrName}, {Packet{Type: Event, Args: mustMarshal(t, []byte("x"))}, ErrName},
		{Packet{Type: Event, Args: mustMarshal(t, "connect")}, ErrReserved},
		{Packet{Type: Event, Args: x, Data: []byte("{}")}, ErrPayload}, {Packet{Type: Connect, Args: x}, ErrPayload}, {Packet{Type: Disconnect, Args: x}, ErrPayload}, {Packet{Type: Disconnect, Data: []byte("{}")}, ErrPayload},
		{Packet{Type: Connect, Data: []byte("[]")}, ErrPayload}, {Packet{Type: ConnectError}, ErrPayload}, {Packet{Type: ConnectError, Data: []byte("1")}, ErrPayload},
		{Packet{Type: Connect, Data: []byte("{")}, ErrJSON}, {Packet{Type: Connect, Data: []byte("{\"\xff\":1}")}, ErrUTF8},
	} {
		if e, err := (JSON{}).Encode(&tt.p); !errors.Is(err, tt.want) || e.Text != nil {
			t.Errorf("%+v: got %s, error %v, want %v", tt.p, e.Text, err, tt.want)
		}
	}
}

func TestWithID(t *testing.T) {
	for _, tt := range []struct {
		text        string
		attachments int
		id          uint64
		want        string
		err         error
	}{
		{`2["x",1]`, 0, 0, `20["x",1]`, nil},
		{`2["x",1]`, 0, MaxID, `29007199254740991["x",1]`, nil},
		{`2/admin,["x","/a,1["]`, 0, 7, `2/admin,7["x","/a,1["]`, nil},
		{`51-["x",{"_placeholder":true,"num":0}]`, 1, 12, `51-12["x",{"_placeholder":true,"num":0}]`, nil},
		{`52-/a-b,["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, 2, 12, `52-/a-b,12["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, nil},
		{`2["x"]`, 0, MaxID + 1, ``, ErrID},
		{`21["x"]`, 0, 1, ``, ErrPayload},
		{`2/a`, 0, 1, ``, ErrPayload},
		{`2`, 0, 1, ``, ErrPayload},
		{``, 0, 1, ``, ErrType},
		{`3["x"]`, 0, 1, ``, ErrType},
		{`0`, 0, 1, ``, ErrType},
		{`51-["x"]`, 0, 1, ``, ErrAttachments},
		{`2["x"]`, 1, 1, ``, ErrAttachments},
		{`5["x"]`, 1, 1, ``, ErrAttachments},
	} {
		e := Encoded{Text: []byte(tt.text), Attachments: make([][]byte, tt.attachments)}
		got, err := JSON{}.WithID(e, tt.id)
		if !errors.Is(err, tt.err) || string(got.Text) != tt.want || err == nil && len(got.Attachments) != tt.attachments {
			t.Errorf("%s with id %d: got %s, error %v, want %s, error %v", tt.text, tt.id, got.Text, err, tt.want, tt.err)
		}
		kit.Equal(t, string(e.Text), tt.text, tt.text, "with id", tt.id)
	}
}
