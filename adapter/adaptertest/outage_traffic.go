package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// A survey is what a node has received of the publishers that number their messages, where some may be lost.
type survey struct {
	n      *node
	newest map[string]int // by publisher; guarded by n.mu, as what follows
	seen   map[string]map[int]bool
}

// surveySeries takes what n receives from now on as a survey. That an older message comes for the first time behind a newer one is a
// breach, and for an exact driver that one comes twice.
func surveySeries(n *node) *survey {
	s := &survey{n: n, newest: make(map[string]int), seen: make(map[string]map[int]bool)}
	n.onMessage(func(msg []byte) {
		publisher, i, err := parsePattern(msg)
		if err != nil {
			n.c.breach("%s: %v", n.id, err)
			return
		}
		if s.seen[publisher] == nil {
			s.seen[publisher] = make(map[int]bool)
		}
		switch newest, ok := s.newest[publisher]; {
		case s.seen[publisher][i]:
			if n.c.exact {
				n.c.breach("%s: message %d of %s came twice", n.id, i, publisher)
			}
		case ok && i < newest:
			n.c.breach("%s: message %d of %s came behind message %d", n.id, i, publisher, newest)
		default:
			s.newest[publisher] = i
		}
		s.seen[publisher][i] = true
	})
	return s
}

// lost returns how many of the messages from to end-1 of the publisher have not come.
func (s *survey) lost(publisher string, from, end int) (count int) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for i := from; i < end; i++ {
		if !s.seen[publisher][i] {
			count++
		}
	}
	return count
}

// A stream publishes numbered messages, each once: what is refused for want of a broker may have reached some receivers before.
type stream struct {
	n    *node
	next atomic.Int64 // the number of the next message
}

// streamSize returns the size of the i-th message of a stream: few are so large that a link has to write while Publish is called, and
// sees an error there.
func streamSize(i int) int {
	if i%40 == 0 {
		return 64 << 10
	}
	return 200
}

// run publishes on topics in turn until ctx ends, a few messages every millisecond.
func (s *stream) run(ctx context.Context, topics []adapter.Topic) {
	const burst = 5
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for range burst {
			i := int(s.next.Load())
			err := s.n.c.try("Publish", func(ctx context.Context) error {
				return s.n.link.Publish(ctx, topics[i%len(topics)], pattern(s.n.id, i, s.n.fit(streamSize(i))))
			})
			s.next.Add(1)
			if errors.Is(err, adapter.ErrUnavailable) {
				break
			}
			if err != nil {
				s.n.c.breach("%s: message %d: %v", s.n.id, i, err)
				return
			}
		}
		<-tick.C
	}
}

func testOutageOrder(c *cluster) {
	const (
		around = 200 // messages of each publisher before the outage and after it
		within = 10  // and in the outage
	)
	topics := mixedTopics(30)
	c.outages(3, func(o *outage, nodes []*node) {
		surveys := make([]*survey, len(nodes))
		for k, n := range nodes {
			n.subscribe(topics...)
			surveys[k] = surveySeries(n)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		stop := sync.OnceFunc(func() {
			cancel()
			wg.Wait()
		})
		c.t.Cleanup(stop)
		streams := make([]*stream, len(nodes))
		for k, n := range nodes {
			s := &stream{n: n}
			streams[k] = s
			wg.Go(func() { s.run(ctx, topics) })
		}
		sent := func(k int) int { return int(streams[k].next.Load()) }
		c.progress(around, sent, nodes)
		o.begin()
		c.progress(within, sent, nodes)
		o.end()
		from := make([]int, len(streams))
		for k := range streams {
			from[k] = sent(k)
		}
		c.progress(around, sent, nodes)
		stop()
		for _, n := range nodes {
			n.fenceAll()
		}
		for k, s := range streams {
			end := sent(k)
			for _, got := range surveys {
				if got.n == s.n {
					continue
				}
				if lost := got.lost(s.n.id, from[k]+1, end); lost > 0 { // one may have been on its way
					c.fatalf("%s: of the %d messages that %s has published after the outage %d are lost", got.n.id, end-from[k], s.n.id, lost)
				}
			}
		}
	})
}

// longestHold bounds how long recv is held over an outage: a link may wait for its end before it is Connected again.
const longestHold = 10 * holdTime

func testOutageRecv(c *cluster) {
	c.outages(2, func(o *outage, nodes []*node) {
		a, b := nodes[0], nodes[1]
		a.subscribe(room("lobby"))
		entered, release := make(chan struct{}), make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		c.t.Cleanup(free)
		newer := false
		var once sync.Once
		a.onMessage(func(msg []byte) {
			text := string(msg)
			once.Do(func() {
				close(entered)
				<-release
			})
			switch {
			case strings.HasPrefix(text, "new"):
				newer = true
			case newer:
				c.breach("%s: %q, which was published before the outage, came behind what was published after it", a.id, text)
			}
			a.got = append(a.got, text)
		})
		for i := range 50 {
			b.publish(room("lobby"), fmt.Sprint("old ", i))
		}
		if err := c.within(c.timeout, "the first message", func() error { <-entered; return nil }); err != nil {
			c.fatalf("%s: %v", a.id, err)
		}
		o.begin()
		o.restore()
		b.become(adapter.Connected)
		hold, back := time.NewTimer(longestHold), false
		defer hold.Stop()
		for held := true; held; {
			if state, _ := a.link.State(); state.Status == adapter.Connected && !back {
				back = true
				hold.Reset(holdTime)
			}
			b.publish(room("lobby"), "new")
			b.publish(a.topic(), "new")
			select {
			case <-hold.C:
				held = false
			case <-c.broken:
				held = false
			case <-time.After(greetEvery):
			}
		}
		free()
		o.end()
		b.publish(room("lobby"), "newest")
		b.fenceTo(a)
		a.expect("newest")
	})
}

func testOutageClose(c *cluster) {
	c.outages(len(c.adapters)+2, func(o *outage, nodes []*node) {
		topics := []adapter.Topic{room("lobby"), {Kind: adapter.Cluster}}
		for _, n := range nodes {
			n.subscribe(topics...)
		}
		during, after := nodes[0], nodes[len(c.adapters)] // both sit on the first adapter
		o.begin()
		busy := make(chan error, 1)
		go func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			err := adapter.ErrUnavailable
			for errors.Is(err, adapter.ErrUnavailable) {
				err = during.link.Publish(context.Background(), topics[0], []byte("late"))
				<-tick.C
			}
			busy <- err
		}()
		during.close()
		select {
		case err := <-busy:
			if !errors.Is(err, adapter.ErrClosed) {
				c.fatalf("Publish of a link that was closed during an outage returned %v, want %v", err, adapter.ErrClosed)
			}
		case <-time.After(c.timeout):
			c.fatalf("Publish has not returned %v after Close", c.timeout)
		}
		check := func(n *node) {
			c.t.Helper()
			if state, _ := n.link.State(); state.Status != adapter.Closed {
				c.fatalf("%s: state is %v (%v) after Close, want %v", n.id, state.Status, state.Reason, adapter.Closed)
			}
			for what, call := range map[string]func(ctx context.Context) error{
				"Publish":     func(ctx context.Context) error { return n.link.Publish(ctx, topics[0], nil) },
				"Subscribe":   func(ctx context.Context) error { return n.link.Subscribe(ctx, room("hall")) },
				"Unsubscribe": func(ctx context.Context) error { return n.link.Unsubscribe(ctx, topics...) },
			} {
				if err := c.try(what, call); !errors.Is(err, adapter.ErrClosed) {
					c.fatalf("%s: %v of a link that was closed during an outage, want %v", n.id, err, adapter.ErrClosed)
				}
			}
		}
		check(during)

		closed := make(chan error, 1)
		c.forget(after)
		go func() { closed <- c.within(c.timeout, "Close while the broker comes back", after.closeLink) }()
		o.restore()
		c.must(<-closed, after.id)
		check(after)
		o.end()
		check(during)
		if len(c.nodes) == 1 {
			c.start(c.newNode())
		}
		a, b := c.nodes[0], c.nodes[1]
		b.subscribe(topics...)
		for _, topic := range topics {
			a.publish(topic, "after the outage") // recv of those that are closed reports it
		}
		a.fenceTo(b)
		b.expect("after the outage")
	})
}

func testOutageOpen(c *cluster) {
	c.outages(2, func(o *outage, nodes []*node) {
		o.begin()
		for c.opened%len(c.adapters) != 0 {
			c.opened++
		}
		n := c.newNode()
		var failed error
		err := c.within(2*c.timeout, "Open without a broker", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
			defer cancel()
			failed = n.open(ctx)
			return nil
		})
		c.must(err)
		if failed != nil {
			c.t.Logf("Open without a broker: %v", failed) // it may fail where the driver does not go on trying
			o.end()
			n.link = nil
			c.start(n)
			n.subscribe(room("lobby"))
		} else {
			c.nodes = append(c.nodes, n)
			if state := n.become(adapter.Degraded); state.Reason == nil {
				c.fatalf("%s, opened without a broker: state is %v without a reason", n.id, state.Status)
			}
			c.do("Subscribe without a broker", func(ctx context.Context) error { return n.link.Subscribe(ctx, n.topic(), room("lobby")) })
			if err := c.try("Publish", func(ctx context.Context) error { return n.link.Publish(ctx, room("lobby"), nil) }); !errors.Is(err, adapter.ErrUnavailable) {
				c.fatalf("%s, opened without a broker: Publish returned %v, want %v", n.id, err, adapter.ErrUnavailable)
			}
			o.end()
		}
		nodes[1].publish(room("lobby"), "to a node that was opened without a broker")
		nodes[1].fenceTo(n)
		n.expect("to a node that was opened without a broker")
	})
}

func testOutageAgain(c *cluster) {
	const (
		rounds = 12
		slack  = rounds // goroutines of brokers in this process
	)
	c.outages(3, func(o *outage, nodes []*node) {
		for _, n := range nodes {
			n.subscribe(room("lobby"), adapter.Topic{Kind: adapter.Cluster})
		}
		before := 0
		for r := range rounds {
			if r == 1 { // what brokers in this process start once is started now
				before = c.settledGoroutines()
			}
			states, changes := make(map[*node]adapter.State), make(map[*node]<-chan struct{})
			for _, n := range o.hit(nodes) {
				states[n], changes[n] = n.link.State()
			}
			o.cut()
			o.restore() // at once
			for n, changed := range changes {
				n.changes(changed, "after its broker was away for a moment")
			}
			for n, before := range states {
				n.reconnected(before) // whether anybody has seen it Degraded or not
			}
			o.end()
			msg := fmt.Sprint("round ", r)
			nodes[0].publish(room("lobby"), msg)
			nodes[2].publish(adapter.Topic{Kind: adapter.Cluster}, msg)
			nodes[0].fenceTo(nodes[1])
			nodes[2].fenceTo(nodes[0])
			nodes[1].expect(msg)
			nodes[0].expect(msg)
		}
		c.noMoreGoroutines(before, before+slack, fmt.Sprintf("%d more outages", rounds-1))
	})
}
