package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// reporter is what the suite needs of a [testing.T].
type reporter interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// A cluster is the cluster of one case and its nodes. Its methods are for the case's goroutine, unless they say otherwise.
type cluster struct {
	t        reporter
	adapters []adapter.Adapter
	exact    bool
	load     func() (stop func()) // nil without Config.Load
	timeout  time.Duration

	interrupt func(i int) (restore func()) // nil without Config.Interrupt

	nodes  []*node // those that are open
	opened int     // how many have ever been opened
	fences int     // how many have ever been sent

	label  string        // of its goroutines
	broken chan struct{} // closed at the first breach

	mu       sync.Mutex // guards what follows
	breaches []string   // what recv has seen of broken rules and nobody has reported yet
	breached bool
}

// maxBreaches is how many breaches are kept for the report.
const maxBreaches = 5

// breach records that a rule was broken; the case ends at its next step. It may be called concurrently, and at any time.
func (c *cluster) breach(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.breaches) < maxBreaches {
		c.breaches = append(c.breaches, fmt.Sprintf(format, args...))
	}
	if !c.breached {
		c.breached = true
		close(c.broken)
	}
}

// report fails the test with the breaches that have not been reported.
func (c *cluster) report() {
	c.t.Helper()
	c.mu.Lock()
	breaches := c.breaches
	c.breaches = nil
	c.mu.Unlock()
	for _, b := range breaches {
		c.t.Errorf("%s", b)
	}
}

// fatalf ends the case.
func (c *cluster) fatalf(format string, args ...any) {
	c.t.Helper()
	c.report()
	c.t.Fatalf(format, args...)
}

// must ends the case if err is not nil, and says first what was done.
func (c *cluster) must(err error, what ...any) {
	if err != nil {
		c.t.Helper()
		c.fatalf("%s", strings.TrimSpace(fmt.Sprintln(append(what, err)...)))
	}
}

// closeNodes closes the nodes that are open.
func (c *cluster) closeNodes() {
	c.t.Helper()
	for len(c.nodes) > 0 {
		c.nodes[0].close()
	}
}

// close closes all nodes at the end of the case.
func (c *cluster) close() {
	c.t.Helper()
	for len(c.nodes) > 0 {
		n := c.nodes[0]
		if err := c.within(c.timeout, "Close", n.closeLink); err != nil {
			c.t.Errorf("%s: %v", n.id, err)
		}
		c.forget(n)
	}
	c.report()
}

// forget takes n off the list of open nodes.
func (c *cluster) forget(n *node) {
	c.nodes = slices.DeleteFunc(c.nodes, func(other *node) bool { return other == n })
}

// isBroken reports whether there has been a breach.
func (c *cluster) isBroken() bool {
	select {
	case <-c.broken:
		return true
	default:
		return false
	}
}

// within calls f and returns its error, or an error if f has not returned after the limit. It may be called concurrently.
func (c *cluster) within(limit time.Duration, what string, f func() error) error {
	returned := make(chan error, 1)
	go func() { returned <- f() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-returned:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("%s has not returned after %v", what, limit)
	}
}

// try calls f with a ctx that ends after the time-out, and gives it as long again to notice. It may be called concurrently.
func (c *cluster) try(what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	return c.within(2*c.timeout, what, func() error { return f(ctx) })
}

// do is try for what has to succeed.
func (c *cluster) do(what string, f func(ctx context.Context) error) {
	c.t.Helper()
	c.must(c.try(what, f))
}

// together runs fs concurrently, as do does, and returns when all have returned.
func (c *cluster) together(what string, fs ...func(ctx context.Context) error) {
	c.t.Helper()
	c.do(what, func(ctx context.Context) error {
		errs := make([]error, len(fs))
		var wg sync.WaitGroup
		for i, f := range fs {
			wg.Go(func() { errs[i] = f(ctx) })
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

// open opens n nodes, each of them subscribed to its own topic and fenced with all that are open.
func (c *cluster) open(n int) []*node {
	c.t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = c.newNode()
		c.start(nodes[i])
	}
	return nodes
}

// pair opens two nodes.
func (c *cluster) pair() (a, b *node) {
	c.t.Helper()
	nodes := c.open(2)
	return nodes[0], nodes[1]
}

// newNode returns the next node, not yet open.
func (c *cluster) newNode() *node {
	at := c.opened % len(c.adapters)
	n := &node{c: c, id: "n" + strconv.Itoa(c.opened), at: at, adapter: c.adapters[at], fences: make(map[string]bool)}
	c.opened++
	return n
}

// start opens n and does what open says.
func (c *cluster) start(n *node) {
	c.t.Helper()
	c.do("Open", n.open)
	c.introduce(n)
}

// introduce makes n, which has been opened, one of the cluster's nodes.
func (c *cluster) introduce(n *node) {
	c.t.Helper()
	c.nodes = append(c.nodes, n)
	c.do("wait until the link is Connected", func(ctx context.Context) error { return n.turns(ctx, adapter.Connected) })
	c.do("Subscribe", func(ctx context.Context) error { return n.link.Subscribe(ctx, n.topic()) })
	for _, other := range c.nodes {
		if other != n {
			c.greet(n, other)
			c.greet(other, n)
		}
	}
}

// greetEvery is the pause between two tries to greet.
const greetEvery = 5 * time.Millisecond

// greet sends from one node to another until something arrives. Until then a message may be lost: the receiver has subscribed its
// topic, but has sent nothing yet that the sender has received.
func (c *cluster) greet(from, to *node) {
	c.t.Helper()
	fence := c.nextFence()
	c.do(fmt.Sprintf("first message from %s to %s", from.id, to.id), func(ctx context.Context) error {
		for {
			if err := from.link.Publish(ctx, to.topic(), fence); err != nil {
				return err
			}
			soon, cancel := context.WithTimeout(ctx, greetEvery)
			err := to.await(soon, to.missesFence(fence))
			cancel()
			if err == nil || ctx.Err() != nil || c.isBroken() {
				return err
			}
		}
	})
}

// fencePrefix marks the messages that the suite sends for its own purposes.
const fencePrefix = "\x00adaptertest fence "

func (c *cluster) nextFence() []byte {
	c.fences++
	return fmt.Appendf(nil, "%s%d", fencePrefix, c.fences)
}
