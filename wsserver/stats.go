package wsserver

import "github.com/belfry-io/belfry/adapter/cluster"

// Stats counts what a server has done since its beginning, and says how it stands.
type Stats struct {
	Connections int      // open now
	Accepted    uint64   // connections so far
	Refused     uint64   // requests answered with an error
	Refusals    Refusals // the same by reason
	Declined    Declined // what clients that are connected asked for beyond the limits
	HeldBack    uint64   // times that a client was not read for a while: Config.Limits.EventRate, ByteRate
	Events      uint64   // received from clients
	Unhandled   uint64   // events of clients and other servers without a handler: most likely a name is misspelt
	Discarded   uint64   // events that waited for handlers when the server disconnected their client
	Failures    uint64   // errors and panics of handlers, middlewares, listeners and matches; refusals do not count

	Frames  uint64 // written to clients; a broadcast counts once for each
	Bytes   uint64 // of these frames
	Writes  uint64 // system calls that wrote them
	Dropped uint64 // volatile frames dropped because their client was not ready
	Lost    uint64 // frames queued for clients that went away
	TooSlow uint64 // clients disconnected because they were slow: Ended.TooSlow and Ended.Behind
	Ended   Ended  // connections that have ended, by reason

	Waiting int64 // bytes that wait now, in both directions: what Config.Limits.BudgetBytes bounds

	Adapter cluster.Stats
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
	out := engine.Outbox
	s.Frames, s.Bytes, s.Writes = out.Frames, out.Bytes, out.Writes
	s.Dropped, s.Lost = out.Dropped, out.Lost
	s.Ended = srv.endings.stats()
	s.TooSlow = s.Ended.TooSlow + s.Ended.Behind
	s.Waiting = srv.budget.Used()
	s.Adapter = srv.hub.Stats()
	return s
}
