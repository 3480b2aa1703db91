package packet

import (
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

type line struct {
	Room string `json:"room"`
	Text string `json:"text"`
	At   int64  `json:"at"`
}

var smallLine = line{Room: "lobby", Text: "hello, world", At: 1_700_000_000_000}

func BenchmarkMarshalEvent(b *testing.B) {
	for _, bb := range []struct {
		name string
		arg  any
	}{
		{"string", "hello, world"},
		{"struct", smallLine},
		{"map", map[string]any{"room": "lobby", "text": "hello, world", "at": 1}},
		{"bytes", []byte("hello, world")},
		{"nested_bytes", map[string]any{"room": "lobby", "image": []byte("hello, world")}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := MarshalEvent("message", bb.arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, p := range map[string]*Packet{
		"small":     {Type: Event, Namespace: "/", Args: mustMarshal(b, "message", smallLine)},
		"namespace": {Type: Event, Namespace: "/admin", ID: 12, HasID: true, Args: mustMarshal(b, "message", smallLine)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (JSON{}).Encode(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecoder(b *testing.B) {
	const million = 1_000_000
	for _, bb := range []struct{ name, text string }{
		{"small", `2["message",{"room":"lobby","text":"hello, world","at":1700000000000}]`},
		{"namespace", `2/admin,12["message",{"room":"lobby","text":"hello, world","at":1700000000000}]`},
		{"1MB_string", `2["x","` + strings.Repeat("a", million) + `"]`},
		{"1MB_numbers", `2["x",[0` + strings.Repeat(",0", million/2) + `]]`},
		{"1MB_objects", `2["x",[{}` + strings.Repeat(`,{"a":0}`, million/8) + `]]`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d, text := JSON{}.NewDecoder(nil), []byte(bb.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := d.Text(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkArgsDecode(b *testing.B) {
	p, err := decode(nil, `2["message","hello, world",{"room":"lobby","text":"hello, world","at":1700000000000}]`)
	kit.OK(b, err)
	var s string
	var l line
	for name, dst := range map[string][]any{"string": {&s}, "struct": {nil, &l}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				kit.OK(b, p.Decode(dst...))
			}
		})
	}
}

func BenchmarkWithID(b *testing.B) {
	e, err := JSON{}.Encode(&Packet{Type: Event, Namespace: "/admin", Args: mustMarshal(b, "message", smallLine)})
	kit.OK(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (JSON{}).WithID(e, 123456); err != nil {
			b.Fatal(err)
		}
	}
}
