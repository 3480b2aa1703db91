package envelope

import (
	"bytes"
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

// message is either a broadcast or a message of the mesh.
type message struct {
	broadcast *Broadcast
	mesh      mesh.Message
}

func (m message) encode() []byte {
	if b := m.broadcast; b != nil {
		return AppendBroadcast(nil, sender, b.Stamp, AppendBody(nil, &b.Body))
	}
	return AppendMessage(nil, sender, m.mesh)
}

// golden pins the wire format: nodes of different versions share a cluster. Bytes that stand here never change.
var golden = []struct {
	name string
	hex  string
	message
}{
	{"broadcast to a namespace",
		"0101 0a6e6f64652d3030303031 01 01 01" + "01 00 012f 00 00 026869",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 1, Prev: []uint64{0}},
			Body:  Body{Route: ByNamespace, Namespace: "/", Payload: []byte("hi")},
		}}},
	{"broadcast to rooms",
		"0101 0a6e6f64652d3030303031 ac02 02 01 ac02" + "02 01 032f6e73 02 0161 03 c3bc00 01 0178 0401020304",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 300, Prev: []uint64{299, 0}},
			Body: Body{Route: ByRoom, Flags: Volatile, Namespace: "/ns", Rooms: []string{"a", "ü\x00"}, Except: []string{"x"},
				Payload: []byte{1, 2, 3, 4}},
		}}},
	{"broadcast to many rooms",
		"0101 0a6e6f64652d3030303031 02 01 01" + "01 00 00 05 0161 0162 0163 0164 00 00 00",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 2, Prev: []uint64{1}},
			Body:  Body{Route: ByNamespace, Rooms: []string{"a", "b", "c", "d", ""}, Payload: []byte{}},
		}}},
	{"request to the cluster",
		"0101 0a6e6f64652d3030303031 05 02 01 05" + "03 00 032f6e73 05 0161 0162 0163 0164 0165 01 0178 00" + "05 8001 00 c0843d 00",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4, 0}},
			Body: Body{Route: ByCluster, Namespace: "/ns", Rooms: []string{"a", "b", "c", "d", "e"}, Except: []string{"x"}, Payload: []byte{},
				Request: Request{Kind: KindRooms, ID: 128, Left: time.Second, Arg: []byte{}}},
		}}},
	{"request in its place among rooms",
		"0101 0a6e6f64652d3030303031 05 03 01 05 02" + "03 03 012f 02 0161 0162 00 026869" + "09 01 00 00 020304",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4, 0, 3}},
			Body: Body{Route: ByCluster, Flags: InRooms | Volatile, Namespace: "/", Rooms: []string{"a", "b"}, Payload: []byte("hi"),
				Request: Request{Kind: KindAsk, ID: 1, Arg: []byte{3, 4}}},
		}}},
	{"request to a node",
		"0101 0a6e6f64652d3030303031 05 01 01" + "04 00 00 00 00 026869" + "0b 07 026d65 e807 03707374",
		message{broadcast: &Broadcast{
			Stamp: mesh.Stamp{G: 5, Prev: []uint64{4}},
			Body:  Body{Route: ByNode, Payload: []byte("hi"), Request: Request{Kind: KindCall, ID: 7, To: "me", Left: time.Millisecond, Arg: []byte("pst")}},
		}}},
	{"fence", "0102 0a6e6f64652d3030303031 07 8001 e8 07 00",
		message{mesh: &mesh.Fence{F: 7, Sent: 128, Age: time.Millisecond}}},
	{"hello", "0102 0a6e6f64652d3030303031 01 00 00 01",
		message{mesh: &mesh.Fence{F: 1, Hello: true}}},
	{"ack", "0103 0a6e6f64652d3030303031 026d65 07 8001 c0843d 02 0161 0162",
		message{mesh: &mesh.Ack{To: "me", F: 7, Sent: 128, Age: time.Second, Members: []string{"a", "b"}}}},
	{"beat", "0104 0a6e6f64652d3030303031 05 09 02 c0843d 01 03 02 0102030405060708 00 fffefdfcfbfaf9f8 03",
		message{mesh: &mesh.Beat{A: 5, B: 9, S: 2, Age: time.Second, Part: 1, Parts: 3,
			Tails: []mesh.Tail{{Hash: 0x0102030405060708, G: 9}, {Hash: 0xfffefdfcfbfaf9f8, G: 6}}}}},
	{"resync", "0105 0a6e6f64652d3030303031 8001 c0843d",
		message{mesh: &mesh.Resync{A: 128, Age: time.Second}}},
	{"bye", "0106 0a6e6f64652d3030303031",
		message{mesh: &mesh.Bye{}}},
}

func (m message) same(broadcast *Broadcast, other mesh.Message) bool {
	if m.broadcast == nil || broadcast == nil {
		return m.broadcast == broadcast && reflect.DeepEqual(m.mesh, other)
	}
	return other == nil && reflect.DeepEqual(m.broadcast, broadcast)
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(g.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := g.encode(); !bytes.Equal(got, want) {
				t.Errorf("encoded\n got %x\nwant %x", got, want)
			}
			from, b, m, err := Decode(want)
			if err != nil || from != sender || !g.same(b, m) {
				t.Errorf("decoded %q %+v %+v, %v", from, b, m, err)
			}
		})
	}
}

// A later version may append fields to every kind but a broadcast's payload, which ends with its own length.
func TestTrailingBytesAreIgnored(t *testing.T) {
	for _, g := range golden {
		from, b, m, err := Decode(append(g.encode(), "more"...))
		if err != nil || from != sender || !g.same(b, m) {
			t.Errorf("%s: decoded %q %+v %+v, %v", g.name, from, b, m, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, g := range golden {
		msg := g.encode()
		for n := range msg {
			from, b, m, err := Decode(msg[:n:n])
			if !errors.Is(err, ErrMalformed) || from != "" || b != nil || m != nil {
				t.Errorf("%s, %d of %d bytes: decoded %q %v %v, %v; want ErrMalformed alone", g.name, n, len(msg), from, b, m, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	head := "\x01\x01\x01n"
	cases := []struct {
		name, msg string
		want      error
	}{
		{"version 0", "\x00\x06\x01n", ErrVersion},
		{"version 2", "\x02\x06\x01n", ErrVersion},
		{"kind 0", "\x01\x00\x01n", ErrKind},
		{"kind 7", "\x01\x07\x01n", ErrKind},
		{"no sender", "\x01\x06\x00", ErrMalformed},
		{"number of 11 bytes", "\x01\x05\x01n" + strings.Repeat("\xff", 10) + "\x01\x00", ErrMalformed},
		{"age beyond a duration", "\x01\x05\x01n\x00" + strings.Repeat("\xff", 9) + "\x01", ErrMalformed},
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
		{"beat that ends before it begins", "\x01\x04\x01n\x05\x04\x00\x00\x00\x01\x00", ErrMalformed},
		{"horizon beyond the end", "\x01\x04\x01n\x04\x04\x05\x00\x00\x01\x00", ErrMalformed},
		{"part beyond the parts", "\x01\x04\x01n\x04\x04\x00\x00\x01\x01\x00", ErrMalformed},
		{"no parts", "\x01\x04\x01n\x04\x04\x00\x00\x00\x00\x00", ErrMalformed},
		{"tail beyond the end", "\x01\x04\x01n\x04\x04\x00\x00\x00\x01\x01hashhash\x05", ErrMalformed},
	}
	for _, c := range cases {
		if from, b, m, err := Decode([]byte(c.msg)); !errors.Is(err, c.want) || from != "" || b != nil || m != nil {
			t.Errorf("%s: decoded %q %v %v, %v; want %v", c.name, from, b, m, err, c.want)
		}
	}
	for _, msg := range [][]byte{nil, {}, {Version}} {
		if _, _, _, err := Decode(msg); !errors.Is(err, ErrMalformed) {
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
		"members":  "\x01\x03\x01n\x00\x00\x00\x00" + huge,
		"tails":    "\x01\x04\x01n\x00\x00\x00\x00\x00\x01" + huge,
		"parts":    "\x01\x04\x01n\x00\x00\x00\x00" + huge + huge + "\x00",
	} {
		msg := append([]byte(msg), make([]byte, 100)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, err := Decode(msg)
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

func random(rng *rand.Rand) message {
	switch rng.IntN(6) {
	case 0:
		return message{mesh: &mesh.Fence{F: number(rng), Sent: number(rng), Age: age(rng), Hello: rng.IntN(2) == 0}}
	case 1:
		return message{mesh: &mesh.Ack{To: text(rng), F: number(rng), Sent: number(rng), Age: age(rng), Members: texts(rng, 0)}}
	case 2:
		b := &mesh.Beat{B: number(rng), Age: age(rng), Part: rng.IntN(100), Tails: []mesh.Tail{}}
		b.Parts = b.Part + 1 + rng.IntN(100)
		below := func() uint64 { return b.B - number(rng)%(b.B/2+1) }
		b.A, b.S = below(), below()
		for range rng.IntN(5) {
			b.Tails = append(b.Tails, mesh.Tail{Hash: rng.Uint64(), G: below()})
		}
		return message{mesh: b}
	case 3:
		return message{mesh: &mesh.Resync{A: number(rng), Age: age(rng)}}
	case 4:
		return message{mesh: &mesh.Bye{}}
	}
	b := &Broadcast{
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
	return message{broadcast: b}
}

func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		m := random(rng)
		msg := m.encode()
		from, b, other, err := Decode(msg)
		if err != nil || from != sender || !m.same(b, other) {
			t.Fatalf("seed %d: %+v %+v became %q %+v %+v, %v", seed, m.broadcast, m.mesh, from, b, other, err)
		}
	}
}

// What is appended goes behind what is there, and Payload alone is a part of the message.
func TestOwnership(t *testing.T) {
	g := golden[1]
	msg := AppendBroadcast([]byte("front"), sender, g.broadcast.Stamp, AppendBody(nil, &g.broadcast.Body))
	if string(msg[:5]) != "front" || !bytes.Equal(msg[5:], g.encode()) {
		t.Fatalf("appended %x", msg)
	}
	msg = msg[5:]
	_, b, _, err := Decode(msg)
	if err != nil {
		t.Fatal(err)
	}
	if &b.Payload[0] != &msg[len(msg)-4] || cap(b.Payload) != 4 {
		t.Errorf("the payload is not the end of the message, with capacity %d", cap(b.Payload))
	}
	clear(msg)
	if b.Namespace != "/ns" || b.Rooms[0] != "a" || b.Except[0] != "x" {
		t.Errorf("names changed with the message: %q %q %q", b.Namespace, b.Rooms, b.Except)
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(g.encode())
	}
	f.Add([]byte("\x01\x01\x01n\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		from, b, m, err := Decode(bytes.Clone(msg))
		if err != nil {
			if from != "" || b != nil || m != nil {
				t.Fatalf("decoded %q %v %v with %v", from, b, m, err)
			}
			return
		}
		if (b == nil) == (m == nil) || from == "" {
			t.Fatalf("decoded %q %v %v", from, b, m)
		}
		// What was understood can be said again, and is understood alike.
		var again []byte
		if b != nil {
			again = AppendBroadcast(nil, from, b.Stamp, AppendBody(nil, &b.Body))
		} else {
			again = AppendMessage(nil, from, m)
		}
		from2, b2, m2, err := Decode(again)
		if err != nil || from2 != from || fmt.Sprintf("%+v %+v", b2, m2) != fmt.Sprintf("%+v %+v", b, m) && !reflect.DeepEqual(b2, b) {
			t.Fatalf("%x\nbecame %x:\n%q %+v %+v\n%q %+v %+v, %v", msg, again, from, b, m, from2, b2, m2, err)
		}
	})
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	msg := golden[1].encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := Decode(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendBroadcast(b *testing.B) {
	body := AppendBody(nil, &golden[1].broadcast.Body)
	stamp := golden[1].broadcast.Stamp
	var msg []byte
	b.ReportAllocs()
	for b.Loop() {
		msg = AppendBroadcast(msg[:0], sender, stamp, body)
	}
}
