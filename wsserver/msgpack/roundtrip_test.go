package msgpack

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// Random packets come back as they were, and the default codec makes the same of them.
func TestRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		g := generator{random: random, budget: 40}
		p := g.packet(t)
		e, err := Codec{}.Encode(p)
		kit.OK(t, err)
		e, err = packet.ParseBlob(e.AppendBlob(nil), nil)
		kit.OK(t, err)
		limits := &packet.Limits{Attachments: 50}
		got, err := Codec{}.NewDecoder(limits).Binary(e.Attachments[0])
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, show(p), err)
		}
		if !same(t, got, p) {
			t.Fatalf("seed %d:\n got %s\nwant %s", seed, show(got), show(p))
		}
		again, err := Codec{}.Encode(got)
		kit.Require(t, err == nil && bytes.Equal(again.Attachments[0], e.Attachments[0]),
			"seed %d: encoded again:\n got %x, %v\nwant %x", seed, again, err, e)
		if other := throughJSON(t, limits, p); !same(t, got, other) {
			t.Fatalf("seed %d:\n got %s\nthe default codec has %s", seed, show(got), show(other))
		}
	}
}

// throughJSON is what comes of p through the default codec.
func throughJSON(t *testing.T, limits *packet.Limits, p *packet.Packet) *packet.Packet {
	t.Helper()
	e, err := packet.JSON{}.Encode(p)
	kit.OK(t, err)
	d := packet.JSON{}.NewDecoder(limits)
	got, err := d.Text(e.Text)
	for _, a := range e.Attachments {
		if err == nil {
			got, err = d.Binary(a)
		}
	}
	kit.OK(t, err)
	return got
}

// same reports whether two packets mean the same.
func same(t testing.TB, a, b *packet.Packet) bool {
	t.Helper()
	return a.Type == b.Type && a.Namespace == b.Namespace && a.ID == b.ID && a.HasID == b.HasID && a.Event() == b.Event() &&
		(a.Data == nil) == (b.Data == nil) && reflect.DeepEqual(values(t, a), values(t, b))
}

// values are the data of a packet as Go values.
func values(t testing.TB, p *packet.Packet) []any {
	t.Helper()
	args := p.Args
	if p.Data != nil {
		var err error
		if args, err = packet.ParseArgs(append(append([]byte("["), p.Data...), ']'), nil, &packet.Limits{Depth: 10_000}); err != nil {
			t.Fatal(err)
		}
	}
	v := make([]any, args.Len())
	targets := make([]any, len(v))
	for i := range v {
		targets[i] = &v[i]
	}
	kit.OK(t, args.Decode(targets...))
	return v
}

// A generator makes packets that JavaScript holds without loss.
type generator struct {
	random *rand.Rand
	budget int // values that may still be made
}

func (g *generator) packet(t testing.TB) *packet.Packet {
	t.Helper()
	p := &packet.Packet{Type: packet.Type(g.random.IntN(5)), Namespace: []string{"/", "/admin", "/é"}[g.random.IntN(3)]}
	limits := &packet.Limits{Attachments: 50}
	list := make([]any, g.random.IntN(4))
	for i := range list {
		list[i] = g.value(0)
	}
	var err error
	switch p.Type {
	case packet.Event:
		p.HasID = g.random.IntN(2) == 0
		p.Args, err = limits.MarshalEvent(g.string(), list...)
	case packet.Ack:
		p.HasID = true
		p.Args, err = limits.Marshal(list...)
	case packet.Connect:
		if g.random.IntN(2) == 0 {
			p.Data = []byte(`{"token": [1, -2.5e3, {"a": null}] , "x":"\u00e9\ud83d\ude00"}`)
		}
	case packet.ConnectError:
		p.Data = []byte(`"no \"entry\""`)
	}
	kit.OK(t, err)
	if p.HasID {
		p.ID = g.random.Uint64N(packet.MaxID+1) >> g.random.IntN(50)
	}
	return p
}

func (g *generator) value(depth int) any {
	kinds := 9
	if g.budget--; depth > 6 || g.budget < 0 {
		kinds = 7
	}
	switch g.random.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return g.random.IntN(2) == 0
	case 2:
		const safe = 1<<53 - 1
		return (g.random.Int64N(2*safe+1) - safe) >> g.random.IntN(53)
	case 3:
		return g.random.NormFloat64() * []float64{1e-300, 1e-7, 1, 1e10, 1e15}[g.random.IntN(5)]
	case 4, 5:
		return g.string()
	case 6:
		b := make([]byte, g.random.IntN(300))
		for i := range b {
			b[i] = byte(g.random.IntN(256))
		}
		return b
	case 7:
		list := make([]any, g.random.IntN(20))
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return list
	}
	m := map[string]any{}
	for range g.random.IntN(20) {
		m[g.string()] = g.value(depth + 1)
	}
	return m
}

func (g *generator) string() string {
	parts := []string{"", "a", `"`, `\`, "<script>&", "\n\x00\x1f\x7f", "é", "\u2028", "😀", "\ufffd", "num", "hello, world ", "\xef\xbb\xbf"}
	return strings.Repeat(parts[g.random.IntN(len(parts))], g.random.IntN(40)) + parts[g.random.IntN(len(parts))]
}
