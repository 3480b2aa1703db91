package mesh

import (
	"container/heap"
	"slices"
	"time"
)

// An Incoming is a broadcast of another node, as it came over the link.
type Incoming[T comparable] struct {
	Stamp
	Topics    []T // of the stamp
	Size      int // about, in bytes
	Repaired  bool
	Changes   bool // it may change what this node receives: see [Machine.Resume]
	Broadcast any  // what Deliver carries
}

// Broadcast takes a broadcast of the node from. If it is to be delivered now, that is among the effects, and what was held until it came
// is behind it.
func (m *Machine[T]) Broadcast(now time.Duration, from string, in Incoming[T]) []Effect[T] {
	if from == m.cfg.Node || len(in.Prev) != len(in.Topics) {
		return nil
	}
	m.now = now
	p := m.hear(from)
	if p.gone {
		m.counts.Stale++
		return m.take()
	}
	m.links = m.links[:0]
	for i, topic := range in.Topics {
		m.links = append(m.links, Link{Hash: m.cfg.Hash(topic), Prev: in.Prev[i]})
	}
	if behindAll(in.G, m.links) {
		m.receive(p, in.G, held{links: m.links, size: in.Size, repaired: in.Repaired, changes: in.Changes, broadcast: in.Broadcast})
		m.settlePeer(p)
	}
	m.returned(p)
	return m.take()
}

// Resume goes on with what was held of the node from: it is to be called when a broadcast with Changes was delivered and has been carried
// out. What is behind it is judged by what the node receives then.
func (m *Machine[T]) Resume(now time.Duration, from string) []Effect[T] {
	m.now = now
	if p := m.peers[from]; p != nil {
		p.paused = false
		m.settlePeer(p)
		m.ask(p)
		m.settle()
	}
	return m.take()
}

// A verdict is what a number is to a node, given where its streams stand.
type verdict uint8

const (
	nowhere verdict = iota // on no stream of ours
	past                   // behind on all of ours
	next                   // next on one of ours at least, and waits on none
	waits                  // something is missing in front of it
)

// judge finds the verdict of number g.
func (m *Machine[T]) judge(p *peer, g uint64, links []Link) verdict {
	v := nowhere
	for _, l := range links {
		switch fno, ok := m.tracked(l.Hash); {
		case !ok:
		case g <= p.eff(l.Hash):
			v = max(v, past)
		case p.acked < fno: // what is missing here is from before the Join
			v = max(v, next)
		case l.Prev > p.eff(l.Hash):
			v = waits
		default:
			v = max(v, next)
		}
	}
	return v
}

// behindAll reports whether g is behind all numbers before it, as it must be.
func behindAll(g uint64, links []Link) bool {
	return !slices.ContainsFunc(links, func(l Link) bool { return l.Prev >= g })
}

// receive takes a broadcast: it delivers, holds or drops it.
func (m *Machine[T]) receive(p *peer, g uint64, b held) {
	if !p.known {
		m.keep(p, g, b)
		return
	}
	if g <= p.floor {
		m.counts.Stale++
		return
	}
	if p.far(g) { // so much is missing that only the horizon of p helps
		m.counts.Unheld++
		m.resync(p)
		return
	}
	p.seen = max(p.seen, g)
	v := m.judge(p, g, b.links)
	switch {
	case v == nowhere:
		m.counts.Unwanted++
	case p.done.has(g):
		// A stream that was joined after the first copy came must not wait for what is here already.
		m.counts.Copies++
		m.pass(p, g, b.links)
	case v == past:
		m.counts.Stale++
	case v == next:
		m.deliver(p, g, b)
	default:
		m.missFront(p, b.links)
		m.keep(p, g, b)
	}
}

// missFront notes what is missing in front of a number, unless it has come and waits itself.
func (m *Machine[T]) missFront(p *peer, links []Link) {
	for _, l := range links {
		if fno, ok := m.tracked(l.Hash); ok && p.acked >= fno && p.held[l.Prev] == nil {
			p.miss(l.Hash, l.Prev)
		}
	}
}

// keep holds a broadcast for later, if there is room. If there is none, it shows as missing in its time, and is asked for again.
func (m *Machine[T]) keep(p *peer, g uint64, b held) {
	switch size := b.bytes(); {
	case p.held[g] != nil:
		m.counts.Copies++
	case p.bytes > 0 && p.bytes+size > m.cfg.Limits.HeldBytes || m.heldBytes > 0 && m.heldBytes+size > m.cfg.Limits.HeldTotal:
		m.counts.Unheld++
	default:
		b.links = slices.Clone(b.links) // they may be the machine's
		p.hold(g, &b)
		m.heldBytes += size
	}
}

func (m *Machine[T]) unhold(p *peer, g uint64) *held {
	b := p.unhold(g)
	if b != nil {
		m.heldBytes -= b.bytes()
	}
	return b
}

// pass notes that number g has come on all its streams on which it is next, or on which there may be gaps.
func (m *Machine[T]) pass(p *peer, g uint64, links []Link) {
	for _, l := range links {
		if fno, ok := m.tracked(l.Hash); ok && (p.acked < fno || l.Prev <= p.eff(l.Hash)) {
			p.advance(l.Hash, g)
		}
	}
}

func (m *Machine[T]) deliver(p *peer, g uint64, b held) {
	var passed []bool
	for i, l := range b.links {
		if _, ok := m.tracked(l.Hash); ok && g <= p.eff(l.Hash) {
			if passed == nil {
				passed = make([]bool, len(b.links))
			}
			passed[i] = true
		}
	}
	p.done.add(g, p.floor)
	for _, l := range b.links {
		if _, ok := m.tracked(l.Hash); ok {
			p.advance(l.Hash, g)
		}
		p.note(l.Hash, g)
	}
	m.counts.Delivered++
	if b.repaired {
		m.counts.Repaired++
	}
	if g < p.highest {
		m.counts.Overtaken++
	}
	p.highest = max(p.highest, g)
	p.paused = p.paused || b.changes
	m.emit(Deliver[T]{Broadcast: b.broadcast, Past: passed})
}

// settlePeer tries what is held and may be next, in the order of the numbers, until nothing moves, and then moves the floor.
func (m *Machine[T]) settlePeer(p *peer) {
	for p.known && !p.paused {
		for len(p.ready) > 0 && !p.paused {
			g := heap.Pop(&p.ready).(uint64)
			if b := m.unhold(p, g); b != nil {
				m.receive(p, g, *b)
			}
		}
		if p.paused {
			return
		}
		p.ready = nil
		if len(p.want) > 0 || p.goal <= p.floor {
			m.farewell(p)
			return
		}
		p.raise(p.goal) // which may free more
	}
}

// jump gives up whatever is missing up to x, of which nothing is known. What is held below goes first, in its order.
func (m *Machine[T]) jump(p *peer, x uint64) {
	m.counts.Unknown++
	m.emit(Lost[T]{Node: p.id, After: p.floor, Upto: x, Unknown: true})
	m.flush(p, x)
	p.goal = max(p.goal, x)
	p.raise(x)
}

// flush delivers what is held up to x, although something is missing in front of it. A request among it pauses nothing here: what is behind is
// judged by what the node received before. All of that is within what was reported as unknown.
func (m *Machine[T]) flush(p *peer, x uint64) {
	for _, g := range p.inOrder() {
		if g > x {
			return
		}
		b := m.unhold(p, g)
		if g <= p.floor || p.far(g) || p.done.has(g) {
			m.counts.Stale++
			continue
		}
		switch m.judge(p, g, b.links) {
		case next, waits:
			m.deliver(p, g, *b)
		default:
			m.counts.Stale++
		}
	}
}
