package main

import (
	"fmt"
	"slices"
	"time"
)

// A broadcast is one that an origin has told of.
type broadcast struct {
	emitted, done time.Duration // before and after Emit
	failed        bool          // Emit returned an error: some may have it, and others not
	selection     selection
}

// An origin is a node that has broadcast: numbers from 0 on.
type origin struct {
	killed time.Duration // when it was, or 0
	sung   []broadcast
}

// untold is how long before its end a killed node may have emitted what nobody else has, or knows of.
const untold = time.Second

// A history is everything that a checker needs to know. Each field stays as it is while it checks.
type history struct {
	plan    plan
	origins []origin
	late    time.Duration // the longest that a delivery took
	end     time.Duration // what was emitted before it is due

	index map[room][]mark // broadcasts by room
	all   []mark          // those to the whole namespace
}

// prepare makes what check needs.
func (h *history) prepare() {
	h.index = make(map[room][]mark)
	for o := range h.origins {
		for n := range h.origins[o].sung {
			m := mark{uint16(o), uint32(n)}
			rooms := h.origins[o].sung[n].selection.rooms
			if len(rooms) == 0 {
				h.all = append(h.all, m)
			}
			for _, r := range rooms {
				h.index[r] = append(h.index[r], m)
			}
		}
	}
}

// of returns a broadcast that came; ok is false if nobody has told of it.
func (h *history) of(m mark) (b broadcast, ok bool) {
	if int(m.origin) >= len(h.origins) {
		return b, false
	}
	if sung := h.origins[m.origin].sung; int(m.number) < len(sung) {
		return sung[m.number], true
	}
	return b, false
}

// A verdict is what the check of sessions says. Counts are of deliveries.
type verdict struct {
	Due, Optional, NotDue   int
	Lost, Doubled, Disorder int
	Ghosts                  int // deliveries that were not due
	wrong                   []string
}

func (v *verdict) add(o verdict) {
	v.Due, v.Optional, v.NotDue = v.Due+o.Due, v.Optional+o.Optional, v.NotDue+o.NotDue
	v.Lost, v.Doubled = v.Lost+o.Lost, v.Doubled+o.Doubled
	v.Disorder, v.Ghosts = v.Disorder+o.Disorder, v.Ghosts+o.Ghosts
	v.wrong = append(v.wrong, o.wrong...)
}

// faults is how many deliveries are wrong.
func (v *verdict) faults() int { return v.Lost + v.Doubled + v.Disorder + v.Ghosts }

// fault notes what is wrong, the first of each kind in words.
func (v *verdict) fault(count *int, s *session, format string, args ...any) {
	if *count++; *count == 1 {
		who := fmt.Sprintf("client %d, session %s from %v to %v, %d returns, %d of them to another node: ",
			s.client, s.id, s.greeted, s.ended, len(s.trips), s.moved)
		v.wrong = append(v.wrong, who+fmt.Sprintf(format, args...))
	}
}

// A claim is whether a session was due an event.
type claim uint8

const (
	mustNot claim = iota
	may
	must
)

// claims is whether the session was due a broadcast.
func (h *history) claims(s *session, m mark, b broadcast) claim {
	c := mustNot
	if len(b.selection.rooms) == 0 {
		c = must
	}
	for _, r := range b.selection.rooms {
		switch stand, _ := s.rooms[r].at(b.emitted, b.done, h.late); stand {
		case in:
			c = must
		case unsure:
			c = max(c, may)
		}
	}
	for _, r := range b.selection.except {
		switch stand, _ := s.rooms[r].at(b.emitted, b.done, h.late); stand {
		case in:
			return mustNot
		case unsure:
			c = min(c, may)
		}
	}
	switch {
	case b.done < s.greeted-h.late, s.ended != 0 && b.emitted > s.ended:
		return mustNot
	case b.selection.volatile, b.failed, !h.spans(s, m, b.emitted, b.done):
		return min(c, may)
	}
	return c
}

// spans reports whether what an origin has emitted between these times falls into the session's life
// for certain, and reaches others for certain.
func (h *history) spans(s *session, m mark, emitted, done time.Duration) bool {
	if emitted <= s.greeted || s.ended != 0 && done >= s.ended-h.late || done >= h.end {
		return false
	}
	killed := h.origins[m.origin].killed
	return killed == 0 || emitted < killed-untold
}

// check checks one session.
func (h *history) check(s *session) (v verdict) {
	got := h.received(s, &v)
	consider := func(m mark) {
		b := h.origins[m.origin].sung[m.number]
		switch h.claims(s, m, b) {
		case mustNot:
			v.NotDue++
		case may:
			v.Optional++
		case must:
			if v.Due++; !got[m] {
				v.fault(&v.Lost, s, "lost %s", s.describe(m, b))
			}
		}
	}
	for _, m := range h.all {
		consider(m)
	}
	for r := range s.rooms {
		for _, m := range h.index[r] {
			if r == h.first(s, m) {
				consider(m)
			}
		}
	}
	h.checkPrivate(s, &v)
	return v
}

// first is the first of a broadcast's rooms that the session has ever been in.
func (h *history) first(s *session, m mark) room {
	rooms := h.origins[m.origin].sung[m.number].selection.rooms
	return rooms[slices.IndexFunc(rooms, func(r room) bool { return len(s.rooms[r]) > 0 })]
}

// A stream is what is in order: an origin's broadcasts to a room, for one spell of membership. Those to
// all are the room -1.
type stream struct {
	origin uint16
	room   int
	spell  int
}

// received checks what has come: whether it is due, comes once, and in order.
func (h *history) received(s *session, v *verdict) (got map[mark]bool) {
	got = make(map[mark]bool, len(s.broadcasts))
	found := func(m mark, before int) int { return slices.Index(s.broadcasts[:before], m) }
	last := make(map[stream]uint32)
	ordered := func(at stream, m mark, i int) {
		if n, ok := last[at]; ok && m.number < n {
			v.fault(&v.Disorder, s, "broadcast %d of node %d came after %d in room %d: %v",
				m.number, m.origin, n, at.room, s.between(found(mark{m.origin, n}, i), i))
		}
		last[at] = max(last[at], m.number)
	}
	for i, m := range s.broadcasts {
		if got[m] {
			v.fault(&v.Doubled, s, "broadcast %d of node %d came twice: %v",
				m.number, m.origin, s.between(found(m, i), i))
			continue
		}
		got[m] = true
		b, ok := h.of(m)
		if !ok {
			continue // of one that was killed before it told
		}
		if h.claims(s, m, b) == mustNot {
			v.fault(&v.Ghosts, s, "there came %s", s.describe(m, b))
		}
		if len(b.selection.rooms) == 0 {
			ordered(stream{m.origin, -1, 0}, m, i)
		}
		for _, r := range b.selection.rooms {
			if stand, spell := s.rooms[r].at(b.emitted, b.done, h.late); stand == in {
				ordered(stream{m.origin, int(r), spell}, m, i)
			}
		}
	}
	return got
}

// checkPrivate checks the events that were for the session alone.
func (h *history) checkPrivate(s *session, v *verdict) {
	got := make(map[mark]bool)
	last := make(map[uint16]uint32)
	for _, m := range s.privates {
		switch n, before := last[m.origin]; {
		case got[m]:
			v.fault(&v.Doubled, s, "private event %d of node %d came twice", m.number, m.origin)
		case before && m.number < n:
			v.fault(&v.Disorder, s, "private event %d of node %d came after %d", m.number, m.origin, n)
		}
		if _, ok := s.privately[m]; !ok {
			v.fault(&v.Ghosts, s, "private event %d of node %d is not the session's", m.number, m.origin)
		}
		got[m] = true
		last[m.origin] = max(last[m.origin], m.number)
	}
	for m, p := range s.privately {
		if p.done == 0 || p.failed || m.origin != own && !h.spans(s, m, p.emitted, p.done) {
			v.Optional++
		} else if v.Due++; !got[m] {
			v.fault(&v.Lost, s, "lost private event %d of node %d, emitted at %v", m.number, m.origin, p.emitted)
		}
	}
}
