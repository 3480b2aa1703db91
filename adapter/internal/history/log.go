// Package history remembers for a while what a node's members were sent, and what rooms they were in
// when, so that a member that was away can be told what it missed. It is pure: it has no goroutine
// and no clock, and does not look into what it remembers.
//
// What happens is numbered: 1, 2, 3 and so on, broadcasts and changes of rooms alike. The oldest is
// forgotten first. Each entry is linked to the one before of the same room, namespace or member, so
// that a question costs what its answer may have in it, not the whole log.
package history

import (
	"reflect"
	"sort"
	"time"
)

// A Log is what a node remembers, of all its namespaces. It is not safe for concurrent use. Names of
// rooms and members are copied, namespaces are kept as they are given.
type Log[P any] struct {
	bound int           // of bytes
	keep  time.Duration // the age that entries may reach

	ring   ring[P]
	gone   time.Duration // when the last that was forgotten had begun
	slot   int           // what a record takes in memory, in bytes
	names  names
	origin *chain // of the entry that was filled last, if there is one
	bytes  int    // of the records and of what they point to, without the names
}

// An Entry is something that a member missed: event number Seq of the node Origin.
type Entry[P any] struct {
	N       uint64 // its number here
	Origin  string
	Seq     uint64
	Payload P
	Size    int
}

// New returns a log that remembers what is not older than keep, and takes up to so many bytes. Those
// are the payloads, in the size that Fill is told, and what the log itself takes: about 120 for an
// entry with a payload of a few words, and as much for a name that no other entry has.
func New[P any](bytes int, keep time.Duration) *Log[P] {
	record := int(reflect.TypeFor[record[P]]().Size())
	return &Log[P]{bound: bytes, keep: keep, slot: record + record/10} // pieces are rounded up
}

// Broadcast begins an entry for the members of any of rooms (of all of the namespace, if there are
// none) that are in none of except, as the rooms are now. It returns the entry's number. Until Fill
// says what it is, it is due to nobody.
func (l *Log[P]) Broadcast(now time.Duration, namespace string, rooms, except []string) (n uint64) {
	n, r := l.begin(now, broadcast)
	if len(rooms) == 0 {
		r.first = l.names.link(key{whole, namespace, ""}, n)
	} else {
		r.first = l.names.link(key{room, namespace, rooms[0]}, n)
		r.first.chain.named++
		rooms = rooms[1:]
	}
	if more := len(rooms) + len(except); more > 0 {
		r.more = make([]link, 0, more)
		for _, name := range rooms {
			if link := l.names.link(key{room, namespace, name}, n); link.before != n {
				r.more = append(r.more, link)
			} else {
				l.names.drop(link.chain) // it was named already
			}
		}
		r.rooms = int32(len(r.more))
		for _, name := range except {
			r.more = append(r.more, link{chain: l.names.get(key{room, namespace, name})})
		}
		for _, link := range r.more {
			link.chain.named++
		}
		l.bytes += cap(r.more) * linkBytes
	}
	l.shorten()
	return n
}

// Only begins an entry for one member alone, whatever rooms it is in.
func (l *Log[P]) Only(now time.Duration, namespace, id string) (n uint64) {
	n, r := l.begin(now, only)
	r.first = l.names.link(key{member, namespace, id}, n)
	l.shorten()
	return n
}

// Fill says what entry n is. It does nothing if the entry has been forgotten meanwhile, or filled
// before. An entry that alone is larger than the log may be is forgotten with all that came before.
func (l *Log[P]) Fill(n uint64, origin string, seq uint64, payload P, size int) {
	r := l.ring.get(n)
	if r == nil || r.kind != broadcast && r.kind != only || r.about != nil {
		return
	}
	if c := l.origin; c != nil && c.uses > 0 && c.key.name == origin { // most are of one node
		r.about = c
		c.uses++
	} else {
		r.about = l.names.get(key{node, "", origin})
		l.origin = r.about
	}
	r.seq, r.payload, r.size = seq, payload, size
	l.bytes += size
	l.shorten()
}

// Changed says that a member has joined or left a room, its own included, after the last entry. It
// is recorded, and numbered, only if an entry names the room: for others it does not matter who was
// in the room at the time.
func (l *Log[P]) Changed(now time.Duration, namespace, id, name string, joined bool) {
	l.Expire(now)
	c := l.names.chains[key{room, namespace, name}]
	if c == nil || c.named == 0 {
		return
	}
	kind := left
	if joined {
		kind = join
	}
	n, r := l.begin(now, kind)
	r.first = l.names.link(key{member, namespace, id}, n)
	r.about = c
	c.uses++
	l.shorten()
}

// Forget forgets the changes of a member that is gone for good, and what was for it alone. Should
// the id come again, Missed may be asked only for what came after this.
func (l *Log[P]) Forget(namespace, id string) {
	c := l.names.chains[key{member, namespace, id}]
	if c == nil {
		return
	}
	for n := c.last; n > l.Horizon(); {
		r := l.ring.get(n)
		n = r.first.before
		l.empty(r)
	}
}

// Expire forgets what is older than the log's age.
func (l *Log[P]) Expire(now time.Duration) {
	for r := l.ring.get(l.ring.first); r != nil && now-r.at > l.keep; r = l.ring.get(l.ring.first) {
		l.forget(r)
	}
}

// Last returns the number of the last entry or change, 0 before the first.
func (l *Log[P]) Last() uint64 { return l.ring.last }

// At returns the number of the last entry or change that had begun by a time; 0 if that is not known
// any more.
func (l *Log[P]) At(at time.Duration) uint64 {
	first := l.Horizon() + 1
	younger := sort.Search(l.Len(), func(i int) bool { return l.ring.get(first+uint64(i)).at > at })
	if younger == 0 && l.gone > at {
		return 0
	}
	return l.Horizon() + uint64(younger)
}

// Len is how many entries and changes the log has.
func (l *Log[P]) Len() int { return int(l.ring.last - l.Horizon()) }

// Bytes is what the log takes, about. The map of names may have room for four times as many as
// there are, which is not counted.
func (l *Log[P]) Bytes() int { return l.bytes + l.names.bytes }

// Horizon is the number of the last that was forgotten, 0 if nothing was.
func (l *Log[P]) Horizon() uint64 { return l.ring.horizon() }

// begin appends a record.
func (l *Log[P]) begin(now time.Duration, k kind) (uint64, *record[P]) {
	l.Expire(now)
	l.bytes += l.slot
	n, r := l.ring.push()
	r.at, r.kind = now, k
	return n, r
}

// shorten forgets the oldest until the log is within its bound.
func (l *Log[P]) shorten() {
	for l.Bytes() > l.bound && l.Len() > 0 {
		l.forget(l.ring.get(l.ring.first))
	}
}

// forget forgets the oldest record, which is r.
func (l *Log[P]) forget(r *record[P]) {
	l.gone = r.at
	l.empty(r)
	l.bytes -= l.slot
	l.ring.pop()
}

// empty takes out of a record all but its age.
func (l *Log[P]) empty(r *record[P]) {
	if r.kind == nothing {
		return
	}
	for _, link := range r.more {
		link.chain.named--
		l.names.drop(link.chain)
	}
	if r.kind == broadcast && r.first.chain.key.kind == room {
		r.first.chain.named--
	}
	l.names.drop(r.first.chain)
	if r.about != nil {
		l.names.drop(r.about)
	}
	l.bytes -= cap(r.more)*linkBytes + r.size
	*r = record[P]{at: r.at}
}
