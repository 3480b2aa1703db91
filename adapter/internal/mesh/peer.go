package mesh

import "time"

// peer is another node, as this one sees it: whether it lives, and how far its broadcasts have come.
type peer[T comparable] struct {
	id      string
	known   bool // it is settled where its broadcasts begin for us; until then they are held
	suspect bool // it did not answer, or is silent: nobody waits for it
	gone    bool // it said goodbye

	since time.Duration // when it was first heard of, or was back after a silence
	heard time.Duration // when its last message came, or when it was first heard of
	asked time.Duration // when the last hello was sent to it

	acked uint64 // our fences that it answered or that are presumed answered; while it is not known, the one whose answer makes it so
	real  uint64 // our fences that it did answer

	floor   uint64              // all that concerns us up to here is settled
	goal    uint64              // Beats without a gap reach up to here
	highest uint64              // the highest number delivered
	gap     bool                // it was given up before all up to floor was accounted for
	last    map[uint64]uint64   // above floor only: settled up to, by the hash of the topic
	done    map[uint64]struct{} // above floor only: delivered

	held     []held[T]     // while not known
	resynced time.Duration // when the last Resync was sent to it
	part     int           // the next part of the Beat that is coming in
	partB    uint64        // and its B
}

type held[T comparable] struct {
	stamp     Stamp
	topics    []T
	broadcast any
}

// settled is the number up to which nothing on the topic with this hash will still be delivered.
func (p *peer[T]) settled(h uint64) uint64 { return max(p.floor, p.last[h]) }

// dead reports whether p has been silent for so long that it is given up. Its place is kept.
func (p *peer[T]) dead(now time.Duration) bool { return p.suspect && now-p.heard >= DeadAfter }

// raise moves the floor to x and forgets all that it covers: an idle peer costs nothing but itself.
func (p *peer[T]) raise(x uint64) {
	if x == p.floor && len(p.last) == 0 {
		return
	}
	p.floor = x
	for h, g := range p.last {
		if g <= x {
			delete(p.last, h)
		}
	}
	for g := range p.done {
		if g <= x {
			delete(p.done, g)
		}
	}
}

// start settles where p's broadcasts begin: above x.
func (p *peer[T]) start(x uint64) {
	p.known = true
	p.goal = x
	p.raise(x)
}

// give gives p up: only its place is kept.
func (p *peer[T]) give() {
	p.held = nil
	p.gap = p.gap || p.highest > p.goal
	p.goal = max(p.goal, p.highest)
	p.raise(p.goal)
}
