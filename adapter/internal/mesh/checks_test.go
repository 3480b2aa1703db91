package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// emission is a broadcast in a world.
type emission struct {
	from   *node
	topics []string
	stamp  Stamp
}

func (e *emission) String() string {
	return fmt.Sprintf("%s/%d%v%v", e.from.id, e.stamp.G, e.topics, e.stamp.Prev)
}

// join is a wait of a node.
type join struct {
	topic string
	epoch int // of the membership
	at    time.Duration
}

// due is an emission that a node must receive, or report as a hole, since it has a confirmed member on each topic of via.
type due struct {
	e   *emission
	via []string
}

type stream struct{ origin, topic string }

// checks are the model: what a node is a member of, what it must receive, what it has received and what it has reported.
type checks struct {
	members   map[string]int  // the epoch of each membership
	confirmed map[string]bool // Join has returned nil
	epochs    int
	seen      map[*emission]bool
	high      map[stream]uint64 // the highest number delivered
	dues      map[string][]due  // by origin, in order
	holes     map[string]int    // reported, by origin
	expected  map[string]int    // at the least
	joins     int               // waits not ended
}

func newChecks() checks {
	return checks{
		members:   make(map[string]int),
		confirmed: make(map[string]bool),
		seen:      make(map[*emission]bool),
		high:      make(map[stream]uint64),
		dues:      make(map[string][]due),
		holes:     make(map[string]int),
		expected:  make(map[string]int),
	}
}

// own reports whether topic is a private one of n.
func (n *node) own(topic string) bool { return strings.HasPrefix(topic, "@"+n.id+"/") }

func (n *node) emit(topics []string) {
	w := n.w
	e := &emission{from: n, topics: topics, stamp: n.m.Emit(n.clock(), topics)}
	w.emitted++
	w.trace("%s emits %v", n.id, e)
	for _, r := range w.nodes {
		if r == n || !r.alive || !w.any && !n.ready {
			continue
		}
		// An older node that was never met is not held alive by r.
		if p := r.m.peers[n.id]; n.opened <= r.opened && (p == nil || !p.known) {
			continue
		}
		var via []string
		for _, t := range topics {
			if r.confirmed[t] || r.own(t) && r.ready {
				via = append(via, t)
			}
		}
		if via != nil {
			r.dues[n.id] = append(r.dues[n.id], due{e, via})
		}
	}
	send := func() {
		for _, t := range topics {
			n.send(t, e)
		}
		n.sent = e.stamp.G
	}
	if n.held {
		n.parked = append(n.parked, send)
		return
	}
	send()
}

func (n *node) join(topics ...string) {
	for _, t := range topics {
		if n.members[t] == 0 {
			n.epochs++
			n.members[t] = n.epochs
		}
	}
	n.joins++
	n.w.trace("%s joins %v", n.id, topics)
	j := &join{topic: topics[0], epoch: n.members[topics[0]], at: n.w.now}
	n.step("", func() []Effect[string] { return n.m.Join(n.clock(), topics, j) })
}

func (n *node) joined(j *join, missing []string) {
	n.joins--
	n.w.trace("%s has joined %s, missing %v", n.id, j.topic, missing)
	wait := n.w.now - max(j.at, min(n.stretch, n.w.now))
	if limit := 2 * FenceTimeout; wait > limit {
		n.w.fail("%s: Join of %s took %v, more than %v", n.id, j.topic, wait, limit)
	}
	if len(missing) > 0 {
		if !n.w.any {
			n.w.fail("%s: Join of %s misses %v in a healthy world", n.id, j.topic, missing)
		}
		return
	}
	if n.members[j.topic] == j.epoch {
		n.confirmed[j.topic] = true
	}
}

func (n *node) leaveRoom(topic string) {
	if n.members[topic] == 0 {
		return
	}
	n.w.trace("%s leaves %s", n.id, topic)
	delete(n.members, topic)
	delete(n.confirmed, topic)
	for origin, list := range n.dues {
		n.dues[origin] = slices.DeleteFunc(list, func(d due) bool {
			return slices.Contains(d.via, topic) && len(d.via) == 1
		})
		for i, d := range n.dues[origin] {
			if slices.Contains(d.via, topic) {
				via := slices.Clone(d.via)
				n.dues[origin][i].via = slices.DeleteFunc(via, func(t string) bool { return t == topic })
			}
		}
	}
	n.step("", func() []Effect[string] { n.m.Leave(n.clock(), topic); return nil })
}

// ended is called when interest in topics has ended: a later membership begins anew.
func (n *node) ended(topics []string) {
	for s := range n.high {
		if slices.Contains(topics, s.topic) {
			delete(n.high, s)
		}
	}
	for _, t := range topics {
		if n.members[t] != 0 {
			n.w.fail("%s: unsubscribed %s, which has a member", n.id, t)
		}
	}
}

func (n *node) holed(from string, count int) {
	n.w.trace("%s: %d holes of %s", n.id, count, from)
	n.holes[from] += count
	if !n.w.any {
		n.w.fail("%s: %d holes of %s in a healthy world", n.id, count, from)
	}
}

func (n *node) delivered(e *emission) {
	w, origin := n.w, e.from.id
	w.trace("%s delivers %v", n.id, e)
	if n.seen[e] {
		w.fail("%s: %v delivered twice", n.id, e)
	}
	n.seen[e] = true
	tracked := false
	for _, t := range e.topics {
		if !n.subs[t] && !n.own(t) {
			continue
		}
		tracked = true
		s := stream{origin, t}
		if e.stamp.G < n.high[s] {
			w.fail("%s: %v delivered after %d of the same topic", n.id, e, n.high[s])
		}
		n.high[s] = e.stamp.G
		lost := false
		n.dues[origin] = slices.DeleteFunc(n.dues[origin], func(d due) bool {
			late := d.e.stamp.G < e.stamp.G && slices.Contains(d.via, t)
			lost = lost || late
			return late
		})
		if lost {
			w.trace("%s: a hole in front of %v on %s is due", n.id, e, t)
			n.expected[origin]++
			if !w.any {
				w.fail("%s: something in front of %v on %s was not delivered", n.id, e, t)
			}
		}
	}
	if !tracked {
		w.fail("%s: %v delivered without interest", n.id, e)
	}
	n.dues[origin] = slices.DeleteFunc(n.dues[origin], func(d due) bool { return d.e == e })
}

// quiet checks a world in which nothing has happened for a while, and all is well.
func (w *world) quiet() {
	for _, r := range w.nodes {
		if !r.alive {
			continue
		}
		if r.joins != 0 || len(r.m.waits) != 0 || r.m.inflight || len(r.m.batches) != 0 || len(r.m.lingering) != 0 {
			w.fail("%s is not quiet: %d joins, %d waits, inflight %v, %d batches, %d lingering",
				r.id, r.joins, len(r.m.waits), r.m.inflight, len(r.m.batches), len(r.m.lingering))
		}
		topics := 0
		for t := range r.members {
			if !r.own(t) {
				topics++
			}
		}
		if len(r.m.interests) != topics || len(r.subs) != 2+topics {
			w.fail("%s: %d interests and %d subscriptions for %d topics", r.id, len(r.m.interests), len(r.subs), topics)
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
			case o.alive && (!p.known || p.suspect || p.gone):
				w.fail("%s of %s: known %v, suspect %v, gone %v", r.id, o.id, p.known, p.suspect, p.gone)
			case o.alive && (p.floor != o.m.origin.g || p.goal != p.floor || p.real != r.m.f):
				w.fail("%s of %s: floor %d, goal %d; its last number is %d; answered %d of %d",
					r.id, o.id, p.floor, p.goal, o.m.origin.g, p.real, r.m.f)
			case o.alive && len(p.last)+len(p.done)+len(p.held) != 0:
				w.fail("%s of %s: %d last, %d done, %d held", r.id, o.id, len(p.last), len(p.done), len(p.held))
			case !o.alive && !p.suspect:
				w.fail("%s believes that %s is alive", r.id, o.id)
			}
			if !o.alive && w.any {
				continue // it may have died before it could say what was lost
			}
			open := make(map[string]bool)
			for _, d := range r.dues[o.id] {
				open[d.via[0]] = true
				if !w.any {
					w.fail("%s: %v was not delivered", r.id, d.e)
				}
			}
			want := r.expected[o.id] + len(open)
			if w.long {
				want = min(want, 1) // a horizon that passed by is one report for all topics
			}
			if got := r.holes[o.id]; got < want {
				w.fail("%s reported %d holes of %s; at least %d are due (%d at the end: %v)", r.id, got, o.id, want, len(open), r.dues[o.id])
			}
		}
		if c := r.m.Counts(); c.Delivered != uint64(len(r.seen)) || !w.any && (c.Holes != 0 || c.Overtaken != 0) {
			w.fail("%s: counts %+v, %d delivered", r.id, c, len(r.seen))
		}
	}
}
