// Package mesh is the protocol between the nodes of a cluster: who is there, in which order broadcasts are delivered, what is missing,
// and from when on a joined room is live everywhere.
//
// A [Machine] is pure: every method is one step that takes the time and what happened, and returns the effects that it wants. It has
// no goroutine, no clock and no link, so that seeded worlds of many machines replay exactly. It knows topics (of type T) and never
// looks into a broadcast.
//
// Every broadcast of a node carries a running number, and for each of its topics a link to the node's previous number on that topic.
// A receiver sees by the link that something is missing in front of a broadcast, and by a Beat that something is missing at the end.
// A hole is counted and passed: what comes late, after something newer on its topic, is dropped.
package mesh

import "time"

// Times and bounds of the protocol.
const (
	FenceTimeout = 250 * time.Millisecond // a node that has not answered a fence or a hello by then is suspect
	BeatInterval = 500 * time.Millisecond
	SuspectAfter = 2 * time.Second  // of silence
	DeadAfter    = 30 * time.Second // of silence
	Linger       = time.Second      // for which a topic stays subscribed after the last leave

	maxHold        = SuspectAfter           // for which broadcasts are held back on a new link, until the nodes known before are back
	helloInterval  = 100 * time.Millisecond // between two hellos of a node that nobody has answered yet
	resyncInterval = 100 * time.Millisecond // at the least, between two Resyncs to one node
	tailAge        = 30 * time.Second       // how long an origin remembers the last number of an idle topic
	maxTails       = 1 << 20                // and of how many topics
	tailsPerPart   = 1 << 15                // 300 kB or so, within the message size of every broker
	maxHeld        = 1 << 10                // broadcasts of a node that is not known yet
	maxTombstones  = 1 << 10
)

// A Config is what a Machine is told about its node and its topics.
type Config[T comparable] struct {
	Node    string              // this node's id
	Hash    func(T) uint64      // the same on every node
	Own     func(T) bool        // the topic needs no Subscribe here: the subscription of the node's own topic covers it
	Private func(h uint64) bool // a hash of which Own would be true; it may be wrong by chance, rarely
}

// Counts is what a Machine has seen since its beginning.
type Counts struct {
	Delivered uint64 // broadcasts handed to the local members
	Unwanted  uint64 // came for topics that this node does not receive
	Copies    uint64 // came again, on another topic of their union or twice on the same
	Stale     uint64 // came after something newer on their topic, and were dropped
	Overtaken uint64 // delivered after something newer of their origin, on another topic
	Holes     uint64 // gaps in a topic; each stands for one lost broadcast or more
	Unheld    uint64 // of nodes not known yet, beyond what is held: dropped
}

// A Machine is one node of the cluster. It is not safe for concurrent use.
type Machine[T comparable] struct {
	cfg    Config[T]
	now    time.Duration // since Open, at this step
	out    []Effect[T]
	counts Counts

	origin origin[T]
	beatAt time.Duration

	peers map[string]*peer[T]
	order []*peer[T] // in the order of meeting
	up    bool       // the link works
	hold  bool       // broadcasts are held back, until Release
	sent  uint64     // while they are: the last number that was handed to the link

	opening bool          // the link is new: not all nodes need be known yet
	openF   uint64        // the fence that was sent when it came up
	met     bool          // somebody has answered since
	upAt    time.Duration // when it came up
	helloAt time.Duration // when a hello is sent again if nobody has answered
	readyAt time.Duration // the latest end of the opening

	f        uint64 // our running number of fences
	inflight bool   // the last one is being waited for
	fencedAt time.Duration
	wanted   bool // topics were subscribed since it was sent

	interests map[uint64]*interest[T] // by hash
	batches   map[uint64][]uint64     // by fence: the hashes of the topics that it covers, until all known nodes have answered it
	lingering []lingering
	waits     map[uint64][]wait // by the fence that they wait for
}

// New returns the machine of a node that was opened at time 0. Its link counts as down until LinkUp.
func New[T comparable](cfg Config[T]) *Machine[T] {
	return &Machine[T]{
		cfg:       cfg,
		origin:    origin[T]{last: make(map[T]*tail[T])},
		beatAt:    BeatInterval,
		hold:      true,
		opening:   true,
		readyAt:   FenceTimeout,
		peers:     make(map[string]*peer[T]),
		interests: make(map[uint64]*interest[T]),
		batches:   make(map[uint64][]uint64),
		waits:     make(map[uint64][]wait),
	}
}

// Counts returns what the machine has seen.
func (m *Machine[T]) Counts() Counts { return m.counts }

// Members returns the other nodes that are known and believed to be alive, in the order of meeting.
func (m *Machine[T]) Members() []string {
	return m.members(func(p *peer[T]) bool { return p.known && !p.suspect })
}

// Suspects returns the nodes that are silent or did not answer, and are not given up yet.
func (m *Machine[T]) Suspects() []string {
	return m.members(func(p *peer[T]) bool { return p.suspect && !p.gone && !p.dead(m.now) })
}

func (m *Machine[T]) members(which func(*peer[T]) bool) []string {
	var ids []string
	for _, p := range m.order {
		if which(p) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// Emit numbers a broadcast on topics, none of them twice. It is to be handed to the link in its place among the effects; from LinkDown, or
// the beginning, until the next [Release] it is to be held back, and what else is sent meanwhile goes before it.
func (m *Machine[T]) Emit(now time.Duration, topics []T) Stamp {
	return m.origin.stamp(now, topics, m.handed())
}

// LinkUp says that the link works, for the first time or again: subscriptions stand, messages flow.
func (m *Machine[T]) LinkUp(now time.Duration) []Effect[T] {
	m.now = now
	m.sent = m.handed()
	m.up, m.hold = true, true
	m.opening, m.met, m.upAt, m.helloAt, m.readyAt = true, false, now, now+helloInterval, now+FenceTimeout
	m.fence(true)
	m.openF = m.f
	for _, p := range m.order {
		if p.gone || p.dead(now) {
			continue
		}
		p.suspect, p.since, p.heard, p.asked = false, now, now, now
		if p.known {
			m.resync(p)
		}
	}
	m.settle()
	return m.take()
}

// LinkDown says that nothing can be sent or received. Nobody is waited for until LinkUp. sent is the last number that was handed to the
// link, or a lower one; what was to be sent besides broadcasts, and was not, is to be dropped.
func (m *Machine[T]) LinkDown(now time.Duration, sent uint64) []Effect[T] {
	m.now = now
	m.sent = sent
	m.up, m.hold = false, true
	for _, p := range m.order {
		m.suspect(p)
	}
	m.settle()
	return m.take()
}

// Close leaves the cluster: the last step. What was lost at the end of a topic is not seen after it, so a Beat goes before.
func (m *Machine[T]) Close(now time.Duration) []Effect[T] {
	m.now = now
	if m.up {
		if m.hold {
			m.hold = false
			m.emit(Release[T]{})
		}
		m.beatAll()
		m.emit(Send[T]{Message: &Bye{}})
	}
	return m.take()
}

// Receive takes any other message of the node from.
func (m *Machine[T]) Receive(now time.Duration, from string, message Message) []Effect[T] {
	if from == m.cfg.Node {
		return nil
	}
	m.now = now
	p := m.hear(from)
	if p.gone {
		return nil
	}
	switch msg := message.(type) {
	case *Fence:
		m.meet(p, msg.Age)
		if m.up {
			m.emit(Send[T]{To: from, Message: &Ack{To: from, F: msg.F, Sent: m.handed(), Age: now, Members: m.Members()}})
		}
		if msg.Hello && p.known {
			m.resync(p)
		}
	case *Ack:
		m.meet(p, msg.Age)
		if msg.To != m.cfg.Node || msg.F > m.f {
			break
		}
		m.met = true
		for _, id := range msg.Members {
			if id != m.cfg.Node {
				m.hearOf(id)
			}
		}
		m.answered(p, msg.F, msg.Sent)
	case *Beat:
		m.meet(p, msg.Age)
		if p.known {
			m.beat(p, msg)
		}
	case *Resync:
		m.meet(p, msg.Age)
		if !m.up {
			break
		}
		for _, beat := range m.origin.since(now, msg.A, m.handed(), m.cfg.Hash) {
			m.emit(Send[T]{To: from, Message: beat})
		}
	case *Bye:
		m.suspect(p)
		p.gone = true
		p.give()
	}
	m.returned(p)
	m.settle()
	return m.take()
}

// Tick does what is due. It is to be called at the time of Next, and may be called at any other.
func (m *Machine[T]) Tick(now time.Duration) []Effect[T] {
	m.now = now
	for _, p := range m.order {
		if now-p.heard >= SuspectAfter || now >= m.due(p) {
			m.suspect(p)
		}
		if p.gone || p.dead(now) {
			p.give()
		}
		if !p.known && !p.gone && !p.dead(now) && now-p.asked >= FenceTimeout {
			m.hello(p)
		}
	}
	m.dissolve()
	if m.calling() && now >= m.helloAt {
		// Of two nodes that open at once on different brokers, neither may have heard the first hello of the other.
		m.helloAt = now + helloInterval
		m.emit(Send[T]{Message: &Fence{F: m.f, Sent: m.handed(), Age: now, Hello: true}})
	}
	if now >= m.beatAt {
		m.beatAt = now + BeatInterval
		m.origin.expire(now)
		if !m.hold {
			m.beatAll()
		}
	}
	m.settle()
	return m.take()
}

// calling reports whether this node is new and has been answered by nobody.
func (m *Machine[T]) calling() bool { return m.up && m.opening && !m.met }

// beatAll tells all nodes the ends of the topics used since the last Beat.
func (m *Machine[T]) beatAll() {
	for _, beat := range m.origin.since(m.now, m.origin.beat, m.origin.g, m.cfg.Hash) {
		m.emit(Send[T]{Message: beat})
	}
	m.origin.beat = m.origin.g
}

// handed is the last number of which it is certain that it goes over the link before what is sent now.
func (m *Machine[T]) handed() uint64 {
	if m.hold {
		return m.sent
	}
	return m.origin.g
}

// Next is the time at which Tick is due.
func (m *Machine[T]) Next() time.Duration {
	next := m.beatAt
	if m.opening {
		next = min(next, m.readyAt)
	}
	if m.calling() {
		next = min(next, m.helloAt)
	}
	if m.up && m.hold {
		next = min(next, max(m.upAt+maxHold, m.readyAt))
	}
	if m.inflight {
		next = min(next, m.fencedAt+FenceTimeout)
	}
	if !m.opening {
		for _, waits := range m.waits {
			next = min(next, waits[0].until)
		}
	}
	if len(m.lingering) > 0 {
		next = min(next, m.lingering[0].until)
	}
	for _, p := range m.order {
		next = min(next, m.due(p))
		if !p.known && !p.gone && !p.dead(m.now) {
			next = min(next, p.asked+FenceTimeout)
		}
	}
	return next
}

func (m *Machine[T]) emit(e Effect[T]) { m.out = append(m.out, e) }

func (m *Machine[T]) take() []Effect[T] {
	out := m.out
	m.out = nil
	return out
}
