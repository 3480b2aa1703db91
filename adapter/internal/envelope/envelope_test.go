package envelope

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
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
		m.Mesh = &mesh.Fence{About: about(rng), Number: number(rng), Sent: number(rng), Hello: rng.IntN(2) == 0}
	case 1:
		m.Mesh = &mesh.Ack{About: about(rng), Fence: number(rng), Sent: number(rng), Members: texts(rng, 0), Gossip: heard(rng)}
	case 2:
		b := &mesh.Heartbeat{About: about(rng), Upto: number(rng), Part: rng.IntN(100), Tails: []mesh.Tail{}, Gossip: heard(rng), Asked: m.To != ""}
		b.Parts = b.Part + 1 + rng.IntN(100)
		b.After, b.Horizon = upTo(rng, b.Upto), upTo(rng, b.Upto)
		for range rng.IntN(5) {
			b.Tails = append(b.Tails, mesh.Tail{Hash: rng.Uint64(), Sequence: upTo(rng, b.Upto)})
		}
		m.Mesh = b
	case 3:
		m.Mesh = &mesh.Resync{About: about(rng), After: number(rng)}
	case 4:
		m.Mesh = &mesh.Bye{About: about(rng), Last: number(rng)}
	case 5:
		m.Mesh = &mesh.Confirm{}
	case 6:
		n := &mesh.Nack{Ranges: []mesh.Range{}}
		for range rng.IntN(5) {
			upto := number(rng)
			n.Ranges = append(n.Ranges, mesh.Range{Hash: rng.Uint64(), After: upTo(rng, upto), Upto: upto})
		}
		m.Mesh = n
	case 7:
		g := &mesh.Gone{Horizon: number(rng), Stubs: []mesh.Stub{}}
		last := uint64(0)
		for range rng.IntN(5) {
			n := mesh.Stub{Sequence: last + 1 + number(rng)>>3, Links: []mesh.Link{}}
			for range rng.IntN(4) {
				n.Links = append(n.Links, mesh.Link{Hash: rng.Uint64(), Prev: upTo(rng, n.Sequence)})
			}
			g.Stubs, last = append(g.Stubs, n), n.Sequence
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

func heard(rng *rand.Rand) []mesh.Gossip {
	var list []mesh.Gossip
	for range rng.IntN(3) {
		h := mesh.Gossip{Node: text(rng), Client: rng.IntN(2) == 0, Absence: mesh.Absence(rng.IntN(3)), Age: age(rng), Ago: age(rng), Upto: number(rng)}
		for range rng.IntN(3) {
			h.Tails = append(h.Tails, mesh.Tail{Hash: rng.Uint64(), Sequence: number(rng)})
		}
		list = append(list, h)
	}
	return list
}

// upTo draws a number that is not greater than n, often n itself or 0.
func upTo(rng *rand.Rand, n uint64) uint64 { return n - min(n, number(rng)) }

func randomBroadcast(rng *rand.Rand) *Broadcast {
	b := &Broadcast{
		From:  sender,
		Stamp: mesh.Stamp{Sequence: number(rng) | 1},
		Body: Body{Route: ByNamespace, Flags: number(rng) &^ traced, Namespace: text(rng), Rooms: texts(rng, 0), Except: texts(rng, 0),
			Payload: []byte(text(rng))},
	}
	links := 1
	if b.Flags&InRooms != 0 {
		b.Rooms = texts(rng, 1)
		links = 1 + len(b.Rooms)
	}
	if trace := text(rng); trace != "" {
		b.Trace = []byte(trace)
	}
	request := Request{Kind: Kind(rng.Uint32()), ID: number(rng), Left: age(rng), Arg: []byte(text(rng))}
	switch rng.IntN(5) {
	case 0, 1:
		b.Route, b.Rooms = ByRoom, texts(rng, 1)
		links = len(b.Rooms)
	case 2:
		b.Route, b.Request = ByCluster, request
		if b.Flags&InRooms == 0 {
			links = 2
		}
	case 3:
		b.Route, b.Request = ByNode, request
		links = 1
		b.To = "n" + text(rng)
	}
	for range links {
		b.Stamp.Prev = append(b.Stamp.Prev, number(rng)%b.Stamp.Sequence)
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
		kit.OK(t, err)
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
	f.Add([]byte("\x01\x02\x01n\x00\x08\x00\x01\x00\x01\x00\x02\xff\n"))
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
