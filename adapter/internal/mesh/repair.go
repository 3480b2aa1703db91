package mesh

import (
	"cmp"
	"slices"
	"time"
)

// ask sends a Nack for what is missing of p, if one is due: at once for something new, then at growing intervals while nothing comes. It
// names so many streams at a time, the oldest first. All of these may wait for something on others: so while nothing comes, the next ones
// follow, at the end of each answer, until all have been answered in vain.
func (m *Machine[T]) ask(p *peer) {
	if len(p.want) == 0 {
		if p.pause > 0 {
			p.pause, p.askAt, p.window, p.vain = 0, min(p.askAt, p.nacked+minAsk), 0, 0
		}
		return
	}
	if !m.up || !p.known || p.gone || m.now < p.askAt {
		return
	}
	ranges := make([]Range, 0, len(p.want))
	for h, upto := range p.want {
		ranges = append(ranges, Range{Hash: h, After: p.eff(h), Upto: upto})
	}
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Or(cmp.Compare(a.After, b.After), cmp.Compare(a.Hash, b.Hash)) })
	switch {
	case p.moved:
		p.pause, p.vain = 0, 0
	case p.pause > 0:
		p.window += m.cfg.Limits.Ranges
	}
	if p.window >= len(ranges) {
		p.window = 0
	}
	if p.window == 0 {
		p.pause *= 2
	}
	p.pause = min(max(p.pause, askInterval), maxAskInterval)
	ranges = ranges[p.window:]
	m.counts.Nacks++
	m.emit(Send[T]{To: p.id, Message: &Nack{Ranges: ranges[:min(len(ranges), m.cfg.Limits.Ranges)]}})
	p.nacked, p.askAt, p.asking, p.moved = m.now, m.now+p.pause, true, false
}

// answer sends what a Nack asks for: the broadcasts in ascending order, as many as fit into one answer, and a Gone behind them.
func (m *Machine[T]) answer(to string, n *Nack) {
	if !m.up {
		return
	}
	wanted := make(map[uint64]Range, len(n.Ranges))
	from, upto := m.ring.g, uint64(0)
	for _, r := range n.Ranges {
		wanted[r.Hash] = r
		from, upto = min(from, r.After), max(upto, r.Upto)
	}
	gone := &Gone{S: m.ring.s}
	count, bytes, links := 0, 0, 0
	for g := max(from, m.ring.s) + 1; g <= min(upto, m.handed()) && count < m.cfg.Limits.Repairs; g++ {
		e := m.ring.at(g)
		if !slices.ContainsFunc(e.links, func(l Link) bool {
			r, ok := wanted[l.Hash]
			return ok && r.After < g && g <= r.Upto
		}) {
			continue
		}
		if e.payload == nil {
			if links += len(e.links); links > maxGoneLinks && len(gone.Numbers) > 0 {
				break
			}
			gone.Numbers = append(gone.Numbers, Number{G: g, Links: e.links})
		} else if bytes > 0 && bytes+e.size > maxRepairBytes {
			break
		} else {
			bytes += e.size
			prev := make([]uint64, len(e.links))
			for i, l := range e.links {
				prev[i] = l.Prev
			}
			m.counts.Repairs++
			m.emit(Resend[T]{To: to, Stamp: Stamp{G: g, Prev: prev}, Broadcast: e.payload})
		}
		count++
	}
	m.emit(Send[T]{To: to, Message: gone})
}

// gone takes the end of the answer to a Nack: each number is a broadcast that delivers nothing, and one loss, if it was missing.
func (m *Machine[T]) gone(p *peer, msg *Gone) {
	for _, n := range msg.Numbers {
		if n.G <= p.floor || p.far(n.G) || p.held[n.G] != nil || !behindAll(n.G, n.Links) {
			continue
		}
		v := m.judge(p, n.G, n.Links)
		switch {
		case v == nowhere || v == past:
		case p.done.has(n.G):
			m.pass(p, n.G, n.Links)
		case v == next:
			p.done.add(n.G, p.floor)
			for _, l := range n.Links {
				if _, ok := m.tracked(l.Hash); ok {
					p.advance(l.Hash, n.G)
				}
			}
			m.counts.Missed++
			m.emit(Lost[T]{Node: p.id, After: n.G - 1, Upto: n.G})
		default:
			m.missFront(p, n.Links)
		}
		m.settlePeer(p)
	}
	if msg.S > p.floor {
		lost := msg.S > p.goal
		for h := range p.want {
			lost = lost || p.eff(h) < msg.S
		}
		if lost {
			m.jump(p, msg.S)
			p.moved = true // what waited above for something below the horizon does so no longer, and is asked for again at once
		} else {
			p.raise(msg.S)
		}
	}
	m.settlePeer(p)
	if p.asking && !p.moved {
		p.vain += m.cfg.Limits.Ranges
	}
	switch {
	case p.moved, p.asking && p.vain < len(p.want):
		p.askAt = m.now // the rest follows at once
	case p.asking:
		p.vain = 0 // all follow once more after the interval
	}
	p.asking = false
}

// beat accounts for the numbers of p up to B: what is missing on a topic of ours has been sent, and is asked for.
func (m *Machine[T]) beat(p *peer, b *Beat) {
	p.told = max(p.told, b.B)
	if b.A > p.goal {
		m.resync(p)
		return
	}
	if b.S > p.goal { // nobody knows what there was up to S
		m.jump(p, b.S)
	}
	if b.Part == 0 {
		p.part, p.partA, p.partB = 0, b.A, b.B
	}
	complete := b.Part == p.part && b.A == p.partA && b.B == p.partB
	if complete {
		p.part++ // else a part was lost; the next Beat will show it
	}
	for _, tail := range b.Tails {
		// What is held has come, and what it waits for is noted.
		if fno, ok := m.tracked(tail.Hash); ok && p.acked >= fno && tail.G <= b.B && p.held[tail.G] == nil {
			p.miss(tail.Hash, tail.G)
		}
	}
	if complete && b.Part == b.Parts-1 {
		p.goal = max(p.goal, b.B)
		m.level(p, m.now)
	}
	m.settlePeer(p)
}

// beats says what was sent in (a, b], in parts of a bounded size: at least one part. b is the last number that was handed to the link.
func (m *Machine[T]) beats(a, b uint64) []*Beat {
	a = min(a, b)
	tails := m.ring.since(a, b)
	limit := m.cfg.Limits.Tails
	parts := max(1, (len(tails)+limit-1)/limit)
	beats := make([]*Beat, parts)
	for i := range beats {
		n := min(len(tails), limit)
		beats[i] = &Beat{About: m.about(), A: a, B: b, S: min(m.ring.s, b), Part: i, Parts: parts, Tails: tails[:n:n]}
		tails = tails[n:]
	}
	return beats
}

func (m *Machine[T]) resync(p *peer) {
	if !m.up || p.gone || p.resynced != 0 && m.now-p.resynced < resyncInterval {
		return
	}
	p.resynced = m.now
	m.emit(Send[T]{To: p.id, Message: &Resync{About: m.about(), A: p.goal}})
}

// repairAt is when the next Nack to p is due.
func (m *Machine[T]) repairAt(p *peer) (at time.Duration, ok bool) {
	return p.askAt, m.up && p.known && !p.gone && len(p.want) > 0
}
