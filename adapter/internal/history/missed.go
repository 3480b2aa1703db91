package history

import "slices"

// Missed returns what was for a member above number after, in order: the entries for it alone, and
// the broadcasts that had it among their members at the time. rooms are those that it is in now, its
// own only if it is in that. What they were at an entry is found backwards over its changes. ok is
// false if something above after has been forgotten.
func (l *Log[P]) Missed(namespace, id string, rooms []string, after uint64) (due []Entry[P], ok bool) {
	if after < l.Horizon() {
		return nil, false
	}
	found, changes := l.own(namespace, id, after)
	found = l.walk(found, l.names.chains[key{whole, namespace, ""}], after)
	var walked []*chain
	walk := func(c *chain) {
		if !c.walked {
			c.walked = true
			walked = append(walked, c)
			found = l.walk(found, c, after)
		}
	}
	for _, name := range rooms {
		if c := l.names.chains[key{room, namespace, name}]; c != nil {
			c.in = true
			walk(c)
		}
	}
	for _, n := range changes {
		walk(l.ring.get(n).about)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	// Backwards, with the changes above each entry undone. Those that are not due are taken out.
	keep := len(found)
	for i := len(found) - 1; i >= 0; i-- {
		n := found[i]
		for ; len(changes) > 0 && changes[0] > n; changes = changes[1:] {
			c := l.ring.get(changes[0])
			c.about.in = c.kind == left
		}
		if l.ring.get(n).due() {
			keep--
			found[keep] = n
		}
	}
	for _, c := range walked {
		c.in, c.walked = false, false
	}
	if keep == len(found) {
		return nil, true
	}
	due = make([]Entry[P], 0, len(found)-keep)
	for _, n := range found[keep:] {
		r := l.ring.get(n)
		due = append(due, Entry[P]{n, r.about.key.name, r.seq, r.payload, r.size})
	}
	return due, true
}

// own returns the entries for one member alone, and its changes, above after and the last first.
func (l *Log[P]) own(namespace, id string, after uint64) (entries, changes []uint64) {
	for _, n := range l.walk(nil, l.names.chains[key{member, namespace, id}], after) {
		if l.ring.get(n).kind == only {
			entries = append(entries, n)
		} else {
			changes = append(changes, n)
		}
	}
	return entries, changes
}

// walk appends to found the records of a chain above after, the last first. c may be nil.
func (l *Log[P]) walk(found []uint64, c *chain, after uint64) []uint64 {
	if c == nil {
		return found
	}
	for n := c.last; n > after; {
		found = append(found, n)
		n = l.ring.get(n).before(c)
	}
	return found
}

// before returns the number before this record on one of its chains.
func (r *record[P]) before(c *chain) uint64 {
	if r.first.chain == c {
		return r.first.before
	}
	for _, link := range r.more[:r.rooms] {
		if link.chain == c {
			return link.before
		}
	}
	return 0
}

// due reports whether this entry is for the member that is in the rooms whose chains say so.
func (r *record[P]) due() bool {
	if r.about == nil {
		return false
	}
	for _, link := range r.more[r.rooms:] {
		if link.chain.in {
			return false
		}
	}
	if r.first.chain.key.kind != room || r.first.chain.in {
		return true
	}
	for _, link := range r.more[:r.rooms] {
		if link.chain.in {
			return true
		}
	}
	return false
}
