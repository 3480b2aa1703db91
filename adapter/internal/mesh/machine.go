// Package mesh is the protocol between the nodes of a cluster: who is there, in which order broadcasts are delivered, what is missing
// and how it is repaired, and from when on a joined room is live everywhere.
//
// A [Machine] is pure: every method is one step that takes the time and what happened, and returns the effects that it wants. It has
// no goroutine, no clock and no link, so that seeded worlds of many machines replay exactly. It knows topics (of type T) and never
// looks into a broadcast.
//
// Every broadcast of a node carries a running number, and for each of its topics a link to the node's previous number on that topic. Its
// topics are all on which it has its place, which may be more than it travels on: whatever way it went, a receiver of any of them sees
// where it belongs. A receiver sees by the link that something is missing in front of a broadcast, and by a heartbeat that something is missing at the end. It
// holds what is early, and asks the origin, which remembers what it has sent for a while, for what is missing. What the origin does not
// remember any more is counted, and passed: so a topic is always delivered in order, each broadcast at most once.
//
// What a receiver keeps of an origin is what is above a low watermark: the number up to which all that concerns this node is settled. In a quiet
// cluster that is nothing. Topics are told apart by a hash: those whose hashes are equal are one stream to the protocol, which costs
// repairs that nobody needs, and breaks no promise.
package mesh

import "time"

// A Machine is one node of the cluster. It is not safe for concurrent use.
type Machine[T comparable, O, B, W any] struct {
	cfg    Config[T]
	now    time.Duration // since Open, at this step
	ticked time.Duration // at the last Tick
	out    []Effect
	counts Counts
	links  []Link // of the broadcast that is coming in

	ring        ring[O]
	announced   uint64 // the last heartbeat's Upto
	heartbeatAt time.Duration

	peers      map[string]*peer[B]
	order      []*peer[B] // in the order of meeting, without the tombstones
	tombstones []*peer[B] // those that are gone, or dead and given up, in the order of their ends: every step would look at them in vain
	retired    bool       // some of order have become so in this step
	gossiping  []*peer[B] // the next heartbeats say what was heard of these
	doubts     []*peer[B] // given up, and it is not decided what they may have sent
	heldBytes  int        // of all peers
	changed    bool       // Members may have changed in this step
	broker     Broker     // of the link
	link       link
	downAt     time.Duration // when it was lost
	receivedAt time.Duration // when it brought something last
	sent       uint64        // while they are: the last number that was handed to the link

	opening   bool          // the link is new: not all nodes need be known yet
	openFence uint64        // the fence that was sent when it came up
	fresh     bool          // no link has been longer than its opening, or none was for so long that nodes were given up
	welcomed  bool          // somebody has answered since, who knows the cluster
	upAt      time.Duration // when it came up
	callAt    time.Duration // when a hello is sent again if nobody has answered
	readyAt   time.Duration // the latest end of the opening

	life    life
	byeAt   time.Duration // when the next goodbye is due
	closeAt time.Duration // the latest end of the closing
	closeBy time.Duration // and that of its extensions

	fence    uint64 // our running number of fences
	fencing  fencing
	fencedAt time.Duration

	interests     map[uint64]*interest[T] // by hash
	peakInterests int                     // see shrink.Map
	batches       map[uint64][]uint64     // by fence: the hashes of the streams that it covers, until all known nodes have answered it
	lingering     []lingering[T]
	waits         map[uint64][]wait[W] // by the fence that they wait for
}

// link is how far a link is.
type link uint8

const (
	linkDown    link = iota // nothing is sent
	linkHolding             // it is up, and broadcasts are held back, until Release
	linkFlowing
)

func (m *Machine[T, O, B, W]) up() bool { return m.link != linkDown }

// life is how far this node is with its own leaving.
type life uint8

const (
	staying life = iota
	closing      // Close was called
	closed       // and nobody needs this node any more
)

// fencing is whether the last fence is being waited for.
type fencing uint8

const (
	fenceIdle   fencing = iota
	fenceSent           // it is
	fenceBehind         // and topics were subscribed since: another one follows
)

// New returns the machine of a node that was opened at time 0. Its link counts as down until LinkUp.
func New[T comparable, O, B, W any](cfg Config[T]) *Machine[T, O, B, W] {
	cfg.Limits = cfg.Limits.defaults()
	if cfg.NameSuspects <= 0 {
		cfg.NameSuspects = DefaultNameSuspects
	}
	return &Machine[T, O, B, W]{
		cfg:         cfg,
		ring:        ring[O]{limits: cfg.Limits, ends: make(map[uint64]ends)},
		heartbeatAt: HeartbeatInterval,
		opening:     true,
		fresh:       true,
		readyAt:     FenceTimeout,
		peers:       make(map[string]*peer[B]),
		interests:   make(map[uint64]*interest[T]),
		batches:     make(map[uint64][]uint64),
		waits:       make(map[uint64][]wait[W]),
	}
}

// Counts returns what the machine has seen.
func (m *Machine[T, O, B, W]) Counts() Counts { return m.counts }

// Last is the number of the last broadcast of this node.
func (m *Machine[T, O, B, W]) Last() uint64 { return m.ring.newest }

func (m *Machine[T, O, B, W]) about() About {
	return About{Age: m.now, Client: m.cfg.Client, Fresh: m.fresh}
}

// Emit numbers a broadcast on topics, none of them twice. It has its place on all of them, and travels on the first ones alone: whoever
// receives it by any of its topics must receive it by one of these. It is to be handed to the link in its place among the effects; from LinkDown,
// or the beginning, until the next [Release] it is to be held back, and what else is sent meanwhile goes before it. broadcast, of about
// size bytes, is what [Resend] carries if somebody misses it.
func (m *Machine[T, O, B, W]) Emit(now time.Duration, topics []T, travels int, broadcast O, size int) Stamp {
	hashes := make([]uint64, len(topics))
	for i, topic := range topics {
		hashes[i] = m.cfg.Hash(topic)
	}
	return m.ring.add(now, hashes, travels, broadcast, size, m.handed())
}

// LinkUp says that the link works, for the first time or again: subscriptions stand, messages flow.
func (m *Machine[T, O, B, W]) LinkUp(now time.Duration) []Effect {
	m.now = now
	m.sent = m.handed()
	m.link = linkHolding
	m.opening, m.welcomed, m.upAt, m.callAt = true, false, now, now+helloInterval
	m.fresh = m.fresh || now-m.downAt >= DeadAfter-SuspectAfter // nodes that are there were given up for the silence of the link
	m.sendFence(true)
	m.openFence = m.fence
	for _, p := range m.order {
		p.forget()
		if !p.expired(now) {
			m.reopen(p)
		}
	}
	m.readyAt = now + m.longest()
	m.changed = true
	m.endWaits()
	return m.finish()
}

// LinkDown says that nothing can be sent or received. Nobody is waited for until LinkUp. sent is the last number that was handed to the
// link, or a lower one; what was to be sent besides broadcasts, and was not, is to be dropped.
func (m *Machine[T, O, B, W]) LinkDown(now time.Duration, sent uint64) []Effect {
	m.now = now
	m.sent = sent
	m.link, m.downAt = linkDown, now
	m.markLapsed()
	for _, p := range m.order {
		m.suspect(p)
	}
	m.endWaits()
	return m.finish()
}

// Close begins to leave the cluster: the others are told the last number, and whoever misses something may still ask. [Closed] says that
// the node may go. There must be no Emit any more.
func (m *Machine[T, O, B, W]) Close(now time.Duration) []Effect {
	m.now = now
	m.life = closing
	m.closeAt, m.closeBy, m.byeAt = now+m.longest(), now+maxClosing, now+byeInterval
	if m.up() {
		m.release()
		m.sendHeartbeat()
		m.emit(Send{Message: &Bye{About: m.about(), Last: m.ring.newest}})
	}
	m.endWaits()
	return m.finish()
}

// needed reports whether somebody may miss something of this node, which is leaving.
func (m *Machine[T, O, B, W]) needed() bool {
	for _, p := range m.order {
		if p.alive() && !p.confirmed {
			return true
		}
	}
	return false
}

// Receive takes any other message of the node from, which was sent to this node or to all.
func (m *Machine[T, O, B, W]) Receive(now time.Duration, from string, message Message) []Effect {
	if from == m.cfg.Node {
		return nil
	}
	m.now = now
	p := m.contact(from)
	if _, bye := message.(*Bye); p.standing == StandingLeft && !bye {
		return m.finish()
	}
	switch msg := message.(type) {
	case *Fence:
		m.identifyAt(p, msg.About, msg.Sent)
		m.setDistance(p, msg.RoundTrip)
		if m.up() {
			ack := &Ack{About: m.about(), Fence: msg.Number, Sent: m.handed(), Members: m.Members(),
				Echo: msg.Age, RoundTrip: m.broker.RoundTrip, Patience: m.farthest()}
			if msg.Hello {
				ack.Gossip = m.gossipFor(p)
			}
			m.emit(Send{To: from, Message: ack})
		}
		if msg.Hello && p.started {
			m.resync(p)
		}
	case *Ack:
		m.identifyAt(p, msg.About, msg.Sent)
		if msg.Fence > m.fence {
			break
		}
		m.setDistance(p, msg.RoundTrip)
		m.measureRoundTrip(p, msg.Echo)
		m.welcomed = m.welcomed || !m.fresh || !msg.Fresh
		for _, id := range msg.Members {
			if id != m.cfg.Node {
				m.await(m.discover(id))
				m.hintPatience(m.peers[id], msg.Patience)
			}
		}
		m.handleAnswer(p, msg.Fence, msg.Sent)
		m.mergeGossip(msg.Gossip)
	case *Heartbeat:
		m.identify(p, msg.About)
		if p.started {
			m.handleHeartbeat(p, msg)
		}
		if !msg.Asked {
			p.noteAnnounced(msg.Upto)
		} else {
			p.noteUnannounced(msg.Tails)
		}
		m.mergeGossip(msg.Gossip)
	case *Resync:
		m.identify(p, msg.About)
		if !m.up() {
			break
		}
		for _, beat := range m.heartbeats(msg.After, m.handed()) {
			beat.Asked = true
			m.emit(Send{To: from, Message: beat})
		}
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Nack:
		m.handleNack(from, msg)
		m.closeAt = min(now+m.longest(), m.closeBy)
	case *Gone:
		if p.started {
			m.handleGone(p, msg)
		}
	case *Bye:
		m.handleBye(p, msg)
	case *Confirm:
		p.confirmed = m.life != staying
	}
	m.drain(p)
	m.returned(p)
	m.endWaits()
	return m.finish()
}

// Tick does what is due. It is to be called at the time of Next, and may be called at any other.
func (m *Machine[T, O, B, W]) Tick(now time.Duration) []Effect {
	m.now = now
	m.stalled(now - m.ticked - HeartbeatInterval)
	m.ticked = now
	m.expireInterests() // first: what is delivered below is judged by what is received after this step
	for _, p := range m.order {
		if now-p.heardAt >= SuspectAfter || now >= m.due(p) {
			m.suspect(p)
		}
		m.probe(p)
		if p.expired(now) {
			m.apply(p, dies)
			m.counts.Deaths++
			m.abandon(p)
			m.gossipAbout(p)
		}
		if p.standing.parting() && now >= p.leaveBy {
			m.markLeft(p)
		}
		if !p.started && p.present(now) && now-p.helloAt >= FenceTimeout {
			m.hello(p)
		}
		m.requestRepairs(p)
	}
	m.resolveDoubts()
	if m.calling() && now >= m.callAt {
		// Of two nodes that open at once on different brokers, neither may have heard the first hello of the other.
		m.callAt = now + helloInterval
		m.emit(Send{Message: m.fenceMessage(true)})
	}
	if now >= m.heartbeatAt {
		m.heartbeatAt = now + HeartbeatInterval
		m.ring.expire(now, m.handed())
		if m.up() && m.life == staying {
			m.sendHeartbeat() // while broadcasts are held back, too: silence would make this node suspect
		}
	}
	if m.life == closing && m.up() && now >= m.byeAt {
		m.byeAt = now + byeInterval
		m.emit(Send{Message: &Bye{About: m.about(), Last: m.ring.newest}})
	}
	m.endWaits()
	return m.finish()
}

// calling reports whether this node is new and has been answered by nobody.
func (m *Machine[T, O, B, W]) calling() bool { return m.up() && m.opening && !m.welcomed }

// sendHeartbeat tells all nodes the ends of the topics used since the last heartbeat, as far as they were handed to the link.
func (m *Machine[T, O, B, W]) sendHeartbeat() {
	upto := m.handed()
	beats := m.heartbeats(m.announced, upto)
	beats[0].Gossip = m.nextGossip()
	for _, beat := range beats {
		m.emit(Send{Message: beat})
	}
	m.announced = upto
}

// handed is the last number of which it is certain that it goes over the link before what is sent now.
func (m *Machine[T, O, B, W]) handed() uint64 {
	if m.link != linkFlowing {
		return m.sent
	}
	return m.ring.newest
}

// Next is the time at which Tick is due.
func (m *Machine[T, O, B, W]) Next() time.Duration {
	next := m.heartbeatAt
	if m.opening {
		next = min(next, m.readyAt)
	}
	if m.calling() {
		next = min(next, m.callAt)
	}
	if m.life == closing {
		next = min(next, m.byeAt, m.closeAt)
	}
	if m.link == linkHolding {
		next = min(next, max(m.upAt+maxHold, m.readyAt))
	}
	longest := m.longest()
	if m.fencing != fenceIdle {
		next = min(next, m.fencedAt+longest)
	}
	if !m.opening {
		for fence := range m.waits {
			next = min(next, m.deadline(fence, longest))
		}
	}
	if len(m.doubts) > 0 && m.up() {
		next = min(next, m.upAt+DeadAfter)
	}
	if len(m.lingering) > 0 {
		next = min(next, m.lingering[0].until)
	}
	for _, p := range m.order {
		next = min(next, m.due(p), m.probeAt(p))
		switch {
		case p.alive():
			next = min(next, p.heardAt+SuspectAfter)
		case p.standing == StandingSuspect:
			next = min(next, p.heardAt+DeadAfter)
		}
		if !p.started && p.present(m.now) {
			next = min(next, p.helloAt+FenceTimeout)
		}
		if p.standing.parting() {
			next = min(next, p.leaveBy)
		}
		if at, ok := m.nackAt(p); ok {
			next = min(next, at)
		}
	}
	return next
}

func (m *Machine[T, O, B, W]) emit(e Effect) { m.out = append(m.out, e) }

// finish ends a step: it returns the effects.
func (m *Machine[T, O, B, W]) finish() []Effect {
	m.reportStandings()
	m.retire()
	if m.changed {
		m.changed = false
		m.emit(Membership{})
	}
	out := m.out
	m.out = nil
	return out
}
