package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// A config says how a run is.
type config struct {
	plan
	nodes    int
	clients  int
	last     time.Duration // how long clients drop
	drop     time.Duration // the mean time until a client does
	change   time.Duration // the mean time until its rooms change
	polling  int           // clients of 100 that poll
	balanced bool          // a balancer picks a node for every request
	words    int           // events a second that clients send
	recovery bool
	least    float64 // the share of the returns that must be recovered
	faults   faults
	pace     int  // connections a second that a drain ends at the most
	strict   bool // about times, too, which takes a quiet machine
	say      func(format string, args ...any)
	plant    func(c *client, event []string) [][]string
}

// A result is what a run has found.
type result struct {
	verdict
	tally                       *tally
	sessions                    int
	stats                       []nodeStats
	late                        time.Duration
	subscriptions, later, moved int // subscriptions before any return and after all; sessions that have moved twice
}

// nodeStats are what a node says of itself.
type nodeStats struct {
	Sockets int
	Errors  int64 // of handlers
	Halves  int64 // sockets that were recovered without their data
	Stats   struct {
		Recovery wsserver.RecoveryStats
		Adapter  cluster.Stats
	}
}

// run runs clients and faults, and checks all sessions.
func run(ctx context.Context, cfg config) (res *result, err error) {
	cfg.Began = time.Now().UnixNano()
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * cfg.clients}, Timeout: time.Minute}
	defer web.CloseIdleConnections()
	n := &nodes{plan: cfg.plan, count: cfg.nodes, recovery: cfg.recovery, web: web}
	if cfg.balanced {
		front := httptest.NewServer(n.balance())
		defer front.Close()
		n.front = front.Listener.Addr().String()
	}
	defer n.end()
	if err := n.begin(); err != nil {
		return nil, err
	}
	w := &crowd{
		plan: cfg.plan, nodes: n, web: web, tally: new(tally), pollers: cfg.polling, plant: cfg.plant,
		over: make(chan struct{}),
	}
	living, end := context.WithCancel(ctx)
	defer w.living.Wait()
	defer end()
	cfg.say("%d clients connect to %d nodes", cfg.clients, cfg.nodes)
	w.begin(living, cfg.clients)
	if err := w.settled(ctx); err != nil {
		return nil, err
	}
	res = &result{tally: w.tally}
	if res.subscriptions, err = n.subscriptions(); err != nil {
		return nil, err
	}
	for _, node := range n.all() {
		if err := n.sing(node); err != nil {
			return nil, err
		}
	}
	working, rest := context.WithCancel(ctx)
	defer rest()
	w.working.Go(func() { n.listen(working) })
	w.working.Go(func() { w.alterations(working, cfg.change) })
	w.working.Go(func() { w.whispers(working, cfg.Rate/20) })
	w.working.Go(func() { w.words(working, cfg.words) })
	w.working.Go(func() { w.report(working, cfg.say) })
	w.tally.turn("quiet")
	w.tally.polls.begin()
	w.storm(cfg.drop)
	failed := cfg.faults.run(ctx, w, cfg)
	w.storm(0)
	rest()
	if err := errors.Join(failed, w.calm(ctx)); err != nil {
		return nil, err
	}
	if err := w.conclude(ctx, res); err != nil {
		return nil, err
	}
	return res, nil
}

// settled waits until all clients are connected, and in their first rooms.
func (w *crowd) settled(ctx context.Context) error {
	return w.wait(ctx, "all clients to be connected and in their rooms", func(c *client) bool {
		if c.session == nil || !c.state.connected || len(c.session.rooms) == 0 {
			return false
		}
		for _, m := range c.session.rooms {
			if m[len(m)-1].answered == 0 {
				return false
			}
		}
		return true
	})
}

// wait waits until ok, which is called under its lock, holds for all clients.
func (w *crowd) wait(ctx context.Context, what string, ok func(*client) bool) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		not := 0
		for _, c := range w.clients {
			c.mu.Lock()
			if !ok(c) {
				not++
			}
			c.mu.Unlock()
		}
		if not == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			w.tally.mu.Lock()
			defer w.tally.mu.Unlock()
			return fmt.Errorf("waited in vain for %s: for %d it does not hold; the last attempt that failed: %v",
				what, not, w.tally.failure)
		}
	}
}

// report says how it goes, until ctx ends.
func (w *crowd) report(ctx context.Context, say func(string, ...any)) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			say("%s", w.tally.progress())
		}
	}
}

// calm ends all load, when all clients are back and their rooms settled.
func (w *crowd) calm(ctx context.Context) error {
	if err := w.settled(ctx); err != nil {
		return err
	}
	for _, n := range w.nodes.all() {
		if err := w.nodes.hush(n); err != nil {
			return err
		}
	}
	close(w.over)
	w.working.Wait()
	return nil
}

// conclude checks everything. What is lost may be late: it waits for that.
func (w *crowd) conclude(ctx context.Context, res *result) (err error) {
	w.nodes.mu.Lock()
	h := &history{plan: w.plan, origins: slices.Clone(w.nodes.origins), end: w.plan.now()}
	w.nodes.mu.Unlock()
	h.prepare()
	before := int64(-1)
	for deadline := time.Now().Add(30 * time.Second); ; {
		now := w.tally.deliveries.Load()
		if still := now == before; still {
			w.tally.mu.Lock()
			h.late = w.tally.late*3/2 + 200*time.Millisecond
			w.tally.mu.Unlock()
			res.verdict, res.sessions = w.check(h)
			if res.Lost == 0 || res.faults() > res.Lost || time.Now().After(deadline) {
				break
			}
		}
		before = now
		time.Sleep(500 * time.Millisecond)
	}
	res.late = h.late
	for _, n := range w.nodes.all() {
		var s nodeStats
		if err := w.nodes.tell(n, "/stats", nil, nil, &s); err != nil {
			return err
		}
		res.stats = append(res.stats, s)
	}
	for _, c := range w.clients {
		if c.session.moved > 1 {
			res.moved++
		}
	}
	res.later, err = w.nodes.subscriptions()
	return err
}

// check checks all sessions.
func (w *crowd) check(h *history) (all verdict, sessions int) {
	var mu sync.Mutex
	var checking sync.WaitGroup
	const workers = 4
	for k := range workers {
		checking.Go(func() {
			var v verdict
			n := 0
			for i := k; i < len(w.clients); i += workers {
				c := w.clients[i]
				c.mu.Lock()
				for _, s := range append(slices.Clone(c.past), c.session) {
					v.add(h.check(s))
					n++
				}
				c.mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(v)
			sessions += n
		})
	}
	checking.Wait()
	return all, sessions
}
