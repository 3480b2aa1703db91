package mesh

import (
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// A ring is what this node remembers of its own broadcasts, to repair what others have missed: the stamps of the numbers in (s, g], and
// the newer ones of their payloads.
//
// A broadcast has its place on all its streams, and travels on the first ones of them alone: a union of many rooms travels on the
// namespace's topic, and is linked on the stream of each room. heartbeats name what travelled, so that they do not grow with the rooms of a union;
// links show what is missing, whatever way it went.
type ring[O any] struct {
	limits   Limits
	newest   uint64 // the last number given
	horizon  uint64 // the horizon: nothing is remembered about numbers up to s
	stripped uint64 // payloads of numbers up to bare are gone
	bytes    int    // of the payloads, and of their links
	links    int    // of the numbers in (s, g]

	entries []entry[O]      // of the numbers from s+1 on, behind the first head ones, which are unused
	head    int             //
	ends    map[uint64]ends // of each stream with a number above s
	peak    int             // of last; see shrink.Map
}

// ends are the last numbers of a stream.
type ends struct {
	last      uint64
	travelled uint64 // the last one that travelled on it
}

type entry[O any] struct {
	links   []Link
	travels int // on the streams of the first so many links
	payload O   // until it is stripped
	size    int // of payload and links
	at      time.Duration
}

// linkBytes is what a link takes, about, with its part of a map: each beyond the first of a broadcast, which is part of what the number takes.
const linkBytes = 40

// linked is what a broadcast of size bytes with so many links takes.
func linked(size, links int) int { return size + linkBytes*max(0, links-1) }

// at returns the entry of number seq, which must be in (s, g].
func (r *ring[O]) at(seq uint64) *entry[O] { return &r.entries[r.head+int(seq-r.horizon)-1] }

// add gives the next number to a broadcast on the streams with these hashes, of which it travels on the first ones. Numbers above handed have
// not been handed to the link: they are kept whatever the limits, since the queue to the link has a limit of its own.
func (r *ring[O]) add(now time.Duration, hashes []uint64, travels int, payload O, size int, handed uint64) Stamp {
	r.newest++
	prev := make([]uint64, len(hashes))
	links := make([]Link, len(hashes))
	for i, h := range hashes {
		last, ok := r.ends[h]
		p := last.last
		switch {
		case !ok:
			p = r.horizon
		case p == r.newest: // two topics of one stream
			p = prev[slices.IndexFunc(links[:i], func(l Link) bool { return l.Hash == h })]
		}
		prev[i] = p
		links[i] = Link{Hash: h, Prev: p}
		last.last = r.newest
		if i < travels {
			last.travelled = r.newest
		}
		r.ends[h] = last
	}
	size = linked(size, len(links))
	r.entries = append(r.entries, entry[O]{links: links, travels: travels, payload: payload, size: size, at: now})
	r.bytes += size
	r.links += len(links)
	r.trim(handed)
	return Stamp{Sequence: r.newest, Prev: prev}
}

// trim holds the ring to its limits.
func (r *ring[O]) trim(handed uint64) {
	for r.bytes > r.limits.RingBytes && r.stripped < min(handed, r.newest) {
		r.strip()
	}
	for (int(r.newest-r.horizon) > r.limits.RingStamps || r.links > linksPerStamp*r.limits.RingStamps) && r.horizon < handed {
		r.forget()
	}
}

// expire drops what is too old.
func (r *ring[O]) expire(now time.Duration, handed uint64) {
	for r.stripped < min(handed, r.newest) && now-r.at(r.stripped+1).at >= r.limits.RingAge {
		r.strip()
	}
	for r.horizon < min(handed, r.newest) && now-r.at(r.horizon+1).at >= 2*r.limits.RingAge {
		r.forget()
	}
}

// strip drops the oldest payload.
func (r *ring[O]) strip() {
	r.stripped++
	e := r.at(r.stripped)
	r.bytes -= e.size
	e.payload, e.size = *new(O), 0
}

// forget drops the oldest stamp, and with it what is left of its number.
func (r *ring[O]) forget() {
	if r.stripped == r.horizon {
		r.strip()
	}
	r.horizon++
	e := &r.entries[r.head]
	r.links -= len(e.links)
	for _, l := range e.links {
		if r.ends[l.Hash].last == r.horizon {
			delete(r.ends, l.Hash)
			r.ends = shrink.Map(r.ends, &r.peak)
		}
	}
	*e = entry[O]{}
	r.head++
	switch {
	case r.head == len(r.entries):
		r.entries, r.head = nil, 0
	case r.head > 1024 && r.head > len(r.entries)/2:
		r.entries = append([]entry[O](nil), r.entries[r.head:]...)
		r.head = 0
	}
}

// renew has the numbers above handed begin their age now, when they are handed to the link.
func (r *ring[O]) renew(now time.Duration, handed uint64) {
	for seq := max(handed, r.horizon) + 1; seq <= r.newest; seq++ {
		r.at(seq).at = now
	}
}

// since lists the streams on which a number in (a, b] travelled and the last one there, newest first.
func (r *ring[O]) since(a, b uint64) []Tail {
	var tails []Tail
	later := make(map[uint64]struct{}) // streams that go on after b, once they are listed
	for seq := min(b, r.newest); seq > max(a, r.horizon); seq-- {
		e := r.at(seq)
		for _, l := range e.links[:e.travels] {
			last := r.ends[l.Hash].travelled
			if last > b {
				if _, listed := later[l.Hash]; listed {
					continue
				}
				later[l.Hash] = struct{}{}
			} else if last != seq {
				continue
			}
			tails = append(tails, Tail{Hash: l.Hash, Sequence: seq})
		}
	}
	return tails
}
