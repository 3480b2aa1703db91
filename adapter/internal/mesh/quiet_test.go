package mesh

import (
	"slices"
	"strings"
)

// closes checks what a node knows when it goes: whoever does not have all is named.
func (n *node) closes() {
	names := n.m.Unconfirmed()
	n.w.trace("%s has left, and names %v", n.id, names)
	for _, r := range n.w.nodes {
		named := slices.Contains(names, r.id)
		switch {
		case r == n || named && n.settled[r]:
			if named {
				n.w.fail("%s names %s, which has confirmed that it has everything", n.id, r.id)
			}
		case r.alive && !r.closing && !r.emitter && len(r.dues[n]) > 0 && !named && n.knows[r.id]:
			if at, ok := n.heardAt[r]; !ok || n.w.now-at < 2*DeadAfter {
				n.w.fail("%s has left and does not name %s, where %d are due, %v first", n.id, r.id, len(r.dues[n]), r.dues[n][0].e)
			}
		}
	}
}

// witness is a node that stays and has heard of what is due of one that has gone: then who misses it must say so.
func (w *world) witness(d *due) *node {
	e := d.e
	for _, x := range w.nodes {
		hinted := func(room string) bool { return x.hints[e.from][tailOf(w, room, e.stamp.Sequence)] }
		if x.alive && x != e.from && (x.told[e.from] >= e.stamp.Sequence || x.carried[e] || slices.ContainsFunc(d.via, hinted)) {
			return x
		}
	}
	return nil
}

func tailOf(w *world, room string, seq uint64) Tail {
	hash := hashOf
	if w.weak {
		hash = weakHash
	}
	return Tail{Hash: hash(topicOf(room)), Sequence: seq}
}

// let reports whether n has left with a word from r that nothing more is due.
func (n *node) let(r *node) bool {
	p := n.m.peers[r.id]
	return n.closed && p != nil && p.confirmed
}

// quiet checks a world in which nothing has happened for a while, and all is well.
func (w *world) quiet() {
	for _, r := range w.nodes {
		if !r.alive {
			continue
		}
		if r.joins != 0 || len(r.m.waits) != 0 || r.m.fencing != fenceIdle || len(r.m.batches) != 0 || len(r.m.lingering) != 0 {
			w.fail("%s is not quiet: %d joins, %d waits, fencing %d, %d batches, %d lingering",
				r.id, r.joins, len(r.m.waits), r.m.fencing, len(r.m.batches), len(r.m.lingering))
		}
		held := 0
		for _, p := range r.m.peers {
			held += p.bytes
		}
		if held != r.m.heldBytes {
			w.fail("%s: %d bytes are held of all nodes, and %d of each of them together", r.id, r.m.heldBytes, held)
		}
		if len(r.m.order)+len(r.m.tombstones) != len(r.m.peers) {
			w.fail("%s: %d nodes in order and %d tombs of %d nodes", r.id, len(r.m.order), len(r.m.tombstones), len(r.m.peers))
		}
		topics := make(map[string]bool)
		for _, m := range r.members {
			for room := range m.in {
				if topic := topicOf(room); !strings.HasPrefix(topic, "@"+r.id+"/") {
					topics[topic] = true
				}
			}
		}
		interests := 0
		for _, in := range r.m.interests {
			for ; in != nil; in = in.next {
				interests++
			}
		}
		if interests != len(topics) || len(r.subs) != 2+len(topics) {
			w.fail("%s: %d interests and %d subscriptions for %d topics", r.id, interests, len(r.subs), len(topics))
		}
		for _, o := range w.nodes {
			if o == r {
				continue
			}
			p := r.m.peers[o.id]
			switch {
			case p == nil && o.alive:
				w.fail("%s has not heard of %s", r.id, o.id)
			case p == nil:
				continue
			case o.alive && (!p.started || !p.alive()):
				w.fail("%s of %s: started %v, standing %d", r.id, o.id, p.started, p.standing)
			case o.alive && (p.low != o.m.ring.newest || p.high != p.low || p.answered != r.m.fence):
				w.fail("%s of %s: floor %d, goal %d; its last number is %d; answered %d of %d",
					r.id, o.id, p.low, p.high, o.m.ring.newest, p.answered, r.m.fence)
			case o.alive && (len(p.gaps)+len(p.lows)+p.done.len()+len(p.held)+len(p.behind)+p.bytes+len(p.ready) != 0 || p.done.words != nil):
				w.fail("%s of %s: %d want, %d last, %d done, %d held, %d behind, %d bytes", r.id, o.id,
					len(p.gaps), len(p.lows), p.done.len(), len(p.held), len(p.behind), p.bytes)
			case !o.alive && p.alive():
				w.fail("%s believes that %s is alive", r.id, o.id)
			}
			for _, d := range r.dues[o] {
				if !o.alive && w.any && !o.let(r) && (!p.standing.over() || w.witness(d) == nil) {
					continue // it may still be heard of, or nobody has ever heard of this
				}
				name := "the node"
				if d.member != nil {
					name = d.member.id
				}
				w.fail("%s: %v, due by %v, did not come to %s and was not reported", r.id, d.e, d.via, name)
			}
		}
		c := r.m.Counts()
		lost := !w.any && (c.Missed+c.Unknown != 0 || c.Suspects != 0 && !w.distant)
		if c.Delivered != uint64(len(r.carried)) || lost || !w.any && !w.weak && c.Nacks == 0 && c.Overtaken != 0 {
			w.fail("%s: counts %+v, %d delivered", r.id, c, len(r.carried))
		}
	}
}
