package main

import (
	"context"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// brokerConfig is what a NATS server is started with.
type brokerConfig struct {
	Cluster bool   `json:"cluster"` // it may be joined by others
	Join    string `json:"join"`    // the route of one of them; empty for the first
}

// brokerAddresses are the URLs of a NATS server: for clients, and for other servers if it is of a cluster.
type brokerAddresses struct {
	Client string `json:"client"`
	Route  string `json:"route"`
}

// newBrokerRole is a NATS server for the nodes of a cluster.
func newBrokerRole() map[string]handler {
	return map[string]handler{
		"start": handle(func(cfg brokerConfig) (brokerAddresses, error) {
			var config embedded.Config
			if cfg.Cluster {
				config.ClusterName = "bench"
			}
			if cfg.Join != "" {
				config.Routes = []string{cfg.Join}
			}
			s, err := embedded.Start(context.Background(), config)
			if err != nil {
				return brokerAddresses{}, err
			}
			return brokerAddresses{Client: s.URL(), Route: s.ClusterURL()}, nil // it ends with the process
		}),
		"memory": handle(func(none) (memory, error) { return usedMemory() }),
	}
}
