package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/service"
)

// startService starts the service for the cluster of an adapter, which is one of NATS, and prints
// how to use it.
func startService(
	ctx context.Context, adapter string, out io.Writer, log *slog.Logger,
) (*service.Service, error) {
	a, err := natsadapter.FromURL(adapter)
	if err != nil {
		return nil, err
	}
	s, err := service.Start(ctx, service.Config{Adapter: a, Logger: log})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Service: nats -s %s req %s.emit "+
		`'{"rooms":["%slobby"],"event":"said","args":[{"room":"lobby","from":"NATS","text":"hi"}]}'`+"\n",
		withoutUsers(adapter), s.Subject(), roomPrefix)
	return s, nil
}

// withoutUsers returns the servers of an adapter's text, which is one of NATS, as the nats command
// takes them, without users and passwords.
func withoutUsers(adapter string) string {
	text, _, _ := strings.Cut(adapter, "?")
	servers := strings.Split(text, ",")
	for i, s := range servers {
		scheme, rest, ok := strings.Cut(s, "://")
		if !ok {
			scheme, rest = "", s
		} else {
			scheme += "://"
		}
		servers[i] = scheme + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(servers, ",")
}
