package main

import (
	"cmp"
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
	startTimeout = 15 * time.Second // for the nodes to meet
	stopTimeout  = 8 * time.Second  // for the closing handshakes of clients, some of which may be silent
	demoTokens   = 12 * time.Hour   // how long those that are printed are valid
)

// A site is the nodes of this process, and what else of the cluster is in it.
type site struct {
	nats    *embedded.Server // nil if it is elsewhere, or none
	nodes   []*node
	service *service.Service // nil for none
	stop    context.CancelFunc
}

// start starts the nodes that cfg asks for and returns when they have met each other. What it starts it
// says on out. ctx bounds the start alone; serve must be called in the end.
func start(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) (s *site, err error) {
	s = &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	id, err := newIdentity(life, cfg)
	if err != nil {
		return s, err
	}
	if cfg.adapter == "" && cfg.nodes > 1 {
		if s.nats, err = embedded.Start(ctx, embedded.Config{Logger: log}); err != nil {
			return s, err
		}
		fmt.Fprintf(out, "NATS on %s (embedded)\n", strings.TrimPrefix(s.nats.URL(), "nats://"))
		cfg.adapter = s.nats.URL() + "?cluster=notify"
	}
	a, err := open(cmp.Or(cfg.adapter, "memory:"))
	if err != nil {
		return s, err
	}
	for i := range cfg.nodes {
		n, err := newNode(cfg, i, a, id, log)
		if err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, n)
	}
	meeting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, n := range s.nodes {
		if err := n.io.Ready(meeting); err != nil {
			return s, fmt.Errorf("the node has not met its cluster; does a NATS server run there?: %w", err)
		}
	}
	if cfg.service {
		s.service, err = service.Start(meeting, service.Config{Adapter: a.(*natsadapter.Adapter), Logger: log})
		if err != nil {
			return s, err
		}
	}
	for i, n := range s.nodes {
		n.open(meeting)
		fmt.Fprintf(out, "node %d %s\n", i+1, n.url)
	}
	return s, s.explain(cfg, out)
}

// explain prints how to use what runs.
func (s *site) explain(cfg config, out io.Writer) error {
	urls := []string{s.nodes[0].url, s.nodes[len(s.nodes)-1].url}
	if cfg.demo {
		for _, u := range []struct{ id, url string }{{"ann", urls[0]}, {"ann", urls[1]}, {"bob", urls[0]}} {
			token, err := token(cfg, u.id, []string{"staff"}, demoTokens)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\nOpen as %s: %s/#token=%s\n", u.id, u.url, token)
		}
		fmt.Fprintf(out, "\nNotify ann, or group/staff, or all; with -H 'Idempotency-Key: 1' once, however often it is repeated:\n"+
			`curl -H 'Authorization: Bearer %s' -d '{"title":"Hello","text":"You have mail."}' %s/notify/user/ann`+"\n",
			cfg.apiToken, urls[0])
	}
	if s.service != nil {
		url, _, _ := strings.Cut(cfg.adapter, "?")
		if s.nats != nil {
			url = s.nats.URL()
		}
		fmt.Fprintf(out, "\nBy NATS, to who is connected:\nnats -s %s req %s.emit "+
			`'{"rooms":["user:ann"],"event":"notification","args":[{"title":"Hello","text":"from NATS"}]}'`+"\n",
			withoutUsers(url), s.service.Subject())
	}
	_, err := fmt.Fprintln(out, "\nCtrl-C ends it.")
	return err
}

// withoutUsers returns NATS servers without users and passwords.
func withoutUsers(list string) string {
	servers := strings.Split(list, ",")
	for i, s := range servers {
		scheme, rest, _ := strings.Cut(s, "://")
		servers[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(servers, ",")
}

// serve waits until ctx ends or a node fails, and stops everything.
func (s *site) serve(ctx context.Context) error {
	failed := make(chan error, len(s.nodes))
	var watchers sync.WaitGroup
	for _, n := range s.nodes {
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
	err = errors.Join(err, s.close())
	watchers.Wait()
	return err
}

// close stops the nodes, all at once, and then the NATS server.
func (s *site) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := make([]error, len(s.nodes)+1)
	var closing sync.WaitGroup
	for i, n := range s.nodes {
		closing.Go(func() { errs[i] = n.close(ctx) })
	}
	if s.service != nil {
		closing.Go(func() { errs[len(s.nodes)] = s.service.Close(ctx) })
	}
	closing.Wait()
	if s.nats != nil {
		s.nats.Shutdown()
	}
	if s.stop != nil {
		s.stop()
	}
	return errors.Join(errs...)
}
