package main

import (
	"context"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// newBrokerRole is a NATS server for the nodes of a cluster.
func newBrokerRole() map[string]handler {
	return map[string]handler{
		"start": handle(func(none) (url string, err error) {
			s, err := embedded.Start(context.Background(), embedded.Config{})
			if err != nil {
				return "", err
			}
			return s.URL(), nil // it ends with the process
		}),
	}
}
