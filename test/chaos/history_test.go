package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// rooms is how many rooms there are, r0 and so on.
const rooms = 10

// A roomSet has bit i for room i.
type roomSet uint16

func (s roomSet) names() (names []string) {
	for i := range rooms {
		if s&(1<<i) != 0 {
			names = append(names, fmt.Sprintf("r%d", i))
		}
	}
	return names
}

// A selection says to whom a broadcast goes: to the members of any of rooms, or to all if there are none, but not to those of except.
type selection struct{ rooms, except roomSet }

// selected is the selection of an origin's broadcast with this number. It is the same in every process.
func selected(seed uint64, origin, number int) selection {
	rng := rand.New(rand.NewPCG(seed+uint64(origin)<<32, uint64(number)))
	var s selection
	switch size := rng.IntN(16); {
	case size < 2: // to all
	case size < 8:
		s.rooms = pick(rng, 1)
	default:
		s.rooms = pick(rng, size-6) // 2 to 9
	}
	if rng.IntN(4) == 0 {
		s.except = pick(rng, 1+rng.IntN(2)) &^ s.rooms
	}
	return s
}

// pick returns n rooms, or fewer.
func pick(rng *rand.Rand, n int) (s roomSet) {
	for range n {
		s |= 1 << rng.IntN(rooms)
	}
	return s
}

// selects reports whether a member of these rooms is meant.
func (s selection) selects(in roomSet) bool {
	return (s.rooms == 0 || s.rooms&in != 0) && s.except&in == 0
}

// An end is how an origin ended.
type end uint8

const (
	stayed end = iota // it was there until all had settled
	closed            // its Close has returned
	killed            // kill -9
)

// An origin is a node that has broadcast: numbers from 0 on.
type origin struct {
	ID      string // of the node
	Sent    int    // numbers below this; of one that was killed, nobody knows
	Refused []int  // those whose Emit returned an error
	End     end
	Calm    bool     // it was killed while nothing else was broken: nothing may be lost, nor be reported
	Without []string // the nodes that the error of its Close has named
	Failed  string   // an error of its Close that names no nodes: some of it was not sent
}

// A node has members, and is told what it has lost.
type node struct {
	ID      string
	Stayed  bool           // until all had settled: nothing is known of the end of others
	Since   map[int]int    // the number from which on an origin's broadcasts are due; of one that is not here, none is
	Missed  map[string]int // by the origin's id
	Unknown map[string]int
	Members []member
}

type member struct {
	Rooms roomSet
	Got   map[int][]int // by origin, in the order in which they came
}

// A history is everything that a checker needs to know.
type history struct {
	seed    uint64
	origins []origin
	nodes   []node
}

// check returns what is wrong, and how many deliveries were due.
func (h *history) check() (wrong []string, due int) {
	for o := range h.origins {
		origin, came := &h.origins[o], h.came(o)
		last := origin.Sent
		if origin.End == killed {
			last = came
		}
		selections := make([]selection, last)
		for n := range selections {
			selections[n] = selected(h.seed, o, n)
		}
		for i := range h.nodes {
			c := &checking{o: o, origin: origin, node: &h.nodes[i], selections: selections, upto: last, kinds: make(map[string]int)}
			if origin.without(c.node.ID) {
				c.upto = came
			}
			c.check()
			wrong = append(wrong, c.wrong...)
			due += c.due
		}
	}
	return wrong, due
}

// came is the number behind the highest of an origin that has come anywhere: of one that was killed, or has closed without a node, nobody
// can tell that node more.
func (h *history) came(o int) int {
	came := 0
	for _, n := range h.nodes {
		for _, m := range n.Members {
			if got := m.Got[o]; len(got) > 0 {
				came = max(came, 1+slices.Max(got))
			}
		}
	}
	return came
}

// without reports whether the origin's Close has said that a node may not have everything.
func (o *origin) without(node string) bool { return o.Failed != "" || slices.Contains(o.Without, node) }

// checking is the check of what one node has of one origin.
type checking struct {
	o          int
	origin     *origin
	node       *node
	selections []selection
	upto       int // the number behind the last one that is to be accounted for
	kinds      map[string]int
	wrong      []string
	due        int
}

// fault notes what is wrong, the first few of each kind.
func (c *checking) fault(kind, format string, args ...any) {
	if c.kinds[kind]++; c.kinds[kind] <= 3 {
		where := fmt.Sprintf("%s: node %s, origin %d (%s, %s): ", kind, c.node.ID, c.o, c.origin.ID, c.origin.describe())
		c.wrong = append(c.wrong, where+fmt.Sprintf(format, args...))
	}
}

func (o *origin) describe() string {
	switch {
	case o.End == stayed:
		return "stayed"
	case o.End == killed && o.Calm:
		return "killed while all was well"
	case o.End == killed:
		return "killed"
	case len(o.Without) > 0:
		return "closed without " + strings.Join(o.Without, ", ")
	case o.Failed != "":
		return "closed: " + o.Failed
	}
	return "closed"
}

func (c *checking) check() {
	lost := make(map[int]bool)
	for i := range c.node.Members {
		c.member(i, lost)
	}
	missed, unknown := c.node.Missed[c.origin.ID], c.node.Unknown[c.origin.ID]
	if !c.node.Stayed {
		return
	}
	switch {
	case c.origin.End == killed && !c.origin.Calm, c.origin.without(c.node.ID): // what is lost is told to those who have lost it, too
		if len(lost) > missed && unknown == 0 {
			c.fault("silent loss", "%d were lost in silence, of which %d were told: %v", len(lost), missed, some(lost))
		}
	case len(lost) > 0:
		c.fault("loss", "%d were lost, %d of them and %d unknown losses were told: %v", len(lost), missed, unknown, some(lost))
	case missed == 0 && len(c.origin.Without) > 0 && !c.origin.Calm: // something was cut off when it closed: who cannot know says so
	case missed+unknown > 0:
		c.fault("false alarm", "nothing was lost, but %d and %d unknown losses were told", missed, unknown)
	}
}

// member checks what a member has got, and adds what it has not to lost.
func (c *checking) member(i int, lost map[int]bool) {
	m := &c.node.Members[i]
	seen := make([]bool, len(c.selections))
	since, counts := c.node.Since[c.o]
	var last [rooms + 1]int // by room, and for what went to all; one more than the number
	for _, n := range m.Got[c.o] {
		switch {
		case n >= len(c.selections):
			c.fault("ghost", "member %d has got %d, of %d", i, n, len(c.selections))
			continue
		case seen[n]:
			c.fault("double", "member %d has got %d twice", i, n)
			continue
		case !c.selections[n].selects(m.Rooms) && counts && n >= since: // before, it is not in all its rooms
			c.fault("ghost", "member %d of %v has got %d, which was for %+v", i, m.Rooms.names(), n, c.selections[n])
		}
		seen[n] = true
		for room := range rooms + 1 {
			if s := c.selections[n].rooms; s&m.Rooms&(1<<room) == 0 && (room != rooms || s != 0) {
				continue
			}
			if n < last[room]-1 {
				c.fault("disorder", "member %d has got %d after %d in room %d; due from %d on: %v", i, n, last[room]-1, room, since, counts)
			}
			last[room] = n + 1
		}
	}
	if !counts || !c.node.Stayed {
		return
	}
	for n := since; n < c.upto; n++ {
		if c.selections[n].selects(m.Rooms) && !slices.Contains(c.origin.Refused, n) {
			c.due++
			if !seen[n] {
				lost[n] = true
			}
		}
	}
}

// some are the first of the numbers.
func some(numbers map[int]bool) (first []int) {
	for n := range numbers {
		first = append(first, n)
	}
	slices.Sort(first)
	return first[:min(10, len(first))]
}
