package mesh

import "time"

// A Stamp numbers a broadcast. It is made by the origin and read by every receiver.
type Stamp struct {
	Sequence uint64   // the origin's running number, from 1, whatever the topics
	Prev     []uint64 // for each topic of the broadcast, in order: the origin's previous number on it, or its horizon
}

// A Message is what machines say to each other beside broadcasts: *Fence, *Ack, *heartbeat, *Resync, *Nack, *Gone, *Bye or *Confirm. One that
// is sent to a node is passed to the machine of that node alone, whatever the link delivers. *Nobody is what the broker has to say.
type Message interface{ message() }

// About is what a node says of itself.
type About struct {
	Age    time.Duration // time since its Open
	Client bool          // it has no members and is asked nothing: it only emits
	Fresh  bool          // it has not met the cluster itself, or not since a long silence: whoever else is there, it may not know
}

// A Fence asks every node, or one, for an [Ack]: whoever has received it publishes to all topics that the sender subscribed before.
type Fence struct {
	About
	Number uint64 // the sender's running number of fences
	Sent   uint64 // the sender's last number when this left
	Hello  bool   // the sender is new, or its link is up again: a Resync is wanted back
	Name   string // the sender's name; of a hello alone

	RoundTrip time.Duration // from the sender to its broker and back
}

// An Ack answers a [Fence]. Its Sent is the baseline of every topic that the fence covers.
type Ack struct {
	About
	Fence   uint64
	Sent    uint64
	Members []string // the other nodes that the sender knows and believes to be alive
	Gossip  []Gossip // of those that are absent; to a hello alone
	Name    string   // the sender's name; to a hello alone

	Echo      time.Duration // the Age in the Fence: how long ago that was is the round trip
	RoundTrip time.Duration // from the sender to its broker and back
	Patience  time.Duration // the longest that the sender waits for the answer of one of Members
}

// A Tail says that G is its origin's last number on the stream of topics with this hash.
type Tail struct {
	Hash     uint64
	Sequence uint64
}

// A Heartbeat is sent to all every [HeartbeatInterval]. It names the last number of every topic that was used in (After, Upto], and so shows what was
// lost at the end of a topic. The answer to a [Resync] is a heartbeat too: it goes to the asker alone, with After as asked.
type Heartbeat struct {
	About
	After, Upto uint64
	Horizon     uint64 // the horizon: the origin remembers nothing about any number up to the horizon
	Part        int    // this part's number, from 0, of Parts; only the last one moves the receiver
	Parts       int
	Tails       []Tail
	Gossip      []Gossip // news of those that are absent
	Asked       bool     // it answers a Resync; it is not encoded, but follows from where it was sent
}

// A Resync asks an origin for a heartbeat that begins after the last number that the sender has accounted for.
type Resync struct {
	About
	After uint64
}

// A Range is what is missing on a stream: numbers in (After, Upto].
type Range struct {
	Hash        uint64
	After, Upto uint64
}

// A Nack asks an origin for what the sender has missed. It is answered by the missing broadcasts, as many as fit, and a [Gone].
type Nack struct{ Ranges []Range }

// A Link is a stream of a broadcast and the origin's number before it there.
type Link struct{ Hash, Prev uint64 }

// A Stub is a broadcast of which only the stamp is left.
type Stub struct {
	Sequence uint64
	Links    []Link
}

// A Gone ends the answer to a [Nack]: what was asked for and cannot be sent any more, in ascending order.
type Gone struct {
	Horizon uint64 // the horizon: everything up to the horizon is gone, and not in Numbers
	Stubs   []Stub
}

// A Bye says that its sender leaves for good, with Last as its last number. Who has accounted for all up to Last answers [Confirm].
type Bye struct {
	About
	Last uint64
}

// Confirm answers a [Bye]: the sender needs nothing more.
type Confirm struct{}

// Unreachable is no node's message: a shell leaves it with its broker for the case that nobody receives what is for the node that stands as its sender.
// It is for [Machine.Unreachable].
type Unreachable struct{}

func (*Unreachable) message() {}
func (*Fence) message()       {}
func (*Ack) message()         {}
func (*Heartbeat) message()   {}
func (*Resync) message()      {}
func (*Nack) message()        {}
func (*Gone) message()        {}
func (*Bye) message()         {}
func (*Confirm) message()     {}
