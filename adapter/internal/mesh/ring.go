package mesh

import (
	"time"

	"github.com/belfry-io/belfry/internal/shrink"
)

// A ring is what this node remembers of its own broadcasts, to repair what others have missed: the stamps of the numbers in (s, g], and
// the newer ones of their payloads.
type ring struct {
	limits Limits
	g      uint64 // the last number given
	s      uint64 // the horizon: nothing is remembered about numbers up to s
	bare   uint64 // payloads of numbers up to bare are gone
	bytes  int    // of the payloads

	entries []entry           // of the numbers from s+1 on, behind the first head ones, which are unused
	head    int               //
	last    map[uint64]uint64 // the last number of each stream, if it is above s
	peak    int               // of last; see shrink.Map
}

type entry struct {
	links   []Link
	payload any // nil: gone
	size    int
	at      time.Duration
}

// at returns the entry of number g, which must be in (s, g].
func (r *ring) at(g uint64) *entry { return &r.entries[r.head+int(g-r.s)-1] }

// add gives the next number to a broadcast on the streams with these hashes. Numbers above handed have not been handed to the link: they
// are kept whatever the limits, since the queue to the link has a limit of its own.
func (r *ring) add(now time.Duration, hashes []uint64, payload any, size int, handed uint64) Stamp {
	r.g++
	prev := make([]uint64, len(hashes))
	links := make([]Link, len(hashes))
	for i, h := range hashes {
		p, ok := r.last[h]
		switch {
		case !ok:
			p = r.s
		case p == r.g: // two topics of one stream
			for j := range i {
				if links[j].Hash == h {
					p = prev[j]
				}
			}
		}
		prev[i] = p
		links[i] = Link{Hash: h, Prev: p}
		r.last[h] = r.g
	}
	r.entries = append(r.entries, entry{links: links, payload: payload, size: size, at: now})
	r.bytes += size
	r.trim(handed)
	return Stamp{G: r.g, Prev: prev}
}

// trim holds the ring to its limits.
func (r *ring) trim(handed uint64) {
	for r.bytes > r.limits.RingBytes && r.bare < min(handed, r.g) {
		r.strip()
	}
	for int(r.g-r.s) > r.limits.RingStamps && r.s < handed {
		r.forget()
	}
}

// expire drops what is too old.
func (r *ring) expire(now time.Duration, handed uint64) {
	for r.bare < min(handed, r.g) && now-r.at(r.bare+1).at >= r.limits.RingAge {
		r.strip()
	}
	for r.s < min(handed, r.g) && now-r.at(r.s+1).at >= 2*r.limits.RingAge {
		r.forget()
	}
}

// strip drops the oldest payload.
func (r *ring) strip() {
	r.bare++
	e := r.at(r.bare)
	r.bytes -= e.size
	e.payload, e.size = nil, 0
}

// forget drops the oldest stamp, and with it what is left of its number.
func (r *ring) forget() {
	if r.bare == r.s {
		r.strip()
	}
	r.s++
	e := &r.entries[r.head]
	for _, l := range e.links {
		if r.last[l.Hash] == r.s {
			delete(r.last, l.Hash)
			r.last = shrink.Map(r.last, &r.peak)
		}
	}
	*e = entry{}
	r.head++
	switch {
	case r.head == len(r.entries):
		r.entries, r.head = nil, 0
	case r.head > 1024 && r.head > len(r.entries)/2:
		r.entries = append([]entry(nil), r.entries[r.head:]...)
		r.head = 0
	}
}

// renew has the numbers above handed begin their age now, when they are handed to the link.
func (r *ring) renew(now time.Duration, handed uint64) {
	for g := max(handed, r.s) + 1; g <= r.g; g++ {
		r.at(g).at = now
	}
}

// since lists the streams with a number in (a, b] and the last one there, newest first.
func (r *ring) since(a, b uint64) []Tail {
	var tails []Tail
	later := make(map[uint64]struct{}) // streams that go on after b, once they are listed
	for g := min(b, r.g); g > max(a, r.s); g-- {
		for _, l := range r.at(g).links {
			last := r.last[l.Hash]
			if last > b {
				if _, listed := later[l.Hash]; listed {
					continue
				}
				later[l.Hash] = struct{}{}
			} else if last != g {
				continue
			}
			tails = append(tails, Tail{Hash: l.Hash, G: g})
		}
	}
	return tails
}
