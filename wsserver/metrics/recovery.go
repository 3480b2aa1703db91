package metrics

// recoveryFamilies are what becomes of clients that were away. A server without Config.Recovery has
// them, too: all are 0.
var recoveryFamilies = []family{
	by(isCounter, "recovery_recovered_total", "Clients that came back and went on with their session, by where that was: \"here\", on "+
		"this node; \"elsewhere\", on another one.", "session", func(s *stats, emit emitter) {
		emit(float64(s.Recovery.Here), "here")
		emit(float64(s.Recovery.Elsewhere), "elsewhere")
	}),
	by(isCounter, "recovery_refused_total", "Clients that came back with a session and got a new socket, by reason: a field of "+
		"wsserver.RecoveryRefused.", "reason", func(s *stats, emit emitter) { fields(s.Recovery.Refused, emit) }),
	gauge("recovery_away", "Sessions on this node whose client is away.", func(s *stats) int { return s.Recovery.Away }),
	counter("recovery_evicted_total", "Sessions given up before their time, since more than Config.Recovery.MaxSessions clients were "+
		"away.", func(s *stats) uint64 { return s.Recovery.Evicted }),
	gauge("recovery_log_entries", "Events, and changes of rooms, that the node keeps for clients that may have missed them.",
		func(s *stats) int { return s.Recovery.LogEntries }),
	gauge("recovery_log_bytes", "What these take: Config.Recovery.LogBytes at the most.",
		func(s *stats) int { return s.Recovery.LogBytes }),
}
