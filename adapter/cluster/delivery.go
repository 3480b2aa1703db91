package cluster

import (
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// MaxTrace is the size of the longest trace context that nodes pass on, in bytes.
const MaxTrace = envelope.MaxTrace

// A Delivery says what has become of a broadcast with a Trace on this node.
type Delivery struct {
	From      string // the node that has emitted it: this one, too
	Namespace string
	Rooms     []string // that it went to; none for the whole namespace. They must not be changed
	Payload   []byte   // of the Broadcast; it must not be changed
	Trace     []byte   // of the Broadcast
	Begun     time.Time
	Members   int   // that have taken it; those that were asked, if it is to be answered
	Err       error // of the Framer
}

// begun is when a delivery begins; zero if nobody is told of it.
func begun(b *envelope.Body) (now time.Time) {
	if len(b.Trace) > 0 {
		now = time.Now()
	}
	return now
}

// delivered tells HubConfig.OnDelivery, which is the program's: a panic is its own.
func (h *Hub) delivered(namespace, from string, b *envelope.Body, begun time.Time, members int, err error) {
	if len(b.Trace) == 0 || h.cfg.OnDelivery == nil {
		return
	}
	d := Delivery{
		From: from, Namespace: namespace, Rooms: b.Rooms, Payload: b.Payload, Trace: b.Trace,
		Begun: begun, Members: members, Err: err,
	}
	if p := guard(func() { h.cfg.OnDelivery(d) }); p != nil {
		h.log.Error("belfry: OnDelivery panicked", "error", p, "stack", string(p.stack))
	}
}
