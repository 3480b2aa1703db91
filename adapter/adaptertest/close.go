package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// A held recv waits in the middle of a message for a Close that returns too early.
type held struct {
	entered  chan struct{}  // closed when recv has a message
	closers  sync.WaitGroup // the calls of Close that are still to come
	returned chan struct{}  // closed when a Close has returned
	once     sync.Once      // closes returned
}

// holdTime is how long recv is held once Close is called: a Close that waits for recv, as it must, takes that long.
const holdTime = 100 * time.Millisecond

// holdRecv holds the recv of n at its next message, until Close has been called that many times.
func (n *node) holdRecv(closers int) *held {
	h := &held{entered: make(chan struct{}), returned: make(chan struct{})}
	h.closers.Add(closers)
	var once sync.Once
	n.onMessage(func([]byte) {
		once.Do(func() {
			close(h.entered)
			h.closers.Wait()
			late := time.NewTimer(holdTime)
			defer late.Stop()
			select {
			case <-h.returned:
			case <-late.C:
			}
		})
	})
	return h
}

// wait waits until recv is held.
func (h *held) wait(n *node) {
	n.c.t.Helper()
	if err := n.c.within(n.c.timeout, "the first message", func() error { <-h.entered; return nil }); err != nil {
		n.c.fatalf("%s: %v", n.id, err)
	}
}

// close is one of the calls of Close that h waits for.
func (h *held) close(n *node) error {
	return n.c.within(n.c.timeout, "Close", func() error {
		h.closers.Done()
		err := n.closeLink()
		h.once.Do(func() { close(h.returned) })
		return err
	})
}

func testCloseEndsRecv(c *cluster) {
	a, d := c.pair()
	topics := []adapter.Topic{room("lobby"), room("hall"), {Kind: adapter.Cluster}}
	const (
		rounds = 2
		count  = 1000
		size   = 200
	)
	for r := range rounds {
		x := c.open(1)[0]
		x.subscribe(topics...)
		h := x.holdRecv(1)
		published := make(chan error, 1)
		go func() { published <- c.try("Publish", a.publishSeries(0, count, size, topics...)) }()
		h.wait(x)
		c.forget(x)
		c.must(h.close(x), "round", r)
		c.must(<-published, "round", r)
		a.fenceTo(d) // recv is not called with what was under way either
		if c.isBroken() {
			c.fatalf("round %d of %d", r, rounds)
		}
	}
}

func testCloseConcurrently(c *cluster) {
	a, x := c.pair()
	x.subscribe(room("lobby"))
	const (
		closers = 4
		count   = 100
	)
	h := x.holdRecv(closers)
	published := make(chan error, 1)
	go func() { published <- c.try("Publish", a.publishSeries(0, count, 100, room("lobby"))) }()
	h.wait(x)
	c.forget(x)
	closed := make(chan error, closers)
	for range closers {
		go func() { closed <- h.close(x) }()
	}
	for range closers {
		c.must(<-closed, "one of", closers, "concurrent calls:")
	}
	c.must(c.within(c.timeout, "another Close", x.closeLink))
	c.must(<-published)
}

func testCloseUnderTraffic(c *cluster) {
	const (
		rounds = 3
		users  = 2
		size   = 16 << 10
		before = 5
	)
	topics := []adapter.Topic{room("lobby"), {Kind: adapter.Cluster}}
	for r := range rounds {
		nodes := c.open(2)
		arrived := make([]int, len(nodes))
		ended := make(chan error, 2*(users+2))
		running := 0
		for i, n := range nodes {
			n.subscribe(topics...)
			n.onMessage(func([]byte) { arrived[i]++ })
		}
		busy := func(n *node, call func(ctx context.Context, i int) error) {
			running++
			go func() {
				var err error
				for i := 0; err == nil; i++ {
					ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
					err = call(ctx, i)
					cancel()
				}
				if errors.Is(err, adapter.ErrClosed) {
					err = nil
				}
				ended <- err
			}()
		}
		for _, n := range nodes {
			msg := pattern(n.id, 0, size)
			for range users {
				busy(n, func(ctx context.Context, i int) error { return n.link.Publish(ctx, topics[i%len(topics)], msg) })
			}
			busy(n, func(ctx context.Context, i int) error { return n.link.Subscribe(ctx, room(strconv.Itoa(i%10))) })
			busy(n, func(ctx context.Context, i int) error { return n.link.Unsubscribe(ctx, room(strconv.Itoa(i%10))) })
		}
		for i, n := range nodes {
			n.wait(func() string {
				if arrived[i] < before {
					return fmt.Sprintf("got %d of the first %d messages", arrived[i], before)
				}
				return ""
			})
		}
		for _, n := range nodes {
			n.close()
		}
		late := time.After(c.timeout)
		for ; running > 0; running-- {
			select {
			case err := <-ended:
				if err != nil {
					c.fatalf("round %d: a call that Close has interrupted: %v, want %v", r, err, adapter.ErrClosed)
				}
			case <-late:
				c.fatalf("round %d: %d calls have not returned %v after Close", r, running, c.timeout)
			}
		}
	}
}

func testCloseSendsFirst(c *cluster) {
	const count = 300
	b := c.open(1)[0]
	b.subscribe(room("lobby"), room("hall"))
	got := expectSeries(b, nil)
	for range 4 {
		a := c.open(1)[0]
		c.do("Publish", a.publishSeries(0, count, 1000, room("lobby"), room("hall")))
		a.close()
		got.wait(a, count)
	}
}

func testCloseLeavesOthersAlone(c *cluster) {
	a, d := c.pair()
	topics := []adapter.Topic{room("lobby"), room("hall"), {Kind: adapter.Cluster}}
	d.subscribe(topics...)
	got := expectSeries(d, nil)
	const (
		rounds = 4
		count  = 200
	)
	for r := range rounds {
		x := c.open(1)[0]
		x.subscribe(topics...)
		published := make(chan error, 1)
		go func() { published <- c.try("Publish", a.publishSeries(r*count, (r+1)*count, 100, topics...)) }()
		x.close()
		c.must(<-published, "round", r)
		got.wait(a, (r+1)*count)
	}
}

func testAfterClose(c *cluster) {
	nodes := c.open(2)
	a := nodes[0]
	a.subscribe(room("lobby"))
	a.close()
	for _, call := range []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"Publish", func(ctx context.Context) error { return a.link.Publish(ctx, room("lobby"), []byte("late")) }},
		{"Publish without subscribers", func(ctx context.Context) error { return a.link.Publish(ctx, room("hall"), nil) }},
		{"Subscribe", func(ctx context.Context) error { return a.link.Subscribe(ctx, room("hall")) }},
		{"Subscribe again", func(ctx context.Context) error { return a.link.Subscribe(ctx, room("lobby")) }},
		{"Unsubscribe", func(ctx context.Context) error { return a.link.Unsubscribe(ctx, room("lobby")) }},
	} {
		if err := c.try(call.name, call.call); !errors.Is(err, adapter.ErrClosed) {
			c.fatalf("%s of a closed link returned %v, want %v", call.name, err, adapter.ErrClosed)
		}
	}
}
