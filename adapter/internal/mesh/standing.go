package mesh

import "time"

// A Standing is how a node stands with this one.
type Standing uint8

// The standings of a node.
const (
	StandingUnmet   Standing = iota // it has not said yet where its broadcasts begin
	StandingAlive                   // it is waited for
	StandingSuspect                 // it is silent, or did not answer: nobody waits for it
	StandingDead                    // it was given up after a silence
	StandingLeft                    // it said goodbye
)

// standing is how p stands.
func (p *peer) standing() Standing {
	switch {
	case p.leaving || p.gone:
		return StandingLeft
	case p.buried:
		return StandingDead
	case !p.started:
		return StandingUnmet
	case p.suspect:
		return StandingSuspect
	}
	return StandingAlive
}

// reportStandings says who stands otherwise than was said last. That all are suspect while the link is down is not worth a word: when it is up
// again, they have time to answer.
func (m *Machine[T]) reportStandings() {
	if !m.changed && !m.retired || m.closed {
		return
	}
	for _, p := range m.order {
		is := p.standing()
		if is == p.shown || is == StandingSuspect && !m.up || p.shown == StandingUnmet && is > StandingSuspect {
			continue
		}
		m.emit(Transition[T]{Node: p.id, Client: p.client, Is: is, Was: p.shown, For: m.now - p.shownAt, Silent: m.now - p.heardAt})
		p.shown, p.shownAt = is, m.now
	}
}

// Transition says that a node stands otherwise than before, for whoever watches the cluster.
type Transition[T comparable] struct {
	Node    string
	Client  bool
	Is, Was Standing
	For     time.Duration // that it stood as it did before
	Silent  time.Duration // since something came from it
}

func (Transition[T]) effect(T) {}
