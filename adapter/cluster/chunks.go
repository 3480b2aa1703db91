package cluster

import (
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// The bounds of messages that come in chunks.
const (
	maxMessage   = ask.MaxMessage   // bytes of a broadcast, with the names of its rooms, and maxStamp for each name but the first
	maxStamp     = 10               // bytes that the place on the topic of a room takes at the most
	maxAssembly  = 64 << 20         // bytes of all that are not whole yet
	maxAssembled = 1024             // nodes that a part of a message is kept of
	assemblyAge  = 10 * time.Second // without a next chunk: the node has died, or the chunk was lost
)

// assembly puts messages together that came in chunks. A node sends the chunks of a message one
// behind the other, so there is one that is not whole yet of each node at the most: a chunk that
// does not continue it begins anew, or is dropped. What is lost so is a hole in what the node sent,
// and is repaired as one. It is used by the receiving goroutine alone.
type assembly struct {
	partial map[string]*partial // by node
	bytes   int                 // of all
	swept   time.Duration       // when expire has looked last
}

type partial struct {
	at    time.Duration // when the last chunk came
	id    uint64
	parts int
	next  int
	bytes []byte
}

// add takes a chunk of a node, at the time now. It returns the message if it is whole then.
func (a *assembly) add(now time.Duration, from string, c *envelope.Chunk) []byte {
	p := a.partial[from]
	if p != nil && p.id == c.ID && p.parts == c.Parts && c.Part < p.next {
		return nil // it has come twice
	}
	if p == nil || p.id != c.ID || p.parts != c.Parts || p.next != c.Part {
		a.drop(from)
		if c.Part != 0 || len(a.partial) >= maxAssembled {
			return nil
		}
		p = &partial{id: c.ID, parts: c.Parts}
		if a.partial == nil {
			a.partial = make(map[string]*partial)
		}
		a.partial[from] = p
	}
	if a.bytes+len(c.Bytes) > maxAssembly {
		a.drop(from)
		return nil
	}
	p.at = now
	p.next++
	p.bytes = append(p.bytes, c.Bytes...)
	a.bytes += len(c.Bytes)
	if p.next < p.parts {
		return nil
	}
	a.drop(from)
	return p.bytes
}

// drop forgets what has come of a message of a node.
func (a *assembly) drop(from string) {
	if p := a.partial[from]; p != nil {
		a.bytes -= len(p.bytes)
		delete(a.partial, from)
	}
}

// expire forgets what does not go on: what a node has begun to say before it died is not to take
// the others' room for ever.
func (a *assembly) expire(now time.Duration) {
	if len(a.partial) == 0 || now-a.swept < assemblyAge/10 {
		return
	}
	a.swept = now
	for from, p := range a.partial {
		if now-p.at >= assemblyAge {
			a.drop(from)
		}
	}
}
