package mesh

// An Effect is what a step of a [Machine] wants done. Effects are carried out in their order; those of one step before those of the
// next.
type Effect interface{ effect() }

// Subscribe adds topics to the link.
type Subscribe[T comparable] struct{ Topics []T }

// Unsubscribe takes topics from the link.
type Unsubscribe[T comparable] struct{ Topics []T }

// Send hands a message to one node, or to all where To is empty.
type Send struct {
	To      string
	Message Message
}

// Probe asks the broker whether anybody receives what is for a node. [Machine.Unreachable] takes the answer that nobody does; there is no other.
type Probe struct{ Node string }

// Resend hands a broadcast of this node to the node that misses it, as it was. Broadcast is what was passed to [Machine.Emit].
type Resend[O any] struct {
	To        string
	Stamp     Stamp
	Broadcast O
}

// Deliver gives a broadcast to the local members. Broadcast is what was passed to [Machine.Broadcast].
type Deliver[B any] struct {
	Broadcast B

	// Past says for each topic of the broadcast whether its members are passed over: they have something newer already, or joined
	// later. It is nil where that is so for none.
	Past []bool
}

// Lost says that a broadcast of a node that was due here will not come any more; or, if Unknown, that whatever is missing of its numbers
// in (After, Upto] will not, of which nobody knows how much concerned this node, if anything. Of a node that was given up, an unknown loss
// is also of what it may have sent beyond Upto.
type Lost struct {
	Node        string
	After, Upto uint64
	Unknown     bool
}

// Joined ends a wait of [Machine.Join].
type Joined[W any] struct {
	Wait    W        // what was passed to Join
	Missing []string // the nodes that have not answered; empty means that every live node has
}

// Membership says that [Machine.Members], [Machine.Nodes] or [Machine.Remaining] has changed.
type Membership struct{}

// Ready says, each time after the link has come up, that all nodes that can be known are known.
type Ready struct{}

// Release says, each time after the link has come up, that broadcasts need not be held back any longer: the nodes that were known before
// have their subscriptions back, or have taken too long. They go before what is sent from now on.
type Release struct{}

// Closed says, once after [Machine.Close], that nobody needs this node any more, or that those who do have taken too long.
type Closed struct{}

func (Subscribe[T]) effect()   {}
func (Unsubscribe[T]) effect() {}
func (Send) effect()           {}
func (Probe) effect()          {}
func (Resend[O]) effect()      {}
func (Deliver[B]) effect()     {}
func (Lost) effect()           {}
func (Joined[W]) effect()      {}
func (Membership) effect()     {}
func (Ready) effect()          {}
func (Release) effect()        {}
func (Closed) effect()         {}
