package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// emission is a broadcast in a world, or a request that changes the membership of those whom it selects.
type emission struct {
	from   *node
	rooms  []string // none: all members
	except []string
	kind   kind
	room   string   // of a request: where to or from
	topics []string // of its stamp; it travels on the first of them
	travel int      // on so many
	size   int
	stamp  Stamp
	at     time.Duration
	handed []string // the topics on which it has come to a broker
}

type kind uint8

const (
	packet kind = iota
	requestJoin
	requestLeave
	requestEnd
)

func (e *emission) String() string {
	text := fmt.Sprintf("%s/%d%v", e.from.id, e.stamp.Sequence, e.topics)
	if len(e.except) > 0 {
		text += fmt.Sprintf(" except %v", e.except)
	}
	return text + [...]string{"", " joins ", " leaves ", " ends"}[e.kind] + e.room
}

func (e *emission) incoming(repaired bool) Incoming[string, *emission] {
	return Incoming[string, *emission]{Stamp: e.stamp, Topics: e.topics, Size: e.size, Repaired: repaired, Changes: e.kind != packet, Broadcast: e}
}

// place is that of a room among the topics of e; of the namespace, where e names no room.
func (e *emission) place(room int) int { return len(e.topics) - max(1, len(e.rooms)) + room }

// wide reports whether e travels by the topic of the namespace, and not by those of its rooms.
func (e *emission) wide() bool { return e.topics[0] == namespace }

// member is a socket of a node.
type member struct {
	node      *node
	id        string
	in        map[string]*membership // by room, with the namespace and the room of its own
	seen      map[*emission]bool
	connected bool
	session   *place // it is no socket, but a session that is here or on its way
}

type membership struct {
	since     time.Duration
	at        moment
	confirmed bool             // Join has returned: broadcasts of all nodes are due from now on
	but       []string         // those of nodes that it named are not
	high      map[*node]uint64 // the highest number of each node that the member has got in this room
}

// confirm notes the end of a Join.
func (ms *membership) confirm(missing []string) {
	if ms.confirmed {
		missing = slices.DeleteFunc(slices.Clone(missing), func(id string) bool { return !slices.Contains(ms.but, id) })
	}
	ms.confirmed, ms.but = true, missing
}

// join is a wait of a node.
type join struct {
	member      *member
	memberships []*membership
	at          time.Duration
	fence       uint64 // the answer to no older one of the node's fences is enough; 0 if none is needed
	swift       bool   // no fence was under way, and nobody is new: it takes one round trip

	settled func(unsettled []string) // of a Settle
}

func (m *member) enter(room string) *membership {
	if ms := m.in[room]; ms != nil {
		return ms
	}
	ms := &membership{since: m.node.w.now, at: m.node.moment(), high: make(map[*node]uint64)}
	m.in[room] = ms
	return ms
}

// add connects a member, or has a session in its place, if that is not nil.
func (n *node) add(session *place) {
	n.born++
	m := &member{node: n, id: fmt.Sprintf("%s.%d", n.id, n.born), in: make(map[string]*membership), seen: make(map[*emission]bool)}
	n.w.trace("%s connects", m.id)
	m.connected, m.session = true, session
	if session != nil {
		session.member = m
	}
	n.members = append(n.members, m)
	n.index.Add(m.id, m)
	n.wait(m, []string{namespace, topicOf(m.id)}, m.enter(namespace), m.enter(m.id))
}

func (n *node) join(m *member, rooms ...string) {
	if !m.connected {
		return
	}
	n.w.trace("%s joins %v", m.id, rooms)
	var topics []string
	var ms []*membership
	for _, room := range rooms {
		n.index.Join(m.id, room)
		ms = append(ms, m.enter(room))
		topics = append(topics, topicOf(room))
		n.unexpect(func(d *due) bool { return d.member == m && slices.Contains(d.e.except, room) })
	}
	n.wait(m, topics, ms...)
}

func (n *node) wait(m *member, topics []string, ms ...*membership) {
	n.joins++
	if m.session != nil {
		m.session.joins++
	}
	j := &join{member: m, memberships: ms, at: n.w.now, swift: n.w.distant && n.m.up() && !n.m.opening && n.m.fencing == fenceIdle}
	for _, topic := range topics {
		if strings.HasPrefix(topic, "@"+n.id+"/") {
			continue
		}
		behind, subscribed := n.behind[topic]
		if !subscribed {
			behind = n.fenced
		}
		j.fence = max(j.fence, behind+1)
	}
	n.step(func() []Effect { return n.m.Join(n.clock(), topics, j) })
}

func (n *node) leaveRoom(m *member, room string) {
	if m.in[room] == nil {
		return
	}
	n.w.trace("%s leaves %s", m.id, room)
	delete(m.in, room)
	n.unexpectVia(m, room)
	if _, last := n.index.Leave(m.id, room); last {
		n.uninterest(topicOf(room))
	}
}

func (n *node) remove(m *member) {
	if !m.connected {
		return
	}
	n.w.trace("%s disconnects", m.id)
	m.connected = false
	n.members = slices.DeleteFunc(n.members, func(o *member) bool { return o == m })
	n.unexpect(func(d *due) bool { return d.member == m })
	var empty []string
	n.index.Remove(m.id, func(name string, deleted bool) {
		if deleted {
			empty = append(empty, name)
		}
	})
	for _, room := range empty {
		n.uninterest(topicOf(room))
	}
	if n.index.Len() == 0 {
		n.uninterest(namespace)
	}
}

func (n *node) uninterest(topic string) {
	n.step(func() []Effect { n.m.Leave(n.clock(), topic); return nil })
}

// emit broadcasts, or asks all nodes to change memberships: at this node at once, and then to the others.
func (n *node) emit(e *emission) {
	w := n.w
	e.from, e.at = n, w.now
	e.topics, e.travel = nil, 1
	switch {
	case e.kind != packet:
		e.topics = []string{all}
		w.requests++
	case len(e.rooms) > maxUnion:
		e.topics = []string{namespace}
		w.wide++
	case len(e.rooms) > 1:
		e.travel = len(e.rooms)
		w.unions++
	}
	for _, room := range e.rooms {
		e.topics = append(e.topics, topicOf(room))
	}
	if len(e.rooms) == 0 {
		e.topics = append(e.topics, namespace)
	}
	publish := e.topics[:e.travel]
	e.stamp = n.m.Emit(n.clock(), e.topics, e.travel, e, e.size)
	n.emissions = append(n.emissions, e)
	w.emitted++
	w.trace("%s emits %v %v", n.id, e, e.stamp.Prev)
	for _, r := range w.nodes {
		if r != n {
			r.expect(e)
		}
	}
	n.apply(e, nil, n.steps)
	send := func() {
		for _, t := range publish {
			n.send(t, &letter{"", e})
		}
		n.sent = e.stamp.Sequence
	}
	if n.held {
		n.parked = append(n.parked, send)
		return
	}
	send()
}

// apply gives an emission to the members of this node, without those who are in rooms that are past alone. The machine has let go what comes
// from others in that step.
func (n *node) apply(e *emission, past []bool, step int) {
	var in []string
	for i, room := range e.rooms {
		if past == nil || !past[e.place(i)] {
			in = append(in, room)
		}
	}
	if len(e.rooms) > 0 && len(in) == 0 || len(e.rooms) == 0 && past != nil && past[e.place(0)] {
		return
	}
	selected := n.index.Select(nil, in, e.except)
	for _, m := range selected {
		if e.from != n {
			n.got(m, e, in, step)
		}
		if m.session != nil {
			m.session.note(e, in, step)
		}
		switch e.kind {
		case requestJoin:
			n.join(m, e.room)
		case requestLeave:
			n.leaveRoom(m, e.room)
		case requestEnd:
			n.remove(m)
		}
	}
}
