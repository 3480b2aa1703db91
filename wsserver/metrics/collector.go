// Package metrics shows a server's figures to Prometheus.
//
//	http.Handle("/metrics", metrics.Handler(srv))
//
// A program with a registry of its own registers a [Collector] there.
//
// # Labels
//
// Every metric has the label node_name, which is [wsserver.Server.NodeName]. Labels are never what
// clients choose: the namespaces that clients have made ([wsserver.Server.OfFunc]) are one value,
// "dynamic", of the label socket_namespace. Neither name is one that Kubernetes' service discovery
// gives to targets, as "namespace" and "node" are.
//
// # Cost
//
// A scrape reads [wsserver.Server.Stats]: counts that the server keeps anyway. It looks at no socket
// and no room, so it takes as long with 100,000 sockets as with none. The time of handlers costs a
// little with each event, and is measured with [wsserver.Config].TimeHandlers only.
//
// The file grafana.json of this package is a dashboard for Grafana that shows these metrics.
package metrics

import (
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/belfry-io/belfry/wsserver"
)

// Dynamic is the value of the label socket_namespace for all namespaces together that clients have
// made. The name of a namespace begins with a slash.
const Dynamic = "dynamic"

// A Collector is a [prometheus.Collector] of the figures of one server or more. Its methods may be
// called concurrently, also after the servers were closed.
type Collector struct {
	servers []source
	version string
}

// A source is a server, and the value of its label node_name.
type source struct {
	server *wsserver.Server
	name   string
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector of servers, which stay the caller's. Servers of the same name are told
// apart by their ids, which are new each time that the program starts: give the servers of one
// process different names, by [wsserver.ClusterConfig].NodeName.
func New(servers ...*wsserver.Server) *Collector {
	count := make(map[string]int)
	for _, srv := range servers {
		count[srv.NodeName()]++
	}
	c := &Collector{version: version()}
	for _, srv := range servers {
		name := srv.NodeName()
		if count[name] > 1 {
			name += " (" + srv.Node() + ")"
		}
		c.servers = append(c.servers, source{srv, name})
	}
	return c
}

// Handler serves the figures of servers, of the Go runtime and of the process, from a registry of
// its own.
func Handler(servers ...*wsserver.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(New(servers...), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- build
	descs <- handlerTime
	descs <- joinTime
	for i := range families {
		descs <- families[i].desc
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	for _, from := range c.servers {
		stats := from.server.Stats()
		metrics <- prometheus.MustNewConstMetric(build, prometheus.GaugeValue, 1, from.name, c.version, runtime.Version())
		if t := stats.HandlerTime; len(t.Bounds) > 0 {
			metrics <- histogram(t, from.name)
		}
		cluster := &stats.Adapter
		metrics <- prometheus.MustNewConstSummary(joinTime, cluster.Joins, cluster.JoinTime.Seconds(), nil, from.name)
		for i := range families {
			f := &families[i]
			f.read(&stats, func(v float64, labels ...string) {
				labels = append([]string{from.name}, labels...)
				metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
			})
		}
	}
}

// histogram is a HandlerTime as Prometheus has it.
func histogram(t wsserver.HandlerTime, name string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(t.Bounds))
	var sum uint64
	for i, bound := range t.Bounds {
		sum += t.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	sum += t.Counts[len(t.Bounds)]
	return prometheus.MustNewConstHistogram(handlerTime, sum, t.Sum.Seconds(), buckets, name)
}

// module is what versions are told of.
const module = "github.com/belfry-io/belfry"

// version is that of this module in the program; "(devel)" or empty if it was built from a folder.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if info.Main.Path == module {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			if dep.Replace != nil {
				return dep.Replace.Version
			}
			return dep.Version
		}
	}
	return ""
}
