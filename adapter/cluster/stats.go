package cluster

import (
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// Stats counts what a Hub has done since its beginning, and says how it stands. Counts of
// broadcasts count each once, however many members it had.
type Stats struct {
	Node     string
	State    adapter.State
	Nodes    []string // the other nodes that are alive
	Suspects []string // nodes that are silent or have not answered: calls do not wait for them

	Standings Standings      // of the other servers
	Suspected uint64         // times that a node has become suspect
	GivenUp   uint64         // times that a node was given up, since it was silent for too long
	Broker    adapter.Counts // of the adapter, if it is an [adapter.Counter]

	Joins    uint64        // of members into rooms or a namespace, that have waited for the cluster and ended
	JoinTime time.Duration // that these have taken together
	Unfenced uint64        // of these, those that ended with an error: some node may not know of the membership yet
	Joining  int           // that wait now
	Fences   uint64        // sent; joins and [Hub.Settle] share them

	Held      int // calls of other nodes that are held here: see [Hub.HandleHeld]
	HeldCalls int // calls of this node that other nodes hold

	Sent      uint64 // messages handed to the broker, with those of the protocol; a broadcast once for each of its topics
	SentBytes uint64
	Queued    int    // bytes of broadcasts that wait for the broker
	QueueMax  int    // their bound
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
	Nacks     uint64 // questions for broadcasts that are missing
	Resent    uint64 // broadcasts of this node sent again to nodes that missed them
	Malformed uint64 // messages that are not understood
	Busy      uint64 // requests of other nodes refused, and server events dropped, because there were too many
	Elided    uint64 // room events not reported, because the listener was slow and they cancelled each other out
}

// Standings counts the other servers of a cluster by how they stand with this one. Those that were
// given up or have left are not among them.
type Standings struct {
	Alive   int // waited for
	Suspect int // silent, or did not answer: nobody waits for them
	Leaving int // said goodbye, and not confirmed by all yet
}

// Stats returns the state and the counts as they are now.
func (h *Hub) Stats() Stats {
	s := Stats{Node: h.node, State: h.State(), Elided: h.elided.Load()}
	if h.machine == nil {
		return s
	}
	if counter, ok := h.cfg.Adapter.(adapter.Counter); ok {
		s.Broker = counter.Counts()
	}
	s.Joins, s.Unfenced = h.joins.ended.Load(), h.joins.unfenced.Load()
	s.Joining, s.JoinTime = int(h.joins.waiting.Load()), time.Duration(h.joins.took.Load())
	h.meshMu.Lock()
	c := h.machine.Counts()
	s.Nodes, s.Suspects = h.machine.Servers(), h.machine.Suspects()
	is := h.machine.Standings()
	s.Fences = h.machine.Fences()
	s.Refused, s.Malformed = h.counts.refused, h.counts.malformed
	h.meshMu.Unlock()
	s.Standings = Standings{
		Alive: is[mesh.StandingAlive], Suspect: is[mesh.StandingSuspect],
		Leaving: is[mesh.StandingLeaving] + is[mesh.StandingLeavingSilent],
	}
	s.Suspected, s.GivenUp, s.Nacks = c.Suspects, c.Deaths, c.Nacks
	s.Received, s.Unwanted, s.Copies, s.Stale = c.Delivered, c.Unwanted, c.Copies, c.Stale
	s.Overtaken, s.Repaired, s.Missed, s.Unknown, s.Unheld, s.Resent = c.Overtaken, c.Repaired, c.Missed, c.Unknown, c.Unheld, c.Repairs

	asked := h.ask.State()
	s.Held, s.HeldCalls = asked.Held, asked.Waiting
	s.Busy = asked.Refused + h.events.dropped.Load()
	h.writer.mu.Lock()
	s.Sent, s.SentBytes, s.Lost, s.Queued = h.writer.counts.sent, h.writer.counts.bytes, h.writer.counts.lost, h.writer.bytes
	s.QueueMax = h.writer.limit
	h.writer.mu.Unlock()
	return s
}
