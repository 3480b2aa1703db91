package mesh

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

var (
	worlds  = flag.Int("worlds", 0, "how many `worlds` of each sort to simulate; 0 means a few dozen")
	first   = flag.Uint64("first", 1, "the `seed` of the first world")
	replay  = flag.Uint64("seed", 0, "simulate the world with this `seed` alone, and print what happens")
	setting = flag.String("setting", "", "simulate this sort of world alone: healthy, steady, far, faulty, short, long, mortal, parting or moving")
)

// sortOfWorld is a sort of worlds.
type sortOfWorld struct {
	name   string
	few    int // four times as many as a plain test simulates
	live   func(seed uint64, trace func(string, ...any)) *world
	counts []string // those that must not be small
}

var sorts = []sortOfWorld{
	{"healthy", 150, func(seed uint64, trace func(string, ...any)) *world { return healthy(seed, windows(seed), trace) },
		[]string{"deliveries", "unions", "wide", "requests", "copies", "rejoins"}},
	{"steady", 100, func(seed uint64, trace func(string, ...any)) *world { return steady(seed, windows(seed), trace) },
		[]string{"deliveries", "unions", "wide", "requests", "rejoins", "nacks", "repairs", "repaired", "suspects", "probes"}},
	{"far", 60, func(seed uint64, trace func(string, ...any)) *world { return far(seed, windows(seed), trace) },
		[]string{"deliveries", "unions", "wide", "requests", "copies", "rejoins", "swift"}},
	{"faulty", 250, func(seed uint64, trace func(string, ...any)) *world { return faulty(seed, windows(seed), false, trace) },
		[]string{"deliveries", "unions", "wide", "requests", "copies", "stale", "rejoins", "nacks", "repairs", "repaired", "suspects"}},
	{"short", 150, func(seed uint64, trace func(string, ...any)) *world {
		return faulty(seed, shortage(seed), false, trace)
	},
		[]string{"deliveries", "repaired", "missed", "unknown", "unheld"}},
	{"long", 50, func(seed uint64, trace func(string, ...any)) *world { return faulty(seed, windows(seed), true, trace) },
		[]string{"deliveries", "repaired", "suspects", "deaths"}},
	{"mortal", 30, func(seed uint64, trace func(string, ...any)) *world { return mortal(seed, windows(seed), trace) },
		[]string{"deliveries", "unions", "requests", "suspects", "deaths"}},
	{"parting", 60, func(seed uint64, trace func(string, ...any)) *world { return parting(seed, windows(seed), trace) },
		[]string{"deliveries", "repaired", "suspects", "deaths", "unknown"}},
	{"moving", 80, func(seed uint64, trace func(string, ...any)) *world { return moving(seed, windows(seed), "", trace) },
		[]string{"deliveries", "repaired", "suspects", "settles", "moves", "refused", "carried", "twice"}},
}

// TestWorlds simulates clusters, and checks the promises of the protocol against a model.
func TestWorlds(t *testing.T) {
	for _, s := range sorts {
		t.Run(s.name, func(t *testing.T) {
			if *setting != "" && *setting != s.name {
				return
			}
			if *replay != 0 {
				w := s.live(*replay, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
				if w.failure != "" {
					t.Error(w.failure)
				}
				return
			}
			n := s.few / 4 // with this many a fault in the protocol shows soon; .ci/run simulates far more
			if testing.Short() || kit.Raced {
				n /= 2
			}
			if *worlds > 0 {
				n = *worlds
			}
			total := make(map[string]int)
			for seed := *first; seed < *first+uint64(n); seed++ {
				w := s.live(seed, nil)
				if w.failure != "" {
					t.Fatalf("%s\nreplay with -run TestWorlds -setting %s -seed %d", w.failure, s.name, seed)
				}
				if w.operations < minOperations {
					t.Fatalf("%d operations in the world with seed %d, want at least %d", w.operations, seed, minOperations)
				}
				for name, n := range w.counts() {
					total[name] += n
				}
			}
			t.Logf("%d worlds: %v", n, total)
			for _, name := range s.counts {
				if total[name] < n/4 {
					t.Errorf("%d %s in %d worlds: nothing was tried", total[name], name, n)
				}
			}
		})
	}
}

// counts says what a world contained.
func (w *world) counts() map[string]int {
	n := map[string]int{
		"operations": w.operations, "emitters": w.emitters(), "emitted": w.emitted, "unions": w.unions, "wide": w.wide, "requests": w.requests,
		"missed": w.missed, "unknown": w.unknown, "probes": w.probes, "swift": w.swift,
		"moves": w.moves, "refused": w.refused, "carried": w.carried, "twice": w.twice,
	}
	for _, node := range w.nodes {
		c := node.m.Counts()
		for name, count := range map[string]uint64{
			"deliveries": c.Delivered, "copies": c.Copies, "stale": c.Stale, "overtaken": c.Overtaken, "rejoins": c.Rejoins,
			"nacks": c.Nacks, "repairs": c.Repairs, "repaired": c.Repaired, "unheld": c.Unheld, "suspects": c.Suspects, "deaths": c.Deaths, "settles": c.Settles,
		} {
			n[name] += int(count)
		}
	}
	return n
}

func (w *world) emitters() int {
	emitters := 0
	for _, n := range w.nodes {
		if n.emitter {
			emitters++
		}
	}
	return emitters
}

// windows are a usual ring, and now and then small windows of Nacks, their answers and heartbeats, so that one does not do.
func windows(seed uint64) Limits {
	n := int(2 + seed/5%3)
	switch seed % 5 {
	case 0:
		return Limits{Ranges: n, Repairs: n, Tails: n}
	case 1:
		return Limits{Ranges: n}
	}
	return Limits{}
}

// shortage is a ring that is too small, or too little room for what comes early.
func shortage(seed uint64) Limits {
	l := windows(seed)
	l.RingBytes = 100 * int(5+seed%20)
	if seed%3 == 0 {
		l.RingStamps = int(8 + seed%40)
	}
	if seed%4 == 0 {
		l.HeldBytes, l.HeldTotal = 1500, 3000
	}
	return l
}

func begin(seed uint64, f faults, limits Limits, trace func(string, ...any)) *world {
	w := newWorld(seed, f, 1+int(seed%3))
	w.limits = limits
	w.weak = w.chance(0.15)
	w.mute = w.chance(0.3)
	if trace != nil {
		w.trace = func(format string, args ...any) { trace(fmt.Sprintf("%v ", w.now) + fmt.Sprintf(format, args...)) }
	}
	return w
}

// minOperations is how many operations each world has.
const minOperations = 250

// turns calls do after each while of random length up to pause, until there have been enough operations.
func (w *world) turns(pause time.Duration, do func()) {
	for turn := 0; w.operations < minOperations && turn < 100*minOperations && w.failure == ""; turn++ {
		w.run(w.now + w.between(0, pause))
		do()
	}
}

// living is how many nodes are there and do not leave.
func (w *world) living() int {
	living := 0
	for _, n := range w.nodes {
		if n.alive && !n.closing {
			living++
		}
	}
	return living
}

// pick draws a node; nil if it cannot act.
func (w *world) pick() *node {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.failure != "" || !n.alive || n.hung || n.closing {
		return nil
	}
	return n
}

func (w *world) room() string { return fmt.Sprintf("room%d", w.rng.IntN(8)) }

// own is the room of some member, of any node, or of nobody; of none that is yet to come, whose id nobody can know.
func (w *world) own() string {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	return fmt.Sprintf("%s.%d", n.id, w.rng.IntN(n.born+1))
}

// act lets a random node do something.
func (w *world) act() {
	n := w.pick()
	if n == nil {
		return
	}
	var m *member
	if len(n.members) > 0 {
		m = n.members[w.rng.IntN(len(n.members))]
	}
	w.operations++
	if w.moving && w.chance(0.2) {
		w.move(n)
		return
	}
	switch k := w.rng.IntN(100); {
	case n.emitter:
		if !w.any && !n.ready || w.chance(0.5) {
			w.operations--
			return
		}
		n.emit(w.draft())
	case m == nil, k < 4 && len(n.members) < 5:
		n.add(nil)
	case k < 20:
		rooms := []string{w.room()}
		if w.chance(0.2) {
			rooms = append(rooms, w.own())
		}
		n.join(m, rooms...)
	case k < 28:
		room := w.room()
		if m.in[room] == nil {
			w.operations--
		}
		n.leaveRoom(m, room)
	case k < 30:
		n.remove(m)
	default:
		if !w.any && !n.ready {
			w.operations--
			return // what a node emits before it has met the others is not promised to anybody
		}
		n.emit(w.draft())
	}
}

// size is a random number of rooms: mostly one, often a few, and up to all that there are.
func (w *world) size() int {
	switch k := w.rng.IntN(10); {
	case k < 5:
		return 1
	case k < 8:
		return 2 + w.rng.IntN(maxUnion-1)
	}
	return maxUnion + 1 + w.rng.IntN(5)
}

// draft is a random emission.
func (w *world) draft() *emission {
	e := &emission{rooms: []string{w.room()}, size: 50 + w.rng.IntN(100)}
	switch w.rng.IntN(12) {
	case 0:
		e.rooms[0] = w.own()
	case 1:
		e.rooms = nil
	case 2:
		e.kind = requestJoin + kind(w.rng.IntN(3))
		e.room = w.room()
	}
	for size := w.size(); e.rooms != nil && len(e.rooms) < size; {
		r := w.room()
		if w.chance(0.1) {
			r = w.own()
		}
		if !slices.Contains(e.rooms, r) {
			e.rooms = append(e.rooms, r)
		}
	}
	for w.chance(0.15) {
		e.except = append(e.except, w.room())
	}
	if e.kind == requestEnd && !w.chance(0.3) {
		e.kind = requestLeave
	}
	return e
}

// healthy is a world where nothing is lost: nodes come and go, and interest takes its time.
func healthy(seed uint64, limits Limits, trace func(string, ...any)) *world {
	w := begin(seed, faults{}, limits, trace)
	w.goWell()
	return w
}

// far is a healthy world where nodes may be far away from their brokers.
func far(seed uint64, limits Limits, trace func(string, ...any)) *world {
	w := begin(seed, faults{}, limits, trace)
	w.distant = true
	w.goWell()
	return w
}

// goWell lets a healthy world live.
func (w *world) goWell() {
	w.roomy = true
	if w.chance(0.5) {
		w.copies, w.over = 0.05, 0.2
	}
	for range 2 + w.rng.IntN(4) {
		w.open()
		w.run(w.now + w.between(60*time.Millisecond, 600*time.Millisecond))
	}
	opened, gap := w.now, 100*time.Millisecond
	if w.distant {
		gap = MaxPatience // a Join is as patient with one node that it meets, and not with one after the other
		w.run(w.now + gap)
	}
	w.turns(30*time.Millisecond, func() {
		switch {
		case len(w.nodes) < 8 && w.now-opened > gap && w.chance(0.01):
			w.open()
			w.operations++
			opened = w.now
		case w.chance(0.003):
			if n := w.pick(); n != nil && w.living() > 2 {
				n.leave()
				w.operations++
			}
		default:
			w.act()
		}
	})
	w.run(w.now + 4*time.Second)
	w.introduced()
	w.quiet()
}
