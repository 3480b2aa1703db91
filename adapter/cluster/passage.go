package cluster

import (
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// selections holds the slices that broadcasts select their members into.
var selections = sync.Pool{New: func() any { return new([]Member) }}

// A passage is a broadcast that was handed to the members here.
type passage struct {
	begun  time.Time
	frame  any    // nil if it was made for nobody
	number uint64 // of its entry in the log, which is to be filled; 0 for none
	taken  int    // by so many members
	asked  int    // so many members were to have it
	err    error  // of the Framer: nobody has it
}

// deliver hands a broadcast to the members on this node, which its origin knows by key. finish is to
// follow.
func (r *Rooms) deliver(b *envelope.Body, origin string, key uint64) (p passage) {
	selection := selections.Get().(*[]Member)
	r = r.lock(false)
	if r.receipts.byID != nil {
		r.receipts.spare(b, origin, key)
	}
	members := r.index.Select((*selection)[:0], b.Rooms, b.Except)
	number, kept := r.hub.history.begin(r, b, len(members) > 0)
	r.mu.Unlock()
	if p.asked = len(members); p.asked > 0 || kept {
		p.begun = begun(b)
		p.frame, p.err = r.frame(b.Payload, b.Flags&envelope.Volatile != 0)
		f, recoverable := p.frame.(Recoverable)
		if recoverable && number > 0 && p.err == nil {
			p.err = f.Place(number)
		}
		if p.err == nil {
			if f, ok := p.frame.(interface{ For(members int) }); ok {
				f.For(len(members))
			}
			for _, m := range members {
				if m.Deliver(p.frame) {
					p.taken++
				}
			}
			if kept && recoverable {
				p.number = number
			}
		}
	}
	clear(members)
	*selection = members
	selections.Put(selection)
	return p
}

// handOver hands a broadcast of a node to the members here, as one step, and returns how many have
// taken it. Its origin knows it by key. After an error nobody has.
func (r *Rooms) handOver(b *envelope.Broadcast, key uint64) (taken int, err error) {
	r = r.enter()
	p := r.deliver(&b.Body, b.From, key)
	r.hub.history.fill(p.number, b.From, key, b.Payload)
	r.leave()
	r.finish(p, b.From, &b.Body)
	return p.taken, p.err
}

// finish tells of a broadcast of a node that was handed to the members here. No lock is held.
func (r *Rooms) finish(p passage, from string, b *envelope.Body) {
	if p.err != nil && p.asked == 0 {
		p.asked = 1 // a session
	}
	if p.asked == 0 {
		return
	}
	if f, ok := p.frame.(interface{ Delivered() }); ok && p.err == nil {
		f.Delivered()
	}
	r.hub.delivered(r.namespace, from, b, p.begun, p.taken, p.err)
}

// unframed logs why nobody here has a broadcast.
func (r *Rooms) unframed(err error) {
	if err != nil {
		r.hub.log.Error("belfry: a broadcast that cannot be encoded was dropped", "namespace", r.namespace, "error", err)
	}
}
