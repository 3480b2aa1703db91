package mesh

// An Effect is what a step of a [Machine] wants done. Effects are carried out in their order; those of one step before those of the
// next. T is the type of topics.
type Effect[T comparable] interface{ effect(T) }

// Subscribe adds topics to the link.
type Subscribe[T comparable] struct{ Topics []T }

// Unsubscribe takes topics from the link.
type Unsubscribe[T comparable] struct{ Topics []T }

// Send hands a message to one node, or to all where To is empty.
type Send[T comparable] struct {
	To      string
	Message Message
}

// Deliver gives a broadcast to the local members. Broadcast is what was passed to [Machine.Broadcast].
type Deliver[T comparable] struct{ Broadcast any }

// Joined ends a wait of [Machine.Join].
type Joined[T comparable] struct {
	Wait    any      // what was passed to Join
	Missing []string // the nodes that have not answered; empty means that every live node has
}

// Ready says, each time after the link has come up, that all nodes that can be known are known.
type Ready[T comparable] struct{}

// Release says, each time after the link has come up, that broadcasts need not be held back any longer: the nodes that were known before
// have their subscriptions back, or have taken too long. They go before what is sent from now on.
type Release[T comparable] struct{}

func (Subscribe[T]) effect(T)   {}
func (Unsubscribe[T]) effect(T) {}
func (Send[T]) effect(T)        {}
func (Deliver[T]) effect(T)     {}
func (Joined[T]) effect(T)      {}
func (Ready[T]) effect(T)       {}
func (Release[T]) effect(T)     {}
