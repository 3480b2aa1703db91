package wsserver

import (
	"cmp"
	"slices"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// Stats counts what a server has done since its beginning, and says how it stands.
type Stats struct {
	Connections int      // open now
	Polling     int      // of these, those of clients that poll
	WebSocket   int      // and those over a WebSocket
	Accepted    uint64   // connections so far
	Refused     uint64   // requests answered with an error
	Refusals    Refusals // the same by reason
	Declined    Declined // what clients that are connected asked for beyond the limits
	HeldBack    uint64   // times that a client was not read for a while: Config.Limits.EventRate, ByteRate
	Events      uint64   // received from clients
	Unhandled   uint64   // events of clients and other servers without a handler: most likely a name is misspelt
	Discarded   uint64   // events that waited for handlers when the server disconnected their client
	Failures    uint64   // errors and panics of handlers, middlewares, listeners and matches; refusals do not count

	HandlerTime HandlerTime // with Config.TimeHandlers
	Acks        int         // acknowledgements that sockets wait for now

	Received      uint64 // messages of clients, those of the protocol among them
	ReceivedBytes uint64 // of these messages, inflated

	Frames  uint64 // written to clients; a broadcast counts once for each
	Bytes   uint64 // of these frames
	Writes  uint64 // system calls that wrote them
	Dropped uint64 // volatile frames dropped because their client was not ready
	Lost    uint64 // frames queued for clients that went away
	TooSlow uint64 // clients disconnected because they were slow: Ended.TooSlow and Ended.Behind
	Ended   Ended  // connections that have ended, by reason

	Strays   StrayStats    // requests for sessions of other nodes
	Recovery RecoveryStats // with Config.Recovery
	Drain    DrainStats    // how far Server.Drain has come

	Waiting int64 // bytes that wait now, in both directions: what Config.Limits.BudgetBytes bounds
	Budget  int64 // that bound

	Namespaces []NamespaceStats // sorted by name

	Adapter cluster.Stats
}

// StrayStats counts the requests of clients that poll which have come to another node than their session's.
// Those that were refused count in Refusals: Session, Silent and Upgrade.
type StrayStats struct {
	Forwarded uint64 // that came here, and were passed on to the session's node
	Served    uint64 // that other nodes have passed on
	Waiting   int    // of Forwarded, those that wait now for the other node
	Held      int    // of Served, those that wait now for something for their client
}

// NamespaceStats says how a namespace stands on this node.
type NamespaceStats struct {
	// Name is empty for all namespaces together that exist because clients have asked for them
	// ([Server.OfFunc]): clients choose how many there are, and what they are called.
	Name string

	Namespaces int // that this is about: 1, or those without a Name
	Polling    int // connected sockets of clients that poll
	WebSocket  int // connected sockets over a WebSocket

	// Rooms counts the rooms that have a socket. A socket's own room counts once another socket
	// has joined it.
	Rooms int
}

// Stats returns the counts as they are now. They are read one by one, so they may differ by what
// happens meanwhile.
func (srv *Server) Stats() Stats {
	engine := srv.engine.Stats()
	s := Stats{Connections: srv.engine.Len(), Accepted: engine.Accepted}
	s.Declined, s.HeldBack = srv.declinedStats(), engine.HeldBack
	s.Refused, s.Refusals = srv.refusalStats(engine.Refused)
	s.Events, s.Unhandled, s.Failures = srv.counts.events.Load(), srv.counts.unhandled.Load(), srv.counts.failures.Load()
	s.Discarded = srv.counts.discarded.Load()
	s.Polling, s.WebSocket = engine.Polling, engine.WebSocket
	s.Received, s.ReceivedBytes = engine.Received, engine.ReceivedBytes
	s.HandlerTime, s.Acks = srv.handled.stats(), int(srv.counts.acks.Load())
	out := engine.Outbox
	s.Frames, s.Bytes, s.Writes = out.Frames, out.Bytes, out.Writes
	s.Dropped, s.Lost = out.Dropped, out.Lost
	s.Ended = srv.endings.stats()
	s.TooSlow = s.Ended.TooSlow + s.Ended.Behind
	s.Drain = srv.drainStats()
	s.Waiting, s.Budget = srv.budget.Used(), srv.budget.Limit()
	s.Strays = StrayStats{engine.Forwarded, engine.Served, engine.Waiting, engine.Held}
	s.Recovery = srv.recovery.stats()
	s.Namespaces = srv.namespaceStats()
	s.Adapter = srv.hub.Stats()
	return s
}

// namespaceStats says how the namespaces stand.
func (srv *Server) namespaceStats() (all []NamespaceStats) {
	var named, made []*Namespace
	srv.mu.Lock()
	for _, ns := range srv.namespaces.byName {
		if ns.parent == nil || ns.stays {
			named = append(named, ns)
		} else {
			made = append(made, ns)
		}
	}
	parents := len(srv.parents) > 0
	srv.mu.Unlock()
	if parents {
		var sum NamespaceStats
		for _, ns := range made {
			sum.add(ns)
		}
		all = append(all, sum)
	}
	for _, ns := range named {
		one := NamespaceStats{Name: ns.name}
		one.add(ns)
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b NamespaceStats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (s *NamespaceStats) add(ns *Namespace) {
	s.Namespaces++
	s.Polling += int(ns.byPolling.Load())
	s.WebSocket += int(ns.byWebSocket.Load())
	s.Rooms += ns.rooms.RoomCount()
}
