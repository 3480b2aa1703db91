package wsserver

import (
	"sync"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// A sentEvent is what the log keeps of an event: its [payload.Payload], without an offset. It has no
// pointers but the one, so that the log costs the garbage collector little.
type sentEvent []byte

// newSentEvent is that of a packet without an ack id.
func newSentEvent(e packet.Encoded, plain bool) sentEvent {
	p := payload.Payload{Encoded: e, Plain: plain}
	return p.Append(make([]byte, 0, p.Size()))
}

// size is about what it takes while it waits for a client.
func (e sentEvent) size() int { return len(e) + 128 }

// parsed is what newSentEvent was given. It cannot fail: what is in the log was written by it, or has
// been read before it was delivered.
func (e sentEvent) parsed() payload.Payload {
	p, _ := payload.Parse(e, payload.Limits)
	return p
}

// moved is the event for another node, whose origin knows it by key.
func (e sentEvent) moved(origin string, key uint64) movedEvent {
	p := e.parsed()
	return movedEvent{origin, key, p.Text, p.Attachments, p.Plain}
}

// again is the event for a client that has missed it, with its number in this node's log.
func (e sentEvent) again(ns *Namespace, number uint64) (*delivery, error) {
	p := e.parsed()
	d := &delivery{ns: ns, encoded: p.Encoded, plain: p.Plain}
	return d, d.Place(number)
}

// A splice is memory in which a packet gets its offset, on the way into a frame, which copies it.
type splice struct{ offset, message []byte }

var splices = sync.Pool{New: func() any { return new(splice) }}

// maxSplice is the longest message whose memory is kept, in bytes.
const maxSplice = 16 << 10

// placed is the frame of a packet with its place in this node's log behind its arguments. A volatile
// one gets it only where the client would take its last argument for that.
func (rec *recovery) placed(e packet.Encoded, number uint64, volatile, plain bool) (*engine.Frame, error) {
	codec := rec.srv.codec
	if volatile && !codec.EndsInString(e) {
		return frameOf(e, volatile, plain), nil
	}
	s := splices.Get().(*splice)
	defer splices.Put(s)
	s.offset = appendOffset(s.offset[:0], rec.srv.hub.Node(), number)
	e, err := codec.WithLast(s.message, e, s.offset)
	if err != nil {
		return nil, err
	}
	written := e.Text
	if len(written) == 0 {
		written = e.Attachments[0]
	}
	if cap(written) <= maxSplice {
		s.message = written[:0]
	}
	return frameOf(e, volatile, plain), nil
}
