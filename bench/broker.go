package main

import (
	"context"
	"net/url"
	"strconv"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// brokerConfig is what a NATS server is started with.
type brokerConfig struct {
	Cluster bool   `json:"cluster"` // it may be joined by others
	Join    string `json:"join"`    // the route of one of them; empty for the first
	Client  string `json:"client"`  // its URL for clients; empty means a free port
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
			if cfg.Client != "" {
				u, err := url.Parse(cfg.Client)
				if err == nil {
					config.Port, err = strconv.Atoi(u.Port())
				}
				if err != nil {
					return brokerAddresses{}, err
				}
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
