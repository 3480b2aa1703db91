// Package mesh is the protocol between the nodes of a cluster: who is there, in which order broadcasts are delivered, what is missing
// and how it is repaired, and from when on a joined room is live everywhere.
//
// A [Machine] is pure: every method is one step that takes the time and what happened, and returns the effects that it wants. It has
// no goroutine, no clock and no link, so that seeded worlds of many machines replay exactly. It knows topics (of type T) and never
// looks into a broadcast.
//
// Every broadcast of a node carries a running number, and for each of its topics a link to the node's previous number on that topic. Its
// topics are all on which it has its place, which may be more than it travels on: whatever way it went, a receiver of any of them sees
// where it belongs. A receiver sees by the link that something is missing in front of a broadcast, and by a Beat that something is missing at the end. It
// holds what is early, and asks the origin, which remembers what it has sent for a while, for what is missing. What the origin does not
// remember any more is counted, and passed: so a topic is always delivered in order, each broadcast at most once.
//
// What a receiver keeps of an origin is what is above a floor: the number up to which all that concerns this node is settled. In a quiet
// cluster that is nothing. Topics are told apart by a hash: those whose hashes are equal are one stream to the protocol, which costs
// repairs that nobody needs, and breaks no promise.
package mesh

import "time"

// A Machine is one node of the cluster. It is not safe for concurrent use.
type Machine[T comparable] struct {
	cfg    Config[T]
	now    time.Duration // since Open, at this step
	ticked time.Duration // at the last Tick
	out    []Effect[T]
	counts Counts
	links  []Link // of the broadcast that is coming in

	ring   ring
	beaten uint64 // the last Beat's B
	beatAt time.Duration

	peers     map[string]*peer
	order     []*peer       // in the order of meeting, without the tombs
	tombs     []*peer       // those that are gone, or dead and given up, in the order of their ends: every step would look at them in vain
	ended     bool          // some of order have become so in this step
	saying    []*peer       // the next Beats say what was heard of these
	doubts    []*peer       // given up, and it is not decided what they may have sent
	heldBytes int           // of all peers
	changed   bool          // Members may have changed in this step
	broker    Broker        // of the link
	up        bool          // the link works
	downAt    time.Duration // when it was lost
	signed    time.Duration // when it brought something last
	hold      bool          // broadcasts are held back, until Release
	sent      uint64        // while they are: the last number that was handed to the link

	opening bool          // the link is new: not all nodes need be known yet
	openF   uint64        // the fence that was sent when it came up
	fresh   bool          // no link has been longer than its opening, or none was for so long that nodes were given up
	met     bool          // somebody has answered since, who knows the cluster
	upAt    time.Duration // when it came up
	helloAt time.Duration // when a hello is sent again if nobody has answered
	readyAt time.Duration // the latest end of the opening

	closing bool          // Close was called
	closed  bool          // and nobody needs this node any more
	byeAt   time.Duration // when the next goodbye is due
	closeAt time.Duration // the latest end of the closing
	closeBy time.Duration // and that of its extensions

	f        uint64 // our running number of fences
	inflight bool   // the last one is being waited for
	fencedAt time.Duration
	wanted   bool // topics were subscribed since it was sent

	interests     map[uint64]*interest[T] // by hash
	peakInterests int                     // see shrink.Map
	batches       map[uint64][]uint64     // by fence: the hashes of the streams that it covers, until all known nodes have answered it
	lingering     []lingering[T]
	waits         map[uint64][]wait // by the fence that they wait for
}

// New returns the machine of a node that was opened at time 0. Its link counts as down until LinkUp.
func New[T comparable](cfg Config[T]) *Machine[T] {
	cfg.Limits = cfg.Limits.defaults()
	if cfg.NameSuspects <= 0 {
		cfg.NameSuspects = DefaultNameSuspects
	}
	return &Machine[T]{
		cfg:       cfg,
		ring:      ring{limits: cfg.Limits, last: make(map[uint64]ends)},
		beatAt:    BeatInterval,
		hold:      true,
		opening:   true,
		fresh:     true,
		readyAt:   FenceTimeout,
		peers:     make(map[string]*peer),
		interests: make(map[uint64]*interest[T]),
		batches:   make(map[uint64][]uint64),
		waits:     make(map[uint64][]wait),
	}
}

// Counts returns what the machine has seen.
func (m *Machine[T]) Counts() Counts { return m.counts }

// Last is the number of the last broadcast of this node.
func (m *Machine[T]) Last() uint64 { return m.ring.g }

func (m *Machine[T]) about() About { return About{Age: m.now, Client: m.cfg.Client, Fresh: m.fresh} }

// Emit numbers a broadcast on topics, none of them twice. It has its place on all of them, and travels on the first ones alone: whoever
// receives it by any of its topics must receive it by one of these. It is to be handed to the link in its place among the effects; from LinkDown,
// or the beginning, until the next [Release] it is to be held back, and what else is sent meanwhile goes before it. broadcast, of about
// size bytes, is what [Resend] carries if somebody misses it.
func (m *Machine[T]) Emit(now time.Duration, topics []T, travels int, broadcast any, size int) Stamp {
	hashes := make([]uint64, len(topics))
	for i, topic := range topics {
		hashes[i] = m.cfg.Hash(topic)
	}
	return m.ring.add(now, hashes, travels, broadcast, size, m.handed())
}

// LinkUp says that the link works, for the first time or again: subscriptions stand, messages flow.
func (m *Machine[T]) LinkUp(now time.Duration) []Effect[T] {
	m.now = now
	m.sent = m.handed()
	m.up, m.hold = true, true
	m.opening, m.met, m.upAt, m.helloAt = true, false, now, now+helloInterval
	m.fresh = m.fresh || now-m.downAt >= DeadAfter-SuspectAfter // nodes that are there were given up for the silence of the link
	m.fence(true)
	m.openF = m.f
	for _, p := range m.order {
		p.forget()
		if !p.dead(now) {
			m.reopen(p)
		}
	}
	m.readyAt = now + m.longest()
	m.changed = true
	m.settle()
	return m.take()
}

// LinkDown says that nothing can be sent or received. Nobody is waited for until LinkUp. sent is the last number that was handed to the
// link, or a lower one; what was to be sent besides broadcasts, and was not, is to be dropped.
func (m *Machine[T]) LinkDown(now time.Duration, sent uint64) []Effect[T] {
	m.now = now
	m.sent = sent
	m.up, m.hold, m.downAt = false, true, now
	m.lapse()
	for _, p := range m.order {
		m.suspect(p)
	}
	m.settle()
	return m.take()
}

// Close begins to leave the cluster: the others are told the last number, and whoever misses something may still ask. [Closed] says that
// the node may go. There must be no Emit any more.
func (m *Machine[T]) Close(now time.Duration) []Effect[T] {
	m.now = now
	m.closing = true
	m.closeAt, m.closeBy, m.byeAt = now+m.longest(), now+maxClosing, now+byeInterval
	if m.up {
		if m.hold {
			m.release()
		}
		m.beatAll()
		m.emit(Send[T]{Message: &Bye{About: m.about(), Last: m.ring.g}})
	}
	m.settle()
	return m.take()
}

// needed reports whether somebody may miss something of this node, which is leaving.
func (m *Machine[T]) needed() bool {
	for _, p := range m.order {
		if p.alive() && !p.settled {
			return true
		}
	}
	return false
}

// Receive takes any other message of the node from, which was sent to this node or to all.
func (m *Machine[T]) Receive(now time.Duration, from string, message Message) []Effect[T] {
	if from == m.cfg.Node {
		return nil
	}
	m.now = now
	p := m.hear(from)
	if _, bye := message.(*Bye); p.gone && !bye {
		return m.take()
	}
	switch msg := message.(type) {
	case *Fence:
		m.meetAt(p, msg.About, msg.Sent)
		m.place(p, msg.Distance)
		if m.up {
			ack := &Ack{About: m.about(), F: msg.F, Sent: m.handed(), Members: m.Members(),
				Echo: msg.Age, Distance: m.broker.RoundTrip, Far: m.farthest()}
			if msg.Hello {
				ack.Heard = m.absentees(p)
			}
			m.emit(Send[T]{To: from, Message: ack})
		}
		if msg.Hello && p.known {
			m.resync(p)
		}
	case *Ack:
		m.meetAt(p, msg.About, msg.Sent)
		if msg.F > m.f {
			break
		}
		m.place(p, msg.Distance)
		m.measure(p, msg.Echo)
		m.met = m.met || !m.fresh || !msg.Fresh
		for _, id := range msg.Members {
			if id != m.cfg.Node {
				m.expect(m.hearOf(id))
				m.mention(m.peers[id], msg.Far)
			}
		}
		m.answered(p, msg.F, msg.Sent)
		m.compare(msg.Heard)
	case *Beat:
		m.meet(p, msg.About)
		if p.known {
			m.beat(p, msg)
		}
		if !msg.Asked {
			p.name(msg.B)
		} else {
			p.confide(msg.Tails)
		}
		m.compare(msg.Heard)
	case *Resync:
		m.meet(p, msg.About)
		if !m.up {
			break
		}
		for _, beat := range m.beats(msg.A, m.handed()) {
			beat.Asked = true
			m.emit(Send[T]{To: from, Message: beat})
		}
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Nack:
		m.answer(from, msg)
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Gone:
		if p.known {
			m.gone(p, msg)
		}
	case *Bye:
		m.bye(p, msg)
	case *Settled:
		p.settled = m.closing
	}
	m.settlePeer(p)
	m.returned(p)
	m.settle()
	return m.take()
}

// Tick does what is due. It is to be called at the time of Next, and may be called at any other.
func (m *Machine[T]) Tick(now time.Duration) []Effect[T] {
	m.now = now
	m.stalled(now - m.ticked - BeatInterval)
	m.ticked = now
	m.dissolve() // first: what is delivered below is judged by what is received after this step
	for _, p := range m.order {
		if now-p.heard >= SuspectAfter || now >= m.due(p) {
			m.suspect(p)
		}
		m.probe(p)
		if p.dead(now) {
			p.buried, m.ended, m.changed = true, true, true
			m.counts.Deaths++
			m.giveUp(p)
			m.tell(p)
		}
		if p.leaving && !p.gone && !p.buried && now >= p.leftAt {
			m.goes(p)
		}
		if !p.known && !p.gone && !p.leaving && !p.dead(now) && now-p.asked >= FenceTimeout {
			m.hello(p)
		}
		m.ask(p)
	}
	m.decide()
	if m.calling() && now >= m.helloAt {
		// Of two nodes that open at once on different brokers, neither may have heard the first hello of the other.
		m.helloAt = now + helloInterval
		m.emit(Send[T]{Message: m.asking(true)})
	}
	if now >= m.beatAt {
		m.beatAt = now + BeatInterval
		m.ring.expire(now, m.handed())
		if m.up && !m.closing {
			m.beatAll() // while broadcasts are held back, too: silence would make this node suspect
		}
	}
	if m.closing && !m.closed && m.up && now >= m.byeAt {
		m.byeAt = now + byeInterval
		m.emit(Send[T]{Message: &Bye{About: m.about(), Last: m.ring.g}})
	}
	m.settle()
	return m.take()
}

// calling reports whether this node is new and has been answered by nobody.
func (m *Machine[T]) calling() bool { return m.up && m.opening && !m.met }

// beatAll tells all nodes the ends of the topics used since the last Beat, as far as they were handed to the link.
func (m *Machine[T]) beatAll() {
	upto := m.handed()
	beats := m.beats(m.beaten, upto)
	beats[0].Heard = m.says()
	for _, beat := range beats {
		m.emit(Send[T]{Message: beat})
	}
	m.beaten = upto
}

// handed is the last number of which it is certain that it goes over the link before what is sent now.
func (m *Machine[T]) handed() uint64 {
	if m.hold {
		return m.sent
	}
	return m.ring.g
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
	if m.closing && !m.closed {
		next = min(next, m.byeAt, m.closeAt)
	}
	if m.up && m.hold {
		next = min(next, max(m.upAt+maxHold, m.readyAt))
	}
	longest := m.longest()
	if m.inflight {
		next = min(next, m.fencedAt+longest)
	}
	if !m.opening {
		for fno := range m.waits {
			next = min(next, m.until(fno, longest))
		}
	}
	if len(m.doubts) > 0 && m.up {
		next = min(next, m.upAt+DeadAfter)
	}
	if len(m.lingering) > 0 {
		next = min(next, m.lingering[0].until)
	}
	for _, p := range m.order {
		next = min(next, m.due(p), m.probeAt(p))
		switch {
		case p.alive():
			next = min(next, p.heard+SuspectAfter)
		case p.suspect:
			next = min(next, p.heard+DeadAfter)
		}
		if !p.known && !p.gone && !p.leaving && !p.dead(m.now) {
			next = min(next, p.asked+FenceTimeout)
		}
		if p.leaving && !p.gone && !p.buried {
			next = min(next, p.leftAt)
		}
		if at, ok := m.repairAt(p); ok {
			next = min(next, at)
		}
	}
	return next
}

func (m *Machine[T]) emit(e Effect[T]) { m.out = append(m.out, e) }

// take ends a step: it returns the effects.
func (m *Machine[T]) take() []Effect[T] {
	m.announce()
	m.bury()
	if m.changed {
		m.changed = false
		m.emit(Membership[T]{})
	}
	out := m.out
	m.out = nil
	return out
}
