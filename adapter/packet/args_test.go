package packet

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// received returns the arguments of an ack with these attachments.
func received(t testing.TB, array string, attachments ...string) Args {
	t.Helper()
	text := "30" + array
	if len(attachments) > 0 {
		text = fmt.Sprintf("6%d-0%s", len(attachments), array)
	}
	p, err := decode(nil, text, attachments...)
	kit.OK(t, err, text)
	return p.Args
}

func TestValues(t *testing.T) {
	event, err := decode(nil, `51-["news",1.5,{"a":[null,true]},{"_placeholder":true,"num":0}]`, "b")
	kit.OK(t, err)
	all := []any{"news", 1.5, map[string]any{"a": []any{nil, true}}, []byte("b")}
	if got, err := event.Args.Values(); err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("of all arguments: got %v, %v, want %v", got, err, all)
	}
	if got, err := event.Values(); err != nil || !reflect.DeepEqual(got, all[1:]) {
		t.Errorf("of an event: got %v, %v, want %v", got, err, all[1:])
	}
	if got, err := (Args{}).Values(); err != nil || len(got) != 0 {
		t.Errorf("of none: got %v, %v", got, err)
	}
	ack := &Packet{Type: Ack, Args: received(t, `["x",2]`)}
	if got, err := ack.Values(); err != nil || !reflect.DeepEqual(got, []any{"x", 2.0}) {
		t.Errorf("of an ack: got %v, %v", got, err)
	}
}

func TestArgsDecode(t *testing.T) {
	a := received(t, `["a,]\"é\\", 1 ,[2,[3,"]"]],{"x":{"y":","}}, null,true,"\u0041"]`)
	kit.Equal(t, a.Len(), 7)
	var (
		s1, s2 string
		n      int
		list   []any
		m      map[string]any
		raw    json.RawMessage
		null   = "untouched"
		b      bool
	)
	kit.OK(t, a.Decode(&s1, &n, &list, &m, &null, &b, &s2))
	got := []any{s1, n, list, m, null, b, s2}
	want := []any{"a,]\"é\\", 1, []any{2.0, []any{3.0, "]"}}, map[string]any{"x": map[string]any{"y": ","}}, "untouched", true, "A"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	var x any
	if err := a.Decode(nil, nil, nil, &raw, &x); err != nil || string(raw) != `{"x":{"y":","}}` || x != nil {
		t.Errorf("got %s and %v, error %v", raw, x, err)
	}
	kit.OK(t, a.Decode(), "Decode without targets")
}

func TestArgsDecodeErrors(t *testing.T) {
	a := received(t, `["a",1]`)
	var s, s2 string
	var n, n2 int
	if err := a.Decode(&s, &n, &n2); !errors.Is(err, ErrArgument) || !strings.Contains(err.Error(), ": 2 is missing, there are 2") {
		t.Errorf("too few: got %v", err)
	}
	kit.Equal(t, s, "a", "before the missing one")
	kit.Equal(t, n, 1, "before the missing one")
	kit.ErrorIs(t, a.Decode(nil, nil, nil), ErrArgument, "too few to skip")
	var wrong *json.UnmarshalTypeError
	if err := a.Decode(&s, &s2); !errors.Is(err, ErrArgument) || !errors.As(err, &wrong) || !strings.Contains(err.Error(), "converted: 1: ") {
		t.Errorf("a number into a string: got %v", err)
	}
	var invalid *json.InvalidUnmarshalError
	for _, dst := range []any{s, (*string)(nil), (*[]byte)(nil), (*json.RawMessage)(nil), (*any)(nil)} {
		if err := a.Decode(dst); !errors.As(err, &invalid) {
			t.Errorf("into %T %v: got %v", dst, dst, err)
		}
	}
	bin := received(t, `[{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]`, "x", "y")
	for _, dst := range []any{s, (*string)(nil), (*[]byte)(nil), (*json.RawMessage)(nil), (*any)(nil)} {
		if err := bin.Decode(dst); !errors.As(err, &invalid) {
			t.Errorf("an attachment into %T %v: got %v", dst, dst, err)
		}
	}
	for _, dst := range []any{&n, &map[string]any{}, &struct{ A any }{}, new(bool), new([]string)} {
		if err := bin.Decode(dst); !errors.As(err, &wrong) {
			t.Errorf("an attachment into %T: got %v", dst, err)
		}
	}
	p := Packet{Type: Event, Args: mustMarshal(t, "name", 1)}
	if err := p.Decode(&n, &n2); err == nil || !strings.Contains(err.Error(), ": 1 is missing, there are 1") {
		t.Errorf("event: got %v", err)
	}
	if err := new(Packet).Decode(&n); err == nil {
		t.Error("empty packet: no error")
	}
	if err := (&Packet{Type: Event}).Decode(&n); err == nil || !strings.Contains(err.Error(), ": 0 is missing, there are 0") {
		t.Errorf("event without a name: got %v", err)
	}
	if err := new(Args).Decode(); err != nil {
		t.Errorf("no arguments, none wanted: %v", err)
	}
}

func TestPacketDecode(t *testing.T) {
	p := Packet{Type: Event, Args: mustMarshal(t, "name", "a", []byte("b"))}
	var s string
	var b []byte
	if err := p.Decode(&s, &b); err != nil || s != "a" || string(b) != "b" {
		t.Errorf("event: got %q and %q, error %v", s, b, err)
	}
	p = Packet{Type: Ack, Args: mustMarshal(t, "a", []byte("b"))}
	if err := p.Decode(&s, &b); err != nil || s != "a" || string(b) != "b" {
		t.Errorf("ack: got %q and %q, error %v", s, b, err)
	}
}

// quoted is a type that reads itself, as a string.
type quoted string

func (q *quoted) UnmarshalJSON(text []byte) error {
	*q = quoted(text)
	return nil
}

// checked is a type that reads itself and refuses what is not base64 of one letter.
type checked string

func (c *checked) UnmarshalText(text []byte) error {
	if len(text) != 4 {
		return fmt.Errorf("%d characters", len(text))
	}
	*c = checked(text)
	return nil
}

// textual and literal read themselves, and hold an interface.
type (
	textual struct{ V any }
	literal struct{ V any }
)

func (t *textual) UnmarshalText(text []byte) error {
	t.V = string(text)
	return nil
}

func (l *literal) UnmarshalJSON(text []byte) error {
	var s string
	err := json.Unmarshal(text, &s)
	l.V = s
	return err
}

type embedded struct{ Inner []byte }

type mixed struct {
	Bytes   []byte
	Named   namedBytes `json:"n"`
	Pointer *[]byte
	List    [][]byte
	Map     map[string][]byte
	Any     any
	Anys    []any
	Tree    map[string]any
	Deep    []map[int]*struct{ A [1]any }
	Text    string
	Raw     json.RawMessage
	Quoted  quoted
	Checked checked
	At      time.Time
	embedded
}

type namedBytes []byte

func TestDecodeAttachments(t *testing.T) {
	keys := []string{`"Bytes":#`, `"n":#`, `"Pointer":#`, `"List":[#,null,#]`, `"Map":{"k":#}`, `"Any":#`, `"Anys":[1,#,"s"]`}
	more := []string{`"Tree":{"a":{"b":[#]},"c":"s"}`, `"Deep":[{"1":{"A":[#]}}]`, `"Text":#`, `"Raw":{"x":#}`, `"Quoted":#`, `"Checked":#`, `"At":"2026-01-02T03:04:05Z"`, `"Inner":#`, `"Unknown":#`}
	build := func(parts []string) Args {
		text := "[{" + strings.Join(parts, ",") + "}]"
		var attachments []string
		for strings.Contains(text, "#") {
			n := len(attachments)
			text = strings.Replace(text, "#", fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n), 1)
			attachments = append(attachments, string(rune('a'+n)))
		}
		return received(t, text, attachments...)
	}
	var first, second mixed
	kit.OK(t, build(keys).Decode(&first))
	a := []byte("c")
	want := mixed{Bytes: []byte("a"), Named: namedBytes("b"), Pointer: &a, List: [][]byte{[]byte("d"), nil, []byte("e")}, Map: map[string][]byte{"k": []byte("f")},
		Any: []byte("g"), Anys: []any{1.0, []byte("h"), "s"}}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("first half:\n got %+v\nwant %+v", first, want)
	}
	kit.OK(t, build(more).Decode(&second))
	want = mixed{Tree: map[string]any{"a": map[string]any{"b": []any{[]byte("a")}}, "c": "s"}, Deep: []map[int]*struct{ A [1]any }{{1: {A: [1]any{[]byte("b")}}}},
		Text: "Yw==", Raw: json.RawMessage(`{"x":"ZA=="}`), Quoted: `"ZQ=="`, Checked: "Zg==", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), embedded: embedded{Inner: []byte("g")}}
	if !reflect.DeepEqual(second, want) {
		t.Errorf("second half:\n got %+v\nwant %+v", second, want)
	}
}

func TestDecodeAttachmentsTopLevel(t *testing.T) {
	a := received(t, `[{"_placeholder":true,"num":2},"s",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]`, "zero", "", "two")
	var (
		two  []byte
		zero any
		one  []any
		s    string
		raw  json.RawMessage
		text string
		list []namedBytes
	)
	kit.OK(t, a.Decode(&two, &s, &zero, &one))
	if got, want := []any{two, s, zero, one}, []any{[]byte("two"), "s", []byte("zero"), []any{[]byte{}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	kit.OK(t, a.Decode(&raw, nil, &text, &list))
	if string(raw) != `"dHdv"` || text != "emVybw==" || !reflect.DeepEqual(list, []namedBytes{{}}) {
		t.Errorf("got %s, %s and %#v", raw, text, list)
	}
	var selfText textual
	var selfLiteral struct {
		L literal
		A any
	}
	if err := a.Decode(&selfText); err != nil || selfText.V != any("dHdv") {
		t.Errorf("a type that reads text: got %#v, error %v", selfText.V, err)
	}
	self := received(t, `[{"L":{"_placeholder":true,"num":0},"A":{"_placeholder":true,"num":1}}]`, "two", "x")
	if err := self.Decode(&selfLiteral); err != nil || selfLiteral.L.V != any("dHdv") || !reflect.DeepEqual(selfLiteral.A, []byte("x")) {
		t.Errorf("a type that reads JSON: got %#v, error %v", selfLiteral, err)
	}
	two[0], zero.([]byte)[0] = 'X', 'X'
	if got := a.Attachments(); string(got[2]) != "two" || string(got[0]) != "zero" {
		t.Errorf("what was decoded shares memory with the attachments: now %q", got)
	}
}

// A text cannot claim to be an attachment, and plain data stays plain.
func TestDecodeForgery(t *testing.T) {
	a := received(t, `[{"x":"ZGF0YQ==","y":{"_placeholder":true,"num":0},"z":{"_placeholder":"true","num":0}}]`, "data")
	var v any
	kit.OK(t, a.Decode(&v))
	want := any(map[string]any{"x": "ZGF0YQ==", "y": []byte("data"), "z": map[string]any{"_placeholder": "true", "num": 0.0}})
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %#v, want %#v", v, want)
	}
	a = received(t, `[{"_placeholder":true,"num":0}]`)
	if err := a.Decode(&v); err != nil || !reflect.DeepEqual(v, any(map[string]any{"_placeholder": true, "num": 0.0})) {
		t.Errorf("placeholder without attachments: got %#v, error %v", v, err)
	}
}

type node struct {
	Next *node
	Self map[string]any
	Data any
	Keep string
}

// Targets that are filled already are merged into, as encoding/json does, and may contain themselves.
func TestDecodeIntoFilled(t *testing.T) {
	n := &node{Keep: "kept", Self: map[string]any{}}
	n.Next, n.Self["self"] = n, n.Self
	a := received(t, `[{"Data":[{"_placeholder":true,"num":0}],"Self":{"b":{"_placeholder":true,"num":1}}}]`, "x", "y")
	kit.OK(t, a.Decode(n))
	if !reflect.DeepEqual(n.Data, []any{[]byte("x")}) || n.Keep != "kept" || !reflect.DeepEqual(n.Self["b"], []byte("y")) || n.Self["self"] == nil {
		t.Errorf("got data %#v, keep %q, b %#v", n.Data, n.Keep, n.Self["b"])
	}
	a = received(t, `[{"_placeholder":true,"num":0}]`, "x")
	for _, inside := range []any{&embedded{}, new(string)} {
		target := inside
		kit.ErrorIs(t, a.Decode(&target), ErrArgument, "into an interface that holds a", inside, target)
	}
}

func TestParseArgs(t *testing.T) {
	const ph = `{"_placeholder":true,"num":0}`
	for _, tt := range []struct {
		text        string
		attachments int
		want        error
	}{
		{`[]`, 0, nil}, {`[` + ph + `]`, 1, nil}, {`[` + ph + `]`, 0, nil},
		{``, 0, ErrPayload}, {`{}`, 0, ErrPayload}, {`[`, 0, ErrJSON}, {`[]`, 1, ErrPlaceholder}, {`[` + ph + `]`, 11, ErrAttachments}, {"[\"\xff\"]", 0, ErrUTF8},
	} {
		a, err := ParseArgs([]byte(tt.text), make([][]byte, tt.attachments), nil)
		kit.ErrorIs(t, err, tt.want, tt.text)
		if err == nil && (string(a.JSON()) != tt.text || len(a.Attachments()) != tt.attachments) {
			t.Errorf("%q: got %s with %d attachments", tt.text, a.JSON(), len(a.Attachments()))
		}
	}
	if got := (Args{}).JSON(); string(got) != "[]" {
		t.Errorf("zero Args: got %s, want []", got)
	}
}

func TestPlaceholder(t *testing.T) {
	const text = `["x",{"_placeholder":true,"num":1},[{"num":0,"_placeholder":true}]]`
	a, err := ParseArgs([]byte(text), [][]byte{[]byte("zero"), []byte("one")}, nil)
	kit.OK(t, err)
	for i, want := range []struct {
		text string
		num  int
	}{{`{"_placeholder":true,"num":1}`, 1}, {`{"num":0,"_placeholder":true}`, 0}} {
		start, end, num := a.Placeholder(i)
		if got := string(a.JSON()[start:end]); got != want.text || num != want.num {
			t.Errorf("%d: got %s for %d, want %s for %d", i, got, num, want.text, want.num)
		}
	}
}

func TestLimitsInForce(t *testing.T) {
	want := Limits{Attachments: 10, AttachmentBytes: 1_000_000, Arguments: 1_000, Depth: 1_000, NamespaceBytes: 512}
	kit.Equal(t, (*Limits)(nil).InForce(), want)
	set := Limits{1, 2, 3, 4, 5}
	kit.Equal(t, set.InForce(), set)
}
