package mesh

import (
	"container/heap"
	"slices"
	"time"
)

// An Incoming is a broadcast of another node, as it came over the link.
type Incoming[T comparable, B any] struct {
	Stamp
	Topics    []T // of the stamp
	Size      int // about, in bytes
	Repaired  bool
	Changes   bool // it may change what this node receives: see [Machine.Resume]
	Broadcast B    // what Deliver carries
}

// Broadcast takes a broadcast of the node from. If it is to be delivered now, that is among the effects, and what was held until it came
// is behind it.
func (m *Machine[T, O, B, W]) Broadcast(now time.Duration, from string, in Incoming[T, B]) []Effect {
	if from == m.cfg.Node || len(in.Prev) != len(in.Topics) {
		return nil
	}
	m.now = now
	p := m.contact(from)
	if p.standing == StandingLeft {
		m.counts.Stale++
		return m.finish()
	}
	m.links = m.links[:0]
	for i, topic := range in.Topics {
		m.links = append(m.links, Link{Hash: m.cfg.Hash(topic), Prev: in.Prev[i]})
	}
	if behindAll(in.Sequence, m.links) {
		m.receive(p, in.Sequence, held[B]{links: m.links, size: in.Size, repaired: in.Repaired, changes: in.Changes, broadcast: in.Broadcast})
		m.drain(p)
	}
	m.returned(p)
	return m.finish()
}

// Resume goes on with what was held of the node from: it is to be called when a broadcast with Changes was delivered and has been carried
// out. What is behind it is judged by what the node receives then.
func (m *Machine[T, O, B, W]) Resume(now time.Duration, from string) []Effect {
	m.now = now
	if p := m.peers[from]; p != nil {
		p.paused = false
		m.drain(p)
		m.requestRepairs(p)
		m.endWaits()
	}
	return m.finish()
}

// A verdict is what a number is to a node, given where its streams stand.
type verdict uint8

const (
	unwanted verdict = iota // on no stream of ours
	past                    // behind on all of ours
	next                    // next on one of ours at least, and waits on none
	early                   // something is missing in front of it
)

// judge finds the verdict of number seq.
func (m *Machine[T, O, B, W]) judge(p *peer[B], seq uint64, links []Link) verdict {
	v := unwanted
	for _, l := range links {
		switch fence, ok := m.tracked(l.Hash); {
		case !ok:
		case seq <= p.lowOf(l.Hash):
			v = max(v, past)
		case p.presumed < fence: // what is missing here is from before the Join
			v = max(v, next)
		case l.Prev > p.lowOf(l.Hash):
			v = early
		default:
			v = max(v, next)
		}
	}
	return v
}

// behindAll reports whether g is behind all numbers before it, as it must be.
func behindAll(seq uint64, links []Link) bool {
	return !slices.ContainsFunc(links, func(l Link) bool { return l.Prev >= seq })
}

// receive takes a broadcast: it delivers, holds or drops it.
func (m *Machine[T, O, B, W]) receive(p *peer[B], seq uint64, b held[B]) {
	if !p.started {
		m.holdBack(p, seq, b)
		return
	}
	if seq <= p.low {
		m.counts.Stale++
		return
	}
	if p.far(seq) { // so much is missing that only the horizon of p helps
		m.counts.Unheld++
		m.resync(p)
		return
	}
	p.received = max(p.received, seq)
	v := m.judge(p, seq, b.links)
	switch {
	case v == unwanted:
		m.counts.Unwanted++
	case p.done.has(seq):
		// A stream that was joined after the first copy came must not wait for what is here already.
		m.counts.Copies++
		m.advanceStreams(p, seq, b.links)
	case v == past:
		m.counts.Stale++
	case v == next:
		m.deliver(p, seq, b)
	default:
		m.addGapsBefore(p, b.links)
		m.holdBack(p, seq, b)
	}
}

// addGapsBefore notes what is missing in front of a number, unless it has come and waits itself.
func (m *Machine[T, O, B, W]) addGapsBefore(p *peer[B], links []Link) {
	for _, l := range links {
		if fence, ok := m.tracked(l.Hash); ok && p.presumed >= fence && p.held[l.Prev] == nil {
			p.addGap(l.Hash, l.Prev)
		}
	}
}

// holdBack holds a broadcast for later, if there is room. If there is none, it shows as missing in its time, and is asked for again.
func (m *Machine[T, O, B, W]) holdBack(p *peer[B], seq uint64, b held[B]) {
	switch size := b.bytes(); {
	case p.held[seq] != nil:
		m.counts.Copies++
	case p.bytes > 0 && p.bytes+size > m.cfg.Limits.HeldBytes || m.heldBytes > 0 && m.heldBytes+size > m.cfg.Limits.HeldTotal:
		m.counts.Unheld++
	default:
		b.links = slices.Clone(b.links) // they may be the machine's
		p.hold(seq, &b)
		m.heldBytes += size
	}
}

func (m *Machine[T, O, B, W]) unhold(p *peer[B], seq uint64) *held[B] {
	b := p.unhold(seq)
	if b != nil {
		m.heldBytes -= b.bytes()
	}
	return b
}

// advanceStreams notes that number seq has come on all its streams on which it is next, or on which there may be gaps.
func (m *Machine[T, O, B, W]) advanceStreams(p *peer[B], seq uint64, links []Link) {
	for _, l := range links {
		if fence, ok := m.tracked(l.Hash); ok && (p.presumed < fence || l.Prev <= p.lowOf(l.Hash)) {
			p.advance(l.Hash, seq)
		}
	}
}

func (m *Machine[T, O, B, W]) deliver(p *peer[B], seq uint64, b held[B]) {
	var passed []bool
	for i, l := range b.links {
		if _, ok := m.tracked(l.Hash); ok && seq <= p.lowOf(l.Hash) {
			if passed == nil {
				passed = make([]bool, len(b.links))
			}
			passed[i] = true
		}
	}
	p.done.add(seq, p.low)
	for _, l := range b.links {
		if _, ok := m.tracked(l.Hash); ok {
			p.advance(l.Hash, seq)
		}
		p.noteReceived(l.Hash, seq)
	}
	m.counts.Delivered++
	if b.repaired {
		m.counts.Repaired++
	}
	if seq < p.delivered {
		m.counts.Overtaken++
	}
	p.delivered = max(p.delivered, seq)
	p.paused = p.paused || b.changes
	m.emit(Deliver[B]{Broadcast: b.broadcast, Past: passed})
}

// drain tries what is held and may be next, in the order of the numbers, until nothing moves, and then moves the low watermark.
func (m *Machine[T, O, B, W]) drain(p *peer[B]) {
	for p.started && !p.paused {
		for len(p.ready) > 0 && !p.paused {
			seq := heap.Pop(&p.ready).(uint64)
			if b := m.unhold(p, seq); b != nil {
				m.receive(p, seq, *b)
			}
		}
		if p.paused {
			return
		}
		p.ready = nil
		if len(p.gaps) > 0 || p.high <= p.low {
			m.endLeaving(p)
			return
		}
		p.raise(p.high) // which may free more
	}
}

// skip gives up whatever is missing up to x, of which nothing is known. What is held below goes first, in its order.
func (m *Machine[T, O, B, W]) skip(p *peer[B], x uint64) {
	m.counts.Unknown++
	m.emit(Lost{Node: p.id, After: p.low, Upto: x, Unknown: true})
	m.flush(p, x)
	p.high = max(p.high, x)
	p.raise(x)
}

// flush delivers what is held up to x, although something is missing in front of it. A request among it pauses nothing here: what is behind is
// judged by what the node received before. All of that is within what was reported as unknown.
func (m *Machine[T, O, B, W]) flush(p *peer[B], x uint64) {
	for _, seq := range p.inOrder() {
		if seq > x {
			return
		}
		b := m.unhold(p, seq)
		if seq <= p.low || p.far(seq) || p.done.has(seq) {
			m.counts.Stale++
			continue
		}
		switch m.judge(p, seq, b.links) {
		case next, early:
			m.deliver(p, seq, *b)
		default:
			m.counts.Stale++
		}
	}
}
