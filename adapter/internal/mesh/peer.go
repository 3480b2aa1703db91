package mesh

import (
	"container/heap"
	"slices"
	"time"
)

// peer is another node, as this one sees it: whether it lives, and how far its broadcasts have come.
type peer struct {
	id      string
	client  bool // it has no members
	known   bool // it is settled where its broadcasts begin for us; until then they are held
	suspect bool // it did not answer, or is silent: nobody waits for it
	leaving bool // it said goodbye, with the last number below
	gone    bool // it has left, and needs nothing more

	since  time.Duration // when it was first heard of, or was back after a silence
	heard  time.Duration // when its last message came, or when it was first heard of
	asked  time.Duration // when the last hello was sent to it
	missed uint64        // the fence whose answer ends the suspicion
	bye    uint64        // its last number, once it is leaving
	leftAt time.Duration // the end of that: then it has gone for certain

	shown   Standing      // how the last Stands said that it stands
	shownAt time.Duration // when

	rtt      time.Duration // until it answers a fence, as measured; 0 if it was not
	distance time.Duration // from it to its broker and back, as it says
	hint     time.Duration // the longest that those who have named it wait for the nodes that they know

	probed     time.Duration // when the broker was asked last whether it is there
	unanswered time.Duration // when it was first asked since it last said no; 0 if it was not
	sign       time.Duration // when the broker was asked last, and did not say no

	acked uint64 // our fences that it answered or that are presumed answered; while it is not known, the one whose answer makes it so
	real  uint64 // our fences that it did answer

	floor   uint64            // all that concerns us up to here is settled
	goal    uint64            // Beats without a gap reach up to here
	told    uint64            // the highest number that a Beat or a goodbye has named: above goal, a Beat is missing
	seen    uint64            // the highest number that has come
	highest uint64            // the highest number delivered
	want    map[uint64]uint64 // streams with something missing up to this number
	last    map[uint64]uint64 // above floor only: settled up to, by stream
	done    bitset            // above floor only: delivered, or counted as lost

	held    map[uint64]*held // what has come early, by number
	behind  map[Link]uint64  // the number of the held broadcast that is next behind Link.Prev on the stream
	bytes   int              // of held
	ready   numbers          // held broadcasts that may be next
	paused  bool             // until Resume
	askAt   time.Duration    // no Nack before
	nacked  time.Duration    // when the last Nack was sent
	pause   time.Duration    // after the last Nack
	window  int              // where among the streams that miss something the last Nack began
	asking  bool             // it has not been answered
	vain    int              // how many of them were answered in vain, one Nack after the other
	moved   bool             // something that was missing has come since, or something else is missing
	buried  bool             // it was given up after a silence
	settled bool             // it needs nothing more of this node, which is leaving

	spoke   bool          // something has come from it
	born    time.Duration // when it began, by our clock
	begun   uint64        // our fence when it was met, if it is younger: of topics from before, all that it ever sent is due
	age     time.Duration // its own age when it last said it
	even    time.Duration // when its Beats last reached up to goal, by our clock; before the first one, when goal was settled
	lapsed  bool          // this node has not been connected since, and may have missed something of it
	common  uint64        // the highest number that it has named to all
	came    []Tail        // what has come after that, or was named to this node alone
	rumours []Tail        // what has come to others, when they said so
	others  time.Duration // its highest age that others have heard, since it is silent for one of us
	said    int           // how many more Beats say what was heard of it

	resynced time.Duration // when the last Resync was sent to it
	part     int           // the next part of the Beat that is coming in
	partA    uint64        // and its A
	partB    uint64        // and its B
}

// held is a broadcast that something is missing in front of, or of a node that is not known.
type held struct {
	links     []Link
	size      int
	repaired  bool
	changes   bool
	broadcast any
}

// heldOverhead is what a held broadcast takes besides its bytes and links, about.
const heldOverhead = 256

// bytes is what b takes, about.
func (b *held) bytes() int { return linked(b.size, len(b.links)) + heldOverhead }

// numbers is a heap of numbers.
type numbers []uint64

func (n numbers) Len() int           { return len(n) }
func (n numbers) Less(i, j int) bool { return n[i] < n[j] }
func (n numbers) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *numbers) Push(g any)        { *n = append(*n, g.(uint64)) }
func (n *numbers) Pop() any {
	end := len(*n) - 1
	g := (*n)[end]
	*n = (*n)[:end]
	return g
}

// eff is the number up to which nothing on a stream is missing.
func (p *peer) eff(h uint64) uint64 { return max(p.floor, p.last[h]) }

// dead reports whether p has been silent for so long that it is given up. Its place is kept.
func (p *peer) dead(now time.Duration) bool { return p.suspect && now-p.heard >= DeadAfter }

// alive reports whether p is waited for.
func (p *peer) alive() bool { return !p.suspect && !p.leaving && !p.gone }

// far reports whether g is too far above the floor to be told apart.
func (p *peer) far(g uint64) bool { return g > p.floor && g-p.floor > maxSpan }

// advance says that nothing on a stream is missing up to g.
func (p *peer) advance(h, g uint64) {
	if g <= p.eff(h) {
		return
	}
	if p.last == nil {
		p.last = make(map[uint64]uint64)
	}
	p.last[h] = g
	if w, ok := p.want[h]; ok {
		p.moved = true
		if w <= g {
			delete(p.want, h)
		}
	}
	if next, ok := p.behind[Link{h, g}]; ok {
		heap.Push(&p.ready, next)
	}
}

// miss says that something on a stream is missing up to g.
func (p *peer) miss(h, g uint64) {
	if g <= p.eff(h) {
		return
	}
	if p.want == nil {
		p.want = make(map[uint64]uint64)
	}
	if _, ok := p.want[h]; !ok {
		p.moved = true // it has not been asked for, and so not in vain
	}
	p.want[h] = max(p.want[h], g)
}

// hold keeps a broadcast for later.
func (p *peer) hold(g uint64, b *held) {
	if p.held == nil {
		p.held = make(map[uint64]*held)
		p.behind = make(map[Link]uint64)
	}
	p.held[g] = b
	p.bytes += b.bytes()
	for _, l := range b.links {
		if l.Prev > p.eff(l.Hash) {
			p.behind[l] = g
		}
	}
}

// unhold takes a broadcast out of held.
func (p *peer) unhold(g uint64) *held {
	b := p.held[g]
	if b == nil {
		return nil
	}
	delete(p.held, g)
	p.bytes -= b.bytes()
	for _, l := range b.links {
		if p.behind[l] == g {
			delete(p.behind, l)
		}
	}
	if len(p.held) == 0 {
		p.held, p.behind = nil, nil
	}
	return b
}

// inOrder returns the numbers of the held broadcasts, ascending.
func (p *peer) inOrder() []uint64 {
	list := make([]uint64, 0, len(p.held))
	for g := range p.held {
		list = append(list, g)
	}
	slices.Sort(list)
	return list
}

// recheck has all held broadcasts tried again: what they wait for may have come in other ways than one by one.
func (p *peer) recheck() {
	for h, w := range p.want {
		if w <= p.eff(h) {
			delete(p.want, h)
		}
	}
	p.shrink()
	p.ready = nil
	if len(p.held) > 0 {
		p.ready = p.inOrder() // which is a heap
	}
}

// raise moves the floor to x and forgets all that it covers: an idle peer costs nothing but itself.
func (p *peer) raise(x uint64) {
	if x <= p.floor {
		return
	}
	p.floor = x
	for h, g := range p.last {
		if g <= x {
			delete(p.last, h)
		}
	}
	p.shrink()
	p.done.cut(x)
	p.recheck()
}

// shrink gives back what is of no use any more.
func (p *peer) shrink() {
	if len(p.want) == 0 {
		p.want = nil
	}
	if len(p.last) == 0 {
		p.last = nil
	}
}

// start settles where p's broadcasts begin: above x.
func (p *peer) start(x uint64) {
	p.known = true
	p.goal = max(p.goal, x)
	p.raise(x)
	p.recheck()
}
