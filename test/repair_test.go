package test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
)

// TestBrokersFail has nodes broadcast to each other while their NATS servers are shut down and started again, one after the other, and all
// at once, and connections break. Every broadcast reaches every member that is due, once, and in order in each room.
func TestBrokersFail(t *testing.T) {
	t.Parallel()
	servers := natstest.NewCluster(t, 3)
	c := &choir{t: t}
	for _, s := range servers {
		c.join(natsadapter.New(natsadapter.Config{
			URL: s.URL(), Cluster: "test", Logger: testLogger(t),
			Options: []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0)},
		}))
	}
	c.begin()
	pause := func(d time.Duration) { <-time.After(d) } // for traffic, not for an event
	for i, s := range servers {
		pause(200 * time.Millisecond)
		s.Shutdown()
		pause(200 * time.Millisecond)
		s.Restart()
		pause(200 * time.Millisecond)
		servers[(i+1)%3].Disconnect()
	}
	for _, s := range servers {
		s.Shutdown()
	}
	pause(300 * time.Millisecond)
	for _, s := range servers {
		s.Restart()
	}
	natstest.WaitForRoutes(t, servers...)
	pause(200 * time.Millisecond)
	c.end()
}
