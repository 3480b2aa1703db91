package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd is the clients of a run.
type crowd struct {
	plan    plan
	nodes   *nodes
	web     *http.Client // of those that poll
	tally   *tally
	pollers int // of 100 clients, those that poll, and as many that poll at first

	dropping atomic.Int64                               // the mean time until a client loses its connection, 0 for never
	plant    func(c *client, event []string) [][]string // what becomes of an event, in tests

	clients []*client
	living  sync.WaitGroup // of the clients
	working sync.WaitGroup // of what is done to them
	over    chan struct{}  // closed when nothing is to be done any more
}

// A client is a client of the crowd, as long as the run lasts.
type client struct {
	*crowd
	number int

	// These are of live alone.
	rng *rand.Rand
	old []carrier // connections which it has left open: the server may not have noticed

	changing sync.Mutex // held by whoever changes its rooms

	mu       sync.Mutex // guards what follows
	state    state
	node     *node
	carrier  carrier       // nil while it is away
	since    time.Duration // when it was connected
	lost     time.Duration // when it lost its last connection
	dropped  bool          // it is dropping its connection itself
	ended    bool          // the server ended the last one
	session  *session
	past     []*session // which were refused
	tries    []string   // attempts to come back since then
	acks     map[int]chan string
	lastAck  int
	attempts uint32 // of requests that cause an event of the session's own
}

// begin adds clients, which live until ctx ends.
func (w *crowd) begin(ctx context.Context, many int) {
	for i := range many {
		rng := rand.New(rand.NewPCG(w.plan.Seed, uint64(i)))
		c := &client{crowd: w, number: i, rng: rng, acks: make(map[int]chan string)}
		w.clients = append(w.clients, c)
		w.living.Go(func() { c.live(ctx) })
	}
	context.AfterFunc(ctx, func() {
		for _, c := range w.clients {
			c.mu.Lock()
			if c.carrier != nil {
				c.carrier.abandon()
			}
			c.mu.Unlock()
		}
	})
}

// live connects, receives until the connection ends, and comes back.
func (c *client) live(ctx context.Context) {
	defer func() {
		for _, o := range c.old {
			o.abandon()
		}
	}()
	for fails := 0; ctx.Err() == nil; {
		conn, err := c.connect(ctx, c.nodes.any(c.rng))
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, errLeft) {
				c.tally.failed(err)
			}
			// As lib/manager.ts, but not as patient: the next attempt reaches another node.
			fails = min(fails+1, 5)
			c.pause(ctx, time.Duration(c.rng.Int64N(int64(100*time.Millisecond)<<fails)))
			continue
		}
		fails = 0
		drops := c.drops(conn)
		err = c.receive(conn)
		drops.Stop()
		if dropped := c.lose(conn, err); dropped {
			c.pause(ctx, between(c.rng, 50*time.Millisecond, 1500*time.Millisecond))
		} else if ctx.Err() == nil {
			c.tally.end(c.plan.now())
			c.pause(ctx, between(c.rng, 500*time.Millisecond, 1500*time.Millisecond)) // lib/manager.ts: reconnectionDelay
		}
	}
}

// lose is the end of a connection. It returns whether the client has dropped it itself.
func (c *client) lose(conn carrier, err error) (dropped bool) {
	c.mu.Lock()
	if c.state.connected {
		c.state.lose()
		c.lost, c.ended, c.tries = c.plan.now(), !c.dropped, nil
	}
	c.carrier, dropped = nil, c.dropped
	for id, answer := range c.acks {
		close(answer)
		delete(c.acks, id)
	}
	c.mu.Unlock()
	if !errors.Is(err, errLeft) {
		conn.abandon()
	} else if c.old = append(c.old, conn); len(c.old) > 3 {
		c.old[0].abandon()
		c.old = c.old[1:]
	}
	return dropped
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

func (c *client) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drops has the client lose its connection after a while: half of the time it is closed, and half of
// the time the server does not notice.
func (c *client) drops(conn carrier) *time.Timer {
	mean := c.dropping.Load()
	if mean == 0 {
		mean = int64(time.Hour) // until [crowd.storm] drops it
	}
	after, notices := time.Duration(c.rng.ExpFloat64()*float64(mean)), c.rng.IntN(2) == 0
	return time.AfterFunc(after, func() { c.drop(conn, notices) })
}

func (c *client) drop(conn carrier, notices bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carrier != conn || c.dropping.Load() == 0 {
		return
	}
	c.dropped = true
	if notices {
		conn.abandon()
	} else {
		conn.leave()
	}
}

// storm begins to drop connections, which each client loses after this time on average; 0 ends it.
func (w *crowd) storm(mean time.Duration) {
	w.dropping.Store(int64(mean))
	for i, c := range w.clients {
		if mean == 0 {
			break
		}
		rng := rand.New(rand.NewPCG(w.plan.Seed+1, uint64(i)))
		c.mu.Lock()
		conn := c.carrier
		c.mu.Unlock()
		after, notices := time.Duration(rng.ExpFloat64()*float64(mean)), rng.IntN(2) == 0
		if conn != nil {
			time.AfterFunc(after, func() { c.drop(conn, notices) })
		}
	}
}

// connect connects to a node, and returns when the client is connected to its namespace.
func (c *client) connect(ctx context.Context, n *node) (conn carrier, err error) {
	polls := c.number % 100
	first := c.plan.now()
	if polls < 2*c.pollers {
		conn, err = c.poll(ctx, c.nodes.address(n))
	} else {
		conn, err = dial(ctx, c.nodes.address(n), "")
	}
	if err != nil {
		return nil, err
	}
	if c.nodes.behind != nil {
		n = c.nodes.named(conn.owner())
	}
	late := time.AfterFunc(patience, conn.abandon)
	defer late.Stop()
	if c.dropping.Load() != 0 && c.rng.IntN(20) == 0 { // a connection that breaks at once
		after, notices := between(c.rng, 0, 20*time.Millisecond), c.rng.IntN(2) == 0
		breaks := time.AfterFunc(after, func() { c.drop(conn, notices) })
		defer breaks.Stop()
	}
	c.mu.Lock()
	c.node, c.carrier, c.dropped = n, conn, false
	c.tries = append(c.tries, fmt.Sprintf("node %d at %v from %q",
		n.origin, c.plan.now().Round(time.Millisecond), c.state.offset))
	hello := c.state.hello(map[string]string{"name": strconv.Itoa(c.number)})
	c.mu.Unlock()
	err = conn.send(hello)
	for connected := false; err == nil && !connected; {
		var packets []string
		if packets, err = conn.receive(); err == nil {
			if err = c.take(conn, packets); err == nil {
				c.mu.Lock()
				connected = c.state.connected
				c.mu.Unlock()
			}
		}
	}
	if p, ok := conn.(*polling); ok && err == nil && polls >= c.pollers {
		s, failed := p.upgrade()
		switch {
		case failed == nil:
			conn = s
		case c.nodes.behind == nil:
			err = failed // behind a balancer it may reach another node, and the client polls on
		}
	}
	if err != nil {
		if c.lose(conn, err) {
			err = errLeft // by itself
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carrier = conn
	c.tally.connected(c.plan.now() - first)
	return conn, nil
}

// receive receives until the connection ends.
func (c *client) receive(conn carrier) error {
	for {
		packets, err := conn.receive()
		if err == nil {
			err = c.take(conn, packets)
		}
		if err != nil {
			return err
		}
	}
}

// take handles packets of Engine.IO.
func (c *client) take(conn carrier, packets []string) error {
	for _, p := range packets {
		switch {
		case p == "2":
			if err := conn.send("3"); err != nil {
				return err
			}
		case p == "1":
			return errors.New("the server has closed the session")
		case strings.HasPrefix(p, "40"):
			if err := c.welcome(p[2:]); err != nil {
				return err
			}
		case strings.HasPrefix(p, "42"):
			if err := c.event(conn, p[2:]); err != nil {
				return err
			}
		case strings.HasPrefix(p, "43"):
			id, args, _ := strings.Cut(p[2:], "[")
			n, _ := strconv.Atoi(id)
			c.mu.Lock()
			if answer := c.acks[n]; answer != nil {
				answer <- strings.Trim(args, `"]`)
				delete(c.acks, n)
			}
			c.mu.Unlock()
		case strings.HasPrefix(p, "41"), strings.HasPrefix(p, "44"):
			c.tally.farewell(p)
			return fmt.Errorf("the server says %s", p)
		}
	}
	return nil
}
