package cluster

import "github.com/belfry-io/belfry/adapter"

// Stats is what a Hub has done since its beginning, and how it stands. Numbers of broadcasts count each once, however many members it had.
type Stats struct {
	Node     string
	State    adapter.State
	Nodes    []string // the other nodes that are alive
	Suspects []string // nodes that are silent or have not answered: nobody waits for them

	Sent      uint64 // messages handed to the broker, the mesh's own among them; a broadcast once for each of its topics
	SentBytes uint64
	Queued    int    // bytes of broadcasts that wait for the broker
	Refused   uint64 // broadcasts refused with ErrOverflow: delivered on this node only
	Lost      uint64 // messages that the broker refused for good

	Received  uint64 // broadcasts of other nodes that were handed to the members here
	Unwanted  uint64 // broadcasts that came although no member is here
	Copies    uint64 // came again: on another topic of their union, or twice
	Stale     uint64 // came although they had been given up, or were from before the Join, and were dropped
	Overtaken uint64 // came after something newer of their node to another room or to all, and were delivered
	Repaired  uint64 // were lost, were asked for again, and came: part of Received
	Missed    uint64 // were lost and will not come: the node that had sent them does not have them any more
	Unknown   uint64 // times that nobody remembered what was lost, if anything
	Unheld    uint64 // came early, or of a node that was not met yet, when too much was held already; what is due of them is asked for again
	Resent    uint64 // broadcasts of this node that others had missed
	Malformed uint64 // messages that are not understood
	Busy      uint64 // requests of other nodes that were refused, and server events that were dropped, since there were too many
	Elided    uint64 // room events of which no listener was told, since it was slow and they cancelled each other out
}

// Stats returns the state and the counts as they are now.
func (h *Hub) Stats() Stats {
	s := Stats{Node: h.node, State: h.State(), Elided: h.elided.Load()}
	if h.machine == nil {
		return s
	}
	h.meshMu.Lock()
	c := h.machine.Counts()
	s.Nodes, s.Suspects = h.machine.Servers(), h.machine.Suspects()
	s.Refused, s.Malformed = h.counts.refused, h.counts.malformed
	h.meshMu.Unlock()
	s.Received, s.Unwanted, s.Copies, s.Stale = c.Delivered, c.Unwanted, c.Copies, c.Stale
	s.Overtaken, s.Repaired, s.Missed, s.Unknown, s.Unheld, s.Resent = c.Overtaken, c.Repaired, c.Missed, c.Unknown, c.Unheld, c.Repairs

	s.Busy = h.ask.State().Refused + h.events.dropped.Load()
	h.writer.mu.Lock()
	s.Sent, s.SentBytes, s.Lost, s.Queued = h.writer.counts.sent, h.writer.counts.bytes, h.writer.counts.lost, h.writer.bytes
	h.writer.mu.Unlock()
	return s
}
