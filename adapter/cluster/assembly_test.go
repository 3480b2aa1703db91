package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

func TestAssembly(t *testing.T) {
	chunk := func(id uint64, part, parts int) *envelope.Chunk {
		return &envelope.Chunk{ID: id, Part: part, Parts: parts, Bytes: fmt.Appendf(nil, "%d/%d ", id, part)}
	}
	type step struct {
		from  string
		chunk *envelope.Chunk
		whole string
	}
	for _, c := range []struct {
		name  string
		steps []step
		left  int // messages that are not whole in the end
	}{
		{"in order", []step{{"a", chunk(1, 0, 3), ""}, {"a", chunk(1, 1, 3), ""}, {"a", chunk(1, 2, 3), "1/0 1/1 1/2 "}}, 0},
		{"the only one", []step{{"a", chunk(1, 0, 1), "1/0 "}}, 0},
		{"of two nodes", []step{{"a", chunk(1, 0, 2), ""}, {"b", chunk(1, 0, 2), ""}, {"a", chunk(1, 1, 2), "1/0 1/1 "}, {"b", chunk(1, 1, 2), "1/0 1/1 "}}, 0},
		{"without the first", []step{{"a", chunk(1, 1, 2), ""}}, 0},
		{"without one", []step{{"a", chunk(1, 0, 3), ""}, {"a", chunk(1, 2, 3), ""}, {"a", chunk(1, 1, 3), ""}}, 0},
		{"doubled", []step{{"a", chunk(1, 0, 2), ""}, {"a", chunk(1, 0, 2), ""}, {"a", chunk(1, 1, 2), "1/0 1/1 "}, {"a", chunk(1, 1, 2), ""}}, 0},
		{"doubled in the middle", []step{{"a", chunk(1, 0, 3), ""}, {"a", chunk(1, 1, 3), ""}, {"a", chunk(1, 1, 3), ""}, {"a", chunk(1, 0, 3), ""}, {"a", chunk(1, 2, 3), "1/0 1/1 1/2 "}}, 0},
		{"the next message before the end", []step{{"a", chunk(1, 0, 2), ""}, {"a", chunk(2, 0, 2), ""}, {"a", chunk(2, 1, 2), "2/0 2/1 "}, {"a", chunk(1, 1, 2), ""}}, 0},
		{"a stale one between", []step{{"a", chunk(2, 0, 2), ""}, {"a", chunk(1, 1, 2), ""}, {"a", chunk(2, 1, 2), ""}}, 0},
		{"a stale beginning between", []step{{"a", chunk(2, 0, 2), ""}, {"a", chunk(1, 0, 2), ""}, {"a", chunk(2, 1, 2), ""}}, 0},
		{"of other lengths", []step{{"a", chunk(1, 0, 3), ""}, {"a", chunk(1, 1, 2), ""}, {"a", chunk(1, 2, 3), ""}}, 0},
		{"nothing more", []step{{"a", chunk(1, 0, 3), ""}, {"b", chunk(1, 0, 3), ""}, {"a", chunk(1, 1, 3), ""}}, 2},
	} {
		var a assembly
		for i, s := range c.steps {
			if got := a.add(0, s.from, s.chunk); string(got) != s.whole {
				t.Errorf("%s, step %d: %q, want %q", c.name, i, got, s.whole)
			}
		}
		bytes := 0
		for _, p := range a.partial {
			bytes += len(p.bytes)
		}
		kit.Equal(t, len(a.partial), c.left, c.name, "messages left")
		kit.Equal(t, a.bytes, bytes, c.name, "bytes counted")
	}
}

// What is kept of messages that are not whole is bounded, in nodes and in bytes, and is free again when they end.
func TestAssemblyBounds(t *testing.T) {
	var a assembly
	for i := range maxAssembled + 10 {
		a.add(0, fmt.Sprint(i), &envelope.Chunk{ID: 1, Parts: 2, Bytes: []byte("x")})
	}
	kit.Equal(t, len(a.partial), maxAssembled, "messages in parts")
	kit.Equal(t, a.bytes, maxAssembled, "bytes kept")
	if got := a.add(0, "5", &envelope.Chunk{ID: 1, Part: 1, Parts: 2, Bytes: []byte("y")}); string(got) != "xy" {
		t.Errorf("the end of one: %q", got)
	}
	if got := a.add(0, "new", &envelope.Chunk{ID: 1, Parts: 1, Bytes: []byte("z")}); string(got) != "z" {
		t.Errorf("another one, where there is room: %q", got)
	}

	a = assembly{}
	const piece = 1 << 20
	part := make([]byte, piece)
	for i := range maxAssembly / piece {
		a.add(0, "large", &envelope.Chunk{ID: 1, Part: i, Parts: 100, Bytes: part})
	}
	kit.Equal(t, a.bytes, maxAssembly, "bytes kept")
	if got := a.add(0, "small", &envelope.Chunk{ID: 1, Parts: 2, Bytes: []byte("x")}); got != nil || a.partial["small"] != nil || a.partial["large"] == nil {
		t.Error("another message was begun, or has driven out the one that was there")
	}
	a.add(0, "large", &envelope.Chunk{ID: 1, Part: 64, Parts: 100, Bytes: []byte("x")})
	kit.Equal(t, a.bytes, 0, "bytes kept of a message beyond the bound")
	kit.Equal(t, len(a.partial), 0, "messages kept, one of them beyond the bound")
}

// A node that dies in the middle of a message does not take the room of others for ever.
func TestAssemblyOfTheDead(t *testing.T) {
	var a assembly
	a.add(0, "dead", &envelope.Chunk{ID: 1, Parts: 3, Bytes: make([]byte, maxAssembly-10)})
	slow := func(now time.Duration, part int) []byte {
		a.expire(now)
		return a.add(now, "slow", &envelope.Chunk{ID: 1, Part: part, Parts: 3, Bytes: []byte("x")})
	}
	slow(0, 0)
	slow(assemblyAge-1, 1)
	kit.Equal(t, len(a.partial), 2, "messages kept")
	if got := slow(2*assemblyAge-2, 2); string(got) != "xxx" || a.partial["dead"] != nil || a.bytes != 0 {
		t.Errorf("the slow node's message: %q, and %d bytes are left; want it whole, and nothing of the dead one's", got, a.bytes)
	}
}

func TestHubForgetsTheDeadsChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		stranger(t, wires[0].Memory)(envelope.Chunks(nodeA, 1, make([]byte, 9000), 4<<10)[0])
		time.Sleep(assemblyAge + 2*time.Second) // Beats come
		synctest.Wait()
		if a := &hubs[0].assembly; len(a.partial) != 0 || a.bytes != 0 {
			t.Errorf("%d bytes of %d messages are kept for a node that is silent", a.bytes, len(a.partial))
		}
	})
}

// Chunks of what calls itself a node and is none, or brings another node's messages, are not understood, and take no room.
func TestForgedChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hubs := clusterOn(t, &wire{Memory: memory}, &wire{Memory: memory})
		speak := stranger(t, memory)
		for i := range maxAssembled + 10 {
			msg := make([]byte, 5000)
			speak(envelope.Chunks(fmt.Sprint("no node ", i), 1, msg, 4<<10)[0])
		}
		speak(envelope.Chunks(hubs[1].Node(), 1, make([]byte, 5000), 4<<10)[0]) // its own, which is no error
		synctest.Wait()
		if a, s := &hubs[1].assembly, hubs[1].Stats(); len(a.partial) != 0 || s.Malformed != maxAssembled+10 {
			t.Errorf("parts of %d messages are kept, %d were malformed", len(a.partial), s.Malformed)
		}
		inner := envelope.AppendMessage(nil, nodeA, "", &mesh.Bye{})
		inner = append(inner, make([]byte, 5000)...)
		for _, from := range []string{nodeB, nodeA} {
			before := hubs[1].Stats().Malformed
			for _, chunk := range envelope.Chunks(from, 1, inner, 4<<10) {
				speak(chunk)
			}
			synctest.Wait()
			kit.Equal(t, hubs[1].Stats().Malformed > before, from == nodeB,
				"a message of", nodeA, "in chunks of", from, "refused")
		}
		before := hubs[1].Stats().Malformed
		for _, chunk := range envelope.Chunks(nodeA, 2, append(envelope.Chunks(nodeA, 1, make([]byte, 5000), 4<<10)[0], make([]byte, 2000)...), 4<<10) {
			speak(chunk)
		}
		synctest.Wait()
		kit.Equal(t, hubs[1].Stats().Malformed, before+1, "malformed, of a chunk in chunks")
		_, m := add(t, hubs[0], "red")
		large := text(1, 3<<20)
		say(t, hubs[1], large, Broadcast{Rooms: []string{"red"}})
		settle()
		same(t, "the member", m, large)
	})
}
