package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/belfry-io/belfry/adapter"
)

// room returns the topic of a room of the main namespace.
func room(name string) adapter.Topic {
	return adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: name}
}

// everyKind returns a topic of each kind. That of kind Node is the topic of n.
func everyKind(n *node) []adapter.Topic {
	return []adapter.Topic{
		{Kind: adapter.Cluster},
		{Kind: adapter.Namespace, Namespace: "/"},
		{Kind: adapter.Namespace, Namespace: "/chat"},
		{Kind: adapter.Room, Namespace: "/", Room: "lobby"},
		{Kind: adapter.Room, Namespace: "/chat", Room: "lobby"},
		n.topic(),
		{Kind: adapter.Private, Namespace: "/", Node: "elsewhere", Room: "elsewhere0"},
	}
}

// mixedTopics returns the topics of every kind and rooms, count in all. No node has the topic of kind Node for itself.
func mixedTopics(count int) []adapter.Topic {
	topics := everyKind(&node{id: "nobody"})
	for i := len(topics); i < count; i++ {
		topics = append(topics, room("room "+strconv.Itoa(i)))
	}
	return topics
}

func testDeliverEveryKind(c *cluster) {
	nodes := c.open(3)
	topics := everyKind(&node{id: "nobody"})
	for _, n := range nodes {
		n.subscribe(topics...)
	}
	for _, publisher := range nodes {
		var msgs []string
		for _, topic := range topics {
			msgs = append(msgs, publisher.id+" on "+topic.String())
		}
		for i, topic := range topics {
			publisher.publish(topic, msgs[i])
		}
		for _, n := range nodes {
			if n != publisher {
				publisher.fenceTo(n)
				n.expect(msgs...)
			}
		}
	}
}

func testManyTopics(c *cluster) {
	a, b := c.pair()
	var topics, odd []adapter.Topic
	var all, even []string
	for i := range 1500 {
		topic, msg := room("room "+strconv.Itoa(i)), "message "+strconv.Itoa(i)
		topics, all = append(topics, topic), append(all, msg)
		if i%2 == 0 {
			even = append(even, msg)
		} else {
			odd = append(odd, topic)
		}
	}
	publishAll := func() {
		c.do("Publish", func(ctx context.Context) error {
			for i, topic := range topics {
				if err := b.link.Publish(ctx, topic, []byte(all[i])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	a.subscribe(topics...)
	publishAll()
	b.fenceTo(a)
	a.expect(all...)

	a.unsubscribe(odd...)
	publishAll()
	b.fenceTo(a)
	a.expect(even...)

	c.do("Subscribe without topics", func(ctx context.Context) error { return a.link.Subscribe(ctx) })
	c.do("Unsubscribe without topics", func(ctx context.Context) error { return a.link.Unsubscribe(ctx) })
}

func testEmptyMessage(c *cluster) {
	a, b := c.pair()
	b.subscribe(room("lobby"))
	for _, msg := range [][]byte{nil, {}} {
		c.do("Publish", func(ctx context.Context) error { return a.link.Publish(ctx, room("lobby"), msg) })
		a.fenceTo(b)
		b.expect("")
	}
}

// defaultMaxMessage is what a link takes that is no Limiter.
const defaultMaxMessage = 512 << 10

func testLargeMessage(c *cluster) {
	nodes := c.open(3)
	to := nodes[2]
	to.subscribe(room("lobby"), room("hall"))
	const (
		rounds = 6
		small  = 100
	)
	large := min(nodes[0].fit(defaultMaxMessage), nodes[1].fit(defaultMaxMessage))
	got := expectSeries(to, nil)
	publish := func(n *node) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			for i := range 2 * rounds {
				size := small
				if i%2 == 1 {
					size = large
				}
				if err := n.publishSeries(i, i+1, size, room("lobby"), room("hall"))(ctx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	c.together("Publish", publish(nodes[0]), publish(nodes[1]))
	got.wait(nodes[0], 2*rounds)
	got.wait(nodes[1], 2*rounds)
}

// largestTried bounds the messages that are made to try a Limiter's word.
const largestTried = 8 << 20

// limit returns what the link says of the largest message, if it is a Limiter.
func (n *node) limit() (limit int, ok bool) {
	l, ok := n.link.(adapter.Limiter)
	if !ok {
		return 0, false
	}
	return l.MaxMessage(), true
}

// fit returns size, or what the link takes if that is less.
func (n *node) fit(size int) int {
	if limit, ok := n.limit(); ok && limit > 0 {
		return min(size, limit)
	}
	return size
}

func testLargestMessage(c *cluster) {
	a, b := c.pair()
	limit, ok := a.limit()
	if !ok {
		return
	}
	if limit < 0 {
		c.fatalf("MaxMessage is %d, want 0 for any size, or bytes", limit)
	}
	const small = 100
	size := min(limit, largestTried)
	if limit == 0 {
		size = largestTried
	}
	b.subscribe(room("lobby"), room("hall"))
	got := expectSeries(b, nil)
	next := 0
	publish := func(size int) {
		c.t.Helper()
		c.do(fmt.Sprintf("Publish of %d bytes, where MaxMessage is %d", size, limit), a.publishSeries(next, next+1, size, room("lobby"), room("hall")))
		next++
	}
	for range 2 {
		publish(small)
		publish(size)
	}
	got.wait(a, next)
	if limit > 0 && limit < largestTried {
		err := c.try("Publish", func(ctx context.Context) error { return a.link.Publish(ctx, room("nobody"), make([]byte, limit+1)) })
		if errors.Is(err, adapter.ErrUnavailable) || errors.Is(err, adapter.ErrClosed) {
			c.fatalf("Publish of %d bytes, where MaxMessage is %d: %v, want an error that is final for this message alone", limit+1, limit, err)
		}
	}
	publish(small)
	publish(size)
	got.wait(a, next)
	if state, _ := a.link.State(); state.Status != adapter.Connected || state.Reason != nil {
		c.fatalf("state is %v (%v) after messages of all sizes, want %v", state.Status, state.Reason, adapter.Connected)
	}
}

func testOrderAcrossTopics(c *cluster) {
	nodes := c.open(3)
	topics := mixedTopics(50)
	const count = 2000
	var received []*series
	for _, n := range nodes[1:] {
		n.subscribe(topics...)
		received = append(received, expectSeries(n, nil))
	}
	c.do("Publish", nodes[0].publishSeries(0, count, 100, topics...))
	for _, got := range received {
		got.wait(nodes[0], count)
	}
}

func testOrderOfEachPublisher(c *cluster) {
	nodes := c.open(3)
	topics := mixedTopics(50)
	const count = 1000
	var received []*series
	var publishers []func(ctx context.Context) error
	for _, n := range nodes {
		n.subscribe(topics...)
		received = append(received, expectSeries(n, nil))
		publishers = append(publishers, n.publishSeries(0, count, 100, topics...))
	}
	c.together("Publish", publishers...)
	for _, got := range received {
		for _, n := range nodes {
			if n != got.n {
				got.wait(n, count)
			}
		}
	}
}

func testRecvOneAtATime(c *cluster) {
	nodes := c.open(4)
	to := nodes[0]
	topics := mixedTopics(20)
	to.subscribe(topics...)
	to.dwell.Store(true)
	const count = 200
	var publishers []func(ctx context.Context) error
	var want []string
	for _, n := range nodes[1:] {
		publishers = append(publishers, n.publishSeries(0, count, 0, topics...))
		for i := range count {
			want = append(want, string(pattern(n.id, i, 0)))
		}
	}
	c.together("Publish", publishers...)
	for _, n := range nodes[1:] {
		n.fenceTo(to)
	}
	to.expect(want...)
}

func testTwoWayTraffic(c *cluster) {
	nodes := c.open(2)
	topics := []adapter.Topic{room("lobby"), room("hall"), {Kind: adapter.Cluster}}
	const (
		rounds = 2
		count  = 200
		size   = 64 << 10
	)
	var received []*series
	for _, n := range nodes {
		n.subscribe(topics...)
		received = append(received, expectSeries(n, nil))
	}
	for r := range rounds {
		var publishers []func(ctx context.Context) error
		for _, n := range nodes {
			msgs := make([][]byte, count) // made in advance, so that the link is what limits the speed
			for i := range msgs {
				msgs[i] = pattern(n.id, r*count+i, n.fit(size))
			}
			publishers = append(publishers, func(ctx context.Context) error {
				for i, msg := range msgs {
					if err := n.link.Publish(ctx, topics[i%len(topics)], msg); err != nil {
						return fmt.Errorf("%s: message %d: %w", n.id, i, err)
					}
				}
				return nil
			})
		}
		c.together("Publish in both directions", publishers...)
		received[0].wait(nodes[1], (r+1)*count)
		received[1].wait(nodes[0], (r+1)*count)
	}
}

func testConcurrentUse(c *cluster) {
	a, b := c.pair()
	const (
		goroutines = 8
		rounds     = 30
	)
	contended := []adapter.Topic{room("contended 0"), room("contended 1")}
	kept, left := slices.Clone(contended), []adapter.Topic(nil)
	var users []func(ctx context.Context) error
	for g := range goroutines {
		stays, goes := room(fmt.Sprintf("stays %d", g)), room(fmt.Sprintf("goes %d", g))
		kept, left = append(kept, stays), append(left, goes)
		users = append(users, func(ctx context.Context) error {
			for range rounds {
				for _, step := range []func() error{
					func() error { return a.link.Subscribe(ctx, goes, contended[0]) },
					func() error { return a.link.Unsubscribe(ctx, stays, contended[1]) },
					func() error { return a.link.Publish(ctx, contended[0], []byte("chatter")) },
					func() error { return a.link.Subscribe(ctx, stays, contended[1]) },
					func() error { return a.link.Unsubscribe(ctx, goes, contended[0]) },
				} {
					if err := step(); err != nil {
						return err
					}
				}
				if state, _ := a.link.State(); state.Status != adapter.Connected {
					return fmt.Errorf("state is %v (%v), want %v", state.Status, state.Reason, adapter.Connected)
				}
			}
			return nil
		})
	}
	users = append(users, func(ctx context.Context) error {
		for i := range goroutines * rounds {
			if err := b.link.Publish(ctx, contended[i%2], []byte("chatter")); err != nil {
				return err
			}
		}
		return nil
	})
	c.together("concurrent calls", users...)

	a.subscribe(contended...)
	var want []string
	for _, topic := range left {
		b.publish(topic, topic.Room)
	}
	for _, topic := range kept {
		b.publish(topic, topic.Room)
		want = append(want, topic.Room)
	}
	b.fenceTo(a)
	got := a.take()
	if lost := missing(got, want); lost != "" {
		c.fatalf("%s", lost)
	}
	if !c.exact {
		return
	}
	for _, topic := range left {
		if slices.Contains(got, topic.Room) {
			c.fatalf("got a message on %v, which has been left", topic)
		}
	}
}
