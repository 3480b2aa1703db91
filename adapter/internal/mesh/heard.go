package mesh

import (
	"cmp"
	"slices"
	"time"
)

// When a node has gone, those who stay compare what they last heard of it. Each says so, with its next Beats, when a node becomes silent,
// is given up or has left, and to whoever is new or back, in the answer to its hello. Who hears of more than it has knows that something
// will not come any more.

// An Absence is why a node is not waited for.
type Absence uint8

const (
	Silent  Absence = iota // it is suspect, and may be back
	GivenUp                // it was silent for [DeadAfter]
	Left                   // it has said goodbye
)

// A Heard is what a node has last heard of another one that is absent, itself or from others.
type Heard struct {
	Node   string
	Client bool
	Absence
	Age   time.Duration // of the node, by its own clock, when it was last heard
	Ago   time.Duration // the time since
	Upto  uint64        // the last number that it has named to all: of a node that has left, its last
	Tails []Tail        // what came after that of its broadcasts, newest first: not all of it, if it is too much
}

const (
	sayings    = 4                // Beats that say one thing
	maxSaid    = 256              // nodes in a Beat
	maxTails   = 64               // of one node in them
	maxCame    = 512              // numbers of one node that no Beat has named, by stream, that are remembered
	remembered = 2 * DeadAfter    // after its last word, a node that was given up may still be back, for what is remembered here
	recent     = 10 * DeadAfter   // those who are back hear of those who have gone since
	uneven     = 2 * BeatInterval // who has heard this much more of a node has heard a Beat more
)

// tell has the next Beats say what this node has heard of p.
func (m *Machine[T]) tell(p *peer) {
	if p.said == 0 {
		m.saying = append(m.saying, p)
	}
	p.said = sayings
}

// says are the words of the next Beat.
func (m *Machine[T]) says() []Heard {
	var words []Heard
	m.saying = slices.DeleteFunc(m.saying, func(p *peer) bool {
		switch {
		case !p.absent() || !p.aged():
			p.said = 0
		case len(words) < maxSaid:
			words = append(words, m.heardOf(p))
			p.said--
		}
		return p.said == 0
	})
	return words
}

// absentees are the words for a node that is new or back.
func (m *Machine[T]) absentees(asker *peer) []Heard {
	var words []Heard
	for _, list := range [][]*peer{m.order, m.tombs} {
		for _, p := range list {
			if p != asker && p.absent() && p.aged() && m.now-p.heard < recent {
				words = append(words, m.heardOf(p))
			}
		}
	}
	return words
}

// absent reports whether others are told what was heard of p.
func (p *peer) absent() bool { return p.suspect || p.leaving || p.gone }

// aged reports whether it is known when p began.
func (p *peer) aged() bool { return p.age > 0 || p.others > 0 || p.known }

func (m *Machine[T]) heardOf(p *peer) Heard {
	h := Heard{Node: p.id, Client: p.client, Age: max(p.age, p.others), Upto: p.common}
	h.Ago = max(0, m.now-p.born-h.Age)
	switch {
	case p.leaving || p.gone:
		h.Absence = Left
		return h
	case p.dead(m.now):
		h.Absence = GivenUp
	}
	for _, tail := range slices.Backward(p.came) {
		if tail.G > h.Upto && len(h.Tails) < maxTails {
			h.Tails = append(h.Tails, tail)
		}
	}
	return h
}

// note remembers that number g has come, on a stream of ours or of others, until a Beat names it.
func (p *peer) note(hash, g uint64) {
	if len(p.came) == maxCame {
		p.came = append(p.came[:0], p.came[maxCame/2:]...) // the newest count
	}
	p.came = append(p.came, Tail{Hash: hash, G: g})
}

// confide remembers what p has told this node alone: the others may have missed it, and never hear of it from p.
func (p *peer) confide(tails []Tail) {
	for _, t := range slices.Backward(tails[:min(len(tails), maxTails)]) {
		if t.G > p.common {
			p.note(t.Hash, t.G)
		}
	}
}

// name notes that p has named all numbers up to g to all.
func (p *peer) name(g uint64) {
	p.common = max(p.common, g)
	p.came = slices.DeleteFunc(p.came, func(t Tail) bool { return t.G <= p.common })
}

// compare takes the words of another node.
func (m *Machine[T]) compare(words []Heard) {
	for _, h := range words {
		if h.Node == m.cfg.Node {
			continue
		}
		p := m.introduce(h)
		if p == nil || p.gone {
			continue
		}
		p.told, p.others = max(p.told, h.Upto), max(p.others, h.Age)
		p.name(h.Upto)
		for _, tail := range h.Tails {
			if len(p.rumours) < maxCame && !slices.Contains(p.rumours, tail) {
				p.rumours = append(p.rumours, tail)
			}
		}
		switch {
		case h.Absence == Left:
			if p.buried {
				m.unbury(p)
			}
			m.depart(p, h.Upto)
		case h.Absence == GivenUp && p.buried && p.known:
			m.conclude(p)
			m.suppose(p)
		}
		m.settlePeer(p)
	}
}

// introduce returns the node of which another one has heard. One that this node has never heard of is added if it may be back, or if it is
// younger: then all that it ever sent was due here. Of any other nothing is due, and introduce returns nil.
//
// What a broker delivers that stood still makes a node younger than it is, and nothing makes one older: the earliest birth counts.
func (m *Machine[T]) introduce(h Heard) *peer {
	const ever = time.Duration(1) << 61 // two of which are no overflow
	ago := min(h.Ago, ever)
	born := m.now - min(h.Age, ever) - ago
	p := m.peers[h.Node]
	if p != nil && (p.age > 0 || p.others > 0) {
		born = min(born, p.born)
	}
	// One that is older by less than the word has travelled would be taken for younger: that matters only if it has sent something.
	younger := born > FenceTimeout || born > 0 && (h.Upto > 0 || len(h.Tails) > 0)
	if p == nil {
		if !younger && ago >= remembered {
			return nil
		}
		if !younger && h.Absence == Left { // and what comes late of it, or is said of it, is not to show it as younger
			m.peers[h.Node] = &peer{id: h.Node, client: h.Client, suspect: true, leaving: true, gone: true}
			m.tombs, m.ended = append(m.tombs, m.peers[h.Node]), true
			return nil
		}
		p = &peer{id: h.Node, client: h.Client, since: m.now, heard: m.now - ago, acked: m.f}
		m.peers[p.id] = p
		m.order = append(m.order, p)
		m.suspect(p)
		m.hello(p)
		m.changed = true
	}
	if p.gone {
		return p
	}
	if p.age == 0 {
		p.born = born
	}
	if p.known && born <= 0 && p.real == 0 && (!p.spoke || h.Absence == Left) {
		p.known, p.begun, m.changed = false, 0, true // it was taken for younger
	}
	if !p.known && younger {
		p.acked, p.begun = m.f, m.f
		m.level(p, born)
		p.start(0)
		m.changed = true
	}
	return p
}

// level notes that this node knows of all that p has sent by now, but for what it has sent since then while this node was not connected.
func (m *Machine[T]) level(p *peer, since time.Duration) {
	p.even, p.lapsed = m.now, m.downAt > 0 && m.downAt >= since
}

// lapse notes of whom something may have been missed with the link, which is lost: of all but those that were silent already while the
// link still brought something of others. These are judged as if it had stayed.
func (m *Machine[T]) lapse() {
	for _, p := range m.order {
		p.lapsed = p.lapsed || m.signed < p.even+uneven
	}
}

// unsure reports whether p, which has gone without a goodbye, may have sent something of which nobody has told this node: it was not
// connected, or others have heard more.
func (m *Machine[T]) unsure(p *peer) bool { return !p.spoke || p.lapsed || p.others > p.age+uneven }

// conclude reports what will not come any more of p, which is known and was given up or has left.
func (m *Machine[T]) conclude(p *peer) {
	if len(p.want) > 0 || p.told > p.goal {
		m.jump(p, max(p.goal, p.seen, p.told))
		m.reported(p)
	}
	slices.SortFunc(p.rumours, func(a, b Tail) int { return cmp.Compare(a.G, b.G) })
	for _, t := range p.rumours {
		// What was sent before a Join of ours is not due, and of a fence that was not answered nobody knows whether it was before.
		fno, ok := m.tracked(t.Hash)
		if !ok || fno > max(p.real, p.begun) || t.G <= p.eff(t.Hash) || p.far(t.G) || p.done.has(t.G) {
			continue
		}
		p.done.add(t.G, p.floor) // and the stream stays where it is: there may be others between, of which p tells if it is back
		m.counts.Missed++
		m.emit(Lost[T]{Node: p.id, After: t.G - 1, Upto: t.G})
	}
	p.rumours = nil
}

// suppose reports that p, which was given up, may have sent something, if this node is not sure that it has not.
func (m *Machine[T]) suppose(p *peer) {
	if m.unsure(p) {
		m.counts.Unknown++
		m.emit(Lost[T]{Node: p.id, After: p.goal, Upto: p.goal, Unknown: true})
		m.reported(p)
	}
}

// reported notes that all is reported that others have heard of p.
func (m *Machine[T]) reported(p *peer) {
	p.spoke, p.age = true, max(p.age, p.others)
	m.level(p, m.now)
}

// decide sees to those that were given up and may have sent something of which nobody has told this node. Where it was not connected, they
// have as long to be back as anybody.
func (m *Machine[T]) decide() {
	if len(m.doubts) == 0 || !m.up || m.now < m.upAt+DeadAfter {
		return
	}
	for _, p := range m.doubts {
		if p.buried && p.known {
			m.suppose(p)
		}
	}
	m.doubts = nil
}

// Unconfirmed are the nodes with members that have not said, since Close, that they have everything of this node: those that have not
// answered yet, and those that are silent, for as long as they may be back and be sent what they have missed.
func (m *Machine[T]) Unconfirmed() []string {
	if m.ring.g == 0 {
		return nil
	}
	var ids []string
	for _, list := range [][]*peer{m.order, m.tombs} {
		for _, p := range list {
			if !p.client && !p.settled && !p.leaving && !p.gone && m.now-p.heard < remembered {
				ids = append(ids, p.id)
			}
		}
	}
	return ids
}
