package cluster

import "github.com/belfry-io/belfry/adapter"

// Stats counts what a Hub has done since its beginning, and says how it stands. Counts of
// broadcasts count each once, however many members it had.
type Stats struct {
	Node     string
	State    adapter.State
	Nodes    []string // the other nodes that are alive
	Suspects []string // nodes that are silent or have not answered: calls do not wait for them

	Sent      uint64 // messages handed to the broker, with those of the protocol; a broadcast once for each of its topics
	SentBytes uint64
	Queued    int    // bytes of broadcasts that wait for the broker
	Refused   uint64 // broadcasts refused with ErrOverflow: delivered on this node only
	Lost      uint64 // messages that the broker refused for good

	Received  uint64 // broadcasts of other nodes that were delivered to members here
	Unwanted  uint64 // broadcasts for which no member is here
	Copies    uint64 // broadcasts that came again: on another of their topics, or twice
	Stale     uint64 // broadcasts dropped because they had been given up, or were from before the Join
	Overtaken uint64 // broadcasts delivered after a newer one of their node to another room or to all
	Repaired  uint64 // broadcasts that were lost, asked for, and sent again: part of Received
	Missed    uint64 // broadcasts that were lost and that their node no longer has
	Unknown   uint64 // losses of which no node remembers how many broadcasts, if any
	Unheld    uint64 // early broadcasts, or of a node not met yet, dropped because too much was held; asked for again if due
	Resent    uint64 // broadcasts of this node sent again to nodes that missed them
	Malformed uint64 // messages that are not understood
	Busy      uint64 // requests of other nodes refused, and server events dropped, because there were too many
	Elided    uint64 // room events not reported, because the listener was slow and they cancelled each other out
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
