package mesh

import (
	"math"
	"time"
)

// Times and bounds of the protocol.
const (
	FenceTimeout      = 250 * time.Millisecond // a near node that has not answered a fence or a hello by then is suspect
	MaxPatience       = 2 * time.Second        // the same for a node that is as far away as any may be: see patience
	HeartbeatInterval = 500 * time.Millisecond
	SuspectAfter      = 2 * time.Second  // of silence
	DeadAfter         = 30 * time.Second // of silence
	Linger            = time.Second      // for which a topic stays subscribed after the last leave

	maxHold              = SuspectAfter           // for which broadcasts are held back on a new link, until the nodes known before are back
	probeInterval        = 20 * time.Millisecond  // between two questions to the broker whether a node is there that has not answered
	suspectProbeInterval = 500 * time.Millisecond // between two whether one is there that is suspect
	probeGrace           = time.Second            // for which the broker may take to say that it is not
	helloInterval        = 100 * time.Millisecond // between two hellos of a node that nobody has answered yet, or to one that is suspect
	resyncInterval       = 100 * time.Millisecond // at the least, between two Resyncs to one node
	maxSpan              = 1 << 20                // numbers above the low watermark that a receiver tells apart
	maxTombstones        = 1 << 10

	minNackInterval = 10 * time.Millisecond  // between two Nacks to one node
	nackInterval    = 100 * time.Millisecond // until a Nack is repeated; doubles
	maxNackInterval = 2 * time.Second        // up to this
	maxRepairBytes  = 256 << 10              // of the broadcasts in the answer to a Nack, but for the first
	maxGoneLinks    = 1 << 15                // of the numbers that a Gone names, but for the first: 320 kB or so
	linksPerStamp   = 4                      // links that the ring remembers for each number, on the average

	byeInterval = 100 * time.Millisecond // between two goodbyes
	maxClosing  = 2 * time.Second        // for which a node that leaves answers those who miss something

	forever = time.Duration(math.MaxInt64)
)

// Limits bound what a Machine remembers, and what it says at once. Zero fields mean the defaults.
type Limits struct {
	RingBytes  int           // of own broadcasts and their links, for repair: 64 MiB
	RingStamps int           // numbers of own broadcasts, to count what cannot be repaired: 524,288; no more than this, with four links each
	RingAge    time.Duration // of own broadcasts; their numbers are remembered for twice as long: 30 s
	HeldBytes  int           // of broadcasts of one node that came early: 8 MiB
	HeldTotal  int           // of all nodes: 64 MiB
	Ranges     int           // of a Nack: 1,000; no more than this
	Repairs    int           // broadcasts in the answer to a Nack: 512; no more than this
	Tails      int           // of a part of a heartbeat: 32,768; no more than this, which is 300 kB or so, within the message size of every broker
}

func (l Limits) defaults() Limits {
	set := func(n *int, d, limit int) {
		if *n <= 0 || *n > limit {
			*n = d
		}
	}
	set(&l.RingBytes, 64<<20, 1<<40)
	set(&l.RingStamps, 1<<19, 1<<19)
	set(&l.HeldBytes, 8<<20, 1<<40)
	set(&l.HeldTotal, 64<<20, 1<<40)
	set(&l.Ranges, 1000, 1000)
	set(&l.Repairs, 512, 512)
	set(&l.Tails, 1<<15, 1<<15)
	if l.RingAge <= 0 {
		l.RingAge = 30 * time.Second
	}
	return l
}

// A Config is what a Machine is told about its node and its topics.
type Config[T comparable] struct {
	Node   string              // this node's id
	Name   string              // what its operators call it; the others hear of it when they meet it
	Client bool                // it has no members: it only emits
	Hash   func(T) uint64      // the same on every node
	Own    func(T) bool        // the topic needs no Subscribe here: it is subscribed before LinkUp, or covered by what is
	Mine   func(h uint64) bool // a hash of which Own would be true; it may be wrong by chance, rarely
	Limits Limits

	// NameSuspects is how long calls name a node that is suspect: see [Machine.Named]. Zero means DefaultNameSuspects.
	NameSuspects time.Duration
}

// DefaultNameSuspects is the default of Config.NameSuspects.
const DefaultNameSuspects = 10 * time.Second

// A Broker is what a link knows of its broker. Its zero value is a near one that tells nothing.
type Broker struct {
	RoundTrip time.Duration // to the broker and back
	Probes    bool          // it says at once if it knows of nobody who receives what is for a node: see [Probe]
}

// Counts is what a Machine has seen since its beginning.
type Counts struct {
	Delivered uint64 // broadcasts handed to the local members
	Unwanted  uint64 // came for topics that this node does not receive
	Copies    uint64 // came again, on another topic of their union or twice on the same
	Stale     uint64 // came after they had been given up, or were not due, and were dropped
	Overtaken uint64 // delivered after something newer of their origin, on another topic
	Repaired  uint64 // came as an answer to a Nack, and were delivered
	Missed    uint64 // will not come any more: each counts once
	Unknown   uint64 // times that an unknown number of broadcasts, if any, will not come any more
	Unheld    uint64 // came early, beyond what is held; they are asked for again if they are due

	Nacks    uint64 // questions for what was missing
	Repairs  uint64 // own broadcasts that were sent again
	Rejoins  uint64 // joins of topics that still lingered
	Settles  uint64 // rounds of Settles that have ended
	Suspects uint64 // times that a node has become suspect
	Deaths   uint64 // times that a node was given up after a silence
}
