package metrics

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belfry-io/belfry/wsserver"
)

// A family is a metric with all its labels, and how it is read.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *wsserver.Stats, emit emitter)
}

// An emitter takes a value of a family, and its labels besides node_name.
type emitter func(v float64, labels ...string)

const node = "node_name"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("belfry_"+name, help, append([]string{node}, labels...), nil)
}

// A number is what Stats counts in.
type number interface{ ~int | ~int64 | ~uint64 }

func single[N number](kind prometheus.ValueType, name, help string, read func(*wsserver.Stats) N) family {
	return family{describe(name, help), kind, func(s *wsserver.Stats, emit emitter) { emit(float64(read(s))) }}
}

func gauge[N number](name, help string, read func(*wsserver.Stats) N) family {
	return single(prometheus.GaugeValue, name, help, read)
}

func counter[N number](name, help string, read func(*wsserver.Stats) N) family {
	return single(prometheus.CounterValue, name, help, read)
}

// by returns a family with one label.
func by(kind prometheus.ValueType, name, help, label string, read func(*wsserver.Stats, emitter)) family {
	return family{describe(name, help, label), kind, read}
}

// fields emits the fields of a struct of counts, each with its name in small letters as the label.
func fields(counts any, emit emitter) {
	v := reflect.ValueOf(counts)
	for i := range v.NumField() {
		emit(float64(v.Field(i).Uint()), snake(v.Type().Field(i).Name))
	}
}

// snake is the name of a field as Prometheus writes it.
func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}

var (
	build = describe("build_info", "Always 1. The labels say which version of belfry the program was built with, and by which Go.",
		"version", "go_version")
	handlerTime = describe("handler_duration_seconds", "Time that the handlers of an event have taken together. "+
		"Only measured with Config.TimeHandlers.")
	joinTime = describe("cluster_join_duration_seconds", "Time that joins of rooms and namespaces have waited for the cluster: "+
		"for the fence that they share, and for the broker.")
)

type stats = wsserver.Stats

const (
	isGauge   = prometheus.GaugeValue
	isCounter = prometheus.CounterValue
)

var families = slices.Concat(serverFamilies, strayFamilies, recoveryFamilies, clusterFamilies)

// serverFamilies are what a server does for its own clients.
var serverFamilies = []family{
	by(isGauge, "connections", "Connections of clients that are open, by what carries them.", "transport",
		func(s *stats, emit emitter) {
			emit(float64(s.Polling), "polling")
			emit(float64(s.WebSocket), "websocket")
		}),
	{describe("sockets", "Connected sockets by namespace, and by what carries them. A connection has a socket in each namespace "+
		"that its client is in. All namespaces that clients have made are one, \"dynamic\".", "socket_namespace", "transport"),
		isGauge, func(s *stats, emit emitter) {
			for _, ns := range s.Namespaces {
				emit(float64(ns.Polling), named(ns), "polling")
				emit(float64(ns.WebSocket), named(ns), "websocket")
			}
		}},
	by(isGauge, "rooms", "Rooms that have a socket on this node, by namespace. A socket's own room counts once another socket has "+
		"joined it.", "socket_namespace", func(s *stats, emit emitter) {
		for _, ns := range s.Namespaces {
			emit(float64(ns.Rooms), named(ns))
		}
	}),
	gauge("namespaces", "Namespaces that exist on this node, those that clients have made among them.", func(s *stats) (n int) {
		for _, ns := range s.Namespaces {
			n += ns.Namespaces
		}
		return n
	}),
	counter("connections_opened_total", "Connections that clients have opened.", func(s *stats) uint64 { return s.Accepted }),
	by(isCounter, "connections_closed_total", "Connections that have ended, by reason: a field of wsserver.Ended.", "reason",
		func(s *stats, emit emitter) { fields(s.Ended, emit) }),
	by(isCounter, "requests_refused_total", "Requests of clients that were answered with an error, by reason: a field of "+
		"wsserver.Refusals.", "reason", func(s *stats, emit emitter) { fields(s.Refusals, emit) }),
	by(isCounter, "declined_total", "What clients that are connected asked for beyond a limit: a field of wsserver.Declined.", "limit",
		func(s *stats, emit emitter) { fields(s.Declined, emit) }),
	counter("held_back_total", "Times that a client was not read for a while, since it sent more than Config.Limits.EventRate or "+
		"ByteRate.", func(s *stats) uint64 { return s.HeldBack }),

	by(isGauge, "drain_connections", "Connections of a drain, 0 without one: its \"total\"; those \"left\"; those that it has \"ended\", "+
		"and of these those that were \"cut\" before their time.", "which", func(s *stats, emit emitter) {
		emit(float64(s.Drain.Total), "total")
		emit(float64(s.Drain.Left), "left")
		emit(float64(s.Drain.Ended), "ended")
		emit(float64(s.Drain.Cut), "cut")
	}),
	by(isCounter, "drain_sessions_total", "Sessions that a drain has \"handed_over\" to other nodes, and those that it has \"not_handed_over\".",
		"outcome", func(s *stats, emit emitter) {
			emit(float64(s.Drain.HandedOver), "handed_over")
			emit(float64(s.Drain.NotHandedOver), "not_handed_over")
		}),

	counter("events_total", "Events received from clients.", func(s *stats) uint64 { return s.Events }),
	by(isCounter, "events_dropped_total", "Events that no handler has handled: \"unhandled\" had none, most likely since a name is "+
		"misspelt; \"disconnected\" waited for handlers when the server disconnected their client.", "reason",
		func(s *stats, emit emitter) {
			emit(float64(s.Unhandled), "unhandled")
			emit(float64(s.Discarded), "disconnected")
		}),
	counter("handler_failures_total", "Errors and panics of handlers, middlewares, listeners and matches.",
		func(s *stats) uint64 { return s.Failures }),
	gauge("acks_waiting", "Acknowledgements that sockets wait for.", func(s *stats) int { return s.Acks }),

	counter("messages_received_total", "Messages received from clients, those of the protocol such as pongs among them.",
		func(s *stats) uint64 { return s.Received }),
	counter("received_bytes_total", "Bytes of the messages received from clients, inflated.",
		func(s *stats) uint64 { return s.ReceivedBytes }),
	counter("frames_sent_total", "Frames written to clients. A broadcast counts once for each client.",
		func(s *stats) uint64 { return s.Frames }),
	counter("sent_bytes_total", "Bytes of the frames written to clients.", func(s *stats) uint64 { return s.Bytes }),
	counter("writes_total", "System calls that wrote frames to clients.", func(s *stats) uint64 { return s.Writes }),
	by(isCounter, "frames_dropped_total", "Frames that were queued for a client and not written: \"volatile\" were volatile and the "+
		"client was not ready; \"gone\" were queued for clients that went away.", "reason", func(s *stats, emit emitter) {
		emit(float64(s.Dropped), "volatile")
		emit(float64(s.Lost), "gone")
	}),
	gauge("waiting_bytes", "Bytes that wait in the server, in both directions: frames in queues of clients, and messages for "+
		"handlers.", func(s *stats) int64 { return s.Waiting }),
	gauge("waiting_limit_bytes", "What Config.Limits.BudgetBytes allows belfry_waiting_bytes to be.",
		func(s *stats) int64 { return s.Budget }),
}

// named is the value of the label socket_namespace.
func named(ns wsserver.NamespaceStats) string {
	switch {
	case ns.Name == "":
		return Dynamic
	case !utf8.ValidString(ns.Name): // which a label has to be
		return strconv.Quote(ns.Name)
	}
	return ns.Name
}
