package natsadapter

import (
	"context"
	"fmt"
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
)

// clusters numbers the clusters of the suite, so that its cases can share servers.
var clusters atomic.Int64

// unhurried lets a busy machine take its time: the suite is about the contract and not about time-outs, after which links and servers
// give up a connection.
var (
	unhurried       = []nats.Option{nats.FlusherTimeout(patience), nats.PingInterval(patience)}
	unhurriedServer = embedded.Config{Options: &natsserver.Options{WriteDeadline: patience, PingInterval: patience}}
)

// onServers returns what makes a cluster whose i-th node sits on the i-th server.
func onServers(servers ...*natstest.Server) func(t *testing.T) []adapter.Adapter {
	return func(t *testing.T) []adapter.Adapter {
		name := fmt.Sprintf("suite %d", clusters.Add(1))
		var adapters []adapter.Adapter
		for _, s := range servers {
			adapters = append(adapters, New(Config{URL: s.URL(), Cluster: name, Options: unhurried}))
		}
		return adapters
	}
}

func TestSuiteOneServer(t *testing.T) {
	s := natstest.Start(t, unhurriedServer)
	adaptertest.Run(t, adaptertest.Config{New: onServers(s), Exact: true, Timeout: 2 * patience})
}

func TestSuiteCluster(t *testing.T) {
	servers := natstest.StartCluster(t, 3, unhurriedServer)
	adaptertest.Run(t, adaptertest.Config{
		New:     onServers(servers...),
		Exact:   true,
		Timeout: 2 * patience,
		Load:    func(t *testing.T) func() { return loadRoutes(t, servers) },
	})
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
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
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
	eventually(t, func() error {
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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
