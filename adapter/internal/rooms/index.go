// Package rooms is the index of a namespace's rooms: who is in which. It is pure and not safe for concurrent use.
//
// Members are small numbers, a room is a slice of them, and each membership knows its position in the room, so that a leave moves
// one number and a broadcast walks a slice. The room that every member has of its own, named by its id, is not stored. What rooms and members
// have taken is given back when they are gone.
package rooms

import (
	"iter"
	"maps"
	"slices"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// An Index knows members of type M by their ids. Its zero value is empty.
type Index[M any] struct {
	ids     map[string]uint32 // members by id
	members []member[M]
	all     []uint32 // the numbers in use
	free    []uint32 // unused numbers of members

	names map[string]uint32 // rooms by name
	rooms slab[room]

	peakIDs, peakNames int // see shrink.Map

	epoch uint32 // of the last selection
}

type member[M any] struct {
	id    string
	value M
	own   bool   // it is in the room of its own id
	pos   uint32 // in all
	mark  uint32 // the last selection that has settled this member
	in    []membership
}

// membership says that a member is in room, at pos of its slice. A member's are in the order of joining.
type membership struct{ room, pos uint32 }

type room struct {
	name    string
	members []uint32
}

// Add adds a member, which is then in the room of its own id. It reports false, and does nothing, if the id is there already.
func (x *Index[M]) Add(id string, value M) bool {
	if _, ok := x.ids[id]; ok {
		return false
	}
	if x.ids == nil {
		x.ids = make(map[string]uint32)
		x.names = make(map[string]uint32)
	}
	n := uint32(len(x.members))
	if k := len(x.free); k > 0 {
		n = x.free[k-1]
		x.free = x.free[:k-1]
	} else {
		x.members = append(x.members, member[M]{})
	}
	x.members[n] = member[M]{id: id, value: value, own: true, pos: uint32(len(x.all))}
	x.all = append(x.all, n)
	x.ids[id] = n
	return true
}

// Remove takes a member out of all rooms, in the order of RoomsOf, and out of the index. left, which may be nil, is called after each
// room with whether that has no member any more; it must not change the index. Remove reports false if the member is not there.
func (x *Index[M]) Remove(id string, left func(name string, deleted bool)) bool {
	n, ok := x.ids[id]
	if !ok {
		return false
	}
	m := &x.members[n]
	if m.own {
		m.own = false
		if left != nil {
			left(id, x.Empty(id))
		}
	}
	for _, ms := range m.in {
		if name, last := x.removeAt(ms); left != nil {
			left(name, last && !x.Owned(name))
		}
	}
	delete(x.ids, id)
	end := len(x.all) - 1
	pos := m.pos
	x.all[pos] = x.all[end]
	x.members[x.all[pos]].pos = pos
	x.all = shrink.Slice(x.all[:end], enough)
	*m = member[M]{}
	x.free = append(x.free, n)
	x.ids = shrink.Map(x.ids, &x.peakIDs)
	if len(x.members) > enough && len(x.all) <= len(x.members)/4 {
		x.compact()
	}
	return true
}

// enough is a number of members for which the arrays are not worth shrinking.
const enough = 1024

// compact gives the members the lowest numbers, and gives back the memory of the others.
func (x *Index[M]) compact() {
	low := uint32(len(x.all))
	slices.Sort(x.free)
	free := x.free // the lowest first: as many of them are below low as members are not
	for i, n := range x.all {
		if n < low {
			continue
		}
		to := free[0]
		free = free[1:]
		m := &x.members[n]
		x.members[to] = *m
		x.all[i] = to
		x.ids[m.id] = to
		for _, ms := range m.in {
			x.rooms.at(ms.room).members[ms.pos] = to
		}
	}
	x.members = slices.Clip(append([]member[M](nil), x.members[:low]...))
	x.free = nil
}

// Join puts a member into a room. joined is false if it was there already, or is not in the index; created says that it is the first.
func (x *Index[M]) Join(id, name string) (joined, created bool) {
	n, ok := x.ids[id]
	if !ok {
		return false, false
	}
	m := &x.members[n]
	if name == id {
		joined = !m.own
		m.own = true
		return joined, joined && x.Empty(name)
	}
	r, ok := x.names[name]
	if !ok {
		created = !x.Owned(name)
		r = x.rooms.alloc()
		x.rooms.at(r).name = name
		x.names[name] = r
	} else if x.find(n, r) >= 0 {
		return false, false
	}
	joins := x.rooms.at(r)
	m.in = append(m.in, membership{room: r, pos: uint32(len(joins.members))})
	joins.members = append(joins.members, n)
	return true, created
}

// WouldHave returns how many rooms a member would be in, besides its own, if it joined some more.
func (x *Index[M]) WouldHave(id string, names []string) int {
	all := map[string]bool{id: true}
	for _, name := range slices.Concat(x.RoomsOf(id), names) {
		all[name] = true
	}
	return len(all) - 1
}

// Leave takes a member out of a room. left is false if it was not there; deleted says that it was the last.
func (x *Index[M]) Leave(id, name string) (left, deleted bool) {
	n, ok := x.ids[id]
	if !ok {
		return false, false
	}
	m := &x.members[n]
	if name == id {
		left = m.own
		m.own = false
		return left, left && x.Empty(name)
	}
	r, ok := x.names[name]
	if !ok {
		return false, false
	}
	i := x.find(n, r)
	if i < 0 {
		return false, false
	}
	_, deleted = x.removeAt(m.in[i])
	m.in = shrink.Slice(slices.Delete(m.in, i, i+1), 16)
	if len(m.in) == 0 {
		m.in = nil
	}
	return true, deleted && !x.Owned(name)
}

// find returns the index of room r among the memberships of member n, or -1. It looks through the shorter of both lists.
func (x *Index[M]) find(n, r uint32) int {
	in, members := x.members[n].in, x.rooms.at(r).members
	if len(members) < len(in) && !slices.Contains(members, n) {
		return -1
	}
	return slices.IndexFunc(in, func(ms membership) bool { return ms.room == r })
}

// removeAt removes a membership from its room's slice: the room's last member takes the place. The member's own list is left as it is.
func (x *Index[M]) removeAt(ms membership) (name string, last bool) {
	r := x.rooms.at(ms.room)
	end := uint32(len(r.members) - 1)
	if ms.pos != end {
		moved := r.members[end]
		r.members[ms.pos] = moved
		in := x.members[moved].in
		in[slices.Index(in, membership{ms.room, end})].pos = ms.pos
	}
	r.members = shrink.Slice(r.members[:end], 16)
	if end > 0 {
		return r.name, false
	}
	name = r.name
	delete(x.names, name)
	x.names = shrink.Map(x.names, &x.peakNames)
	x.rooms.free(ms.room)
	return name, true
}

// Owned reports whether there is a member with this id, and in the room of its own.
func (x *Index[M]) Owned(id string) bool {
	n, ok := x.ids[id]
	return ok && x.members[n].own
}

// Select appends to dst the members of any of rooms, or all if there are none, each once, without the members of any of except.
func (x *Index[M]) Select(dst []M, rooms, except []string) []M {
	for n := range x.selected(rooms, except) {
		dst = append(dst, x.members[n].value)
	}
	return dst
}

// SelectIDs appends to dst the ids of the members that Select selects, in its order.
func (x *Index[M]) SelectIDs(dst []string, rooms, except []string) []string {
	for n := range x.selected(rooms, except) {
		dst = append(dst, x.members[n].id)
	}
	return dst
}

// Count is how many members Select selects. For all of them, and for one room, it takes no time.
func (x *Index[M]) Count(rooms, except []string) (n int) {
	switch {
	case len(except) > 0 || len(rooms) > 1:
		for range x.selected(rooms, except) {
			n++
		}
	case len(rooms) == 0:
		n = len(x.all)
	default:
		if x.Owned(rooms[0]) {
			n = 1
		}
		if r, ok := x.names[rooms[0]]; ok {
			n += len(x.rooms.at(r).members)
		}
	}
	return n
}

// selected walks the members that Select selects.
func (x *Index[M]) selected(rooms, except []string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		x.epoch++
		if x.epoch == 0 {
			for i := range x.members {
				x.members[i].mark = 0
			}
			x.epoch = 1
		}
		for _, name := range except {
			for n := range x.in(name) {
				x.members[n].mark = x.epoch
			}
		}
		if len(rooms) == 0 {
			for _, n := range x.all {
				if x.members[n].mark != x.epoch && !yield(n) {
					return
				}
			}
			return
		}
		for _, name := range rooms {
			for n := range x.in(name) {
				if m := &x.members[n]; m.mark != x.epoch {
					m.mark = x.epoch
					if !yield(n) {
						return
					}
				}
			}
		}
	}
}

// in walks the members of a room, with the one whose id is the room's name.
func (x *Index[M]) in(name string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if n, ok := x.ids[name]; ok && x.members[n].own && !yield(n) {
			return
		}
		if r, ok := x.names[name]; ok {
			for _, n := range x.rooms.at(r).members {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Len is the number of members.
func (x *Index[M]) Len() int { return len(x.ids) }

// Get returns the member with this id.
func (x *Index[M]) Get(id string) (value M, ok bool) {
	n, ok := x.ids[id]
	if ok {
		value = x.members[n].value
	}
	return value, ok
}

// Empty reports whether a room has no member other than the one whose own it is.
func (x *Index[M]) Empty(name string) bool {
	_, ok := x.names[name]
	return !ok
}

// Members returns the ids of a room's members, in no order; nil if there are none.
func (x *Index[M]) Members(name string) []string {
	var ids []string
	for n := range x.in(name) {
		ids = append(ids, x.members[n].id)
	}
	return ids
}

// RoomsOf returns the rooms of a member, its own first and the others in the order of joining; nil if it is not in the index.
func (x *Index[M]) RoomsOf(id string) []string {
	n, ok := x.ids[id]
	if !ok {
		return nil
	}
	m := &x.members[n]
	names := make([]string, 0, 1+len(m.in))
	if m.own {
		names = append(names, id)
	}
	for _, ms := range m.in {
		names = append(names, x.rooms.at(ms.room).name)
	}
	return names
}

// Shared returns the names of the rooms that have a member other than the one whose own they are, in no order; NumShared counts
// them.
func (x *Index[M]) Shared() []string { return slices.Collect(maps.Keys(x.names)) }
func (x *Index[M]) NumShared() int   { return len(x.names) }

// Rooms returns the names of all rooms with a member, in no order.
func (x *Index[M]) Rooms() []string {
	names := make([]string, 0, len(x.ids)+len(x.names))
	for name := range x.names {
		names = append(names, name)
	}
	for id, n := range x.ids {
		if _, stored := x.names[id]; x.members[n].own && !stored {
			names = append(names, id)
		}
	}
	return names
}

// IDs returns the ids of all members, in no order.
func (x *Index[M]) IDs() []string {
	ids := make([]string, 0, len(x.ids))
	for _, n := range x.all {
		ids = append(ids, x.members[n].id)
	}
	return ids
}
