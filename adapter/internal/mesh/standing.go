package mesh

import "time"

// A Standing is how a node stands with this one: what its silence and its goodbye say.
type Standing uint8

// The standings of a node.
const (
	StandingUnmet         Standing = iota // for whoever watches: alive or suspect, but not met yet
	StandingAlive                         // it is waited for
	StandingSuspect                       // it is silent, or did not answer: nobody waits for it
	StandingDead                          // it was suspect for too long and given up; it may be back
	StandingLeaving                       // it said goodbye, and answers those who miss something
	StandingLeavingSilent                 // it said goodbye, and is silent since
	StandingLeft                          // it has left, and needs nothing more
)

// alive reports whether a node is waited for.
func (s Standing) alive() bool { return s == StandingAlive }

// silent reports whether a node is not expected to answer, though it may be back.
func (s Standing) silent() bool {
	return s == StandingSuspect || s == StandingDead || s == StandingLeavingSilent
}

// parting reports whether a node has said goodbye and not left yet.
func (s Standing) parting() bool { return s == StandingLeaving || s == StandingLeavingSilent }

// parted reports whether a node has said goodbye.
func (s Standing) parted() bool { return s.parting() || s == StandingLeft }

// over reports whether a node was given up or has left.
func (s Standing) over() bool { return s == StandingDead || s == StandingLeft }

// A change is what befalls a node and may change how a node stands.
type change uint8

const (
	falls   change = iota // it has not answered, or is silent
	answers               // it has answered, or has time to
	dies                  // it was silent for too long
	returns               // something has come from a node that was given up
	parts                 // it says goodbye
	leaves                // it is not needed any more, and needs nothing
)

// transitions are all that there are: what is not here changes nothing.
var transitions = map[Standing]map[change]Standing{
	StandingAlive:         {falls: StandingSuspect, parts: StandingLeaving},
	StandingSuspect:       {answers: StandingAlive, dies: StandingDead, parts: StandingLeavingSilent},
	StandingDead:          {returns: StandingSuspect},
	StandingLeaving:       {falls: StandingLeavingSilent, leaves: StandingLeft},
	StandingLeavingSilent: {answers: StandingLeaving, leaves: StandingLeft},
}

// reportStandings says who stands otherwise than was said last. That all are suspect while the link is down is not worth a word: when it is up
// again, they have time to answer.
func (m *Machine[T, O, B, W]) reportStandings() {
	if !m.changed && !m.over || m.life == closed {
		return
	}
	for _, p := range m.order {
		is := p.shows()
		if is == p.shown || is == StandingSuspect && !m.up() || p.shown == StandingUnmet && is > StandingSuspect {
			continue
		}
		m.emit(Transition{Node: p.id, Name: p.name, Client: p.client, Is: is, Was: p.shown, For: m.now - p.shownAt, Silent: m.now - p.heardAt})
		p.shown, p.shownAt = is, m.now
	}
}

// shows is how p stands for whoever watches the cluster: one that says goodbye has left.
func (p *peer[B]) shows() Standing {
	switch {
	case p.standing.parted():
		return StandingLeft
	case p.standing != StandingDead && !p.started:
		return StandingUnmet
	}
	return p.standing
}

// A Transition says that a node stands otherwise than before, for whoever watches the cluster: unmet, alive, suspect, dead, or left.
type Transition struct {
	Node    string
	Name    string // empty while it has not said it
	Client  bool
	Is, Was Standing
	For     time.Duration // that it stood as it did before
	Silent  time.Duration // since something came from it
}

func (Transition) effect() {}
