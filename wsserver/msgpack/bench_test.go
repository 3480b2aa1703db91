package msgpack

import (
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

type line struct {
	Room string `json:"room"`
	Text string `json:"text"`
	At   int64  `json:"at"`
}

var codecs = []struct {
	name  string
	codec packet.Codec
}{{"msgpack", Codec{}}, {"json", packet.JSON{}}}

func broadcast(b *testing.B, args ...any) *packet.Packet {
	b.Helper()
	a := kit.Must(packet.MarshalEvent("message", args...))(b)
	return &packet.Packet{Type: packet.Event, Namespace: "/", Args: a}
}

func packets(b *testing.B) map[string]*packet.Packet {
	b.Helper()
	numbers := make([]int, 100_000)
	for i := range numbers {
		numbers[i] = i
	}
	return map[string]*packet.Packet{
		"small":       broadcast(b, line{"lobby", "hello, world", 1_700_000_000_000}),
		"bytes":       broadcast(b, map[string]any{"room": "lobby", "image": make([]byte, 1000)}),
		"100kB_text":  broadcast(b, strings.Repeat("a", 100_000)),
		"100k_number": broadcast(b, numbers),
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, p := range packets(b) {
		for _, c := range codecs {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := c.codec.Encode(p)
					kit.OK(b, err)
				}
			})
		}
	}
}

func BenchmarkWithID(b *testing.B) {
	p := broadcast(b, line{"lobby", "hello, world", 1_700_000_000_000})
	for _, c := range codecs {
		e := kit.Must(c.codec.Encode(p))(b)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := c.codec.WithID(e, 123_456)
				kit.OK(b, err)
			}
		})
	}
}

func BenchmarkDecoder(b *testing.B) {
	for name, p := range packets(b) {
		for _, c := range codecs {
			e := kit.Must(c.codec.Encode(p))(b)
			b.Run(name+"/"+c.name, func(b *testing.B) {
				d := c.codec.NewDecoder(nil)
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if len(e.Text) > 0 {
						_, err = d.Text(e.Text)
					}
					for _, a := range e.Attachments {
						if err == nil {
							_, err = d.Binary(a)
						}
					}
					kit.OK(b, err)
				}
			})
		}
	}
}
