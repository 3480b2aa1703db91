package mesh

import (
	"container/heap"
	"slices"
	"time"
)

// peer is another node, as this one sees it: whether it lives, and how far its broadcasts have come.
type peer[B any] struct {
	id       string
	client   bool // it has no members
	started  bool // it is settled where its broadcasts begin for us; until then they are held
	standing Standing

	since       time.Duration // when it was first heard of, or was back after a silence
	heardAt     time.Duration // when its last message came, or when it was first heard of
	helloAt     time.Duration // when the last hello was sent to it
	missedFence uint64        // the fence whose answer ends the suspicion
	final       uint64        // its last number, once it is leaving
	leaveBy     time.Duration // the end of that: then it has gone for certain

	shown   Standing      // how the last Stands said that it stands
	shownAt time.Duration // when

	rtt      time.Duration // until it answers a fence, as measured; 0 if it was not
	distance time.Duration // from it to its broker and back, as it says
	hint     time.Duration // the longest that those who have named it wait for the nodes that they know

	probed       time.Duration // when the broker was asked last whether it is there
	probingSince time.Duration // when it was first asked since it last said no; 0 if it was not
	vouchedAt    time.Duration // when the broker was asked last, and did not say no

	presumed uint64 // our fences that it answered or that are presumed answered; while it is not known, the one whose answer makes it so
	answered uint64 // our fences that it did answer

	low       uint64            // all that concerns us up to here is settled
	high      uint64            // heartbeats without a gap reach up to here
	sent      uint64            // the highest number that a heartbeat or a goodbye has named: above high watermark, a heartbeat is missing
	received  uint64            // the highest number that has come
	delivered uint64            // the highest number delivered
	gaps      map[uint64]uint64 // streams with something missing up to this number
	lows      map[uint64]uint64 // above low watermark only: settled up to, by stream
	done      bitset            // above low watermark only: delivered, or counted as lost

	held      map[uint64]*held[B] // what has come early, by number
	behind    map[Link]uint64     // the number of the held broadcast that is next behind Link.Prev on the stream
	bytes     int                 // of held
	ready     sequences           // held broadcasts that may be next
	paused    bool                // until Resume
	nackAt    time.Duration       // no Nack before
	nackedAt  time.Duration       // when the last Nack was sent
	interval  time.Duration       // after the last Nack
	window    int                 // where among the streams that miss something the last Nack began
	nacking   bool                // it has not been answered
	fruitless int                 // how many of them were answered in vain, one Nack after the other
	moved     bool                // something that was missing has come since, or something else is missing
	confirmed bool                // it needs nothing more of this node, which is leaving

	contacted   bool          // something has come from it
	born        time.Duration // when it began, by our clock
	firstFence  uint64        // our fence when it was met, if it is younger: of topics from before, all that it ever sent is due
	age         time.Duration // its own age when it last said it
	completeAt  time.Duration // when its heartbeats last reached up to high watermark, by our clock; before the first one, when high watermark was settled
	lapsed      bool          // this node has not been connected since, and may have missed something of it
	announced   uint64        // the highest number that it has named to all
	unannounced []Tail        // what has come after that, or was named to this node alone
	gossiped    []Tail        // what has come to others, when they said so
	gossipedAge time.Duration // its highest age that others have heard, since it is silent for one of us
	gossips     int           // how many more heartbeats say what was heard of it

	resyncAt  time.Duration // when the last Resync was sent to it
	part      int           // the next part of the heartbeat that is coming in
	partAfter uint64        // and its A
	partUpto  uint64        // and its B
}

// held is a broadcast that something is missing in front of, or of a node that is not known.
type held[B any] struct {
	links     []Link
	size      int
	repaired  bool
	changes   bool
	broadcast B
}

// heldOverhead is what a held broadcast takes besides its bytes and links, about.
const heldOverhead = 256

// bytes is what b takes, about.
func (b *held[B]) bytes() int { return linked(b.size, len(b.links)) + heldOverhead }

// sequences is a heap of numbers.
type sequences []uint64

func (n sequences) Len() int           { return len(n) }
func (n sequences) Less(i, j int) bool { return n[i] < n[j] }
func (n sequences) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *sequences) Push(g any)        { *n = append(*n, g.(uint64)) }
func (n *sequences) Pop() any {
	end := len(*n) - 1
	seq := (*n)[end]
	*n = (*n)[:end]
	return seq
}

// lowOf is the number up to which nothing on a stream is missing.
func (p *peer[B]) lowOf(h uint64) uint64 { return max(p.low, p.lows[h]) }

// expired reports whether p has been silent for so long that it is given up. Its place is kept.
func (p *peer[B]) expired(now time.Duration) bool {
	return p.standing == StandingDead || p.standing == StandingSuspect && now-p.heardAt >= DeadAfter
}

// alive reports whether p is waited for.
func (p *peer[B]) alive() bool { return p.standing.alive() }

// present reports whether p belongs to the cluster: it is alive, or suspect and not given up.
func (p *peer[B]) present(now time.Duration) bool {
	return p.alive() || p.standing == StandingSuspect && !p.expired(now)
}

// far reports whether g is too far above the low watermark to be told apart.
func (p *peer[B]) far(seq uint64) bool { return seq > p.low && seq-p.low > maxSpan }

// advance says that nothing on a stream is missing up to g.
func (p *peer[B]) advance(h, seq uint64) {
	if seq <= p.lowOf(h) {
		return
	}
	if p.lows == nil {
		p.lows = make(map[uint64]uint64)
	}
	p.lows[h] = seq
	if w, ok := p.gaps[h]; ok {
		p.moved = true
		if w <= seq {
			delete(p.gaps, h)
		}
	}
	if next, ok := p.behind[Link{h, seq}]; ok {
		heap.Push(&p.ready, next)
	}
}

// addGap says that something on a stream is missing up to g.
func (p *peer[B]) addGap(h, seq uint64) {
	if seq <= p.lowOf(h) {
		return
	}
	if p.gaps == nil {
		p.gaps = make(map[uint64]uint64)
	}
	if _, ok := p.gaps[h]; !ok {
		p.moved = true // it has not been asked for, and so not in vain
	}
	p.gaps[h] = max(p.gaps[h], seq)
}

// hold keeps a broadcast for later.
func (p *peer[B]) hold(seq uint64, b *held[B]) {
	if p.held == nil {
		p.held = make(map[uint64]*held[B])
		p.behind = make(map[Link]uint64)
	}
	p.held[seq] = b
	p.bytes += b.bytes()
	for _, l := range b.links {
		if l.Prev > p.lowOf(l.Hash) {
			p.behind[l] = seq
		}
	}
}

// unhold takes a broadcast out of held.
func (p *peer[B]) unhold(seq uint64) *held[B] {
	b := p.held[seq]
	if b == nil {
		return nil
	}
	delete(p.held, seq)
	p.bytes -= b.bytes()
	for _, l := range b.links {
		if p.behind[l] == seq {
			delete(p.behind, l)
		}
	}
	if len(p.held) == 0 {
		p.held, p.behind = nil, nil
	}
	return b
}

// inOrder returns the numbers of the held broadcasts, ascending.
func (p *peer[B]) inOrder() []uint64 {
	list := make([]uint64, 0, len(p.held))
	for seq := range p.held {
		list = append(list, seq)
	}
	slices.Sort(list)
	return list
}

// recheck has all held broadcasts tried again: what they wait for may have come in other ways than one by one.
func (p *peer[B]) recheck() {
	for h, w := range p.gaps {
		if w <= p.lowOf(h) {
			delete(p.gaps, h)
		}
	}
	p.shrink()
	p.ready = nil
	if len(p.held) > 0 {
		p.ready = p.inOrder() // which is a heap
	}
}

// raise moves the low watermark to x and forgets all that it covers: an idle peer costs nothing but itself.
func (p *peer[B]) raise(x uint64) {
	if x <= p.low {
		return
	}
	p.low = x
	for h, seq := range p.lows {
		if seq <= x {
			delete(p.lows, h)
		}
	}
	p.shrink()
	p.done.cut(x)
	p.recheck()
}

// shrink gives back what is of no use any more.
func (p *peer[B]) shrink() {
	if len(p.gaps) == 0 {
		p.gaps = nil
	}
	if len(p.lows) == 0 {
		p.lows = nil
	}
}

// start settles where p's broadcasts begin: above x.
func (p *peer[B]) start(x uint64) {
	p.started = true
	p.high = max(p.high, x)
	p.raise(x)
	p.recheck()
}
