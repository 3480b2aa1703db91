package adapter

import (
	"context"
	"errors"
)

// An Ack is a member's answer to a broadcast.
type Ack struct {
	Member  string // its id
	Node    string // where it is
	Payload []byte // what it has passed to the answer function of Ask; it is the caller's
}

// Acks are the answers to a broadcast.
type Acks struct {
	Answers []Ack // in the order of their coming
	Members int   // to how many the broadcast went, on the nodes that have said so
}

// BroadcastWithAck is Broadcast to members that are asked to answer: see [Member]. It waits until all have, on all nodes; none is none.
// With an error come the answers so far: see [PartialError], of which Clients says how many members have not answered. A member that
// leaves without an answer is one of them, and is not waited for.
//
// The order is that of Broadcast, and the members of this node get it whatever the error.
func (r *Rooms) BroadcastWithAck(ctx context.Context, b Broadcast) (Acks, error) {
	return Acks{}, errors.ErrUnsupported
}

// EmitWithAck is BroadcastWithAck that ends with the first answer, and is meant for one member, named by its id as the only room.
// [ErrMember] means that there was none on any node; with an answer, the error is nil.
func (r *Rooms) EmitWithAck(ctx context.Context, b Broadcast) (Ack, error) {
	return Ack{}, errors.ErrUnsupported
}
