package natsadapter

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/adaptertest"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// clusters numbers the clusters of the suite, so that its cases can share servers.
var clusters atomic.Int64

// unhurried lets a busy machine take its time: the suite is about the contract and not about time-outs, after which links and servers
// give up a connection.
//
// The servers of a cluster do not tell of each other, so that a link stays without a server while its own one is away. A link returns
// soon, since the suite has many outages.
var (
	unhurried = []nats.Option{nats.FlusherTimeout(kit.Patience), nats.PingInterval(kit.Patience),
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond)}
	unhurriedServer = embedded.Config{Options: &natsserver.Options{WriteDeadline: kit.Patience, PingInterval: kit.Patience,
		Cluster: natsserver.ClusterOpts{NoAdvertise: true}}}
)

// onServers returns the configuration of a suite with clusters whose i-th node sits on the i-th server.
func onServers(servers ...*natstest.Server) adaptertest.Config {
	return suite(servers, func(i int) string { return servers[i].URL() }, func(i int) []int { return []int{i} })
}

// suite returns the configuration of a suite on servers: the i-th node connects to url, and the servers in cut are what it may reach.
func suite(servers []*natstest.Server, url func(i int) string, cut func(i int) []int) adaptertest.Config {
	return adaptertest.Config{
		New: func(t *testing.T) []adapter.Adapter {
			natstest.WaitForRoutes(t, servers...)
			name := fmt.Sprintf("suite %d", clusters.Add(1))
			adapters := make([]adapter.Adapter, len(servers))
			for i := range servers {
				adapters[i] = New(Config{URL: url(i), Cluster: name, Options: unhurried, Logger: slog.New(slog.DiscardHandler)})
			}
			return adapters
		},
		Exact:   true,
		Timeout: 2 * kit.Patience,
		Interrupt: func(t *testing.T, i int) (restore func()) {
			for _, s := range cut(i) {
				servers[s].Shutdown()
			}
			return func() {
				for _, s := range cut(i) {
					if !servers[s].Running() {
						servers[s].Restart()
					}
				}
				up := !slices.ContainsFunc(servers, func(s *natstest.Server) bool { return !s.Running() })
				if up && t.Context().Err() == nil { // at the end of a case that has failed, the next one waits
					natstest.WaitForRoutes(t, servers...)
				}
			}
		},
	}
}

// TestSuites runs the suite on clusters of different kinds, side by side: their links wait more often than they compute. Others do not run
// meanwhile, since some are about time. A plain run makes two: they have all cases, and links that stay and that move.
func TestSuites(t *testing.T) {
	for _, s := range []struct {
		name  string
		plain bool // without -all, too
		test  func(t *testing.T)
	}{
		{"OneServer", false, testOneServer}, {"Cluster", true, testCluster},
		{"MovingLinks", false, testMovingLinks}, {"Covered", true, testCovered},
	} {
		t.Run(s.name, func(t *testing.T) {
			if !s.plain && !kit.All() {
				t.Skip("without -all")
			}
			t.Parallel()
			s.test(t)
		})
	}
}

// testOneServer has a server that takes messages as large as an embedded one can.
func testOneServer(t *testing.T) {
	adaptertest.Run(t, onServers(natstest.Start(t, taking(8<<20))))
}

// testCluster has outages of one server, which only its own links notice, and of all of them. The servers take small messages only.
func testCluster(t *testing.T) {
	servers := natstest.StartCluster(t, 3, taking(20<<10))
	cfg := onServers(servers...)
	cfg.Load = func(t *testing.T) func() { return loadRoutes(t, servers) }
	adaptertest.Run(t, cfg)
}

// testMovingLinks has links that know all servers of a cluster, and are at another one after each outage.
func testMovingLinks(t *testing.T) {
	adaptertest.Run(t, moving(t, func(*testing.T, []adapter.Adapter) {}))
}

// testCovered has links that begin under a cover after each outage, and give it up for their own subscriptions while the case goes on.
func testCovered(t *testing.T) {
	cfg := moving(t, func(t *testing.T, adapters []adapter.Adapter) {
		for _, a := range adapters {
			a.(*Adapter).times.coverFrom = 1
			a.(*Adapter).times.uncoverAfter = 60 * time.Millisecond
		}
		t.Cleanup(func() {
			covered := uint64(0)
			for _, a := range adapters {
				covered += a.(*Adapter).Stats().Covered
			}
			// A link without rooms, as those of OutageState and OutageProbe are, has nothing to cover.
			if covered == 0 && !t.Failed() && !strings.HasSuffix(t.Name(), "/OutageState") && !strings.HasSuffix(t.Name(), "/OutageProbe") {
				t.Error("no connection was covered")
			}
		})
	})
	cfg.Exact = false // while there are both, messages come twice
	adaptertest.Run(t, cfg)
}

// moving returns the configuration of a suite whose links know all servers of a cluster. prepare is given the adapters of each case. What has
// no outage is left to testCluster: the links differ in where they connect again.
func moving(t *testing.T, prepare func(t *testing.T, adapters []adapter.Adapter)) adaptertest.Config {
	servers := natstest.StartCluster(t, 3, taking(20<<10))
	all := []int{0, 1, 2}
	cfg := suite(servers, func(int) string { return natstest.URLs(servers...) }, func(int) []int { return all })
	plain := cfg.New
	cfg.New = func(t *testing.T) []adapter.Adapter {
		if !strings.Contains(t.Name(), "/Outage") {
			t.Skip("without an outage there is nothing new")
		}
		adapters := plain(t)
		prepare(t, adapters)
		return adapters
	}
	return cfg
}

// taking is unhurriedServer with another max_payload.
func taking(size int) embedded.Config {
	cfg := unhurriedServer
	cfg.MaxPayload = size
	return cfg
}

// loadRoutes keeps the routes between servers busy until stop is called: what is published at each server crosses to the next, some
// 10 MB a second, in bursts behind which everything else on the route has to wait.
func loadRoutes(t *testing.T, servers []*natstest.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var arrived atomic.Int64
	for i, s := range servers {
		subject := fmt.Sprintf("load.%d", i)
		sink := connectRaw(t, servers[(i+1)%len(servers)].URL())
		if _, err := sink.Subscribe(subject, func(*nats.Msg) { arrived.Add(1) }); err != nil {
			t.Fatal(err)
		}
		kit.OK(t, sink.Flush())
		source := connectRaw(t, s.URL())
		wg.Go(func() {
			tick := time.NewTicker(12 * time.Millisecond)
			defer tick.Stop()
			msg := make([]byte, 8<<10)
			for ctx.Err() == nil {
				for range 16 {
					if err := source.Publish(subject, msg); err != nil {
						t.Errorf("load: %v", err)
						return
					}
				}
				<-tick.C
			}
		})
	}
	kit.Until(t, func() error {
		if got := arrived.Load(); got < 100 {
			return fmt.Errorf("only %d messages of the load have crossed a route", got)
		}
		return nil
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// connectRaw connects to a server without a link. The connection ends with the test.
func connectRaw(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	kit.OK(t, err)
	t.Cleanup(nc.Close)
	return nc
}
