package mesh

import "time"

// Broadcast takes a broadcast of the node from. If it is to be delivered now, that is among the effects.
func (m *Machine[T]) Broadcast(now time.Duration, from string, stamp Stamp, topics []T, broadcast any) []Effect[T] {
	if from == m.cfg.Node || len(stamp.Prev) != len(topics) {
		return nil
	}
	m.now = now
	p := m.hear(from)
	switch {
	case p.gone:
		m.counts.Stale++
		return nil
	case p.known:
		m.receive(p, stamp, topics, broadcast)
	case len(p.held) < maxHeld:
		p.held = append(p.held, held[T]{stamp, topics, broadcast})
	default:
		m.counts.Unheld++
	}
	m.returned(p)
	return m.take()
}

// receive delivers a broadcast of a known node unless it is stale, a copy, or nobody's here.
func (m *Machine[T]) receive(p *peer[T], stamp Stamp, topics []T, broadcast any) {
	g := stamp.G
	if g <= p.floor {
		m.counts.Stale++
		return
	}
	var tracked, past bool
	for _, topic := range topics {
		h := m.cfg.Hash(topic)
		if _, ok := m.tracked(h); ok {
			tracked = true
			past = past || g <= p.settled(h)
		}
	}
	_, copied := p.done[g]
	switch {
	case !tracked:
		m.counts.Unwanted++
		return
	case past && !copied:
		// Those of its members who are in the room that is past would get it after something newer. In its other rooms it is a hole.
		m.counts.Stale++
		return
	}
	for i, topic := range topics {
		h := m.cfg.Hash(topic)
		fno, ok := m.tracked(h)
		settled := p.settled(h)
		if !ok || g <= settled {
			continue
		}
		// A topic whose fence p has not answered may have gaps: they are from before the Join.
		if p.acked >= fno && stamp.Prev[i] > settled {
			m.counts.Holes++
		}
		p.last[h] = g
	}
	if copied {
		m.counts.Copies++
		return
	}
	p.done[g] = struct{}{}
	m.counts.Delivered++
	if g < p.highest {
		m.counts.Overtaken++
	}
	p.highest = max(p.highest, g)
	m.emit(Deliver[T]{Broadcast: broadcast})
}

// release receives what was held until p became known.
func (m *Machine[T]) release(p *peer[T]) {
	for _, h := range p.held {
		m.receive(p, h.stamp, h.topics, h.broadcast)
	}
	p.held = nil
}

// beat accounts for all numbers of p up to B: what is missing on a topic of ours will not come any more.
func (m *Machine[T]) beat(p *peer[T], b *Beat) {
	if b.A > p.goal {
		m.resync(p)
		return
	}
	if b.S > p.goal { // nobody knows what there was up to S
		m.counts.Holes++
		p.goal = b.S
		p.raise(b.S)
	}
	if b.Part == 0 {
		p.part, p.partB = 0, b.B
	}
	if b.Part != p.part || b.B != p.partB {
		return // a part was lost; the next Beat will show it
	}
	p.part++
	for _, tail := range b.Tails {
		fno, ok := m.tracked(tail.Hash)
		if !ok || p.acked < fno || tail.G <= p.settled(tail.Hash) {
			continue
		}
		m.counts.Holes++
		p.last[tail.Hash] = tail.G
	}
	if b.Part == b.Parts-1 && b.B > p.goal {
		p.goal = b.B
		p.raise(b.B)
	}
}
