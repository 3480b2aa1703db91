package metrics

// strayFamilies are the requests of clients that poll which reach another node than their session's. Those
// that are refused are among belfry_requests_refused_total.
var strayFamilies = []family{
	by(isCounter, "stray_requests_total", "Requests of clients that poll which have reached another node than their session's: "+
		"\"forwarded\" came here, and were passed on to the session's node; \"served\" have other nodes passed on to this one.", "which",
		func(s *stats, emit emitter) {
			emit(float64(s.Strays.Forwarded), "forwarded")
			emit(float64(s.Strays.Served), "served")
		}),
	by(isGauge, "stray_requests_waiting", "Of the stray requests, those that wait: the \"forwarded\" ones for the session's node, the "+
		"\"served\" ones for something for their client.", "which", func(s *stats, emit emitter) {
		emit(float64(s.Strays.Waiting), "forwarded")
		emit(float64(s.Strays.Held), "served")
	}),
}
