package mesh

import "slices"

// A roster is the other nodes that this one has heard of, and how they stand.
type roster[B any] struct {
	peers      map[string]*peer[B]
	order      []*peer[B] // in the order of meeting, without the tombstones
	tombstones []*peer[B] // those that are over, in the order of their ends: every step would look at them in vain
	over       bool       // some of order have become so in this step
	changed    bool       // Members, Nodes or Remaining may have changed in this step
}

func (r *roster[B]) add(p *peer[B]) {
	r.peers[p.id] = p
	r.order = append(r.order, p)
}

// bury adds one that has left already: it is never met.
func (r *roster[B]) bury(p *peer[B]) {
	r.peers[p.id] = p
	r.tombstones, r.over = append(r.tombstones, p), true
}

// apply changes the standing of p. It reports whether that is a change.
func (r *roster[B]) apply(p *peer[B], c change) bool {
	is, ok := transitions[p.standing][c]
	if !ok {
		return false
	}
	if p.standing == StandingDead {
		r.tombstones = slices.DeleteFunc(r.tombstones, func(o *peer[B]) bool { return o == p })
		r.order = append(r.order, p)
	}
	r.changed = r.changed || is.alive() != p.standing.alive() || is.over() || p.standing == StandingSuspect
	r.over = r.over || is.over()
	p.standing = is
	return true
}

// retire makes tombstones of those that are over, and forgets the oldest ones beyond maxTombstones: first of those that
// have left, since the dead may return.
func (r *roster[B]) retire() {
	if !r.over {
		return
	}
	r.over = false
	r.order = slices.DeleteFunc(r.order, func(p *peer[B]) bool {
		if p.standing.over() {
			r.tombstones = append(r.tombstones, p)
		}
		return p.standing.over()
	})
	for len(r.tombstones) > maxTombstones {
		i := max(0, slices.IndexFunc(r.tombstones, func(p *peer[B]) bool { return p.standing == StandingLeft }))
		delete(r.peers, r.tombstones[i].id)
		r.tombstones = slices.Delete(r.tombstones, i, i+1)
	}
}

// everybody is all whom this node has heard of and not forgotten.
func (r *roster[B]) everybody() []*peer[B] { return slices.Concat(r.order, r.tombstones) }

// list returns the ids of some, in the order of meeting.
func (r *roster[B]) list(which func(*peer[B]) bool) []string {
	var ids []string
	for _, p := range r.order {
		if which(p) {
			ids = append(ids, p.id)
		}
	}
	return ids
}
