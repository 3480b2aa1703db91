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
