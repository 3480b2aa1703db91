package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// golden pins the wire format: nodes of different versions share a cluster. Bytes that stand here never change; others may follow.
var golden = []struct {
	name string
	hex  string
	Message
}{
	{"broadcast to a namespace",
		"0101 0a6e6f64652d3030303031 01 01 01" + "01 00 012f 00 00 026869",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 1, Prev: []uint64{0}},
			Body:  Body{Route: ByNamespace, Namespace: "/", Payload: []byte("hi")},
		}}},
	{"broadcast to rooms",
		"0101 0a6e6f64652d3030303031 ac02 02 01 ac02" + "02 01 032f6e73 02 0161 03 c3bc00 01 0178 0401020304",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 300, Prev: []uint64{299, 0}},
			Body: Body{Route: ByRoom, Flags: Volatile, Namespace: "/ns", Rooms: []string{"a", "ü\x00"}, Except: []string{"x"},
				Payload: []byte{1, 2, 3, 4}},
		}}},
	{"broadcast to a room with the context of a trace",
		"0101 0a6e6f64652d3030303031 01 01 01" + "02 05 012f 01 0161 00 026869" + "03 742d31",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 1, Prev: []uint64{0}},
			Body: Body{Route: ByRoom, Flags: Volatile, Namespace: "/", Rooms: []string{"a"}, Payload: []byte("hi"),
				Trace: []byte("t-1")},
		}}},
	{"request with the context of a trace",
		"0101 0a6e6f64652d3030303031 06 02 01 02" + "03 06 012f 01 0161 00 026869" + "0c 02 00 c0843d 00" + "03 742d31",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 6, Prev: []uint64{5, 4}},
			Body: Body{Route: ByCluster, Flags: InRooms, Namespace: "/", Rooms: []string{"a"}, Payload: []byte("hi"),
				Request: Request{Kind: KindEmitCounted, ID: 2, Left: time.Second, Arg: []byte{}}, Trace: []byte("t-1")},
		}}},
	{"broadcast to many rooms in its place among them",
		"0101 0a6e6f64652d3030303031 07 06 01 02 07 03 07 07" + "01 02 00 05 0161 0162 0163 0164 00 01 0178 026869",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 7, Prev: []uint64{6, 5, 0, 4, 0, 0}},
			Body: Body{Route: ByNamespace, Flags: InRooms, Rooms: []string{"a", "b", "c", "d", ""}, Except: []string{"x"},
				Payload: []byte("hi")},
		}}},
	{"broadcast to many rooms",
		"0101 0a6e6f64652d3030303031 02 01 01" + "01 00 00 05 0161 0162 0163 0164 00 00 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 2, Prev: []uint64{1}},
			Body:  Body{Route: ByNamespace, Rooms: []string{"a", "b", "c", "d", ""}, Payload: []byte{}},
		}}},
	{"request to the cluster",
		"0101 0a6e6f64652d3030303031 05 02 01 05" + "03 00 032f6e73 05 0161 0162 0163 0164 0165 01 0178 00" + "05 8001 00 c0843d 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 5, Prev: []uint64{4, 0}},
			Body: Body{Route: ByCluster, Namespace: "/ns", Rooms: []string{"a", "b", "c", "d", "e"}, Except: []string{"x"}, Payload: []byte{},
				Request: Request{Kind: KindAllRooms, ID: 128, Left: time.Second, Arg: []byte{}}},
		}}},
	{"request in its place among rooms",
		"0101 0a6e6f64652d3030303031 05 03 01 05 02" + "03 03 012f 02 0161 0162 00 026869" + "09 01 00 00 020304",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 5, Prev: []uint64{4, 0, 3}},
			Body: Body{Route: ByCluster, Flags: InRooms | Volatile, Namespace: "/", Rooms: []string{"a", "b"}, Payload: []byte("hi"),
				Request: Request{Kind: KindEmitWithAck, ID: 1, Arg: []byte{3, 4}}},
		}}},
	{"broadcast to be counted",
		"0101 0a6e6f64652d3030303031 06 02 01 02" + "03 02 012f 01 0161 00 026869" + "0c 02 00 c0843d 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 6, Prev: []uint64{5, 4}},
			Body: Body{Route: ByCluster, Flags: InRooms, Namespace: "/", Rooms: []string{"a"}, Payload: []byte("hi"),
				Request: Request{Kind: KindEmitCounted, ID: 2, Left: time.Second, Arg: []byte{}}},
		}}},
	{"request to a node",
		"0101 0a6e6f64652d3030303031 05 01 01" + "04 00 00 00 00 026869" + "0b 07 026d65 e807 03707374",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 5, Prev: []uint64{4}},
			Body:  Body{Route: ByNode, Payload: []byte("hi"), Request: Request{Kind: KindCall, ID: 7, To: "me", Left: time.Millisecond, Arg: []byte("pst")}},
		}}},
	{"note about a request",
		"0101 0a6e6f64652d3030303031 06 01 01" + "04 00 00 00 00 026869" + "0d 8001 026d65 00 00",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 6, Prev: []uint64{5}},
			Body: Body{Route: ByNode, Payload: []byte("hi"),
				Request: Request{Kind: KindNote, ID: 128, To: "me", Arg: []byte{}}},
		}}},
	{"request to a node that waits for ever",
		"0101 0a6e6f64652d3030303031 05 01 01" + "04 00 00 00 00 026869" + "0b 07 026d65 f7a78dafba93b110 03707374",
		Message{From: sender, Broadcast: &Broadcast{From: sender,
			Stamp: mesh.Stamp{Sequence: 5, Prev: []uint64{4}},
			Body: Body{Route: ByNode, Payload: []byte("hi"),
				Request: Request{Kind: KindCall, ID: 7, To: "me", Left: math.MaxInt64 / time.Microsecond * time.Microsecond, Arg: []byte("pst")}},
		}}},
	{"repair to a node",
		"010a 0a6e6f64652d3030303031 026d65 ac02 02 01 ac02" + "02 00 032f6e73 02 0161 0162 00 026869",
		Message{From: sender, To: "me", Broadcast: &Broadcast{From: sender, Repaired: true,
			Stamp: mesh.Stamp{Sequence: 300, Prev: []uint64{299, 0}},
			Body:  Body{Route: ByRoom, Namespace: "/ns", Rooms: []string{"a", "b"}, Payload: []byte("hi")},
		}}},
	{"repair of an answer",
		"010a 0a6e6f64652d3030303031 026d65 05 01 05" + "04 00 00 00 00 00" + "01 07 026d65 00 0400000000",
		Message{From: sender, To: "me", Broadcast: &Broadcast{From: sender, Repaired: true,
			Stamp: mesh.Stamp{Sequence: 5, Prev: []uint64{0}},
			Body:  Body{Route: ByNode, Payload: []byte{}, Request: Request{Kind: KindAnswer, ID: 7, To: "me", Arg: []byte{0, 0, 0, 0}}},
		}}},
	{"fence", "0102 0a6e6f64652d3030303031 00 00 e807 07 8001 00 00",
		Message{From: sender, Mesh: &mesh.Fence{About: mesh.About{Age: time.Millisecond}, Number: 7, Sent: 128}}},
	{"hello of a client to a node", "0102 0a6e6f64652d3030303031 026d65 01 00 01 00 01 00",
		Message{From: sender, To: "me", Mesh: &mesh.Fence{About: mesh.About{Client: true}, Number: 1, Hello: true}}},
	{"ack of a node that knows nobody yet", "0103 0a6e6f64652d3030303031 026d65 02 c0843d 07 8001 00 000000",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second, Fresh: true}, Fence: 7, Sent: 128}}},
	{"ack", "0103 0a6e6f64652d3030303031 026d65 00 c0843d 07 8001 02 0161 0162 000000",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, Fence: 7, Sent: 128, Members: []string{"a", "b"}}}},
	{"fence of a node that is far away", "0102 0a6e6f64652d3030303031 00 00 e807 07 8001 00 e0a712",
		Message{From: sender, Mesh: &mesh.Fence{About: mesh.About{Age: time.Millisecond}, Number: 7, Sent: 128, RoundTrip: 300 * time.Millisecond}}},
	{"ack to a fence with an age", "0103 0a6e6f64652d3030303031 026d65 00 c0843d 07 8001 01 0161 e8070000",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, Fence: 7, Sent: 128, Members: []string{"a"},
			Echo: time.Millisecond}}},
	{"ack of a node that is far away", "0103 0a6e6f64652d3030303031 026d65 00 c0843d 07 8001 00 00 e0a712 e0a712",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, Fence: 7, Sent: 128,
			RoundTrip: 300 * time.Millisecond, Patience: 300 * time.Millisecond}}},
	{"hello of a node with a name", "0102 0a6e6f64652d3030303031 00 08 00 01 00 01 00" + "05 7765622d31",
		Message{From: sender, Mesh: &mesh.Fence{Number: 1, Hello: true, Name: "web-1"}}},
	{"ack of a node with a name, which has heard of another", "0103 0a6e6f64652d3030303031 026d65 0c c0843d 07 8001 00" +
		"01 0163 04 00 8001 ac02 00" + "00 00 00" + "05 776562c3bc",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, Fence: 7, Sent: 128, Name: "webü",
			Gossip: []mesh.Gossip{{Node: "c", Absence: mesh.Left, Ago: 128 * time.Microsecond, Upto: 300}}}}},
	{"nobody receives what is for a node", "010c 0a6e6f64652d3030303031 026d65",
		Message{From: sender, To: "me", Mesh: &mesh.Unreachable{}}},
	{"beat", "0104 0a6e6f64652d3030303031 00 00 c0843d 05 09 02 01 03 02 0102030405060708 00 fffefdfcfbfaf9f8 03",
		Message{From: sender, Mesh: &mesh.Heartbeat{About: mesh.About{Age: time.Second}, After: 5, Upto: 9, Horizon: 2, Part: 1, Parts: 3,
			Tails: []mesh.Tail{{Hash: 0x0102030405060708, Sequence: 9}, {Hash: 0xfffefdfcfbfaf9f8, Sequence: 6}}}}},
	{"list of a client to a node", "0104 0a6e6f64652d3030303031 026d65 01 01 00 ac02 ac02 00 01 00",
		Message{From: sender, To: "me", Mesh: &mesh.Heartbeat{About: mesh.About{Client: true, Age: time.Microsecond}, Upto: 300, Horizon: 300, Parts: 1,
			Asked: true, Tails: []mesh.Tail{}}}},
	{"ack with what was heard of others", "0103 0a6e6f64652d3030303031 026d65 04 c0843d 07 8001 01 0161" +
		"02 0162 01 c0843d e807 09 01 0102030405060708 0a 0163 04 00 8001 ac02 00" + "00 00 00",
		Message{From: sender, To: "me", Mesh: &mesh.Ack{About: mesh.About{Age: time.Second}, Fence: 7, Sent: 128, Members: []string{"a"}, Gossip: []mesh.Gossip{
			{Node: "b", Client: true, Age: time.Second, Ago: time.Millisecond, Upto: 9, Tails: []mesh.Tail{{Hash: 0x0102030405060708, Sequence: 10}}},
			{Node: "c", Absence: mesh.Left, Ago: 128 * time.Microsecond, Upto: 300},
		}}}},
	{"beat with what was heard of another", "0104 0a6e6f64652d3030303031 00 05 c0843d 05 05 00 00 01 00" + "01 0162 02 c0843d e807 09 00",
		Message{From: sender, Mesh: &mesh.Heartbeat{About: mesh.About{Client: true, Age: time.Second}, After: 5, Upto: 5, Parts: 1, Tails: []mesh.Tail{},
			Gossip: []mesh.Gossip{{Node: "b", Absence: mesh.GivenUp, Age: time.Second, Ago: time.Millisecond, Upto: 9}}}}},
	{"resync", "0105 0a6e6f64652d3030303031 026d65 00 c0843d 8001",
		Message{From: sender, To: "me", Mesh: &mesh.Resync{About: mesh.About{Age: time.Second}, After: 128}}},
	{"bye", "0106 0a6e6f64652d3030303031 00 00 c0843d ac02",
		Message{From: sender, Mesh: &mesh.Bye{About: mesh.About{Age: time.Second}, Last: 300}}},
	{"nack", "0107 0a6e6f64652d3030303031 026d65 02 0102030405060708 09 04 fffefdfcfbfaf9f8 ac02 ac02",
		Message{From: sender, To: "me", Mesh: &mesh.Nack{Ranges: []mesh.Range{
			{Hash: 0x0102030405060708, After: 5, Upto: 9}, {Hash: 0xfffefdfcfbfaf9f8, After: 0, Upto: 300}}}}},
	{"gone", "0108 0a6e6f64652d3030303031 026d65 05 02" + "07 01 0102030405060708 02" +
		"ac02 02 0102030405060708 01 fffefdfcfbfaf9f8 ac02",
		Message{From: sender, To: "me", Mesh: &mesh.Gone{Horizon: 5, Stubs: []mesh.Stub{
			{Sequence: 7, Links: []mesh.Link{{Hash: 0x0102030405060708, Prev: 5}}},
			{Sequence: 300, Links: []mesh.Link{{Hash: 0x0102030405060708, Prev: 299}, {Hash: 0xfffefdfcfbfaf9f8, Prev: 0}}}}}}},
	{"nothing is gone", "0108 0a6e6f64652d3030303031 026d65 00 00",
		Message{From: sender, To: "me", Mesh: &mesh.Gone{Stubs: []mesh.Stub{}}}},
	{"settled", "0109 0a6e6f64652d3030303031 026d65",
		Message{From: sender, To: "me", Mesh: &mesh.Confirm{}}},
	{"chunk", "010b 0a6e6f64652d3030303031 ac02 01 8001 6869",
		Message{From: sender, Chunk: &Chunk{ID: 300, Part: 1, Parts: 128, Bytes: []byte("hi")}}},
}

func TestGolden(t *testing.T) {
	kinds := make(map[byte]bool)
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(g.hex, " ", ""))
			kit.OK(t, err)
			kinds[want[1]] = true
			if got := encode(&g.Message); !bytes.Equal(got, want) {
				t.Errorf("encoded\n got %x\nwant %x", got, want)
			}
			if m, err := Decode(want); err != nil || !reflect.DeepEqual(m, &g.Message) {
				t.Errorf("decoded %+v, %v", m, err)
			}
		})
	}
	for kind := byte(kindBroadcast); kind <= kindNobody; kind++ {
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

// later is how many bytes of a message its kind has not always had and that may be missing: all but a name is there, if that is.
func later(m mesh.Message) int {
	age := func(d time.Duration) int { return len(appendAge(nil, d)) }
	switch m := m.(type) {
	case *mesh.Fence:
		if m.Name != "" {
			return 0
		}
		return age(m.RoundTrip)
	case *mesh.Ack:
		if m.Name != "" {
			return 0
		}
		return age(m.Echo) + age(m.RoundTrip) + age(m.Patience)
	}
	return 0
}

// What a kind has not always had may be missing.
func TestFormerMessages(t *testing.T) {
	for _, g := range golden {
		msg := encode(&g.Message)
		m, err := Decode(msg[:len(msg)-later(g.Mesh)])
		want := g.Message
		switch msg := want.Mesh.(type) {
		case *mesh.Fence:
			former := *msg
			former.RoundTrip = 0
			want.Mesh = &former
		case *mesh.Ack:
			former := *msg
			former.Echo, former.RoundTrip, former.Patience = 0, 0, 0
			want.Mesh = &former
		}
		if err != nil || !reflect.DeepEqual(m, &want) {
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
		for n := range msg[:len(msg)-later(g.Mesh)] {
			if m, err := Decode(msg[:n:n]); !errors.Is(err, ErrMalformed) || m != nil {
				t.Errorf("%s, %d of %d bytes: decoded %+v, %v; want ErrMalformed alone", g.name, n, len(msg), m, err)
			}
		}
	}
}
