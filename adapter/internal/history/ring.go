package history

import "time"

// kind says what a record is.
type kind uint8

const (
	nothing kind = iota // any more
	broadcast
	only
	join
	left
)

// A record is an entry or a change.
type record[P any] struct {
	at    time.Duration
	kind  kind
	rooms int32  // how many of more are rooms; the others are except
	first link   // the first room or the whole namespace of a broadcast, the member of others
	more  []link // the other rooms, and except, whose links lead nowhere

	about   *chain // the origin of an entry that is filled, the room of a change
	seq     uint64
	payload P
	size    int
}

// ring has the records first to last, in pieces that come and go, so that it has about the memory
// of the records that it has. Its zero value is empty, and begins with number 1.
type ring[P any] struct {
	first, last uint64 // there are none if first is last+1, or both are 0
	pieces      []*[piece]record[P]
	base        uint64            // pieces[0] begins with number base*piece
	spare       *[piece]record[P] // the last that has gone, for the next that comes; nil for none
}

const piece = 128

// push appends an empty record, and returns its number.
func (r *ring[P]) push() (uint64, *record[P]) {
	if r.last == 0 {
		r.first = 1
	}
	r.last++
	if len(r.pieces) == 0 {
		r.base = r.last / piece
	}
	if r.last/piece-r.base == uint64(len(r.pieces)) {
		if r.spare == nil {
			r.spare = new([piece]record[P])
		}
		r.pieces = append(r.pieces, r.spare)
		r.spare = nil
	}
	return r.last, r.get(r.last)
}

// get returns record n, nil if it is not there.
func (r *ring[P]) get(n uint64) *record[P] {
	if n < r.first || n > r.last || n == 0 {
		return nil
	}
	return &r.pieces[n/piece-r.base][n%piece]
}

// pop takes the first record away, which must be there.
func (r *ring[P]) pop() {
	*r.get(r.first) = record[P]{}
	if r.first++; r.first/piece > r.base {
		r.spare, r.pieces[0] = r.pieces[0], nil
		r.pieces = r.pieces[1:]
		r.base++
	}
}

// Horizon is the number of the last record that is gone, 0 if none is.
func (r *ring[P]) horizon() uint64 { return max(r.first, 1) - 1 }
