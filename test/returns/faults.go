package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// faults are what happens while clients drop.
type faults struct {
	nats   bool // NATS servers are killed and come back
	node   bool // a node without clients is killed, again and again
	owner  bool // a node with clients is killed and replaced, again and again
	roll   bool // the nodes are replaced, one after the other
	killed bool // and each is killed while it drains
}

// run runs them while clients drop.
func (f faults) run(ctx context.Context, w *crowd, cfg config) error {
	if f.roll {
		return w.roll(ctx, cfg, f.killed)
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 1<<42))
	until := time.After(cfg.last)
	every := min(15*time.Second, cfg.last/3)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-until:
			return nil
		case <-time.After(every):
		}
		if f.nats {
			down := min(every/2, between(rng, time.Second, 5*time.Second))
			if err := w.nodes.killBroker(rng, down, cfg.say); err != nil {
				return err
			}
		}
		if f.node {
			if err := w.nodes.killBystander(every/2, cfg.say); err != nil {
				return err
			}
		}
		if f.owner {
			if err := w.nodes.killOwner(cfg.say); err != nil {
				return err
			}
		}
	}
}

// killOwner kills the oldest node that serves clients, when another has taken its place.
func (s *nodes) killOwner(say func(string, ...any)) error {
	old := s.all()[0]
	next, err := s.start()
	if err != nil {
		return err
	}
	s.serve(next)
	say("kill -9 of node %d; node %d has taken its place", old.origin, next.origin)
	s.kill(old)
	return s.sing(next)
}

// killBroker kills a NATS server, and starts it again after a while.
func (s *nodes) killBroker(rng *rand.Rand, after time.Duration, say func(string, ...any)) error {
	i := rng.IntN(len(s.brokers))
	say("kill -9 of NATS server %d, for %v", i, after.Round(time.Millisecond))
	s.brokers[i].Kill()
	time.Sleep(after)
	err := s.brokers[i].Restart()
	if err == nil {
		_, err = s.brokers[i].Line()
	}
	return err
}

// killBystander starts a node that serves no clients and broadcasts, and kills it after a while.
func (s *nodes) killBystander(after time.Duration, say func(string, ...any)) error {
	n, err := s.start()
	if err != nil {
		return err
	}
	if err := s.sing(n); err != nil {
		return fmt.Errorf("node %d: %w", n.origin, err)
	}
	time.Sleep(after)
	say("kill -9 of node %d, which has no clients", n.origin)
	s.kill(n)
	return nil
}
