package cluster

import (
	"slices"

	"github.com/belfry-io/belfry/adapter"
)

// Len returns the number of members of the namespace on this node.
func (r *Rooms) Len() int {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Len()
}

// Get returns the member with this id, if it is on this node.
func (r *Rooms) Get(id string) (Member, bool) {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Get(id)
}

// Select returns the members on this node that a [Broadcast] with these Rooms and Except would
// reach, in no order.
func (r *Rooms) Select(rooms, except []string) []Member {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Select(nil, rooms, except)
}

// Names returns the names of the rooms that have a member on this node, each once, in no order,
// without the members' own rooms: a room with the name of a member's id is that member's own, even
// if others have joined it.
func (r *Rooms) Names() []string {
	r = r.lock(false)
	names := r.index.Shared()
	r.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool {
		return roomTopic(r.namespace, name).Kind == adapter.Private
	})
}

// RoomCount returns the number of rooms that have a member on this node, at no cost. A member's own
// room counts once another member is in it.
func (r *Rooms) RoomCount() int {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.NumShared()
}

// Members returns the ids of a room's members on this node, in no order.
func (r *Rooms) Members(room string) []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Members(room)
}

// Of returns the rooms of a member: its own, then the others in the order of joining. It is nil if
// the member is not on this node.
func (r *Rooms) Of(id string) []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.RoomsOf(id)
}

// IDs returns the ids of the members on this node, in no order.
func (r *Rooms) IDs() []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.IDs()
}
