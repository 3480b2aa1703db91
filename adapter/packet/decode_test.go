package packet

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// decode hands a text and then attachments to a decoder and returns what comes of the last message.
func decode(l *Limits, text string, attachments ...string) (*Packet, error) {
	d := JSON{}.NewDecoder(l)
	p, err := d.Text([]byte(text))
	for i, a := range attachments {
		if p != nil || err != nil {
			return p, fmt.Errorf("before attachment %d: packet %v, error: %w", i, p, err)
		}
		p, err = d.Binary([]byte(a))
	}
	return p, err
}

// flat is a packet in a form that prints and compares.
type flat struct {
	Type        Type
	Namespace   string
	ID          uint64
	HasID       bool
	Event       string
	Len         int
	Payload     string // Args.JSON or Data
	Attachments string
}

func flatten(p *Packet) flat {
	f := flat{Type: p.Type, Namespace: p.Namespace, ID: p.ID, HasID: p.HasID, Event: p.Event(), Len: p.Args.Len(), Payload: string(p.Data)}
	if p.Type == Event || p.Type == Ack {
		f.Payload = string(p.Args.JSON())
	}
	f.Attachments = string(bytes.Join(p.Args.Attachments(), []byte("|")))
	return f
}

// What is legal, though no encoder of ours would write it so.
func TestDecodeLenient(t *testing.T) {
	one := []string{"x"}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		text        string
		attachments []string
		want        string // encoded again
	}{
		{`0/custom`, nil, `0/custom,`},
		{`1/custom`, nil, `1/custom,`},
		{`0/`, nil, `0`},
		{`0/,`, nil, `0`},
		{`2/,["x"]`, nil, `2["x"]`},
		{`2[ "x" , 1 ] `, nil, `2[ "x" , 1 ]`},
		{`0/a?b=c,`, nil, `0/a?b=c,`},
		{`0//,`, nil, `0//,`},
		{"0/\x00é,", nil, "0/\x00é,"},
		{`0/` + strings.Repeat("a", 511), nil, `0/` + strings.Repeat("a", 511) + `,`},
		{`2[""]`, nil, `2[""]`},
		{`2["error"]`, nil, `2["error"]`},
		{`2["Connect"]`, nil, `2["Connect"]`},
		{`2["connect "]`, nil, `2["connect "]`},
		{`2["x","connect"]`, nil, `2["x","connect"]`},
		{`2["x",{"__proto__":{},"constructor":1,"a":1,"a":2}]`, nil, `2["x",{"__proto__":{},"constructor":1,"a":1,"a":2}]`},
		{`2["x",{"_placeholder":true,"num":0}]`, nil, `2["x",{"_placeholder":true,"num":0}]`},
		{`2["x",{"_placeholder":true,"num":-1}]`, nil, `2["x",{"_placeholder":true,"num":-1}]`},
		{`2["\ud800"]`, nil, `2["\ud800"]`},
		{`2["x",` + deep(999) + `]`, nil, `2["x",` + deep(999) + `]`},
		{`2["x"` + strings.Repeat(",0", 999) + `]`, nil, `2["x"` + strings.Repeat(",0", 999) + `]`},
		{`2["x",[0` + strings.Repeat(",0", 2000) + `]]`, nil, `2["x",[0` + strings.Repeat(",0", 2000) + `]]`},
		{`2["x",-0,0.5,1e308,1E-999,-1.25e+2]`, nil, `2["x",-0,0.5,1e308,1E-999,-1.25e+2]`},
		{`51-["x",{"num":0,"_placeholder":true}]`, one, `51-["x",{"num":0,"_placeholder":true}]`},
		{`51-["x",{ "_placeholder" : true , "num" : 0 }]`, one, `51-["x",{ "_placeholder" : true , "num" : 0 }]`},
		{`51-["x",{"a":[{"_placeholder":true,"num":0}]}]`, one, `51-["x",{"a":[{"_placeholder":true,"num":0}]}]`},
		{`51-["x",{"_placeholder":false,"num":7},{"_placeholder":true,"num":0}]`, one, `51-["x",{"_placeholder":false,"num":7},{"_placeholder":true,"num":0}]`},
		{`51-["x",{"_placeholder":"true"},{"_placeholder":true,"num":0}]`, one, `51-["x",{"_placeholder":"true"},{"_placeholder":true,"num":0}]`},
	} {
		p, err := decode(nil, tt.text, tt.attachments...)
		if err != nil {
			t.Errorf("decode %.80s: %v", tt.text, err)
			continue
		}
		e, err := JSON{}.Encode(p)
		if err != nil || string(e.Text) != tt.want {
			t.Errorf("%.80s encoded again: got %.80s, error %v, want %.80s", tt.text, e.Text, err, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const ph = `{"_placeholder":true,"num":0}`
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	deepObject := func(n int) string { return strings.Repeat(`{"a":`, n) + "0" + strings.Repeat("}", n) }
	for _, tt := range []struct {
		text string
		want error
	}{
		{``, ErrType}, {` `, ErrType}, {`7`, ErrType}, {`9["x"]`, ErrType}, {`a["x"]`, ErrType}, {`["x"]`, ErrType}, {`-1`, ErrType}, {"\xff", ErrType},

		{`50-["x"]`, ErrAttachments}, {`5-["x"]`, ErrAttachments}, {`5["x"]`, ErrAttachments}, {`5`, ErrAttachments}, {`51`, ErrAttachments},
		{`51.5-["x",` + ph + `]`, ErrAttachments}, {`5-1-["x",` + ph + `]`, ErrAttachments}, {`5+1-["x",` + ph + `]`, ErrAttachments},
		{`501-["x",` + ph + `]`, ErrAttachments}, {`51e0-["x",` + ph + `]`, ErrAttachments}, {`5 1-["x",` + ph + `]`, ErrAttachments},
		{`511-["x",` + strings.Join(ten, ",") + `]`, ErrAttachments}, {`5999999999-["x"]`, ErrAttachments},
		{`518446744073709551617-["x",` + ph + `]`, ErrAttachments}, {`60-0[]`, ErrAttachments}, {`5x1-["x"]`, ErrAttachments},
		{`5` + strings.Repeat("1", 1000) + `-["x"]`, ErrAttachments},

		{`0/` + strings.Repeat("a", 512), ErrNamespace}, {`0/` + strings.Repeat("a", 1_000_000) + `,`, ErrNamespace},
		{"0/\xff,", ErrUTF8}, {"2/a\xc3,[\"x\"]", ErrUTF8},

		{`29007199254740992["x"]`, ErrID}, {`29999999999999999["x"]`, ErrID}, {`210000000000000000["x"]`, ErrID}, {`218446744073709551616["x"]`, ErrID}, {`2` + strings.Repeat("1", 1_000_000) + `["x"]`, ErrID},
		{`200["x"]`, ErrID}, {`201["x"]`, ErrID}, {`2/a,012["x"]`, ErrID},
		{`2-1["x"]`, ErrPayload}, {`2+1["x"]`, ErrPayload}, {`21e3["x"]`, ErrPayload}, {`21.5["x"]`, ErrPayload}, {`21 ["x"]`, ErrPayload}, {`212x`, ErrPayload},
		{`01{}`, ErrID}, {`05`, ErrID}, {`11`, ErrID}, {`1/a,3`, ErrID}, {`41{"message":""}`, ErrID},

		{`0[]`, ErrPayload}, {`0"x"`, ErrPayload}, {`0null`, ErrPayload}, {`0true`, ErrPayload}, {`0 {}`, ErrPayload}, {`0/a,[{}]`, ErrPayload},
		{`1{}`, ErrPayload}, {`1[]`, ErrPayload}, {`1/a,""`, ErrPayload}, {`1/a,{"x":1}`, ErrPayload}, {`1null`, ErrPayload},
		{`4`, ErrPayload}, {`4/a,`, ErrPayload}, {`4[]`, ErrPayload}, {`4null`, ErrPayload},
		{`2`, ErrPayload}, {`212`, ErrPayload}, {`2/a`, ErrPayload}, {`2/a,`, ErrPayload}, {`2/a["x"]`, ErrPayload}, {`3`, ErrPayload}, {`35`, ErrPayload},
		{`2{}`, ErrPayload}, {`2"x"`, ErrPayload}, {`2null`, ErrPayload}, {`2 ["x"]`, ErrPayload}, {`2/a,{"0":"x"}`, ErrPayload}, {`30{}`, ErrPayload}, {`2,["x"]`, ErrPayload},

		{`2[]`, ErrName}, {`2[{}]`, ErrName}, {`2[{"toString":"x"}]`, ErrName}, {`2[null]`, ErrName}, {`2[true]`, ErrName}, {`2[["x"]]`, ErrName}, {`51-[` + ph + `]`, ErrName},
		{`2["connect"]`, ErrReserved}, {`2["connect_error"]`, ErrReserved}, {`2["disconnect"]`, ErrReserved}, {`2["disconnecting"]`, ErrReserved},
		{`2["newListener"]`, ErrReserved}, {`2["removeListener",1]`, ErrReserved}, {`2["\u0063onnect"]`, ErrReserved}, {`2[ "connect" ]`, ErrReserved},
		{`2["` + strings.NewReplacer("r", `\u0072`, "e", `\u0065`, "m", `\u006D`, "o", `\u006f`).Replace("removeListener") + `"]`, ErrReserved},
		{`51-["connect",` + ph + `]`, ErrReserved}, {`2/a,1["connect"]`, ErrReserved},

		{`2[`, ErrJSON}, {`2["x"`, ErrJSON}, {`2["x",]`, ErrJSON}, {`2["x"]]`, ErrJSON}, {`2["x"]["y"]`, ErrJSON}, {`2["x]`, ErrJSON}, {`2["x\"]`, ErrJSON}, {`2["x\`, ErrJSON},
		{`2["x",01]`, ErrJSON}, {`2["x",-]`, ErrJSON}, {`2["x",+1]`, ErrJSON}, {`2["x",.5]`, ErrJSON}, {`2["x",1.]`, ErrJSON}, {`2["x",1e]`, ErrJSON}, {`2["x",1e+]`, ErrJSON}, {`2["x",0x1]`, ErrJSON},
		{`2["x",NaN]`, ErrJSON}, {`2["x",Infinity]`, ErrJSON}, {`2["x",tru]`, ErrJSON}, {`2["x",True]`, ErrJSON}, {`2["x",nul`, ErrJSON}, {`2["x",undefined]`, ErrJSON}, {`2['x']`, ErrJSON},
		{`2["x",{]`, ErrJSON}, {`2["x",{"a"}]`, ErrJSON}, {`2["x",{"a":}]`, ErrJSON}, {`2["x",{"a":1,}]`, ErrJSON}, {`2["x",{a:1}]`, ErrJSON}, {`2["x",{"a":1]`, ErrJSON}, {`2["x",{"a":1}`, ErrJSON}, {`2["x",{"a" 1}]`, ErrJSON}, {`2["x",{"a`, ErrJSON}, {`2["x",1`, ErrJSON}, {`2["x",{"a":`, ErrJSON},
		{`2["x" "y"]`, ErrJSON}, {`2[,]`, ErrJSON}, {`2["x",,1]`, ErrJSON}, {"2[\"a\nb\"]", ErrJSON}, {"2[\"a\x00b\"]", ErrJSON}, {`2["\x41"]`, ErrJSON}, {`2["\u12g4"]`, ErrJSON}, {`2["\u12"]`, ErrJSON}, {`2["\u12`, ErrJSON},
		{`2["x"]//`, ErrJSON}, {"2[\"x\"\u00a0]", ErrJSON}, {"2[\"x\"]\x00", ErrJSON}, {`2[ufeff"x"]`, ErrJSON}, {`2["x",1e999]`, ErrJSON}, {`2["x",-1e999]`, ErrJSON}, {`2["x",` + strings.Repeat("9", 1_000_000) + `]`, ErrJSON},
		{`2[1e999]`, ErrJSON}, {`0{"a":}`, ErrJSON}, {`0{}{}`, ErrJSON}, {`0{`, ErrJSON}, {`4"x`, ErrJSON}, {`30[`, ErrJSON},

		{"2[\"\xff\"]", ErrUTF8}, {"2[\"x\",\"\xed\xa0\x80\"]", ErrUTF8}, {"2[\"x\",\"\xc0\x80\"]", ErrUTF8}, {"2[\"x\",\"\xf4\x90\x80\x80\"]", ErrUTF8}, {"2[\"x\",{\"\xe2\x82\":1}]", ErrUTF8},
		{"0{\"a\":\"\xff\"}", ErrUTF8}, {"4\"\xff\"", ErrUTF8}, {"2[\"x\"]\xff", ErrUTF8},

		{`2["x",` + deep(1001) + `]`, ErrDepth}, {`2["x",` + deepObject(1001) + `]`, ErrDepth}, {`2` + strings.Repeat("[", 1_000_000), ErrDepth}, {`0` + deepObject(1001), ErrDepth},
		{`2["x"` + strings.Repeat(",0", 1000) + `]`, ErrArguments}, {`30[0` + strings.Repeat(",0", 1000) + `]`, ErrArguments},

		{`51-["x"]`, ErrPlaceholder}, {`51-["x",{}]`, ErrPlaceholder}, {`52-["x",` + ph + `]`, ErrPlaceholder}, {`52-["x",` + ph + `,` + ph + `]`, ErrPlaceholder}, {`51-["x",` + ph + `,` + ph + `]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":true,"num":1}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":-1}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":-0}]`, ErrPlaceholder},
		{`52-["x",` + ph + `,{"_placeholder":true,"num":1.5}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":0.0}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":0e0}]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":true,"num":"0"}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":"splice"}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":null}]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":true,"num":[0]}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":` + ph + `}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true}]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":true,"num":0,"a":1}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":99}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"num":18446744073709551616}]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":true,"_placeholder":true}]`, ErrPlaceholder}, {`51-["x",{"_placeholder":true,"_placeholder":false,"num":0}]`, ErrPlaceholder}, {`51-["x",{"num":0,"num":0}]`, ErrPlaceholder},
		{`51-["x",` + ph + `,{"_placeholder":true,"_placeholder":false}]`, ErrPlaceholder}, {`51-["x",` + ph + `,{"_placeholder":false,"_placeholder":true}]`, ErrPlaceholder},
		{`51-["x",` + ph + `,{"\u005fplaceholder":true,"num":0}]`, ErrPlaceholder}, {`51-["x",` + ph + `,{"_placeholder":true,"\u006eum":0}]`, ErrPlaceholder},
		{`51-["x",{"_placeholder":1,"num":0}]`, ErrPlaceholder}, {`51-["x","{\"_placeholder\":true,\"num\":0}"]`, ErrPlaceholder}, {`61-0[]`, ErrPlaceholder},
	} {
		p, err := decode(nil, tt.text)
		if !errors.Is(err, tt.want) || p != nil {
			t.Errorf("%.100s: got packet %+v, error %v, want %v", tt.text, p, err, tt.want)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%.100s: the error has %d bytes: %.200s", tt.text, len(err.Error()), err)
		}
	}
}

// Attachments come right after the text that announces them, in its number, and nothing is kept of them longer.
func TestDecoderSequence(t *testing.T) {
	const two = `52-["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`
	for _, tt := range []struct {
		name     string
		limits   *Limits
		messages []string // a text begins with "t", an attachment with "b"
		packets  string   // for each message: "." nothing, "p" a packet; the last may fail
		want     error
	}{
		{"binary first", nil, []string{"bx"}, "", ErrStray},
		{"binary after a packet", nil, []string{`t2["x"]`, "bx"}, "p", ErrStray},
		{"binary after 50-", nil, []string{`t50-["x"]`}, "", ErrAttachments},
		{"two packets in a row", nil, []string{"t" + two, "b1", "b2", "t" + two, "b", "b", `t2["x"]`}, "..p..pp", nil},
		{"text in between", nil, []string{"t" + two, "b1", `t2["x"]`}, "..", ErrAwaited},
		{"text at once", nil, []string{"t" + two, "t" + two}, ".", ErrAwaited},
		{"one too many", nil, []string{"t" + two, "b1", "b2", "b3"}, "..p", ErrStray},
		{"too large at once", &Limits{AttachmentBytes: 4}, []string{"t" + two, "b12345"}, ".", ErrTooLarge},
		{"too large together", &Limits{AttachmentBytes: 4}, []string{"t" + two, "b123", "b45"}, "..", ErrTooLarge},
		{"just not too large", &Limits{AttachmentBytes: 4}, []string{"t" + two, "b123", "b4", "t" + two, "b", "b1234"}, "..p..p", nil},
		{"too large by default", nil, []string{"t" + two, "b" + strings.Repeat("x", 999_999), "b12"}, "..", ErrTooLarge},
		{"just not by default", nil, []string{"t" + two, "b" + strings.Repeat("x", 999_999), "b1"}, "..p", nil},
	} {
		d := JSON{}.NewDecoder(tt.limits)
		for i, m := range tt.messages {
			var p *Packet
			var err error
			if m[0] == 't' {
				p, err = d.Text([]byte(m[1:]))
			} else {
				p, err = d.Binary([]byte(m[1:]))
			}
			if i == len(tt.packets) {
				if !errors.Is(err, tt.want) || p != nil {
					t.Errorf("%s: message %d: got %v, %v, want %v", tt.name, i, p, err, tt.want)
				}
				if d.(*decoder).pending != nil {
					t.Errorf("%s: the decoder still waits after the error", tt.name)
				}
				break
			}
			if err != nil || (p != nil) != (tt.packets[i] == 'p') {
				t.Errorf("%s: message %d: got %v, %v, want %c", tt.name, i, p, err, tt.packets[i])
				break
			}
			if p != nil && d.(*decoder).pending != nil {
				t.Errorf("%s: message %d: the decoder still waits after the packet", tt.name, i)
			}
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	const ph = `{"_placeholder":true,"num":0}`
	tight := &Limits{Attachments: 1, Arguments: 2, Depth: 3, NamespaceBytes: 3}
	wide := &Limits{Attachments: 20, Arguments: 2000, Depth: 20_000, NamespaceBytes: 2000}
	var eleven []string
	for i := range 11 {
		eleven = append(eleven, fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i))
	}
	for _, tt := range []struct {
		limits *Limits
		text   string
		want   error
	}{
		{tight, `51-["x",` + ph + `]`, nil}, {tight, `52-["x",` + ph + `]`, ErrAttachments},
		{tight, `2["x",1]`, nil}, {tight, `2["x",1,2]`, ErrArguments},
		{tight, `2["x",[[[]]]]`, nil}, {tight, `2["x",[[[[]]]]]`, ErrDepth}, {tight, `0{"a":{"b":{}}}`, nil}, {tight, `0{"a":{"b":{"c":{}}}}`, ErrDepth},
		{tight, `0/ab`, nil}, {tight, `0/abc`, ErrNamespace},
		{wide, `511-["x",` + strings.Join(eleven, ",") + `]`, nil}, {wide, `2["x"` + strings.Repeat(",1", 1500) + `]`, nil},
		{wide, `0/` + strings.Repeat("a", 1000), nil}, {wide, `2["x",` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `]`, nil},
		{wide, `2["x",` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `]`, ErrDepth},
		{nil, `2["x",` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]`, nil},
		{nil, `2["x",1,` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000) + `]`, nil},
		{nil, `2["x",[` + strings.Repeat("[],", 1000) + `[]]]`, nil},
		{&Limits{Attachments: math.MaxInt}, `5999999999-["x",` + ph + `]`, ErrPlaceholder}, // and takes no memory for what it claims
	} {
		p, err := decode(tt.limits, tt.text)
		if !errors.Is(err, tt.want) || err == nil && tt.want != nil {
			t.Errorf("%.80s within %+v: got %v, want %v", tt.text, tt.limits.InForce(), err, tt.want)
		}
		if p == nil {
			continue
		}
		if _, err := (JSON{}).Encode(p); err != nil {
			t.Errorf("%.80s within %+v, encoded again: %v", tt.text, tt.limits.InForce(), err)
		}
	}
}

// The caller may reuse its buffers as soon as the decoder has returned.
func TestDecoderKeepsNothing(t *testing.T) {
	d := JSON{}.NewDecoder(nil)
	for _, first := range []string{`51-/admin,7["baz",{"_placeholder":true,"num":0}]`, `0/admin,{"a":"b"}`} {
		text, attachment := []byte(first), []byte("data")
		p, err := d.Text(text)
		clear(text)
		if p == nil && err == nil {
			p, err = d.Binary(attachment)
			clear(attachment)
		}
		kit.OK(t, err, first)
		e, err := JSON{}.Encode(p)
		if err != nil || string(e.Text) != first {
			t.Errorf("got %q, error %v, want %q", e.Text, err, first)
		}
		if p.Type == Event && string(e.Attachments[0]) != "data" {
			t.Errorf("attachment: got %q, want %q", e.Attachments[0], "data")
		}
	}
}

func TestDecoderIsSmall(t *testing.T) {
	if got := reflect.TypeFor[decoder]().Size(); got > 24 {
		t.Errorf("an idle decoder has %d bytes, want at most 24", got)
	}
	d, text := JSON{}.NewDecoder(nil), []byte(`2["message","hello",{"a":1}]`)
	got := testing.AllocsPerRun(100, func() {
		if _, err := d.Text(text); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("decoding a small event allocates %v times, want at most 2", got)
	}
}
