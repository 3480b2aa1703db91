package mesh

import "time"

// origin is this node as a source of broadcasts: its numbers, and the last one of each topic that was used lately.
type origin[T comparable] struct {
	g    uint64 // the last number given
	s    uint64 // the horizon: nothing is remembered about numbers up to s
	beat uint64 // the last Beat's B

	last   map[T]*tail[T]
	oldest *tail[T] // the entries of last in the order of their numbers
	newest *tail[T]
}

type tail[T comparable] struct {
	topic        T
	g            uint64
	handed       uint64 // the last number before g that was handed to the link when g was given
	at           time.Duration
	older, newer *tail[T]
}

// stamp gives the next number to a broadcast on topics. handed is the last one that was handed to the link.
func (o *origin[T]) stamp(now time.Duration, topics []T, handed uint64) Stamp {
	o.g++
	prev := make([]uint64, len(topics))
	for i, topic := range topics {
		t := o.last[topic]
		if t == nil {
			prev[i] = o.s
			t = &tail[T]{topic: topic}
			o.last[topic] = t
		} else {
			prev[i] = t.g
			if t.g <= handed {
				t.handed = t.g
			}
			o.unlink(t)
		}
		t.g, t.at = o.g, now
		t.older, t.newer = o.newest, nil
		if o.newest != nil {
			o.newest.newer = t
		} else {
			o.oldest = t
		}
		o.newest = t
	}
	for len(o.last) > maxTails {
		o.forget()
	}
	return Stamp{G: o.g, Prev: prev}
}

func (o *origin[T]) unlink(t *tail[T]) {
	if t.older != nil {
		t.older.newer = t.newer
	} else {
		o.oldest = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		o.newest = t.older
	}
}

// forget drops the oldest entry, and all others with the same number, and moves the horizon there.
func (o *origin[T]) forget() {
	o.s = o.oldest.g
	for o.oldest != nil && o.oldest.g <= o.s {
		t := o.oldest
		o.unlink(t)
		delete(o.last, t.topic)
	}
}

// expire forgets what has not been used for [tailAge].
func (o *origin[T]) expire(now time.Duration) {
	for o.oldest != nil && now-o.oldest.at >= tailAge {
		o.forget()
	}
}

// since lists the topics with a number in (a, b], and the last one there, in parts of a bounded size: at least one part. b is the last
// number that was handed to the link.
func (o *origin[T]) since(now time.Duration, a, b uint64, hash func(T) uint64) []*Beat {
	a = min(a, b)
	var tails []Tail
	for t := o.newest; t != nil && t.g > a; t = t.older {
		g := t.g
		if g > b {
			g = t.handed
		}
		if a < g && g <= b {
			tails = append(tails, Tail{Hash: hash(t.topic), G: g})
		}
	}
	parts := max(1, (len(tails)+tailsPerPart-1)/tailsPerPart)
	beats := make([]*Beat, parts)
	for i := range beats {
		n := min(len(tails), tailsPerPart)
		beats[i] = &Beat{A: a, B: b, S: min(o.s, b), Age: now, Part: i, Parts: parts, Tails: tails[:n:n]}
		tails = tails[n:]
	}
	return beats
}
