package outbox

import "github.com/belfry-io/belfry/wsserver/internal/budget"

// releases gathers the frames that a writer is done with in a round. One that many queues hold is released once for all of them: its count
// is shared with who queues it elsewhere, on another processor. The queues of a room hold the same frames in the same places.
type releases [16]struct {
	frame *Frame
	times int32
}

// add has f, at this place of its queue's batch, released once more by settle, or sooner.
func (r *releases) add(b *budget.Budget, place int, f *Frame) {
	if r == nil || f.Ping || f.part || len(f.Bytes) >= Large {
		f.release(b, 1)
		return
	}
	slot := &r[place%len(r)]
	if slot.frame != f {
		if slot.frame != nil {
			slot.frame.release(b, slot.times)
		}
		slot.frame, slot.times = f, 0
	}
	slot.times++
}

// releaseAll releases what was gathered.
func (r *releases) releaseAll(b *budget.Budget) {
	for _, slot := range r {
		if slot.frame != nil {
			slot.frame.release(b, slot.times)
		}
	}
	*r = releases{}
}
