package adaptertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

func testState(c *cluster) {
	a, b := c.pair()
	state, changed := a.link.State()
	if state.Status != adapter.Connected || state.Reason != nil {
		c.fatalf("state is %v (%v), want %v without a reason", state.Status, state.Reason, adapter.Connected)
	}
	if changed == nil {
		c.fatalf("the channel of a link that is %v is nil", state.Status)
	}
	if state.Connections == 0 {
		c.fatalf("Connections is 0 of a link that is %v, want how many times it has become so", state.Status)
	}
	connections := state.Connections
	a.subscribe(room("lobby"))
	b.publish(room("lobby"), "traffic")
	a.waitFor("traffic")
	select {
	case <-changed:
		state, _ := a.link.State()
		c.fatalf("the channel was closed while nothing happened; state is %v (%v)", state.Status, state.Reason)
	default:
	}
	if state, _ := a.link.State(); state.Connections != connections {
		c.fatalf("Connections was %d and is %d, though the link was %v all the while", connections, state.Connections, state.Status)
	}

	woken := make(chan struct{})
	go func() {
		<-changed
		close(woken)
	}()
	a.close()
	if err := c.within(c.timeout, "the end of the channel after Close", func() error { <-woken; return nil }); err != nil {
		c.fatalf("%v", err)
	}
	state, changed = a.link.State()
	if state.Status != adapter.Closed || state.Reason != nil {
		c.fatalf("state is %v (%v) after Close, want %v without a reason", state.Status, state.Reason, adapter.Closed)
	}
	if state.Connections != connections {
		c.fatalf("Connections was %d and is %d after Close", connections, state.Connections)
	}
	select {
	case <-changed:
		c.fatalf("the channel of a closed link is closed")
	default:
	}
	if state, _ := b.link.State(); state.Status != adapter.Connected {
		c.fatalf("state of the other link is %v (%v), want %v", state.Status, state.Reason, adapter.Connected)
	}
}

func testOpenContext(c *cluster) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	n := c.newNode()
	var failed error
	err := c.within(c.timeout, "Open with a ctx that has ended", func() error {
		failed = n.open(ended)
		return nil
	})
	c.must(err)
	if failed == nil {
		c.introduce(n) // it may succeed, if the link then works
	}

	nodes := []*node{c.newNode(), c.newNode()}
	for _, n := range nodes {
		ctx, cancel := context.WithCancel(context.Background())
		c.do("Open", func(context.Context) error { return n.open(ctx) })
		n.become(adapter.Connected)
		_, changed := n.link.State()
		cancel()
		c.introduce(n)
		select {
		case <-changed:
			state, _ := n.link.State()
			c.fatalf("the state has changed to %v (%v) since the ctx of Open ended", state.Status, state.Reason)
		default:
		}
	}
	for _, n := range nodes {
		n.subscribe(room("lobby"))
	}
	nodes[0].publish(room("lobby"), "there")
	nodes[1].waitFor("there")
	nodes[1].publish(room("lobby"), "back")
	nodes[0].waitFor("back")
}

func testEndedContext(c *cluster) {
	a, b := c.pair()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	a.subscribe(room("kept"))
	for _, call := range []struct {
		name string
		call func() error
	}{
		{"Publish", func() error { return a.link.Publish(ended, room("lobby"), []byte("may be lost")) }},
		{"Subscribe", func() error { return a.link.Subscribe(ended, room("lobby"), room("hall")) }},
		{"Unsubscribe", func() error { return a.link.Unsubscribe(ended, room("kept")) }},
	} {
		err := c.within(c.timeout, call.name+" with a ctx that has ended", func() error {
			if err := call.call(); errors.Is(err, adapter.ErrClosed) {
				return err
			}
			return nil
		})
		c.must(err)
	}
	a.subscribe(room("lobby"), room("kept"))
	for _, name := range []string{"lobby", "kept"} {
		b.publish(room(name), "on "+name)
	}
	b.fenceTo(a)
	a.expect("on lobby", "on kept")
	b.subscribe(room("hall"))
	a.publish(room("hall"), "from a")
	b.waitFor("from a")
}

func testOpenConcurrently(c *cluster) {
	const count = 6
	c.adapters = c.adapters[:1]
	nodes := make([]*node, count)
	opens := make([]func(ctx context.Context) error, count)
	for i := range nodes {
		nodes[i] = c.newNode()
		opens[i] = nodes[i].open
	}
	err := c.try("concurrent Open", func(ctx context.Context) error {
		errs := make(chan error, count)
		for _, open := range opens {
			go func() { errs <- open(ctx) }()
		}
		var failed error
		for range opens {
			failed = errors.Join(failed, <-errs)
		}
		return failed
	})
	c.must(err)
	for _, n := range nodes {
		c.introduce(n)
	}
	for _, n := range nodes {
		n.subscribe(adapter.Topic{Kind: adapter.Cluster})
	}
	for _, n := range nodes {
		n.publish(adapter.Topic{Kind: adapter.Cluster}, "from "+n.id)
	}
	for _, n := range nodes {
		var want []string
		for _, other := range nodes {
			if other != n {
				want = append(want, "from "+other.id)
			}
		}
		n.waitFor(want...)
	}
	last := nodes[count-1]
	for _, n := range nodes[:count-2] {
		n.close()
	}
	nodes[count-2].publish(adapter.Topic{Kind: adapter.Cluster}, "the others have closed")
	last.waitFor("the others have closed")
}

func testNoLeak(c *cluster) {
	const (
		rounds = 16
		links  = 2 * rounds
		slack  = rounds // goroutines of brokers in this process
	)
	use := func() {
		nodes := c.open(2)
		for _, n := range nodes {
			n.subscribe(room("lobby"), room("hall"))
		}
		nodes[0].publish(room("lobby"), "there")
		nodes[1].waitFor("there")
		nodes[1].publish(room("hall"), "back")
		nodes[0].waitFor("back")
		for _, n := range nodes {
			n.close()
		}
	}
	use() // what brokers in this process start once is started now
	before := c.settledGoroutines()
	for range rounds {
		use()
	}
	c.noMoreGoroutines(before, before+slack, fmt.Sprintf("%d links were opened and closed", links))
}
