package mesh

import (
	"cmp"
	"slices"
	"time"
)

// requestRepairs sends a Nack for what is missing of p, if one is due: at once for something new, then at growing intervals while nothing comes. It
// names so many streams at a time, the oldest first. All of these may wait for something on others: so while nothing comes, the next ones
// follow, at the end of each answer, until all have been answered in vain.
func (m *Machine[T, O, B, W]) requestRepairs(p *peer[B]) {
	if len(p.gaps) == 0 {
		if p.interval > 0 {
			p.interval, p.nackAt, p.window, p.fruitless = 0, min(p.nackAt, p.nackedAt+minNackInterval), 0, 0
		}
		return
	}
	if !m.up() || !p.started || p.standing == StandingLeft || m.now < p.nackAt {
		return
	}
	ranges := make([]Range, 0, len(p.gaps))
	for h, upto := range p.gaps {
		ranges = append(ranges, Range{Hash: h, After: p.lowOf(h), Upto: upto})
	}
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Or(cmp.Compare(a.After, b.After), cmp.Compare(a.Hash, b.Hash)) })
	switch {
	case p.moved:
		p.interval, p.fruitless = 0, 0
	case p.interval > 0:
		p.window += m.cfg.Limits.Ranges
	}
	if p.window >= len(ranges) {
		p.window = 0
	}
	if p.window == 0 {
		p.interval *= 2
	}
	p.interval = min(max(p.interval, nackInterval), maxNackInterval)
	ranges = ranges[p.window:]
	m.counts.Nacks++
	m.emit(Send{To: p.id, Message: &Nack{Ranges: ranges[:min(len(ranges), m.cfg.Limits.Ranges)]}})
	p.nackedAt, p.nackAt, p.nacking, p.moved = m.now, m.now+p.interval, true, false
}

// handleNack sends what a Nack asks for: the broadcasts in ascending order, as many as fit into one answer, and a Gone behind them.
func (m *Machine[T, O, B, W]) handleNack(to string, n *Nack) {
	if !m.up() {
		return
	}
	wanted := make(map[uint64]Range, len(n.Ranges))
	from, upto := m.ring.newest, uint64(0)
	for _, r := range n.Ranges {
		wanted[r.Hash] = r
		from, upto = min(from, r.After), max(upto, r.Upto)
	}
	gone := &Gone{Horizon: m.ring.horizon}
	count, bytes, links := 0, 0, 0
	for seq := max(from, m.ring.horizon) + 1; seq <= min(upto, m.handed()) && count < m.cfg.Limits.Repairs; seq++ {
		e := m.ring.at(seq)
		if !slices.ContainsFunc(e.links, func(l Link) bool {
			r, ok := wanted[l.Hash]
			return ok && r.After < seq && seq <= r.Upto
		}) {
			continue
		}
		if seq <= m.ring.stripped {
			if links += len(e.links); links > maxGoneLinks && len(gone.Stubs) > 0 {
				break
			}
			gone.Stubs = append(gone.Stubs, Stub{Sequence: seq, Links: e.links})
		} else if bytes > 0 && bytes+e.size > maxRepairBytes {
			break
		} else {
			bytes += e.size
			prev := make([]uint64, len(e.links))
			for i, l := range e.links {
				prev[i] = l.Prev
			}
			m.counts.Repairs++
			m.emit(Resend[O]{To: to, Stamp: Stamp{Sequence: seq, Prev: prev}, Broadcast: e.payload})
		}
		count++
	}
	m.emit(Send{To: to, Message: gone})
}

// handleGone takes the end of the answer to a Nack: each number is a broadcast that delivers nothing, and one loss, if it was missing.
func (m *Machine[T, O, B, W]) handleGone(p *peer[B], msg *Gone) {
	for _, n := range msg.Stubs {
		if n.Sequence <= p.low || p.far(n.Sequence) || p.held[n.Sequence] != nil || !behindAll(n.Sequence, n.Links) {
			continue
		}
		v := m.judge(p, n.Sequence, n.Links)
		switch {
		case v == unwanted || v == past:
		case p.done.has(n.Sequence):
			m.advanceStreams(p, n.Sequence, n.Links)
		case v == next:
			p.done.add(n.Sequence, p.low)
			for _, l := range n.Links {
				if _, ok := m.tracked(l.Hash); ok {
					p.advance(l.Hash, n.Sequence)
				}
			}
			m.counts.Missed++
			m.emit(Lost{Node: p.id, After: n.Sequence - 1, Upto: n.Sequence})
		default:
			m.addGapsBefore(p, n.Links)
		}
		m.drain(p)
	}
	if msg.Horizon > p.low {
		lost := msg.Horizon > p.high
		for h := range p.gaps {
			lost = lost || p.lowOf(h) < msg.Horizon
		}
		if lost {
			m.skip(p, msg.Horizon)
			p.moved = true // what waited above for something below the horizon does so no longer, and is asked for again at once
		} else {
			p.raise(msg.Horizon)
		}
	}
	m.drain(p)
	if p.nacking && !p.moved {
		p.fruitless += m.cfg.Limits.Ranges
	}
	switch {
	case p.moved, p.nacking && p.fruitless < len(p.gaps):
		p.nackAt = m.now // the rest follows at once
	case p.nacking:
		p.fruitless = 0 // all follow once more after the interval
	}
	p.nacking = false
}

// handleHeartbeat accounts for the numbers of p up to B: what is missing on a topic of ours has been sent, and is asked for.
func (m *Machine[T, O, B, W]) handleHeartbeat(p *peer[B], b *Heartbeat) {
	p.sent = max(p.sent, b.Upto)
	if b.After > p.high {
		m.resync(p)
		return
	}
	if b.Horizon > p.high { // nobody knows what there was up to the horizon
		m.skip(p, b.Horizon)
	}
	if b.Part == 0 {
		p.part, p.partAfter, p.partUpto = 0, b.After, b.Upto
	}
	complete := b.Part == p.part && b.After == p.partAfter && b.Upto == p.partUpto
	if complete {
		p.part++ // else a part was lost; the next heartbeat will show it
	}
	for _, tail := range b.Tails {
		// What is held has come, and what it waits for is noted.
		if fence, ok := m.tracked(tail.Hash); ok && p.presumed >= fence && tail.Sequence <= b.Upto && p.held[tail.Sequence] == nil {
			p.addGap(tail.Hash, tail.Sequence)
		}
	}
	if complete && b.Part == b.Parts-1 {
		p.high = max(p.high, b.Upto)
		m.markComplete(p, m.now)
	}
	m.drain(p)
}

// heartbeats says what was sent in (a, b], in parts of a bounded size: at least one part. b is the last number that was handed to the link.
func (m *Machine[T, O, B, W]) heartbeats(a, b uint64) []*Heartbeat {
	a = min(a, b)
	tails := m.ring.since(a, b)
	limit := m.cfg.Limits.Tails
	parts := max(1, (len(tails)+limit-1)/limit)
	beats := make([]*Heartbeat, parts)
	for i := range beats {
		n := min(len(tails), limit)
		beats[i] = &Heartbeat{About: m.about(), After: a, Upto: b, Horizon: min(m.ring.horizon, b), Part: i, Parts: parts, Tails: tails[:n:n]}
		tails = tails[n:]
	}
	return beats
}

func (m *Machine[T, O, B, W]) resync(p *peer[B]) {
	if !m.up() || p.standing == StandingLeft || p.resyncAt != 0 && m.now-p.resyncAt < resyncInterval {
		return
	}
	m.sendResync(p)
}

func (m *Machine[T, O, B, W]) sendResync(p *peer[B]) {
	p.resyncAt = m.now
	m.emit(Send{To: p.id, Message: &Resync{About: m.about(), After: p.high}})
}

// nackAt is when the next Nack to p is due.
func (m *Machine[T, O, B, W]) nackAt(p *peer[B]) (at time.Duration, ok bool) {
	return p.nackAt, m.up() && p.started && p.standing != StandingLeft && len(p.gaps) > 0
}
