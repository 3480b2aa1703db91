package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/service"
)

const (
	clusterNodes = 3                // without -adapter
	startTimeout = 15 * time.Second // for the nodes to meet
	stopTimeout  = 8 * time.Second  // for the closing handshakes of clients, some of which may be silent, and for what is queued
)

// A site is the nodes of this process, and the NATS server between them and the service for others if these are here too.
type site struct {
	nats    *embedded.Server // nil if it is elsewhere, or none
	nodes   []*node
	service *service.Service // nil for none
}

// start starts the nodes that cfg asks for and returns when they have met each other. What it starts it says on out. ctx bounds the
// start alone; serve must be called in the end.
func start(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) (c *site, err error) {
	c = &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	count := 1
	if cfg.adapter == "" {
		c.nats, err = embedded.Start(ctx, embedded.Config{Logger: log})
		if err != nil {
			return c, err
		}
		fmt.Fprintf(out, "NATS on %s (embedded)\n", strings.TrimPrefix(c.nats.URL(), "nats://"))
		cfg.adapter = c.nats.URL() + "?cluster=chat"
		count = clusterNodes
	}
	for i := range count {
		name := ""
		if count > 1 {
			name = fmt.Sprintf("node %d", i+1)
		}
		n, err := newNode(cfg, name, log)
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
	}
	meeting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, n := range c.nodes {
		if err := n.io.Ready(meeting); err != nil {
			return c, fmt.Errorf("the node has not met its cluster; does a NATS server run there? without -adapter, one is embedded: %w", err)
		}
	}
	if cfg.service {
		if c.service, err = startService(meeting, cfg.adapter, log); err != nil {
			return c, err
		}
		fmt.Fprintf(out, `Service: nats -s %s req %s.emit '{"rooms":["%slobby"],"event":"said","args":[{"room":"lobby","from":"NATS","text":"hi"}]}'`+"\n",
			withoutUsers(cfg.adapter), c.service.Subject(), roomPrefix)
	}
	var links []link
	for _, n := range c.nodes {
		label := n.io.NodeName()
		if count == 1 {
			label = "node " + n.io.Node()[:6] // others in its cluster may be on its host, and have its name
		}
		links = append(links, link{ID: n.io.Node(), Label: label, URL: n.url})
	}
	for i, n := range c.nodes {
		n.open(links)
		fmt.Fprintln(out, links[i].Label, n.url)
	}
	if count > 1 {
		fmt.Fprintln(out, "Open two of them side by side and talk: the nodes share their rooms. Ctrl-C ends it.")
	} else {
		fmt.Fprintln(out, "Open it in a browser. Ctrl-C ends it.")
	}
	return c, nil
}

// withoutUsers returns the servers of an adapter's text, which is one of NATS, as the nats command takes them, without users and passwords.
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

// startService starts the service for the cluster of an adapter, which is one of NATS.
func startService(ctx context.Context, adapter string, log *slog.Logger) (*service.Service, error) {
	a, err := open(adapter)
	if err != nil {
		return nil, err
	}
	return service.Start(ctx, service.Config{Adapter: a.(*natsadapter.Adapter), Logger: log})
}

// serve waits until ctx ends or a node fails, and stops everything.
func (c *site) serve(ctx context.Context) error {
	failed := make(chan error, len(c.nodes))
	var watchers sync.WaitGroup
	for _, n := range c.nodes {
		watchers.Go(func() {
			if err := n.wait(); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, c.close())
	watchers.Wait()
	return err
}

// close stops the nodes, all at once, and then the NATS server.
func (c *site) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := make([]error, len(c.nodes)+1)
	var closing sync.WaitGroup
	for i, n := range c.nodes {
		closing.Go(func() { errs[i] = n.close(ctx) })
	}
	if c.service != nil {
		closing.Go(func() { errs[len(c.nodes)] = c.service.Close(ctx) })
	}
	closing.Wait()
	if c.nats != nil {
		c.nats.Shutdown()
	}
	return errors.Join(errs...)
}
