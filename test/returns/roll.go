package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"
)

// roll replaces all nodes, one after the other, by nodes that start before. Between two replacements
// the load runs alone for a while, so that one is compared with the other. A node that leaves
// broadcasts until no client is left; then its successor begins.
func (w *crowd) roll(ctx context.Context, cfg config, killed bool) error {
	quiet := cfg.last / time.Duration(cfg.nodes+1)
	time.Sleep(quiet)
	for _, old := range w.nodes.all() {
		next, err := w.nodes.start()
		if err != nil {
			return err
		}
		w.nodes.serve(next)
		cfg.say("node %d drains; node %d takes its place", old.origin, next.origin)
		w.tally.turn("drain")
		began := time.Now()
		if err := w.retire(ctx, old, cfg, killed); err != nil {
			return err
		}
		cfg.say("node %d has left after %v", old.origin, time.Since(began).Round(time.Millisecond))
		if err := w.nodes.sing(next); err != nil {
			return err
		}
		w.tally.turn("quiet")
		time.Sleep(quiet)
	}
	return ctx.Err()
}

// retire drains a node, and ends it; or it kills it in the middle of that.
func (w *crowd) retire(ctx context.Context, n *node, cfg config, killed bool) error {
	w.nodes.leaves(n)
	drained := make(chan error, 1)
	go func() { drained <- w.nodes.tell(n, "/drain", url.Values{"pace": {strconv.Itoa(cfg.pace)}}, nil, nil) }()
	middle := make(<-chan time.Time)
	if killed {
		share := float64(cfg.clients) / float64(cfg.nodes) / float64(cfg.pace)
		middle = time.After(drainNotice + time.Duration(share/2*float64(time.Second)))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-middle:
		cfg.say("kill -9 of node %d", n.origin)
		w.nodes.kill(n)
		return nil
	case err := <-drained:
		if err != nil { // as of handlers that have not returned; what becomes of their clients is checked as of all
			cfg.say("node %d has drained: %v", n.origin, err)
		}
		err = errors.Join(w.nodes.hush(n), w.nodes.tell(n, "/close", nil, nil, nil))
		w.nodes.gone(n)
		n.child.Kill()
		return err
	}
}

// What a replacement may do to clients.
const (
	backWithin = 3 * time.Second // of the end of their connection
	worse      = 1.5             // how much later deliveries to those who stay may be
	faster     = 1.2             // than the pace of a drain
)

// judgeRoll says what was wrong with a replacement.
func (t *tally) judgeRoll(cfg config, wrong func(format string, args ...any)) {
	if most := t.returns.max; !cfg.faults.killed && most > backWithin {
		wrong("a client was back %v after its connection had been ended, want %v at the most", most, backWithin)
	}
	if most := t.pace(); !cfg.faults.killed && float64(most) > faster*float64(cfg.pace) {
		wrong("%d connections were ended within a second, want %d at the most", most, cfg.pace)
	}
	if quiet, drain := t.p99("quiet"), t.p99("drain"); float64(drain) > worse*float64(quiet) {
		wrong("p99 of deliveries to those who stay was %v while a node drained, and %v otherwise", drain, quiet)
	}
}
