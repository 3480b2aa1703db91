package mesh

import (
	"slices"
)

// unexpect drops what is not due any more.
func (n *node) unexpect(which func(*due) bool) {
	for origin, list := range n.dues {
		n.dues[origin] = slices.DeleteFunc(list, which)
	}
}

func (n *node) unexpectVia(m *member, room string) {
	n.unexpect(func(d *due) bool {
		if d.member != m || !slices.Contains(d.via, room) {
			return false
		}
		d.via = slices.DeleteFunc(slices.Clone(d.via), func(r string) bool { return r == room })
		return len(d.via) == 0
	})
}

func (n *node) lost(l Lost) {
	w := n.w
	o := w.node(l.Node)
	w.trace("%s: lost %+v", n.id, l)
	p := n.m.peers[o.id]
	dead := p.standing.over() && !o.alive
	if w.roomy && !dead || w.mortal && (l.Unknown || n.hadToCome(o.emissions[l.Upto-1])) {
		w.fail("%s: lost %+v, which could have been repaired", n.id, l)
	}
	n.dues[o] = slices.DeleteFunc(n.dues[o], func(d *due) bool {
		return l.After < d.e.stamp.Sequence && (d.e.stamp.Sequence <= l.Upto || dead && l.Unknown)
	})
	if l.Unknown {
		w.unknown++
		former := uint64(0)
		if list := n.unknown[o]; list != nil {
			former = list[len(list)-1].Upto
		}
		if l.After < former || l.Upto < l.After || l.Upto == l.After && p.standing != StandingDead || l.Upto > uint64(len(o.emissions)) {
			w.fail("%s: lost %+v of %d, and before that up to %d", n.id, l, len(o.emissions), former)
		}
		n.unknown[o] = append(n.unknown[o], unknown{l, n.steps})
		return
	}
	w.missed++
	e := o.emissions[l.Upto-1]
	switch {
	case n.gone[e]:
		w.fail("%s: %v is counted as lost twice", n.id, e)
	case n.carried[e]:
		w.fail("%s: %v is counted as lost, and was delivered", n.id, e)
	case !w.weak && !slices.ContainsFunc(e.topics, n.tracks):
		w.fail("%s: %v is counted as lost, and does not concern it", n.id, e)
	}
	n.gone[e] = true
}

// hadToCome reports whether an emission was handed to a broker on a topic that n was subscribed to before.
func (n *node) hadToCome(e *emission) bool {
	return slices.ContainsFunc(e.handed, func(topic string) bool { return n.tracks(topic) && n.begun[topic] < e.at })
}
