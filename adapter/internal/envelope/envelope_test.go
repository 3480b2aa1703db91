package envelope

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

const sender = "node-00001"

func encode(m *Message) []byte {
	switch b := m.Broadcast; {
	case m.Chunk != nil:
		msg := appendHeader(nil, kindChunk, m.From)
		for _, n := range [...]uint64{m.Chunk.ID, uint64(m.Chunk.Part), uint64(m.Chunk.Parts)} {
			msg = binary.AppendUvarint(msg, n)
		}
		return append(msg, m.Chunk.Bytes...)
	case b == nil:
		return AppendMessage(nil, m.From, m.To, m.Mesh)
	case b.Repaired:
		return AppendRepair(nil, m.From, m.To, b.Stamp, AppendBody(nil, &b.Body))
	default:
		return AppendBroadcast(nil, m.From, b.Stamp, AppendBody(nil, &b.Body))
	}
}

// golden pins the wire format: nodes of different versions share a cluster. Bytes that stand here never change.
var golden = []struct {
	name string
	hex  string
	Message
}{
	{"broadcast to a namespace",
		"0101 0a6e6f64652d3030303031 01 01 01" + "01 00 012f 00 00 026869",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 1, Prev: []uint64{0}},
			Body:  Body{Route: ByNamespace, Namespace: "/", Payload: []byte("hi")},
		}}},
	{"broadcast to rooms",
		"0101 0a6e6f64652d3030303031 ac02 02 01 ac02" + "02 01 032f6e73 02 0161 03 c3bc00 01 0178 0401020304",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 300, Prev: []uint64{299, 0}},
			Body: Body{Route: ByRoom, Flags: Volatile, Namespace: "/ns", Rooms: []string{"a", "ü\x00"}, Except: []string{"x"},
				Payload: []byte{1, 2, 3, 4}},
		}}},
	{"broadcast to many rooms",
		"0101 0a6e6f64652d3030303031 02 01 01" + "01 00 00 05 0161 0162 0163 0164 00 00 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 2, Prev: []uint64{1}},
			Body:  Body{Route: ByNamespace, Rooms: []string{"a", "b", "c", "d", ""}, Payload: []byte{}},
		}}},
	{"request to the cluster",
		"0101 0a6e6f64652d3030303031 05 02 01 05" + "03 00 032f6e73 05 0161 0162 0163 0164 0165 01 0178 00" + "05 8001 00 c0843d 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4, 0}},
			Body: Body{Route: ByCluster, Namespace: "/ns", Rooms: []string{"a", "b", "c", "d", "e"}, Except: []string{"x"}, Payload: []byte{},
				Request: Request{Kind: KindRooms, ID: 128, Left: time.Second, Arg: []byte{}}},
		}}},
	{"request in its place among rooms",
		"0101 0a6e6f64652d3030303031 05 03 01 05 02" + "03 03 012f 02 0161 0162 00 026869" + "09 01 00 00 020304",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4, 0, 3}},
			Body: Body{Route: ByCluster, Flags: InRooms | Volatile, Namespace: "/", Rooms: []string{"a", "b"}, Payload: []byte("hi"),
				Request: Request{Kind: KindAsk, ID: 1, Arg: []byte{3, 4}}},
		}}},
	{"broadcast to be counted",
		"0101 0a6e6f64652d3030303031 06 02 01 02" + "03 02 012f 01 0161 00 026869" + "0c 02 00 c0843d 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 6, Prev: []uint64{5, 4}},
			Body: Body{Route: ByCluster, Flags: InRooms, Namespace: "/", Rooms: []string{"a"}, Payload: []byte("hi"),
				Request: Request{Kind: KindTell, ID: 2, Left: time.Second, Arg: []byte{}}},
		}}},
	{"request to a node",
		"0101 0a6e6f64652d3030303031 05 01 01" + "04 00 00 00 00 026869" + "0b 07 026d65 e807 03707374",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4}},
			Body:  Body{Route: ByNode, Payload: []byte("hi"), Request: Request{Kind: KindCall, ID: 7, To: "me", Left: time.Millisecond, Arg: []byte("pst")}},
		}}},
	{"repair to a node",
		"010a 0a6e6f64652d3030303031 026d65 ac02 02 01 ac02" + "02 00 032f6e73 02 0161 0162 00 026869",
		Message{From: sender, To: "me", Broadcast: &Broadcast{From: sender, Repaired: true,
			Stamp: mesh.Stamp{G: 300, Prev: []uint64{299, 0}},
			Body:  Body{Route: ByRoom, Namespace: "/ns", Rooms: []string{"a", "b"}, Payload: []byte("hi")},
		}}},
	{"repair of an answer",
		"010a 0a6e6f64652d3030303031 026d65 05 01 05" + "04 00 00 00 00 00" + "01 07 026d65 00 0400000000",
		Message{From: sender, To: "me", Broadcast: &Broadcast{From: sender, Repaired: true,
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{0}},
			Body:  Body{Route: ByNode, Payload: []byte{}, Request: Request{Kind: KindAnswer, ID: 7, To: "me", Arg: []byte{0, 0, 0, 0}}},
		}}},
	{"fence", "0102 0a6e6f64652d3030303031 00 00 e807 07 8001 00",
		Message{From: sender, Mesh: &mesh.Fence{About: mesh.About{Age: time.Millisecond}, F: 7, Sent: 128}}},
	{"hello of a client to a node", "0102 0a6e6f64652d3030303031 026d65 01 00 01 00 01",
		Message{From: sender, To: "me", Mesh: &mesh.Fence{About: mesh.About{Client: true}, F: 1, Hello: true}}},
	{"ack", "0103 0a6e6f64652d3030303031 026d65 00 c0843d 07 8001 02 0161 0162",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, F: 7, Sent: 128, Members: []string{"a", "b"}}}},
	{"beat", "0104 0a6e6f64652d3030303031 00 00 c0843d 05 09 02 01 03 02 0102030405060708 00 fffefdfcfbfaf9f8 03",
		Message{From: sender, Mesh: &mesh.Beat{About: mesh.About{Age: time.Second}, A: 5, B: 9, S: 2, Part: 1, Parts: 3,
			Tails: []mesh.Tail{{Hash: 0x0102030405060708, G: 9}, {Hash: 0xfffefdfcfbfaf9f8, G: 6}}}}},
	{"list of a client to a node", "0104 0a6e6f64652d3030303031 026d65 01 01 00 ac02 ac02 00 01 00",
		Message{From: sender, To: "me", Mesh: &mesh.Beat{About: mesh.About{Client: true, Age: time.Microsecond}, B: 300, S: 300, Parts: 1,
			Tails: []mesh.Tail{}}}},
	{"resync", "0105 0a6e6f64652d3030303031 026d65 00 c0843d 8001",
		Message{From: sender, To: "me", Mesh: &mesh.Resync{About: mesh.About{Age: time.Second}, A: 128}}},
	{"bye", "0106 0a6e6f64652d3030303031 00 ac02",
		Message{From: sender, Mesh: &mesh.Bye{Last: 300}}},
	{"nack", "0107 0a6e6f64652d3030303031 026d65 02 0102030405060708 09 04 fffefdfcfbfaf9f8 ac02 ac02",
		Message{From: sender, To: "me", Mesh: &mesh.Nack{Ranges: []mesh.Range{
			{Hash: 0x0102030405060708, After: 5, Upto: 9}, {Hash: 0xfffefdfcfbfaf9f8, After: 0, Upto: 300}}}}},
	{"gone", "0108 0a6e6f64652d3030303031 026d65 05 02" + "07 01 0102030405060708 02" +
		"ac02 02 0102030405060708 01 fffefdfcfbfaf9f8 ac02",
		Message{From: sender, To: "me", Mesh: &mesh.Gone{S: 5, Numbers: []mesh.Number{
			{G: 7, Links: []mesh.Link{{Hash: 0x0102030405060708, Prev: 5}}},
			{G: 300, Links: []mesh.Link{{Hash: 0x0102030405060708, Prev: 299}, {Hash: 0xfffefdfcfbfaf9f8, Prev: 0}}}}}}},
	{"nothing is gone", "0108 0a6e6f64652d3030303031 026d65 00 00",
		Message{From: sender, To: "me", Mesh: &mesh.Gone{Numbers: []mesh.Number{}}}},
	{"settled", "0109 0a6e6f64652d3030303031 026d65",
		Message{From: sender, To: "me", Mesh: &mesh.Settled{}}},
	{"chunk", "010b 0a6e6f64652d3030303031 ac02 01 8001 6869",
		Message{From: sender, Chunk: &Chunk{ID: 300, Part: 1, Parts: 128, Bytes: []byte("hi")}}},
}

func TestGolden(t *testing.T) {
	kinds := make(map[byte]bool)
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(g.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			kinds[want[1]] = true
			if got := encode(&g.Message); !bytes.Equal(got, want) {
				t.Errorf("encoded\n got %x\nwant %x", got, want)
			}
			if m, err := Decode(want); err != nil || !reflect.DeepEqual(m, &g.Message) {
				t.Errorf("decoded %+v, %v", m, err)
			}
		})
	}
	for kind := byte(kindBroadcast); kind <= kindChunk; kind++ {
		if !kinds[kind] {
			t.Errorf("kind %d is not pinned", kind)
		}
	}
}

// A later version may append fields to every kind but chunks, whose bytes are the rest of the message.
func TestTrailingBytesAreIgnored(t *testing.T) {
	for _, g := range golden {
		if g.Chunk != nil {
			continue
		}
		if m, err := Decode(append(encode(&g.Message), "more"...)); err != nil || !reflect.DeepEqual(m, &g.Message) {
			t.Errorf("%s: decoded %+v, %v", g.name, m, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, g := range golden {
		msg := encode(&g.Message)
		if g.Chunk != nil {
			msg = msg[:len(msg)-len(g.Chunk.Bytes)+1] // any bytes are a chunk's, but none are not
		}
		for n := range msg {
			if m, err := Decode(msg[:n:n]); !errors.Is(err, ErrMalformed) || m != nil {
				t.Errorf("%s, %d of %d bytes: decoded %+v, %v; want ErrMalformed alone", g.name, n, len(msg), m, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	head, beat := "\x01\x01\x01n", "\x01\x04\x01n\x00\x00\x00"
	cases := []struct {
		name, msg string
		want      error
	}{
		{"version 0", "\x00\x06\x01n\x00\x00", ErrVersion},
		{"version 2", "\x02\x06\x01n\x00\x00", ErrVersion},
		{"kind 0", "\x01\x00\x01n\x00\x00", ErrKind},
		{"kind 12", "\x01\x0c\x01n\x00\x00", ErrKind},
		{"kind 255", "\x01\xff\x01n\x00\x00", ErrKind},
		{"no sender", "\x01\x06\x00\x00\x00", ErrMalformed},
		{"a broadcast of nobody", "\x01\x01\x00\x01\x01\x01\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"number of 11 bytes", "\x01\x05\x01n\x00\x00\x00" + strings.Repeat("\xff", 10) + "\x01\x00", ErrMalformed},
		{"number beyond 64 bits", "\x01\x05\x01n\x00\x00\x00" + strings.Repeat("\xff", 9) + "\x02", ErrMalformed},
		{"age beyond a duration", "\x01\x05\x01n\x00\x00" + strings.Repeat("\xff", 9) + "\x01\x00", ErrMalformed},
		{"route 0", head + "\x01\x01\x01\x00\x00\x00\x00\x00\x00", ErrMalformed},
		{"route 5", head + "\x01\x01\x01\x05\x00\x00\x00\x00\x00", ErrMalformed},
		{"request to the cluster with one link", head + "\x01\x01\x01\x03\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request among rooms without rooms", head + "\x01\x01\x01\x03\x02\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request among rooms with two links for two", head + "\x01\x02\x01\x01\x03\x02\x00\x02\x01a\x01b\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request to no node", head + "\x01\x01\x01\x04\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request to a node with two links", head + "\x01\x02\x01\x01\x04\x00\x00\x00\x00\x00\x03\x01\x01n\x00\x00", ErrMalformed},
		{"request that is not there", head + "\x01\x01\x01\x04\x00\x00\x00\x00\x00", ErrMalformed},
		{"stamp without topics", head + "\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"namespace with two links", head + "\x02\x02\x01\x01\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"rooms without rooms", head + "\x01\x00\x02\x00\x00\x00\x00\x00", ErrMalformed},
		{"two links for a room", head + "\x02\x02\x01\x01\x02\x00\x00\x01\x01a\x00\x00", ErrMalformed},
		{"link to itself", head + "\x01\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"link below zero", head + "\x01\x01\x02\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"repair that links to itself", "\x01\x0a\x01n\x01m\x01\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"repair without a route", "\x01\x0a\x01n\x01m\x01\x01\x01\x00\x00\x00\x00\x00\x00", ErrMalformed},
		{"beat that ends before it begins", beat + "\x05\x04\x00\x00\x01\x00", ErrMalformed},
		{"horizon beyond the end", beat + "\x04\x04\x05\x00\x01\x00", ErrMalformed},
		{"part beyond the parts", beat + "\x04\x04\x00\x01\x01\x00", ErrMalformed},
		{"no parts", beat + "\x04\x04\x00\x00\x00\x00", ErrMalformed},
		{"more parts than a number holds", beat + "\x04\x04\x00\x00\x80\x80\x80\x80\x08\x00", ErrMalformed},
		{"tail beyond the end", beat + "\x04\x04\x00\x00\x01\x01hashhash\x05", ErrMalformed},
		{"tail without a hash", beat + "\x04\x04\x00\x00\x01\x01hash", ErrMalformed},
		{"nack of more than was sent", "\x01\x07\x01n\x01m\x01hashhash\x04\x05", ErrMalformed},
		{"nack with fewer ranges than it says", "\x01\x07\x01n\x01m\x02hashhash\x04\x01", ErrMalformed},
		{"gone 0", "\x01\x08\x01n\x01m\x00\x01\x00\x00", ErrMalformed},
		{"gone twice", "\x01\x08\x01n\x01m\x00\x02\x05\x00\x05\x00", ErrMalformed},
		{"gone in descending order", "\x01\x08\x01n\x01m\x00\x02\x05\x00\x04\x00", ErrMalformed},
		{"gone with a link below zero", "\x01\x08\x01n\x01m\x00\x01\x05\x01hashhash\x06", ErrMalformed},
		{"chunk without bytes", "\x01\x0b\x01n\x01\x00\x02", ErrMalformed},
		{"chunk beyond the last", "\x01\x0b\x01n\x01\x02\x02hi", ErrMalformed},
		{"chunk of none", "\x01\x0b\x01n\x01\x00\x00hi", ErrMalformed},
		{"chunk of more than a number holds", "\x01\x0b\x01n\x01\x00\x80\x80\x80\x80\x08hi", ErrMalformed},
	}
	for _, c := range cases {
		if m, err := Decode([]byte(c.msg)); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: decoded %+v, %v; want %v", c.name, m, err, c.want)
		}
	}
	for _, msg := range [][]byte{nil, {}, {Version}} {
		if _, err := Decode(msg); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v, want ErrMalformed", len(msg), err)
		}
	}
}

// A count costs no memory before what it counts is there.
func TestHostileCounts(t *testing.T) {
	huge := "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	for name, msg := range map[string]string{
		"links":    "\x01\x01\x01n\x01" + huge,
		"rooms":    "\x01\x01\x01n\x01\x01\x01\x01\x00\x00" + huge,
		"except":   "\x01\x01\x01n\x01\x01\x01\x01\x00\x00\x00" + huge,
		"payload":  "\x01\x01\x01n\x01\x01\x01\x01\x00\x00\x00\x00" + huge,
		"argument": "\x01\x01\x01n\x01\x01\x01\x04\x00\x00\x00\x00\x00\x0b\x01\x01n\x00" + huge,
		"sender":   "\x01\x06" + huge,
		"receiver": "\x01\x06\x01n" + huge,
		"members":  "\x01\x03\x01n\x01m\x00\x00\x00\x00" + huge,
		"tails":    "\x01\x04\x01n\x00\x00\x00\x00\x00\x00\x00\x01" + huge,
		"parts":    "\x01\x04\x01n\x00\x00\x00\x00\x00\x00" + huge + huge + "\x00",
		"ranges":   "\x01\x07\x01n\x01m" + huge,
		"numbers":  "\x01\x08\x01n\x01m\x00" + huge,
		"gone":     "\x01\x08\x01n\x01m\x00\x01\x05" + huge,
		"chunks":   "\x01\x0b\x01n\x01\x00" + huge,
	} {
		msg := append([]byte(msg), make([]byte, 100)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(msg)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes allocated for a message of %d", name, n, len(msg))
		}
	}
}

func text(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(12))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

func texts(rng *rand.Rand, atLeast int) []string {
	var list []string
	for range atLeast + rng.IntN(4) {
		list = append(list, text(rng))
	}
	return list
}

// number draws one of any length.
func number(rng *rand.Rand) uint64 { return rng.Uint64() >> rng.IntN(64) }

func age(rng *rand.Rand) time.Duration {
	return time.Duration(number(rng) & math.MaxInt64).Truncate(time.Microsecond)
}

func about(rng *rand.Rand) mesh.About { return mesh.About{Client: rng.IntN(2) == 0, Age: age(rng)} }

func random(rng *rand.Rand) *Message {
	m := &Message{From: sender}
	if rng.IntN(4) > 0 {
		m.To = "n" + text(rng)
	}
	switch rng.IntN(12) {
	case 0:
		m.Mesh = &mesh.Fence{About: about(rng), F: number(rng), Sent: number(rng), Hello: rng.IntN(2) == 0}
	case 1:
		m.Mesh = &mesh.Ack{About: about(rng), F: number(rng), Sent: number(rng), Members: texts(rng, 0)}
	case 2:
		b := &mesh.Beat{About: about(rng), B: number(rng), Part: rng.IntN(100), Tails: []mesh.Tail{}}
		b.Parts = b.Part + 1 + rng.IntN(100)
		b.A, b.S = upTo(rng, b.B), upTo(rng, b.B)
		for range rng.IntN(5) {
			b.Tails = append(b.Tails, mesh.Tail{Hash: rng.Uint64(), G: upTo(rng, b.B)})
		}
		m.Mesh = b
	case 3:
		m.Mesh = &mesh.Resync{About: about(rng), A: number(rng)}
	case 4:
		m.Mesh = &mesh.Bye{Last: number(rng)}
	case 5:
		m.Mesh = &mesh.Settled{}
	case 6:
		n := &mesh.Nack{Ranges: []mesh.Range{}}
		for range rng.IntN(5) {
			upto := number(rng)
			n.Ranges = append(n.Ranges, mesh.Range{Hash: rng.Uint64(), After: upTo(rng, upto), Upto: upto})
		}
		m.Mesh = n
	case 7:
		g := &mesh.Gone{S: number(rng), Numbers: []mesh.Number{}}
		last := uint64(0)
		for range rng.IntN(5) {
			n := mesh.Number{G: last + 1 + number(rng)>>3, Links: []mesh.Link{}}
			for range rng.IntN(4) {
				n.Links = append(n.Links, mesh.Link{Hash: rng.Uint64(), Prev: upTo(rng, n.G)})
			}
			g.Numbers, last = append(g.Numbers, n), n.G
		}
		m.Mesh = g
	case 8:
		m.To = ""
		m.Chunk = &Chunk{ID: number(rng), Part: rng.IntN(1 << 20), Bytes: []byte("x" + text(rng))}
		m.Chunk.Parts = m.Chunk.Part + 1 + rng.IntN(1<<20)
	default:
		m.Broadcast = randomBroadcast(rng)
		if m.Broadcast.Repaired = rng.IntN(2) == 0; !m.Broadcast.Repaired {
			m.To = ""
		}
	}
	return m
}

// upTo draws a number that is not greater than n, often n itself or 0.
func upTo(rng *rand.Rand, n uint64) uint64 { return n - min(n, number(rng)) }

func randomBroadcast(rng *rand.Rand) *Broadcast {
	b := &Broadcast{
		From:  sender,
		Stamp: mesh.Stamp{G: number(rng) | 1},
		Body: Body{Route: ByNamespace, Flags: number(rng), Namespace: text(rng), Rooms: texts(rng, 0), Except: texts(rng, 0),
			Payload: []byte(text(rng))},
	}
	links := 1
	request := Request{Kind: Kind(rng.Uint32()), ID: number(rng), Left: age(rng), Arg: []byte(text(rng))}
	switch rng.IntN(5) {
	case 0, 1:
		b.Route, b.Rooms = ByRoom, texts(rng, 1)
		links = len(b.Rooms)
	case 2:
		b.Route, b.Request = ByCluster, request
		links = 2
		if b.Flags&InRooms != 0 {
			b.Rooms = texts(rng, 1)
			links = 1 + len(b.Rooms)
		}
	case 3:
		b.Route, b.Request = ByNode, request
		b.To = "n" + text(rng)
	}
	for range links {
		b.Stamp.Prev = append(b.Stamp.Prev, number(rng)%b.Stamp.G)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		m := random(rng)
		if got, err := Decode(encode(m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("seed %d: %s became %s, %v", seed, show(m), show(got), err)
		}
	}
}

func show(m *Message) string {
	if m == nil {
		return "nothing"
	}
	return fmt.Sprintf("{%q to %q, broadcast %+v, mesh %+v, chunk %+v}", m.From, m.To, m.Broadcast, m.Mesh, m.Chunk)
}

// What is appended goes behind what is there; payloads, arguments and chunks alone are parts of the message.
func TestOwnership(t *testing.T) {
	g := golden[1]
	body := AppendBody(nil, &g.Broadcast.Body)
	for _, msg := range [][]byte{
		AppendBroadcast([]byte("front"), sender, g.Broadcast.Stamp, body), AppendRepair([]byte("front"), sender, "me", g.Broadcast.Stamp, body),
	} {
		if string(msg[:5]) != "front" || !bytes.HasSuffix(msg, body) {
			t.Fatalf("appended %x", msg)
		}
		msg = msg[5:]
		m, err := Decode(msg)
		if err != nil {
			t.Fatal(err)
		}
		b := m.Broadcast
		if &b.Payload[0] != &msg[len(msg)-4] || cap(b.Payload) != 4 {
			t.Errorf("the payload is not the end of the message, with capacity %d", cap(b.Payload))
		}
		clear(msg)
		if m.From != sender || b.Namespace != "/ns" || b.Rooms[0] != "a" || b.Except[0] != "x" {
			t.Errorf("names changed with the message: %q %q %q %q", m.From, b.Namespace, b.Rooms, b.Except)
		}
	}
	msg := Chunks(sender, 1, make([]byte, 300), 200)[0]
	m, err := Decode(msg)
	if err != nil || &m.Chunk.Bytes[0] != &msg[len(msg)-len(m.Chunk.Bytes)] {
		t.Errorf("%v: the bytes of a chunk are not the end of the message", err)
	}
}

// FuzzDecode reads any bytes: what is understood can be said again, and is understood alike.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(encode(&g.Message))
	}
	f.Add([]byte("\x01\x01\x01n\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := Decode(bytes.Clone(msg))
		if err != nil {
			if m != nil {
				t.Fatalf("decoded %s with %v", show(m), err)
			}
			return
		}
		if parts := flag(m.Broadcast != nil) + flag(m.Mesh != nil) + flag(m.Chunk != nil); parts != 1 || m.From == "" {
			t.Fatalf("decoded %s", show(m))
		}
		again := encode(m)
		if m2, err := Decode(again); err != nil || !reflect.DeepEqual(m, m2) {
			t.Fatalf("%x\nbecame %x:\n%s\n%s, %v", msg, again, show(m), show(m2), err)
		}
	})
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	msg := encode(&golden[1].Message)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendBroadcast(b *testing.B) {
	body := AppendBody(nil, &golden[1].Broadcast.Body)
	stamp := golden[1].Broadcast.Stamp
	var msg []byte
	b.ReportAllocs()
	for b.Loop() {
		msg = AppendBroadcast(msg[:0], sender, stamp, body)
	}
}
