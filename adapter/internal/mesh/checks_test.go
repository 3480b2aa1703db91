package mesh

import (
	"slices"
	"strings"
	"time"
)

// due is an emission that a member must receive, or that must be reported as lost: when it was emitted, the member was confirmed in all
// rooms of via. Without a member it is a request, which every node must carry out.
type due struct {
	e      *emission
	member *member
	via    []string
}

type stream struct {
	origin *node
	topic  string
}

// checks are the model: what a node must receive, what it has received and what it has reported.
type checks struct {
	emissions []*emission // of this node, by number
	carried   map[*emission]bool
	high      map[stream]uint64 // the highest number delivered through the topic
	dues      map[*node][]*due  // by origin, in order
	gone      map[*emission]bool
	unknown   map[*node][]unknown
	joins     int // waits not ended
	settling  int // Settles not ended
	steps     int // of the machine

	fenced   uint64                   // the last of the fences that it sent
	behind   map[string]uint64        // the last one that it had sent before it subscribed a topic, of those that it is subscribed to
	begun    map[string]time.Duration // when it subscribed a topic
	answered map[*node]uint64         // the last one that a node has answered
	hears    map[*node]bool           // those of whom anything has come
	heardAt  map[*node]time.Duration
	knows    map[string]bool         // those of whom it has heard, from them or from others
	settled  map[*node]bool          // those that have said that they need nothing more of it, which leaves
	told     map[*node]uint64        // the highest number that a node has named to all in a heartbeat or a goodbye
	hints    map[*node]map[Tail]bool // what its heartbeats have named, to all or to this node alone
	named    map[string]bool         // those that others have named since the link came up
	entered  map[string]moment       // when it subscribed a topic, of those that it is subscribed to
	cause    *node                   // whose request is being carried out
}

// moment is when a node entered something: behind a step of the machine, by a request of cause or, if that is nil, by itself.
type moment struct {
	step  int
	cause *node
}

// before reports whether the machine knew of what was entered then when it let e go in this step. What is behind a request of the same node it
// must not let go before the request is carried out.
func (at moment) before(e *emission, step int) bool { return at.step < step || at.cause == e.from }

func (n *node) moment() moment { return moment{n.steps, n.cause} }

// unknown is an unknown loss that was reported.
type unknown struct {
	Lost
	step int
}

func newChecks() checks {
	return checks{
		carried: make(map[*emission]bool),
		high:    make(map[stream]uint64),
		dues:    make(map[*node][]*due),
		gone:    make(map[*emission]bool),
		unknown: make(map[*node][]unknown),

		behind:   make(map[string]uint64),
		entered:  make(map[string]moment),
		begun:    make(map[string]time.Duration),
		answered: make(map[*node]uint64),
		hears:    make(map[*node]bool),
		heardAt:  make(map[*node]time.Duration),
		knows:    make(map[string]bool),
		settled:  make(map[*node]bool),
		told:     make(map[*node]uint64),
		hints:    make(map[*node]map[Tail]bool),
		named:    make(map[string]bool),
	}
}

// expect notes what e means to the members of n.
func (n *node) expect(e *emission) {
	w, o := n.w, e.from
	if !n.alive || n.closing || !w.any && !n.ready {
		return
	}
	// An older node that was never met is not held alive by n.
	if p := n.m.peers[o.id]; o.opened <= n.opened && (p == nil || !p.started) {
		return
	}
	if e.kind != packet {
		n.dues[o] = append(n.dues[o], &due{e: e, via: []string{all}})
		return
	}
	for _, m := range n.members {
		if slices.ContainsFunc(e.except, func(room string) bool { return m.in[room] != nil }) {
			continue
		}
		confirmed := func(room string) bool {
			ms := m.in[room]
			return ms != nil && ms.confirmed && !slices.Contains(ms.but, o.id)
		}
		var via []string
		for _, room := range e.rooms {
			// By the topic of the namespace, that is what has to be confirmed, too.
			if confirmed(room) && (!e.wide() || confirmed(namespace)) {
				via = append(via, room)
			}
		}
		if len(e.rooms) == 0 && confirmed(namespace) {
			via = []string{namespace}
		}
		if via != nil {
			n.dues[o] = append(n.dues[o], &due{e, m, via})
		}
	}
}

func (n *node) joined(j *join, missing []string) {
	n.joins--
	n.w.trace("a Join of %s has ended, missing %v", j.member.id, missing)
	wait := n.w.now - max(j.at, min(n.stretch, n.w.now))
	if limit := n.w.patience() + 2*maxLate; wait > limit { // the end of either fence may be late
		n.w.fail("a Join of %s took %v, more than %v", j.member.id, wait, limit)
	}
	young := func(o *node) bool { return n.w.distant && o.opened > j.at-MaxPatience }
	// Where nodes are far away, one that has just been met may be so far that a Join does not wait for it, and one that is new cannot know how far the
	// others are before the first of them has answered.
	if !n.w.any && !n.closing && !young(n) && slices.ContainsFunc(missing, func(id string) bool { return !young(n.w.node(id)) }) {
		n.w.fail("a Join of %s misses %v in a healthy world", j.member.id, missing)
	}
	if j.swift && !slices.ContainsFunc(n.w.nodes, young) {
		n.w.swift++
		if limit := 2*n.reach() + 50*time.Millisecond; wait > limit {
			n.w.fail("a Join of %s took %v, more than %v, and found no fence under way", j.member.id, wait, limit)
		}
	}
	for i, id := range missing {
		o := n.w.node(id)
		switch {
		case o == nil || o == n || slices.Contains(missing[:i], id):
			n.w.fail("a Join of %s misses %v, which are not other nodes", j.member.id, missing)
		case j.fence == 0 || n.answered[o] >= j.fence:
			n.w.fail("a Join of %s, which needs an answer to fence %d, misses %s, which has answered %d", j.member.id, j.fence, id, n.answered[o])
		}
	}
	for _, ms := range j.memberships {
		ms.confirm(missing) // also where it has ended: nobody looks at it then
	}
	if p := j.member.session; p != nil {
		p.joined(missing)
	}
}

// patience is how long a Join takes at the most: two fences. Where pipes stall and nodes hang, round trips are measured that are no distance.
func (w *world) patience() time.Duration {
	switch {
	case w.any && !w.steady:
		return 2 * MaxPatience
	case w.distant:
		return 2 * MaxPatience
	}
	return 2 * FenceTimeout
}

// reach is the way from n to the node that is farthest from it.
func (n *node) reach() time.Duration {
	reach := n.distance
	for _, o := range n.w.nodes {
		if o != n && o.alive {
			reach = max(reach, n.distance+o.distance)
		}
	}
	return reach
}

// heard notes what the machine has been told.
func (n *node) heard(from *node, msg Message) {
	switch msg := msg.(type) {
	case *Ack:
		p := n.m.peers[from.id]
		if p.standing == StandingLeft {
			return
		}
		// Before it is known where a node's broadcasts begin, its answer may be too old to say so.
		if p.started {
			n.answered[from] = max(n.answered[from], msg.Fence)
		}
		for _, id := range msg.Members {
			n.named[id], n.knows[id] = true, true
		}
		for _, h := range msg.Gossip {
			n.knows[h.Node] = true
		}
	case *Heartbeat:
		if !msg.Asked {
			n.told[from] = max(n.told[from], msg.Upto)
		}
		for _, tail := range msg.Tails {
			if n.hints[from] == nil {
				n.hints[from] = make(map[Tail]bool)
			}
			n.hints[from][tail] = true
		}
	case *Bye:
		n.told[from] = max(n.told[from], msg.Last)
	case *Confirm:
		n.settled[from] = n.closing
	}
}

// answers checks an answer to a hello: it names all that may be there.
func (n *node) answers(ack *Ack, asker string) {
	names := ack.Members
	for _, h := range ack.Gossip {
		names = append(names, h.Node)
	}
	for o, at := range n.heardAt {
		p := n.m.peers[o.id]
		if o != n && o.id != asker && o.alive && !o.closing && p.started && n.w.now-at < DeadAfter && !slices.Contains(names, o.id) {
			n.w.fail("%s does not name %s to %s, of which it has heard %v ago", n.id, o.id, asker, n.w.now-at)
		}
	}
}

// isReady is called when the opening of the link ends: all that others have named have answered, or had time to.
func (n *node) isReady() {
	n.ready = true
	if n.m.now >= n.m.readyAt {
		return
	}
	for id := range n.named {
		if p := n.m.peers[id]; id != n.id && !p.standing.parted() && p.answered < n.m.openFence && !(p.standing.silent() && n.m.now >= n.m.upAt+FenceTimeout) {
			n.w.fail("%s is ready before %s has answered, of whom it has heard", n.id, id)
		}
	}
}

// asksForNothing checks a Nack in a world in which nothing is lost. There is one case: a node without members does not receive what travels by
// the namespace's topic, and sees a hole in a private topic of its own, which it need not subscribe to. What it asks for selects nobody, unless somebody joins meanwhile.
//
// Where nodes are far away, one that is new may be suspect: then its answer is presumed, and what it has sent before shows as missing, too.
func (n *node) asksForNothing(nack *Nack) {
	if n.w.distant && n.m.Counts().Suspects > 0 {
		return
	}
	for _, r := range nack.Ranges {
		if r.Hash>>32 != uint64(hash32(n.id)) {
			n.w.fail("%s asks for %+v in a healthy world", n.id, r)
		}
	}
}

// ended is called when interest in topics has ended: a later membership begins anew.
func (n *node) ended(topics []string) {
	for s := range n.high {
		if slices.Contains(topics, s.topic) {
			delete(n.high, s)
		}
	}
	for _, m := range n.members {
		for room := range m.in {
			if topic := topicOf(room); slices.Contains(topics, topic) {
				n.w.fail("%s: unsubscribed %s, which has a member", n.id, topic)
			}
		}
	}
}

// tracks reports whether n is subscribed to a topic.
func (n *node) tracks(topic string) bool {
	return n.subs[topic] || topic == "@"+n.id || n.private(topic)
}

// private reports whether a topic is a private one of n.
func (n *node) private(topic string) bool { return strings.HasPrefix(topic, "@"+n.id+"/") }

// delivered checks what the machine delivers to the node.
func (n *node) delivered(e *emission, past []bool, step int) {
	w := n.w
	w.trace("%s delivers %v", n.id, e)
	switch {
	case n.carried[e]:
		w.fail("%s: %v delivered twice", n.id, e)
	case n.gone[e]:
		w.fail("%s: %v delivered after it was counted as lost", n.id, e)
	case slices.ContainsFunc(n.unknown[e.from], func(l unknown) bool { return l.step < step && l.After < e.stamp.Sequence && e.stamp.Sequence <= l.Upto }):
		w.fail("%s: %v delivered after all up to there was reported as lost", n.id, e)
	}
	n.carried[e] = true
	tracked := false
	for i, t := range e.topics {
		if !n.tracks(t) || past != nil && past[i] || !n.entered[t].before(e, step) {
			continue
		}
		tracked = true
		s := stream{e.from, t}
		if e.stamp.Sequence < n.high[s] {
			w.fail("%s: %v delivered after %d of %s", n.id, e, n.high[s], t)
		}
		n.high[s] = e.stamp.Sequence
	}
	if !tracked && !w.weak {
		w.fail("%s: %v delivered without interest", n.id, e)
	}
	n.dues[e.from] = slices.DeleteFunc(n.dues[e.from], func(d *due) bool { return d.e == e && d.member == nil })
}

// got checks what a member is given, or what is done to it, as one of rooms.
func (n *node) got(m *member, e *emission, rooms []string, step int) {
	w := n.w
	if m.seen[e] {
		w.fail("%s: %v came twice", m.id, e)
	}
	m.seen[e] = true
	if len(rooms) == 0 {
		rooms = []string{namespace}
	}
	since := time.Duration(1<<63 - 1)
	for _, room := range rooms {
		ms := m.in[room]
		if ms == nil {
			continue
		}
		since = min(since, ms.since)
		// The order in a room holds whatever way a broadcast to it has come.
		if ms.at.before(e, step) {
			if e.stamp.Sequence < ms.high[e.from] {
				w.fail("%s: %v came after %d in %s", m.id, e, ms.high[e.from], room)
			}
			ms.high[e.from] = e.stamp.Sequence
		}
	}
	switch {
	case since > w.now:
		w.fail("%s: %v came, and it is in none of %v", m.id, e, rooms)
	case !w.any && !w.weak && since > e.at+200*time.Millisecond+n.distance+e.from.distance &&
		!(e.wide() && slices.ContainsFunc(e.topics, n.private)): // see asksForNothing
		w.fail("%s: %v came, %v older than the membership", m.id, e, since-e.at)
	}
	n.dues[e.from] = slices.DeleteFunc(n.dues[e.from], func(d *due) bool {
		if d.member != m {
			return false
		}
		if d.e.stamp.Sequence < e.stamp.Sequence && d.shares(e) {
			w.fail("%s: %v came before %v", m.id, e, d.e)
		}
		return d.e == e
	})
}

// shares reports whether e is for a room by which d is due: then d comes first.
func (d *due) shares(e *emission) bool {
	if len(e.rooms) == 0 {
		return slices.Contains(d.via, namespace)
	}
	return slices.ContainsFunc(d.via, func(room string) bool { return slices.Contains(e.rooms, room) })
}
