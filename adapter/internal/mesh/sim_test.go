package mesh

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	worlds  = flag.Int("worlds", 0, "how many `worlds` of each sort to simulate; 0 means a few hundred")
	replay  = flag.Uint64("seed", 0, "simulate the world with this `seed` alone, and print what happens")
	setting = flag.String("setting", "", "with -seed: healthy, faulty or long")
)

// TestWorlds simulates clusters, and checks the promises of the protocol against a model.
func TestWorlds(t *testing.T) {
	for _, s := range []struct {
		name string
		few  int
		live func(seed uint64, trace func(string, ...any)) *world
	}{
		{"healthy", 150, healthy},
		{"faulty", 200, func(seed uint64, trace func(string, ...any)) *world { return faulty(seed, false, trace) }},
		{"long", 40, func(seed uint64, trace func(string, ...any)) *world { return faulty(seed, true, trace) }},
	} {
		t.Run(s.name, func(t *testing.T) {
			if *replay != 0 {
				if *setting == s.name {
					w := s.live(*replay, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
					if w.failure != "" {
						t.Error(w.failure)
					}
				}
				return
			}
			n := s.few
			if testing.Short() || raceEnabled {
				n /= 4
			}
			if *worlds > 0 {
				n = *worlds
			}
			var emits, delivered, holes, stale int
			for seed := uint64(1); seed <= uint64(n); seed++ {
				w := s.live(seed, nil)
				if w.failure != "" {
					t.Fatalf("%s\nreplay with -run TestWorlds -setting %s -seed %d", w.failure, s.name, seed)
				}
				emits += w.emitted
				for _, node := range w.nodes {
					c := node.m.Counts()
					delivered += int(c.Delivered)
					holes += int(c.Holes)
					stale += int(c.Stale)
				}
			}
			if delivered == 0 || s.name != "healthy" && (holes == 0 || stale == 0) {
				t.Errorf("%d delivered, %d holes, %d stale: nothing was tried", delivered, holes, stale)
			}
			t.Logf("%d worlds: %d emitted, %d delivered, %d holes, %d stale", n, emits, delivered, holes, stale)
		})
	}
}

func begin(seed uint64, f faults, trace func(string, ...any)) *world {
	w := newWorld(seed, f, 1+int(seed%3))
	if trace != nil {
		w.trace = func(format string, args ...any) { trace(fmt.Sprintf("%v ", w.now) + fmt.Sprintf(format, args...)) }
	}
	return w
}

// pick draws a node; nil if it cannot act.
func (w *world) pick() *node {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.failure != "" || !n.alive || n.hung {
		return nil
	}
	return n
}

func (w *world) room() string { return fmt.Sprintf("room%d", w.rng.IntN(8)) }

// act lets a random node join, leave, or emit.
func (w *world) act() {
	n := w.pick()
	if n == nil {
		return
	}
	switch k := w.rng.IntN(10); {
	case k < 2:
		topics := []string{w.room()}
		if w.chance(0.2) {
			topics = append(topics, fmt.Sprintf("@n%d/s", w.rng.IntN(len(w.nodes))))
		}
		n.join(topics...)
	case k < 3:
		n.leaveRoom(w.room())
	default:
		if !w.any && !n.ready {
			return // what a node emits before it has met the others is not promised to anybody
		}
		topics := []string{w.room()}
		if w.chance(0.1) {
			topics[0] = fmt.Sprintf("@n%d/s", w.rng.IntN(len(w.nodes)))
		}
		for w.chance(0.4) && len(topics) < 4 {
			if t := w.room(); !slices.Contains(topics, t) {
				topics = append(topics, t)
			}
		}
		n.emit(topics)
	}
}

// healthy is a world where nothing is lost: nodes come and go, and interest takes its time.
func healthy(seed uint64, trace func(string, ...any)) *world {
	w := begin(seed, faults{}, trace)
	if w.chance(0.5) {
		w.copies, w.over = 0.05, 0.2
	}
	for range 2 + w.rng.IntN(4) {
		w.open()
		w.run(w.now + w.between(60*time.Millisecond, 600*time.Millisecond))
	}
	opened := w.now
	for range 300 {
		w.run(w.now + w.between(0, 30*time.Millisecond))
		switch {
		case len(w.nodes) < 8 && w.now-opened > 100*time.Millisecond && w.chance(0.01):
			w.open()
			opened = w.now
		case w.chance(0.003):
			if n := w.pick(); n != nil {
				n.leave()
			}
		default:
			w.act()
		}
	}
	w.run(w.now + 4*time.Second)
	w.quiet()
	return w
}

// faulty is a world where everything happens that may. In the end all is mended.
func faulty(seed uint64, long bool, trace func(string, ...any)) *world {
	w := begin(seed, faults{any: true, long: long}, trace)
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
	for range 300 {
		w.run(w.now + w.between(0, 60*time.Millisecond))
		if !w.chance(0.04) {
			w.act()
			continue
		}
		n := w.pick()
		if n == nil {
			continue
		}
		b, other := w.brokers[w.rng.IntN(len(w.brokers))], w.brokers[w.rng.IntN(len(w.brokers))]
		switch w.rng.IntN(9) {
		case 0:
			n.hang(lasting(4 * time.Second))
		case 1:
			if w.chance(0.3) {
				n.die()
			}
		case 2:
			if w.chance(0.3) {
				n.leave()
			}
		case 3:
			if len(w.nodes) < 9 {
				w.open()
			}
		case 4: // cut off, noticed at once or not for a while
			n.drop(w.between(0, time.Second), w.between(0, 2500*time.Millisecond), w.between(300*time.Millisecond, time.Second)+lasting(time.Second))
		case 5: // a broker dies; its clients go elsewhere
			for _, c := range w.clients {
				if c.broker == b && c.node.client == c {
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
			if b != other && !b.cut[other] {
				w.trace("a route breaks")
				w.breakRoute(b, other)
				w.after(lasting(3*time.Second), func() { w.mendRoute(b, other) })
			}
		case 8:
			messages()
		}
	}
	w.faults = faults{any: true, long: long}
	w.run(w.now + 8*time.Second)
	if long {
		w.run(w.now + 90*time.Second)
	}
	w.quiet()
	return w
}

// breakRoute ends a route in both directions, and with it the interest that came by it.
func (w *world) breakRoute(a, b *broker) {
	a.cut[b], b.cut[a] = true, true
	for _, c := range w.clients {
		if c.broker == a {
			delete(b.interest, c)
		}
		if c.broker == b {
			delete(a.interest, c)
		}
	}
}

// mendRoute restores a route: each side tells the other its interest first.
func (w *world) mendRoute(a, b *broker) {
	w.trace("the route is back")
	a.cut[b], b.cut[a] = false, false
	for _, c := range w.clients {
		if c.dead || c.broker != a && c.broker != b {
			continue
		}
		from, to := a, b
		if c.broker == b {
			from, to = b, a
		}
		var topics []string
		for topic := range from.interest[c] {
			topics = append(topics, topic)
		}
		w.through(from.routes[to], func() { w.see(to, c, topics, true, false) })
	}
}
