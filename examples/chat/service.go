package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/service"
)

// startService starts the service for the cluster of an adapter, and prints how to use it. server
// says how the nats command finds NATS.
func startService(
	ctx context.Context, adapter *natsadapter.Adapter, server string, out io.Writer, log *slog.Logger,
) (*service.Service, error) {
	s, err := service.Start(ctx, service.Config{Adapter: adapter, Logger: log})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Service: nats %sreq %s.emit "+
		`'{"rooms":["%slobby"],"event":"said","args":[{"room":"lobby","from":"NATS","text":"hi"}]}'`+"\n",
		server, s.Subject(), roomPrefix)
	return s, nil
}
