package adaptertest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

func testFence(c *cluster) {
	nodes := c.open(3)
	c.fenceRounds(400, nodes)
}

func testFenceUnderLoad(c *cluster) {
	if c.load != nil {
		c.t.Cleanup(sync.OnceFunc(c.load()))
	}
	nodes := c.open(5)
	stop := c.makeLoad(nodes[3:], nodes[:3])
	c.fenceRounds(300, nodes[:3])
	stop()
}

// enoughRounds is how many rounds are made even if they take more than their share of time: an overloaded machine.
const enoughRounds = 30

// fenceRounds tries the rule of Subscribe that many times, or as often as a quarter of the time-out allows: a node subscribes fresh
// topics and sends one message, its receiver answers on the topics, and then on the node's own topic, so that what is missing when
// that arrives is lost.
func (c *cluster) fenceRounds(rounds int, nodes []*node) {
	c.t.Helper()
	end := time.Now().Add(c.timeout / 4)
	for r := range rounds {
		if r >= enoughRounds && time.Now().After(end) {
			c.t.Logf("made %d rounds of %d", r, rounds)
			return
		}
		subscriber, publisher := nodes[r%len(nodes)], nodes[(r+1+r/len(nodes)%(len(nodes)-1))%len(nodes)]
		var topics []adapter.Topic
		var answers []string
		for i := range 1 + r%3 {
			name := fmt.Sprintf("round %d topic %d", r, i)
			topics = append(topics, [...]adapter.Topic{
				room(name),
				{Kind: adapter.Namespace, Namespace: name},
				{Kind: adapter.Private, Node: "elsewhere", Namespace: "/", Room: name},
			}[i])
			answers = append(answers, name)
		}
		c.do("Subscribe", func(ctx context.Context) error { return subscriber.link.Subscribe(ctx, topics...) })
		subscriber.fenceTo(publisher)
		for i, topic := range topics {
			publisher.publish(topic, answers[i])
		}
		publisher.fenceTo(subscriber)
		if lost := missing(subscriber.take(), answers); lost != "" {
			c.fatalf("round %d: %s has subscribed, then published something that has reached %s; what %s then published is lost: %s",
				r, subscriber.id, publisher.id, publisher.id, lost)
		}
	}
}

// makeLoad lets publishers publish at full speed to one another and to the listeners until the returned function is called; it then
// waits for them. Nobody is ever more than a window ahead of the slowest receiver, so that nothing has to be dropped.
func (c *cluster) makeLoad(publishers, listeners []*node) (stop func()) {
	c.t.Helper()
	const (
		prefix = "load "
		window = 32
		size   = 1 << 10
	)
	topic := room("load")
	receivers := append(publishers[:len(publishers):len(publishers)], listeners...)
	loads := make([]map[string]int, len(receivers)) // by receiver, under its mu, and publisher: how many have come
	for k, n := range receivers {
		n.subscribe(topic)
		load := make(map[string]int)
		loads[k] = load
		n.onMessage(func(msg []byte) {
			if id, ok := strings.CutPrefix(string(msg[:min(len(msg), 32)]), prefix); ok {
				id, _, _ = strings.Cut(id, " ")
				load[id]++
				return
			}
			n.got = append(n.got, string(msg))
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make([]error, len(publishers))
	var wg sync.WaitGroup
	for i, p := range publishers {
		msg := fmt.Appendf(nil, "%s%s %s", prefix, p.id, strings.Repeat("x", size))
		publishWindow := func(ctx context.Context) error {
			for range window {
				if err := p.link.Publish(ctx, topic, msg); err != nil {
					return err
				}
			}
			return nil
		}
		arrived := func(k, count int) error {
			ctx, cancel := context.WithTimeout(ctx, c.timeout)
			defer cancel()
			return receivers[k].await(ctx, func() string {
				if got := loads[k][p.id]; got < count {
					return fmt.Sprintf("got %d of %d messages of the load", got, count)
				}
				return ""
			})
		}
		run := func() error {
			for sent := window; ctx.Err() == nil; sent += window {
				if err := c.try("Publish", publishWindow); err != nil {
					return err
				}
				for k, n := range receivers {
					if n == p {
						continue
					}
					if err := arrived(k, sent); err != nil && ctx.Err() == nil {
						return err
					}
				}
			}
			return nil
		}
		wg.Go(func() { failed[i] = run() })
	}
	end := sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	c.t.Cleanup(end)
	return func() {
		c.t.Helper()
		end()
		for i, err := range failed {
			c.must(err, "load of", publishers[i].id)
		}
	}
}

func testSubscribeAgain(c *cluster) {
	a, b := c.pair()
	for r := range 100 {
		topic, msg := room("room "+strconv.Itoa(r%3)), "round "+strconv.Itoa(r)
		a.subscribe(topic)
		c.do("Unsubscribe", func(ctx context.Context) error { return a.link.Unsubscribe(ctx, topic) })
		c.do("Subscribe", func(ctx context.Context) error { return a.link.Subscribe(ctx, topic) })
		a.fenceTo(b)
		b.publish(topic, msg)
		b.fenceTo(a)
		a.expect(msg)
	}
}

func testSubscribeTwice(c *cluster) {
	a, b := c.pair()
	a.subscribe(room("lobby"))
	a.subscribe(room("lobby"), room("hall"), room("hall"))
	a.unsubscribe(room("unknown"))
	a.unsubscribe(room("hall"), room("hall"))
	b.publish(room("lobby"), "first")
	b.fenceTo(a)
	a.expect("first")

	a.unsubscribe(room("lobby"))
	a.unsubscribe(room("lobby"), room("unknown"))
	a.subscribe(room("lobby"), room("lobby"))
	b.publish(room("lobby"), "second")
	b.fenceTo(a)
	a.expect("second")
}
