package envelope

import "encoding/binary"

// A Chunk is a part of a message that is too large for the link. All parts of a message are sent one behind the other.
type Chunk struct {
	ID    uint64 // the sender's number for the message
	Part  int    // from 0
	Parts int
	Bytes []byte
}

// chunkHeader is more than what a chunk takes besides the sender's id and its bytes.
const chunkHeader = 2 + 1 + 10 + 5 + 5

// Chunks returns msg, a message of the node sender, as messages of up to size bytes, or as it is if it is not longer than that. size must
// be at least a hundred bytes more than the id of the sender takes.
func Chunks(sender string, id uint64, msg []byte, size int) [][]byte {
	if len(msg) <= size {
		return [][]byte{msg}
	}
	room := size - chunkHeader - len(sender)
	parts := (len(msg) + room - 1) / room
	chunks := make([][]byte, parts)
	for i := range chunks {
		b := appendHeader(make([]byte, 0, min(size, len(msg)+chunkHeader+len(sender))), kindChunk, sender)
		for _, n := range [...]uint64{id, uint64(i), uint64(parts)} {
			b = binary.AppendUvarint(b, n)
		}
		n := min(room, len(msg))
		chunks[i] = append(b, msg[:n]...)
		msg = msg[n:]
	}
	return chunks
}

func (r *reader) chunk() *Chunk {
	c := &Chunk{ID: r.number(), Part: r.small(), Parts: r.small()}
	if c.Part >= c.Parts || len(r.rest) == 0 {
		r.fail()
	}
	c.Bytes = r.rest
	return c
}
