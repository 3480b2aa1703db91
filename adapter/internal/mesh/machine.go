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

	roster[B]
	fences[W]
	topics[T]
	settles settles[B, W]

	ring        ring[O]
	announced   uint64 // the last heartbeat's Upto
	heartbeatAt time.Duration

	gossiping  []*peer[B] // the next heartbeats say what was heard of these
	doubts     []*peer[B] // given up, and it is not decided what they may have sent
	heldBytes  int        // of all peers
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
		roster:      roster[B]{peers: make(map[string]*peer[B])},
		fences:      fences[W]{batches: make(map[uint64][]uint64), waits: make(map[uint64][]wait[W])},
		topics:      topics[T]{interests: make(map[uint64]*interest[T])},
	}
}

// Counts returns what the machine has seen.
func (m *Machine[T, O, B, W]) Counts() Counts { return m.counts }

// Fences is how many fences were sent, with those that a hello carries.
func (m *Machine[T, O, B, W]) Fences() uint64 { return m.fence }

// Last is the number of the last broadcast of this node.
func (m *Machine[T, O, B, W]) Last() uint64 { return m.ring.newest }

// Lows are, for each other node of which that is known, the number up to which all that concerns this node is settled.
func (m *Machine[T, O, B, W]) Lows() map[string]uint64 {
	lows := make(map[string]uint64, len(m.order)+1)
	for _, p := range m.order {
		if p.started {
			lows[p.id] = p.low
		}
	}
	return lows
}

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

func (m *Machine[T, O, B, W]) emit(e Effect) { m.out = append(m.out, e) }

// finish ends a step: it returns the effects.
func (m *Machine[T, O, B, W]) finish() []Effect {
	m.reportStandings()
	m.retire()
	if m.changed {
		m.changed = false
		m.emit(Membership{})
	}
	m.endSettles()
	out := m.out
	m.out = nil
	return out
}
