package envelope

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// TestTrace: the context of a trace comes back, within its bound. A broadcast whose context is
// too long, or empty, has none, and is delivered.
func TestTrace(t *testing.T) {
	broadcast := func(trace []byte) *Message {
		return &Message{From: sender, Broadcast: &Broadcast{From: sender, Stamp: mesh.Stamp{Sequence: 1, Prev: []uint64{0}},
			Body: Body{Route: ByNamespace, Flags: Volatile, Namespace: "/", Payload: []byte("hi"), Trace: trace}}}
	}
	plain := encode(broadcast(nil))
	for size, want := range map[int]int{0: 0, 1: 1, 127: 127, 128: 128, MaxTrace: MaxTrace, MaxTrace + 1: 0} {
		trace := []byte(strings.Repeat("x", size))
		b := encode(broadcast(trace))
		m, err := Decode(b)
		kit.OK(t, err, size)
		if got := m.Broadcast.Trace; !bytes.Equal(got, trace[:want]) || m.Broadcast.Flags != Volatile {
			t.Errorf("of %d bytes came %d, flags %d", size, len(got), m.Broadcast.Flags)
		}
		if want == 0 && !bytes.Equal(b, plain) {
			t.Errorf("of %d bytes: %x is not what goes without one", size, b)
		}
	}
	at := bytes.LastIndex(plain, []byte("\x01/")) - 1 // the flags are in front of the namespace
	if plain[at] != Volatile {
		t.Fatalf("no flags in %x", plain)
	}
	long := append([]byte{0x81, 0x08}, make([]byte, MaxTrace+1)...)
	for _, tail := range [][]byte{{0}, long, append(long, "later"...)} {
		b := append(bytes.Clone(plain), tail...)
		b[at] |= traced
		m, err := Decode(b)
		kit.OK(t, err, fmt.Sprintf("%x", tail))
		if m.Broadcast.Trace != nil || string(m.Broadcast.Payload) != "hi" || m.Broadcast.Flags != Volatile {
			t.Errorf("%.20x: got %s", tail, show(m))
		}
	}
}
