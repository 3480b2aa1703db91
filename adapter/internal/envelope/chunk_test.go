package envelope

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// A message that is longer than the limit comes as chunks that are not, and that are the message when they are put together.
func TestChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{200, 4 << 10, 1 << 20} {
		room := size - chunkHeader - len(sender)
		lengths := []int{0, 1, room - 1, room, room + 1, size - 1, size, size + 1, 2*room - 1, 2 * room, 2*room + 1, 2 * size, 10*room - 1, 10 * room, 10*room + 1}
		for _, n := range lengths {
			msg := make([]byte, n)
			for i := range msg {
				msg[i] = byte(rng.Uint32())
			}
			for _, id := range []uint64{1, 1 << 63} {
				chunks := Chunks(sender, id, msg, size)
				if n <= size {
					if len(chunks) != 1 || !bytes.Equal(chunks[0], msg) {
						t.Errorf("%d bytes up to %d: %d chunks, want the message as it is", n, size, len(chunks))
					}
					continue
				}
				kit.Equal(t, len(chunks), (n+room-1)/room, "chunks of", n, "bytes, up to", size)
				var whole []byte
				for i, chunk := range chunks {
					m, err := Decode(chunk)
					if err != nil || m.From != sender || m.To != "" || m.Broadcast != nil || m.Mesh != nil || m.Chunk == nil {
						t.Fatalf("%d bytes up to %d, chunk %d: %s, %v", n, size, i, show(m), err)
					}
					if c := m.Chunk; len(chunk) > size || c.ID != id || c.Part != i || c.Parts != len(chunks) {
						t.Errorf("%d bytes up to %d: chunk %d of %d has %d bytes: id %d, %d of %d", n, size, i, len(chunks), len(chunk), c.ID, c.Part, c.Parts)
					}
					whole = append(whole, m.Chunk.Bytes...)
				}
				if !bytes.Equal(whole, msg) {
					t.Errorf("%d bytes up to %d: the chunks are another message", n, size)
				}
			}
		}
	}
}

// The header takes no more than is left for it, whatever the numbers in it.
func TestChunkHeader(t *testing.T) {
	for _, from := range []string{"n", sender, strings.Repeat("n", 127)} {
		longest := encode(&Message{From: from, Chunk: &Chunk{ID: 1<<64 - 1, Part: 1<<31 - 2, Parts: 1<<31 - 1, Bytes: []byte("x")}})
		if n := len(longest) - len(from) - 1; n > chunkHeader {
			t.Errorf("the longest header with the sender %.20q takes %d bytes besides it, and %d are left", from, n, chunkHeader)
		}
		if m, err := Decode(longest); err != nil || m.Chunk.Parts != 1<<31-1 {
			t.Errorf("the longest header: %s, %v", show(m), err)
		}
	}
}
