package metrics

import "github.com/belfry-io/belfry/adapter"

// clusterFamilies are what a server does as a node of its cluster. A server without an adapter has
// them, too: it is always connected.
var clusterFamilies = []family{
	by(isGauge, "cluster_servers", "Other servers of the cluster, by how they stand with this one. Nobody waits for a suspect, which "+
		"is silent. One that is leaving has said goodbye.", "standing", func(s *stats, emit emitter) {
		is := s.Adapter.Standings
		emit(float64(is.Alive), "alive")
		emit(float64(is.Suspect), "suspect")
		emit(float64(is.Leaving), "leaving")
	}),
	counter("cluster_suspected_total", "Times that another node has become suspect.",
		func(s *stats) uint64 { return s.Adapter.Suspected }),
	counter("cluster_given_up_total", "Times that another node was given up, since it was silent for too long.",
		func(s *stats) uint64 { return s.Adapter.GivenUp }),

	by(isGauge, "cluster_broker_state", "1 for the state of the link to the broker, 0 for the others.", "state",
		func(s *stats, emit emitter) {
			for _, status := range []adapter.Status{adapter.Connected, adapter.Degraded, adapter.Refused, adapter.Closed} {
				is := 0.0
				if s.Adapter.State.Status == status {
					is = 1
				}
				emit(is, status.String())
			}
		}),
	gauge("cluster_broker_trouble", "1 while something is wrong with the link to the broker, also while it is connected and a "+
		"subscription is denied. The log says what.", func(s *stats) int {
		if s.Adapter.State.Reason != nil {
			return 1
		}
		return 0
	}),
	counter("cluster_broker_connections_total", "Times that the link to the broker has become connected. All but the first are "+
		"reconnects.", func(s *stats) uint64 { return s.Adapter.State.Connections }),
	{describe("cluster_broker_round_trip_seconds", "Time to the broker and back, measured when the link last became connected; 0 if "+
		"it is not known."), isGauge, func(s *stats, emit emitter) { emit(s.Adapter.State.RoundTrip.Seconds()) }},
	counter("cluster_broker_denied_total", "Subscriptions and messages that the broker has denied. Servers that share an adapter "+
		"share this count.", func(s *stats) uint64 { return s.Adapter.Broker.Denied }),

	counter("cluster_messages_sent_total", "Messages handed to the broker, with those of the protocol; a broadcast once for each of "+
		"its topics.", func(s *stats) uint64 { return s.Adapter.Sent }),
	counter("cluster_sent_bytes_total", "Bytes of the messages handed to the broker.",
		func(s *stats) uint64 { return s.Adapter.SentBytes }),
	gauge("cluster_queue_bytes", "Bytes of broadcasts that wait for the broker.", func(s *stats) int { return s.Adapter.Queued }),
	gauge("cluster_queue_limit_bytes", "What Config.Cluster.QueueBytes allows belfry_cluster_queue_bytes to be.",
		func(s *stats) int { return s.Adapter.QueueMax }),

	by(isCounter, "cluster_broadcasts_received_total", "Broadcasts of other nodes, by what was done: \"delivered\" to members here; "+
		"\"unwanted\", since no member is here; \"copy\", since they had come before.", "outcome", func(s *stats, emit emitter) {
		emit(float64(s.Adapter.Received), "delivered")
		emit(float64(s.Adapter.Unwanted), "unwanted")
		emit(float64(s.Adapter.Copies), "copy")
	}),
	by(isCounter, "cluster_dropped_total", "What was dropped between nodes, by reason: \"overflow\", broadcasts refused with "+
		"ErrOverflow; \"broker\", messages that the broker refused for good; \"slow\", messages that came faster than the node took "+
		"them, of all servers that share the adapter; \"unheld\", early broadcasts beyond what is held; \"stale\", broadcasts given "+
		"up before; \"malformed\", messages that are not understood; \"busy\", requests and server events beyond what is handled "+
		"at a time; \"elided\", room events not reported to a slow listener. What is unheld or slow is asked for again.", "reason",
		func(s *stats, emit emitter) {
			a := &s.Adapter
			emit(float64(a.Refused), "overflow")
			emit(float64(a.Lost), "broker")
			emit(float64(a.Broker.Dropped), "slow")
			emit(float64(a.Unheld), "unheld")
			emit(float64(a.Stale), "stale")
			emit(float64(a.Malformed), "malformed")
			emit(float64(a.Busy), "busy")
			emit(float64(a.Elided), "elided")
		}),
	counter("cluster_overtaken_total", "Broadcasts delivered after a newer one of their node to another room or to all.",
		func(s *stats) uint64 { return s.Adapter.Overtaken }),

	gauge("cluster_joins_waiting", "Joins of rooms and namespaces that wait for the cluster.",
		func(s *stats) int { return s.Adapter.Joining }),
	counter("cluster_joins_unfenced_total", "Joins that have ended without the confirmation of all nodes and the broker. The "+
		"membership stands.", func(s *stats) uint64 { return s.Adapter.Unfenced }),
	counter("cluster_fences_total", "Fences sent. Joins that come together share one.",
		func(s *stats) uint64 { return s.Adapter.Fences }),

	gauge("cluster_calls_held", "Calls of other nodes that are held here until they are answered.",
		func(s *stats) int { return s.Adapter.Held }),
	gauge("cluster_calls_waiting", "Calls of this node that other nodes hold until they answer.",
		func(s *stats) int { return s.Adapter.HeldCalls }),

	counter("cluster_repairs_asked_total", "Questions to other nodes for broadcasts that are missing.",
		func(s *stats) uint64 { return s.Adapter.Nacks }),
	counter("cluster_repaired_total", "Broadcasts of other nodes that were lost, asked for, and delivered.",
		func(s *stats) uint64 { return s.Adapter.Repaired }),
	counter("cluster_resent_total", "Broadcasts of this node that were sent again to nodes that had missed them.",
		func(s *stats) uint64 { return s.Adapter.Resent }),
	by(isCounter, "cluster_lost_total", "Losses for good: \"known\" counts broadcasts that their node no longer has; \"unknown\" counts "+
		"times that no node remembers how many were lost, if any.", "kind", func(s *stats, emit emitter) {
		emit(float64(s.Adapter.Missed), "known")
		emit(float64(s.Adapter.Unknown), "unknown")
	}),
}
