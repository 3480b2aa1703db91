package mesh

import (
	"slices"
	"time"
)

// A Settle waits until all that the other nodes had sent when they were asked, on topics that this
// node receives, was delivered here or counted as lost. It is a question and a condition.
//
// The question is a fence, which was sent after the Settle began. Joins and Settles share fences: a
// Settle that finds one under way waits for the next. The answer of a node says what its last number
// was (Ack.Sent): that is the node's target. Nothing else may name it. A heartbeat, or the answer to
// a Resync, may have been on its way since before the Settle began.
//
// The condition is that the low watermark of the node has reached its target. If what is known of
// the node does not reach so far (its high watermark is lower), a Resync has it name the ends of its
// topics; it is sent again if it or its answer is lost. A heartbeat that comes by itself does as
// well.
//
// Proof. Let b be a broadcast that node p had sent, with number g, when it was asked, on a topic t
// that this node has received since before. p answers the fence later than that, so that g is not
// above the target, nor above the low watermark in the end. The low watermark rises in three ways
// only. It rises to the high watermark, at most, while nothing below is missing (drain, handleGone):
// the heartbeats up to there have named the last number on t, so that b was asked for if it had not come, and it is missing
// until it is delivered or a Gone counts it. It rises over what is unknown, and then a Lost says so
// (skip). It begins at an answer of p (start): then p is met only now, and t is received from p
// from there on. So b was delivered, or counted, and before that the effect says so: Settled is
// the last effect of its step.
//
// A node that has said goodbye sends nothing any more: its target is its last number, without a
// question. It is waited for until it has left. One that is silent, or that becomes so, is not
// waited for, and named; so is one whose target is not reached in time. One that was given up, or
// has left, is no live node: what was missing of it has been counted.

// settles are the Settles that have not ended, in the order of their fences.
type settles[B, W any] []*settle[B, W]

// settle is what those wait for together who asked before its fence was sent.
type settle[B, W any] struct {
	fence     uint64
	refs      []W
	until     time.Duration // it ends then
	origins   []*origin[B]  // that are waited for
	met       []*peer[B]    // these, and those that were
	unsettled []string
}

// origin is a node that a Settle waits for.
type origin[B any] struct {
	*peer[B]
	answers bool // the fence
	target  uint64
	asked   time.Duration // for its tails; 0 if it was not
}

// Settle ends with a [Settled] that carries ref, in this step or a later one. It takes as long as a
// Join, and up to MaxPatience more while broadcasts are missing.
func (m *Machine[T, O, B, W]) Settle(now time.Duration, ref W) []Effect {
	m.now = now
	s := m.nextSettle()
	s.refs = append(s.refs, ref)
	s.until = now + 2*m.longest() + MaxPatience
	ask := false
	for _, p := range m.order {
		if !slices.Contains(s.met, p) {
			s.met, s.origins = append(s.met, p), append(s.origins, &origin[B]{peer: p})
		}
		ask = ask || p.alive()
	}
	if ask && m.up() {
		m.fenceOff()
	}
	return m.finish()
}

// nextSettle returns the settle whose fence is yet to be sent.
func (m *Machine[T, O, B, W]) nextSettle() *settle[B, W] {
	if n := len(m.settles); n > 0 && m.settles[n-1].fence > m.fence {
		return m.settles[n-1]
	}
	s := &settle[B, W]{fence: m.fence + 1}
	m.settles = append(m.settles, s)
	return s
}

// answered takes the answer of p to a fence: its last number.
func (list settles[B, W]) answered(p *peer[B], fence, sent uint64) {
	for _, s := range list {
		for _, o := range s.origins {
			if o.peer == p && !o.answers && s.fence <= fence {
				o.answers, o.target = true, sent
			}
		}
	}
}

// endSettles ends the Settles that need not wait any longer, and asks for what those that do not end
// need to know.
func (m *Machine[T, O, B, W]) endSettles() {
	m.settles = slices.DeleteFunc(m.settles, func(s *settle[B, W]) bool {
		s.origins = slices.DeleteFunc(s.origins, func(o *origin[B]) bool {
			switch {
			case o.settled():
			case !m.up(), o.standing.silent(), o.standing.over(), m.now >= s.until:
				s.unsettled = append(s.unsettled, o.id)
			default:
				if m.now >= o.askAt() {
					o.asked = max(m.now, 1) // 0 says that it was not, and a node may be as young as that
					if o.resyncAt != m.now {
						m.sendResync(o.peer)
					}
				}
				return false
			}
			return true
		})
		if len(s.origins) > 0 {
			return false
		}
		m.counts.Settles++
		for _, ref := range s.refs {
			m.emit(Settled[W]{Wait: ref, Unsettled: s.unsettled})
		}
		return true
	})
	if len(m.settles) == 0 {
		m.settles = nil
	}
}

// goal is the number up to which all of o is to be settled, once that is known.
func (o *origin[B]) goal() (target uint64, ok bool) {
	if o.standing.parted() {
		return o.final, true
	}
	return o.target, o.answers
}

// settled reports whether o need not be waited for.
func (o *origin[B]) settled() bool {
	target, ok := o.goal()
	return ok && !o.paused && (o.low >= target || o.standing == StandingLeft && !o.started) // nothing of it was ever due
}

// askAt is when o is to be asked for its tails.
func (o *origin[B]) askAt() time.Duration {
	switch target, ok := o.goal(); {
	case !ok || o.high >= target:
		return forever
	case o.asked == 0:
		return 0
	}
	return o.asked + resyncInterval
}

// next is when something is to be done.
func (list settles[B, W]) next() time.Duration {
	next := forever
	for _, s := range list {
		next = min(next, s.until)
		for _, o := range s.origins {
			next = min(next, o.askAt())
			if o.standing == StandingLeaving {
				next = min(next, o.heardAt+SuspectAfter)
			}
		}
	}
	return next
}

// Settled ends a wait of [Machine.Settle]. It is the last effect of its step.
type Settled[W any] struct {
	Wait      W        // what was passed to Settle
	Unsettled []string // the nodes of which something may be on its way
}

func (Settled[W]) effect() {}
