package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// steady is a world where connections break and nodes are killed and started again, and nothing else goes wrong: whoever is connected is
// heard, and hears.
func steady(seed uint64, limits Limits, trace func(string, ...any)) *world {
	w := begin(seed, faults{any: true}, limits, trace)
	w.goSteadily()
	return w
}

// goSteadily lets a steady world live.
func (w *world) goSteadily() {
	w.roomy, w.steady = true, true
	for range 3 + w.rng.IntN(3) {
		w.open()
		w.run(w.now + w.between(60*time.Millisecond, 600*time.Millisecond))
	}
	w.turns(40*time.Millisecond, func() {
		if !w.chance(0.03) {
			w.act()
			return
		}
		n := w.pick()
		if n == nil {
			return
		}
		w.operations++
		switch w.rng.IntN(5) {
		case 0:
			if len(w.nodes) < 10 && w.living() > 2 {
				n.die()
				w.run(w.now + w.between(30*time.Millisecond, 2*time.Second))
				w.open()
			}
		case 1: // nobody does anything
			w.run(w.now + w.between(0, 4*time.Second))
		default:
			n.drop(w.between(0, time.Second), w.between(0, 200*time.Millisecond), w.between(100*time.Millisecond, 3*time.Second))
		}
	})
	w.mend(7 * time.Second)
}

// meeting is how long it takes at the most, in a world in which nothing is lost, until a node that has connected is trusted by all others that
// are connected: a fence that it was too late for ends, its next heartbeat is heard, and the hello that this brings is answered.
const meeting = FenceTimeout + HeartbeatInterval + 250*time.Millisecond

// connected reports whether n has had a connection for so long.
func (n *node) connected(d time.Duration) bool {
	return n.alive && !n.closing && n.client != nil && !n.client.dead && n.w.now-n.client.since >= d
}

// steady checks what a node believes in a world that is steady.
func (n *node) steady() {
	w := n.w
	if !w.steady || !n.connected(meeting) {
		return
	}
	back := true // all that it has ever heard
	for _, o := range w.nodes {
		connected := o.connected(meeting)
		if p := n.m.peers[o.id]; p != nil && p.standing.silent() && connected {
			w.fail("%s suspects %s, and both have been connected for more than %v", n.id, o.id, meeting)
		}
		if n.hears[o] && !connected && !o.closed {
			back = false
		}
	}
	if n.held && back {
		w.fail("%s holds its broadcasts back, and all that it knows have been connected for more than %v", n.id, meeting)
	}
}

// sound reports whether nothing is wrong with the world any more: all nodes are connected and live, all pipes flow.
func (w *world) sound() bool {
	if w.faults != (faults{any: w.any}) {
		return false
	}
	flows := func(p *pipe) bool { return p.last <= w.now+10*time.Millisecond }
	for _, b := range w.brokers {
		for _, o := range w.brokers {
			if b.cut[o] || !flows(b.routes[o]) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(w.nodes, func(n *node) bool {
		return n.alive && !n.closing && (n.hung || n.deaf || !n.connected(0) || !flows(&n.client.up) || !flows(&n.client.down))
	})
}

// repairing is how long it takes at the most, in a sound world, until nothing is missing any more: the last question that was asked in vain may have
// been a moment ago, and the next one comes after two seconds.
const repairing = 2*time.Second + meeting

// mend waits until a world is sound. Then all that is missing must have come in time; and after another while all is quiet.
func (w *world) mend(while time.Duration) {
	w.faults = faults{any: w.any}
	for w.failure == "" && !w.sound() {
		w.run(w.now + 20*time.Millisecond)
	}
	w.run(w.now + repairing)
	if w.limits.Ranges > 0 {
		w.run(w.now + 2*time.Second) // small windows: many answers, one behind the other
	}
	for _, r := range w.nodes {
		for _, o := range w.nodes {
			if p := r.m.peers[o.id]; r != o && r.alive && o.alive && !r.closing && !o.closing && (p == nil || p.low != o.m.ring.newest || p.standing.silent()) {
				w.fail("%s of %s is not repaired: %s", r.id, o.id, p)
			}
		}
	}
	w.run(w.now + while)
	w.introduced()
	w.quiet()
}

// introduced checks that all who live know the names of all who live, whatever was lost when they met.
func (w *world) introduced() {
	here := make(map[string]bool)
	for _, r := range w.nodes {
		here[r.id] = r.alive && !r.closing
	}
	for _, r := range w.nodes {
		if !here[r.id] {
			continue
		}
		for _, n := range r.m.Nodes() {
			if here[n.ID] && n.Name != named(n.ID) {
				w.fail("%s is called %q by %s, want %q", n.ID, n.Name, r.id, named(n.ID))
			}
		}
	}
}

func (p *peer[B]) String() string {
	if p == nil {
		return "not heard of"
	}
	return fmt.Sprintf("started %v, standing %d, floor %d, goal %d, %d wanted, %d held; heard at %v and asked at %v, by the asker's clock",
		p.started, p.standing, p.low, p.high, len(p.gaps), len(p.held), p.heardAt, p.nackedAt)
}

// farthest is how far a node may be from its broker.
const farthest = 300 * time.Millisecond

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
		if r.joins+r.settling+len(r.m.settles) != 0 {
			w.fail("%s is not quiet: %d Settles, %d rounds", r.id, r.settling, len(r.m.settles))
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
