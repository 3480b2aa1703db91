package mesh

import "time"

// A Stamp numbers a broadcast. It is made by the origin and read by every receiver.
type Stamp struct {
	G    uint64   // the origin's running number, from 1, whatever the topics
	Prev []uint64 // for each topic of the broadcast, in order: the origin's previous number on it, or its horizon
}

// A Message is what machines say to each other beside broadcasts: *Fence, *Ack, *Beat, *Resync or *Bye.
type Message interface{ message() }

// A Fence asks every node, or one, for an [Ack]: whoever has received it publishes to all topics that the sender subscribed before.
type Fence struct {
	F     uint64        // the sender's running number of fences
	Sent  uint64        // the sender's last number when this left
	Age   time.Duration // time since the sender's Open
	Hello bool          // the sender is new, or its link is up again: a Resync is wanted back
}

// An Ack answers a [Fence]. Its Sent is the baseline of every topic that the fence covers.
type Ack struct {
	To      string // the asker: a link may deliver it to others, whose fences have the same numbers
	F       uint64
	Sent    uint64
	Age     time.Duration
	Members []string // the other nodes that the sender knows and believes to be alive
}

// A Tail says that G is its origin's last number on the topic with this hash.
type Tail struct {
	Hash uint64
	G    uint64
}

// A Beat is sent to all every [BeatInterval]. It names the last number of every topic that was used in (A, B], and so shows what was
// lost at the end of a topic. The answer to a [Resync] is a Beat too: it goes to the asker alone, with A as asked.
type Beat struct {
	A, B  uint64
	S     uint64 // the horizon: the origin remembers nothing about any number up to S
	Age   time.Duration
	Part  int // this part's number, from 0, of Parts; only the last one moves the receiver
	Parts int
	Tails []Tail
}

// A Resync asks an origin for a Beat that begins at A, the last number that the sender has accounted for.
type Resync struct {
	A   uint64
	Age time.Duration
}

// A Bye says that its sender has left for good.
type Bye struct{}

func (*Fence) message()  {}
func (*Ack) message()    {}
func (*Beat) message()   {}
func (*Resync) message() {}
func (*Bye) message()    {}
