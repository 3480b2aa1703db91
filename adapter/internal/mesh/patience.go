package mesh

import "time"

// Patience is how long this node waits for the answer of another before that one is suspect: twice the round trip, as it was measured or as both
// nodes know the ways to their brokers, FenceTimeout at the least and MaxPatience at the most.

// patience is how long an answer of p is waited for.
func (m *Machine[T, O, B, W]) patience(p *peer[B]) time.Duration {
	if p.rtt > 0 {
		return bounded(2 * p.rtt)
	}
	return max(bounded(2*(m.broker.RoundTrip+p.distance)), p.hint)
}

func bounded(d time.Duration) time.Duration { return min(max(d, FenceTimeout), MaxPatience) }

// longest is the patience for all who are waited for.
func (m *Machine[T, O, B, W]) longest() time.Duration { return m.longestOf((*peer[B]).alive) }

// farthest is the patience for the nodes that Members names.
func (m *Machine[T, O, B, W]) farthest() time.Duration {
	return m.longestOf(func(p *peer[B]) bool { return p.started && p.alive() })
}

func (m *Machine[T, O, B, W]) longestOf(which func(*peer[B]) bool) time.Duration {
	longest := bounded(2 * m.broker.RoundTrip)
	for _, p := range m.order {
		if which(p) {
			longest = max(longest, m.patience(p))
		}
	}
	return longest
}

// measureRoundTrip takes the time that p took to answer a fence. Only the last few answers count, and one that was late counts at once. What took
// longer than anybody waits is no distance: one of the two nodes stood still.
func (m *Machine[T, O, B, W]) measureRoundTrip(p *peer[B], echo time.Duration) {
	rtt := m.now - echo
	if echo <= 0 || rtt < 0 || rtt > MaxPatience {
		return
	}
	p.rtt = max(rtt, p.rtt-(p.rtt-rtt)/2)
}

// forget has p measured anew: one of the two nodes has gone to another broker.
func (p *peer[B]) forget() {
	if p.rtt > 0 {
		p.hint, p.rtt = bounded(2*p.rtt), 0
	}
}

// setDistance notes how far p is from its broker, as it says.
func (m *Machine[T, O, B, W]) setDistance(p *peer[B], distance time.Duration) {
	distance = min(max(distance, 0), MaxPatience)
	if distance > p.distance {
		p.forget() // it has gone to another broker
	}
	p.distance = distance
	m.extendOpening(p)
}

// hintPatience notes how far p may be, as one that has named it says.
func (m *Machine[T, O, B, W]) hintPatience(p *peer[B], far time.Duration) {
	p.hint = max(p.hint, bounded(far))
	m.extendOpening(p)
}

// extendOpening gives p, which is far away, its time to answer on a new link.
func (m *Machine[T, O, B, W]) extendOpening(p *peer[B]) {
	if m.up() && m.opening && p.alive() && p.answered < m.openFence {
		m.readyAt = max(m.readyAt, m.upAt+m.patience(p))
	}
}
