package mesh

import (
	"cmp"
	"slices"
	"time"
)

// When a node has gone, those who stay compare what they last heard of it. Each says so, with its next heartbeats, when a node becomes silent,
// is given up or has left, and to whoever is new or back, in the answer to its hello. Who hears of more than it has knows that something
// will not come any more.

// An Absence is why a node is not waited for.
type Absence uint8

const (
	Silent  Absence = iota // it is suspect, and may be back
	GivenUp                // it was silent for [DeadAfter]
	Left                   // it has said goodbye
)

// A Gossip is what a node has last heard of another one that is absent, itself or from others.
type Gossip struct {
	Node   string
	Client bool
	Absence
	Age   time.Duration // of the node, by its own clock, when it was last heard
	Ago   time.Duration // the time since
	Upto  uint64        // the last number that it has named to all: of a node that has left, its last
	Tails []Tail        // what came after that of its broadcasts, newest first: not all of it, if it is too much
}

const (
	gossipRepeats  = 4                     // heartbeats that say one thing
	maxGossip      = 256                   // nodes in a heartbeat
	maxTails       = 64                    // of one node in them
	maxUnannounced = 512                   // numbers of one node that no heartbeat has named, by stream, that are remembered
	remembered     = 2 * DeadAfter         // after its last word, a node that was given up may still be back, for what is remembered here
	recent         = 10 * DeadAfter        // those who are back hear of those who have gone since
	gossipLead     = 2 * HeartbeatInterval // who has heard this much more of a node has heard a heartbeat more
)

// gossipAbout has the next heartbeats say what this node has heard of p.
func (m *Machine[T, O, B, W]) gossipAbout(p *peer[B]) {
	if p.gossips == 0 {
		m.gossiping = append(m.gossiping, p)
	}
	p.gossips = gossipRepeats
}

// nextGossip are the words of the next heartbeat.
func (m *Machine[T, O, B, W]) nextGossip() []Gossip {
	var words []Gossip
	m.gossiping = slices.DeleteFunc(m.gossiping, func(p *peer[B]) bool {
		switch {
		case !p.absent() || !p.ageKnown():
			p.gossips = 0
		case len(words) < maxGossip:
			words = append(words, m.gossipOf(p))
			p.gossips--
		}
		return p.gossips == 0
	})
	return words
}

// gossipFor are the words for a node that is new or back.
func (m *Machine[T, O, B, W]) gossipFor(asker *peer[B]) []Gossip {
	var words []Gossip
	for _, p := range m.everybody() {
		if p != asker && p.absent() && p.ageKnown() && m.now-p.heardAt < recent {
			words = append(words, m.gossipOf(p))
		}
	}
	return words
}

// absent reports whether others are told what was heard of p.
func (p *peer[B]) absent() bool { return !p.alive() }

// ageKnown reports whether it is known when p began.
func (p *peer[B]) ageKnown() bool { return p.age > 0 || p.gossipedAge > 0 || p.started }

func (m *Machine[T, O, B, W]) gossipOf(p *peer[B]) Gossip {
	h := Gossip{Node: p.id, Client: p.client, Age: max(p.age, p.gossipedAge), Upto: p.announced}
	h.Ago = max(0, m.now-p.born-h.Age)
	switch {
	case p.standing.parted():
		h.Absence = Left
		return h
	case p.expired(m.now):
		h.Absence = GivenUp
	}
	for _, tail := range slices.Backward(p.unannounced) {
		if tail.Sequence > h.Upto && len(h.Tails) < maxTails {
			h.Tails = append(h.Tails, tail)
		}
	}
	return h
}

// noteReceived remembers that number seq has come, on a stream of ours or of others, until a heartbeat names it.
func (p *peer[B]) noteReceived(hash, seq uint64) {
	if len(p.unannounced) == maxUnannounced {
		p.unannounced = append(p.unannounced[:0], p.unannounced[maxUnannounced/2:]...) // the newest count
	}
	p.unannounced = append(p.unannounced, Tail{Hash: hash, Sequence: seq})
}

// noteUnannounced remembers what p has told this node alone: the others may have missed it, and never hear of it from p.
func (p *peer[B]) noteUnannounced(tails []Tail) {
	for _, t := range slices.Backward(tails[:min(len(tails), maxTails)]) {
		if t.Sequence > p.announced {
			p.noteReceived(t.Hash, t.Sequence)
		}
	}
}

// noteAnnounced notes that p has named all numbers up to g to all.
func (p *peer[B]) noteAnnounced(seq uint64) {
	p.announced = max(p.announced, seq)
	p.unannounced = slices.DeleteFunc(p.unannounced, func(t Tail) bool { return t.Sequence <= p.announced })
}

// mergeGossip takes the words of another node.
func (m *Machine[T, O, B, W]) mergeGossip(words []Gossip) {
	for _, h := range words {
		if h.Node == m.cfg.Node {
			continue
		}
		p := m.discoverFrom(h)
		if p == nil || p.standing == StandingLeft {
			continue
		}
		p.sent, p.gossipedAge = max(p.sent, h.Upto), max(p.gossipedAge, h.Age)
		p.noteAnnounced(h.Upto)
		for _, tail := range h.Tails {
			if len(p.gossiped) < maxUnannounced && !slices.Contains(p.gossiped, tail) {
				p.gossiped = append(p.gossiped, tail)
			}
		}
		switch {
		case h.Absence == Left:
			m.revive(p)
			m.startLeaving(p, h.Upto)
		case h.Absence == GivenUp && p.standing == StandingDead && p.started:
			m.reportLosses(p)
			m.reportDoubt(p)
		}
		m.drain(p)
	}
}

// discoverFrom returns the node of which another one has heard. One that this node has never heard of is added if it may be back, or if it is
// younger: then all that it ever sent was due here. Of any other nothing is due, and discoverFrom returns nil.
//
// What a broker delivers that stood still makes a node younger than it is, and nothing makes one older: the earliest birth counts.
func (m *Machine[T, O, B, W]) discoverFrom(h Gossip) *peer[B] {
	const ever = time.Duration(1) << 61 // two of which are no overflow
	ago := min(h.Ago, ever)
	born := m.now - min(h.Age, ever) - ago
	p := m.peers[h.Node]
	if p != nil && (p.age > 0 || p.gossipedAge > 0) {
		born = min(born, p.born)
	}
	// One that is older by less than the word has travelled would be taken for younger: that matters only if it has sent something.
	younger := born > FenceTimeout || born > 0 && (h.Upto > 0 || len(h.Tails) > 0)
	if p == nil {
		if !younger && ago >= remembered {
			return nil
		}
		if !younger && h.Absence == Left { // and what comes late of it, or is said of it, is not to show it as younger
			m.bury(&peer[B]{id: h.Node, client: h.Client, standing: StandingLeft})
			return nil
		}
		p = &peer[B]{id: h.Node, client: h.Client, since: m.now, standing: StandingAlive, heardAt: m.now - ago, presumed: m.fence}
		m.add(p)
		m.suspect(p)
		m.hello(p)
		m.changed = true
	}
	if p.standing == StandingLeft {
		return p
	}
	if p.age == 0 {
		p.born = born
	}
	if p.started && born <= 0 && p.answered == 0 && (!p.contacted || h.Absence == Left) {
		p.started, p.firstFence, m.changed = false, 0, true // it was taken for younger
	}
	if !p.started && younger {
		p.presumed, p.firstFence = m.fence, m.fence
		m.markComplete(p, born)
		p.start(0)
		m.changed = true
	}
	return p
}

// markComplete notes that this node knows of all that p has sent by now, but for what it has sent since then while this node was not connected.
func (m *Machine[T, O, B, W]) markComplete(p *peer[B], since time.Duration) {
	p.completeAt, p.lapsed = m.now, m.downAt > 0 && m.downAt >= since
}

// markLapsed notes of whom something may have been missed with the link, which is lost: of all but those that were silent already while the
// link still brought something of others. These are judged as if it had stayed.
func (m *Machine[T, O, B, W]) markLapsed() {
	for _, p := range m.order {
		p.lapsed = p.lapsed || m.receivedAt < p.completeAt+gossipLead
	}
}

// unsure reports whether p, which has gone without a goodbye, may have sent something of which nobody has told this node: it was not
// connected, or others have heard more.
func (m *Machine[T, O, B, W]) unsure(p *peer[B]) bool {
	return !p.contacted || p.lapsed || p.gossipedAge > p.age+gossipLead
}

// reportLosses reports what will not come any more of p, which is known and was given up or has left.
func (m *Machine[T, O, B, W]) reportLosses(p *peer[B]) {
	if len(p.gaps) > 0 || p.sent > p.high {
		m.skip(p, max(p.high, p.received, p.sent))
		m.reported(p)
	}
	slices.SortFunc(p.gossiped, func(a, b Tail) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, t := range p.gossiped {
		// What was sent before a Join of ours is not due, and of a fence that was not answered nobody knows whether it was before.
		fence, ok := m.tracked(t.Hash)
		if !ok || fence > max(p.answered, p.firstFence) || t.Sequence <= p.lowOf(t.Hash) || p.far(t.Sequence) || p.done.has(t.Sequence) {
			continue
		}
		p.done.add(t.Sequence, p.low) // and the stream stays where it is: there may be others between, of which p tells if it is back
		m.counts.Missed++
		m.emit(Lost{Node: p.id, After: t.Sequence - 1, Upto: t.Sequence})
	}
	p.gossiped = nil
}

// reportDoubt reports that p, which was given up, may have sent something, if this node is not sure that it has not.
func (m *Machine[T, O, B, W]) reportDoubt(p *peer[B]) {
	if m.unsure(p) {
		m.counts.Unknown++
		m.emit(Lost{Node: p.id, After: p.high, Upto: p.high, Unknown: true})
		m.reported(p)
	}
}

// reported notes that all is reported that others have heard of p.
func (m *Machine[T, O, B, W]) reported(p *peer[B]) {
	p.contacted, p.age = true, max(p.age, p.gossipedAge)
	m.markComplete(p, m.now)
}

// resolveDoubts sees to those that were given up and may have sent something of which nobody has told this node. Where it was not connected, they
// have as long to be back as anybody.
func (m *Machine[T, O, B, W]) resolveDoubts() {
	if len(m.doubts) == 0 || !m.up() || m.now < m.upAt+DeadAfter {
		return
	}
	for _, p := range m.doubts {
		if p.standing == StandingDead && p.started {
			m.reportDoubt(p)
		}
	}
	m.doubts = nil
}

// Unconfirmed are the nodes with members that have not said, since Close, that they have everything of this node: those that have not
// answered yet, and those that are silent, for as long as they may be back and be sent what they have missed.
func (m *Machine[T, O, B, W]) Unconfirmed() []string {
	if m.ring.newest == 0 {
		return nil
	}
	var ids []string
	for _, p := range m.everybody() {
		if !p.client && !p.confirmed && !p.standing.parted() && m.now-p.heardAt < remembered {
			ids = append(ids, p.id)
		}
	}
	return ids
}
