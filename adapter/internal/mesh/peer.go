package mesh

import "time"

// peer is another node, as this one sees it: whether it lives, and how far its broadcasts have come.
type peer[B any] struct {
	id       string
	name     string // what its operators call it; empty until it has said so
	client   bool   // it has no members
	standing Standing

	inbox[B]

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

	sent uint64 // the highest number that a heartbeat or a goodbye has named: above high watermark, a heartbeat is missing

	nackAt    time.Duration // no Nack before
	nackedAt  time.Duration // when the last Nack was sent
	interval  time.Duration // after the last Nack
	window    int           // where among the streams that miss something the last Nack began
	nacking   bool          // it has not been answered
	fruitless int           // how many of them were answered in vain, one Nack after the other
	confirmed bool          // it needs nothing more of this node, which is leaving

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
