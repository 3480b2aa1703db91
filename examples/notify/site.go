package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/service"
)

const demoTokens = 12 * time.Hour // how long tokens are valid that are printed

// A site is the nodes of this process, and the service for NATS clients if it is wanted.
type site struct {
	cfg     *config.Config
	nodes   []*node
	service *service.Service // nil for none
	stop    context.CancelFunc
}

// start starts the nodes and returns when they have met each other. What it starts it says on out.
// ctx bounds the start alone; serve must be called in the end. The site closes cfg.
func start(ctx context.Context, cfg *config.Config, own settings, out io.Writer) (s *site, err error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s = &site{cfg: cfg, stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	id, err := newIdentity(life, own)
	if err != nil {
		return s, err
	}
	for i := range own.Nodes {
		n, err := newNode(cfg, own, i, id)
		if err != nil {
			return s, usageError{err}
		}
		s.nodes = append(s.nodes, n)
	}
	for _, n := range s.nodes {
		if err := cfg.Ready(ctx, n.io); err != nil {
			return s, err
		}
	}
	if own.Service {
		s.service, err = service.Start(ctx, service.Config{Adapter: cfg.NATS, Logger: cfg.Logger})
		if err != nil {
			return s, cfg.Explain(err)
		}
	}
	for i, n := range s.nodes {
		n.open(ctx)
		fmt.Fprintf(out, "node %d %s\n", i+1, n.url)
	}
	return s, s.explain(own, out)
}

// explain prints how to use what runs.
func (s *site) explain(own settings, out io.Writer) error {
	first, last := s.nodes[0].url, s.nodes[len(s.nodes)-1].url
	if own.Demo && own.Secret != "" {
		for _, u := range []struct{ id, url string }{{"ann", first}, {"ann", last}, {"bob", first}} {
			token, err := token(own, u.id, []string{"staff"}, demoTokens)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\nOpen as %s: %s/#token=%s\n", u.id, u.url, token)
		}
	}
	if own.Demo {
		fmt.Fprintf(out, "\nNotify ann, or group/staff, or all; with -H 'Idempotency-Key: 1' once, however often:\n"+
			`curl -H 'Authorization: Bearer %s' -d '{"title":"Hello","text":"You have mail."}' %s/notify/user/ann`+"\n",
			own.APIToken, first)
	}
	if s.service != nil {
		fmt.Fprintf(out, "\nBy NATS, to who is connected:\nnats req %s.emit "+
			`'{"rooms":["user:ann"],"event":"notification","args":[{"title":"Hello","text":"from NATS"}]}'`+"\n",
			s.service.Subject())
	}
	_, err := fmt.Fprintln(out, "\nCtrl-C ends it.")
	return err
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
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var err error
	for serving := true; serving; {
		select {
		case <-ctx.Done():
			serving = false
			err = s.drain()
		case err = <-failed:
			serving = false
		case <-hangup:
			for _, n := range s.nodes {
				s.cfg.Reload(n.io) // it logs what is wrong
			}
		}
	}
	err = errors.Join(err, s.close())
	watchers.Wait()
	return err
}

// drain sends the clients of all nodes to others, if there are any in other processes.
func (s *site) drain() error {
	clients := 0
	for _, n := range s.nodes {
		clients += n.io.Stats().Connections
	}
	s.cfg.Logger.Info("notify: clients go to other nodes; a second Ctrl-C ends it at once", "connections", clients)
	errs := make([]error, len(s.nodes))
	var draining sync.WaitGroup
	for i, n := range s.nodes {
		draining.Go(func() { errs[i] = s.cfg.Drain(context.Background(), n.io) })
	}
	draining.Wait()
	return errors.Join(errs...)
}

// close stops the nodes, all at once, and then a NATS server in this process.
func (s *site) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTime)
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
	s.stop()
	return errors.Join(append(errs, s.cfg.Close())...)
}
