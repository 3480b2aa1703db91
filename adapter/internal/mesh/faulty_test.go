package mesh

import (
	"time"
)

// faulty is a world where everything happens that may, longer than a node is given up if long. In the end all is mended.
func faulty(seed uint64, limits Limits, long bool, trace func(string, ...any)) *world {
	w := begin(seed, faults{any: true}, limits, trace)
	w.goWrong(long)
	return w
}

// goWrong lets a faulty world live.
func (w *world) goWrong(long bool) {
	w.roomy = !long && w.limits.RingBytes == 0
	messages := func() {
		w.loss, w.copies, w.stale, w.over = 0, 0, 0, 0
		if w.chance(0.5) {
			w.loss = 0.01 + 0.29*w.rng.Float64()*w.rng.Float64()
		}
		if w.chance(0.5) {
			w.copies, w.stale, w.over = 0.05, 0.05, 0.2
		}
	}
	messages()
	lasting := func(short time.Duration) time.Duration {
		if long && w.chance(0.3) {
			return w.between(short, 45*time.Second)
		}
		return w.between(time.Millisecond, short)
	}
	for range 2 + w.rng.IntN(4) {
		w.open()
		w.run(w.now + w.between(0, 300*time.Millisecond))
	}
	w.turns(60*time.Millisecond, func() {
		if !w.chance(0.04) {
			w.act()
			return
		}
		n := w.pick()
		if n == nil {
			return
		}
		w.operations++
		b, other := w.brokers[w.rng.IntN(len(w.brokers))], w.brokers[w.rng.IntN(len(w.brokers))]
		switch w.rng.IntN(10) {
		case 0:
			n.hang(lasting(4 * time.Second))
		case 1:
			if w.chance(0.3) && w.living() > 2 {
				n.die()
				return
			}
			w.operations--
		case 2:
			if w.chance(0.3) && w.living() > 2 {
				n.leave()
				return
			}
			w.operations--
		case 3:
			if len(w.nodes) < 9 {
				w.open()
				return
			}
			w.operations--
		case 4: // cut off, noticed at once or not for a while
			if n.client == nil || n.client.dead {
				w.operations--
			}
			n.drop(w.between(0, time.Second), w.between(0, 2500*time.Millisecond), w.between(300*time.Millisecond, time.Second)+lasting(time.Second))
		case 5: // a broker dies; its clients go elsewhere
			w.operations--
			for _, c := range w.clients {
				if c.broker == b && c.node.client == c {
					w.operations++
					c.node.drop(0, w.between(0, 100*time.Millisecond), w.between(300*time.Millisecond, 2*time.Second))
				}
			}
		case 6: // a broker hangs
			d := lasting(2 * time.Second)
			for _, c := range w.clients {
				if c.broker == b {
					w.stall(&c.up, d)
					w.stall(&c.down, d)
				}
			}
			for _, o := range w.brokers {
				w.stall(b.routes[o], d)
				w.stall(o.routes[b], d)
			}
		case 7: // a route breaks, and what is on it is lost
			if b == other || b.cut[other] {
				w.operations--
			} else {
				w.trace("a route breaks")
				w.breakRoute(b, other)
				w.after(lasting(3*time.Second), func() { w.mendRoute(b, other) })
			}
		case 8:
			messages()
		case 9: // nothing comes in, and all goes out
			n.deaf = true
			w.after(lasting(3*time.Second), func() { n.deaf = false })
		}
	})
	while := 7 * time.Second
	if long {
		while = 90 * time.Second // all that are dead are given up
	}
	w.mend(while)
}
