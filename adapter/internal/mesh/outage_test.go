package mesh

import (
	"slices"
	"time"
)

// drop breaks the connection of n: what is on its way is lost. The broker notices at once or later, the node likewise.
func (n *node) drop(broker, self, back time.Duration) {
	w, c := n.w, n.client
	if c == nil || c.dead {
		return
	}
	w.trace("cut %s: noticed after %v, back after %v", n.id, self, back)
	c.dead = true
	w.after(broker, func() {
		var topics []string
		for t := range c.broker.interest[c] {
			topics = append(topics, t)
		}
		slices.Sort(topics)
		w.see(c.broker, c, topics, false, true)
	})
	w.after(self, func() {
		n.awake(func() {
			if n.client == c {
				n.client, n.held = nil, true
				n.step(func() []Effect { return n.m.LinkDown(n.clock(), n.sent) })
			}
		})
	})
	w.after(self+back, func() {
		n.awake(func() {
			if n.client == nil {
				n.connect()
			}
		})
	})
}

// die stops n without a word.
func (n *node) die() {
	n.w.trace("death of %s", n.id)
	n.alive = false
	n.drop(n.w.between(0, 2*time.Second), time.Hour, time.Hour)
}

// leave closes n: it goes when its machine says so.
func (n *node) leave() {
	n.w.trace("%s leaves", n.id)
	n.closing = true
	n.step(func() []Effect { return n.m.Close(n.clock()) })
}

// hang stops n for a while: it does nothing and takes nothing, and neither link nor broker notices.
func (n *node) hang(d time.Duration) {
	n.w.trace("%s hangs for %v", n.id, d)
	n.hung, n.stretch = true, max(n.stretch, n.w.now+d)
	n.w.after(d, func() {
		n.hung, n.armed = false, -1
		inbox := n.inbox
		n.inbox = nil
		for _, do := range inbox {
			n.awake(do)
		}
		n.arm()
	})
}

// awake does something in its turn once n does not hang.
func (n *node) awake(do func()) {
	switch {
	case !n.alive:
	case n.hung:
		n.inbox = append(n.inbox, do)
	default:
		do()
	}
}

// mortal is a world where nodes are killed, come and leave, and nothing else goes wrong: all that a node has handed to its broker arrives, so
// that those who stay have heard the same of it, and nothing is lost. When all who were killed are silent, connections break, too, while
// nobody sends anything: that is no reason to believe that something was lost.
func mortal(seed uint64, limits Limits, trace func(string, ...any)) *world {
	limits.Tails = 0 // who dies between the parts of a heartbeat leaves others who cannot know what there was
	w := begin(seed, faults{any: true}, limits, trace)
	w.roomy, w.mortal, w.weak = true, true, false
	for range 2 + w.rng.IntN(4) {
		w.open()
		w.run(w.now + w.between(60*time.Millisecond, 600*time.Millisecond))
	}
	w.turns(40*time.Millisecond, func() {
		switch n := w.pick(); {
		case n == nil:
		case w.chance(0.97):
			w.act()
		case len(w.nodes) < 12 && w.chance(0.5):
			w.open()
			w.operations++
		case w.living() > 2:
			if w.operations++; w.chance(0.7) {
				n.die()
			} else {
				n.leave()
			}
		}
	})
	w.run(w.now + 2*time.Second + gossipLead + HeartbeatInterval) // the broker may learn late of a death, and what was sent is on its way
	for _, n := range w.nodes {
		if n.alive && !n.closing && w.chance(0.5) {
			n.drop(w.between(0, time.Second), w.between(0, 2500*time.Millisecond), w.between(100*time.Millisecond, 10*time.Second))
		}
		w.run(w.now + w.between(0, 3*time.Second))
	}
	w.mend(3 * DeadAfter)
	return w
}

// parting is a world where nodes leave, are killed, and begin, while others are cut off from them, with notice or without: at the end all that
// are there have met for long enough to say what is lost.
func parting(seed uint64, limits Limits, trace func(string, ...any)) *world {
	w := begin(seed, faults{any: true}, limits, trace)
	for range 2 + w.rng.IntN(3) {
		w.open()
		w.run(w.now + w.between(0, 600*time.Millisecond))
	}
	cut := func() {
		b, other := w.brokers[w.rng.IntN(len(w.brokers))], w.brokers[w.rng.IntN(len(w.brokers))]
		while := w.between(300*time.Millisecond, 8*time.Second)
		if w.chance(0.1) {
			while += DeadAfter
		}
		switch n := w.pick(); {
		case b != other && !b.cut[other] && w.chance(0.6):
			w.trace("a route breaks")
			w.breakRoute(b, other)
			w.after(while, func() { w.mendRoute(b, other) })
		case n == nil:
		case w.chance(0.5):
			n.drop(w.between(0, time.Second), w.between(0, 2500*time.Millisecond), while)
		default:
			n.deaf = true
			w.after(while, func() { n.deaf = false })
		}
	}
	w.turns(60*time.Millisecond, func() {
		switch n := w.pick(); {
		case n == nil:
		case w.chance(0.94):
			w.act()
			return
		case w.chance(0.4):
			cut()
		case len(w.nodes) < 12 && w.chance(0.6):
			w.open()
		case w.living() > 2 && w.chance(0.5):
			n.die()
		case w.living() > 2:
			n.leave()
		}
		w.operations++
	})
	w.mend(3 * DeadAfter)
	return w
}
