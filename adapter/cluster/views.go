package cluster

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

// Names returns the names of the rooms that have members on this node, with those of the members'
// own ids, in no order.
func (r *Rooms) Names() []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Rooms()
}

// Members returns the ids of a room's members on this node, in no order.
func (r *Rooms) Members(room string) []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Members(room)
}

// Of returns the rooms of a member: its own, then the others in the order of joining. It is nil if the member is not on this node.
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
