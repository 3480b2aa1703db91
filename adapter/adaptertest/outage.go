package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// An outage is a time in which the brokers of some adapters are away.
type outage struct {
	c        *cluster
	adapters []int // whose links lose their broker
	restores []func()
}

// outages calls f for each sort of outage that the cluster can have: of all brokers, and of the first one where there are several. f
// gets that many fresh nodes; the first of them sits on the first adapter.
func (c *cluster) outages(count int, f func(o *outage, nodes []*node)) {
	c.t.Helper()
	all := make([]int, len(c.adapters))
	for i := range all {
		all[i] = i
	}
	for size := len(all); size > 0; size -= max(1, len(all)-1) {
		c.t.Logf("outage of %d of %d adapters", size, len(all))
		for c.opened%len(all) != 0 {
			c.opened++
		}
		o := &outage{c: c, adapters: all[:size]}
		nodes := c.open(count)
		f(o, nodes)
		if c.isBroken() {
			c.fatalf("a rule was broken")
		}
		c.closeNodes()
	}
}

// hits reports whether n loses its broker.
func (o *outage) hits(n *node) bool { return slices.Contains(o.adapters, n.at) }

// hit returns those of nodes that lose their broker.
func (o *outage) hit(nodes []*node) []*node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return !o.hits(n) })
}

// cut takes the brokers away. It does not wait until the links have noticed.
func (o *outage) cut() {
	o.c.t.Helper()
	o.c.t.Cleanup(o.restore) // other cases need them
	for _, i := range o.adapters {
		o.restores = append(o.restores, o.c.interrupt(i))
	}
}

// begin takes the brokers away and returns when the links that they held are Degraded.
func (o *outage) begin() {
	o.c.t.Helper()
	o.cut()
	for _, n := range o.hit(o.c.nodes) {
		n.become(adapter.Degraded)
	}
}

// restore brings the brokers back.
func (o *outage) restore() {
	for _, restore := range o.restores {
		restore()
	}
	o.restores = nil
}

// end brings the brokers back, and returns when all links are Connected again and have received something of each other.
func (o *outage) end() {
	o.c.t.Helper()
	o.restore()
	for _, n := range o.c.nodes {
		n.become(adapter.Connected)
	}
	o.c.meet()
}

// meet returns when every node has received something that each other one has published during the call.
func (c *cluster) meet() {
	c.t.Helper()
	for _, n := range c.nodes {
		for _, other := range c.nodes {
			if other != n {
				c.greet(n, other)
			}
		}
	}
}

// become waits until the link says that it is in that state.
func (n *node) become(want adapter.Status) adapter.State {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), n.c.timeout)
	defer cancel()
	n.c.must(n.turns(ctx, want), n.id)
	state, _ := n.link.State()
	return state
}

// reconnected waits until the link is Connected, and checks that it has become so since it said before.
func (n *node) reconnected(before adapter.State) {
	n.c.t.Helper()
	if state := n.become(adapter.Connected); state.Connections <= before.Connections {
		n.c.fatalf("%s: Connections is %d after an outage, and was %d when the link was %v: it has become %v since",
			n.id, state.Connections, before.Connections, before.Status, state.Status)
	}
}

// progress waits until count, of the k-th of nodes, has risen by that much for each.
func (c *cluster) progress(by int, count func(k int) int, nodes []*node) {
	c.t.Helper()
	before := make([]int, len(nodes))
	for k := range nodes {
		before[k] = count(k)
	}
	late := time.After(c.timeout)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for k, n := range nodes {
		for count(k) < before[k]+by {
			select {
			case <-tick.C:
			case <-c.broken:
				c.fatalf("a rule was broken")
			case <-late:
				c.fatalf("%s has made %d calls of %d within %v", n.id, count(k)-before[k], by, c.timeout)
			}
		}
	}
}

// changes waits until changed, a channel that State has given, is closed.
func (n *node) changes(changed <-chan struct{}, when string) {
	n.c.t.Helper()
	select {
	case <-changed:
	case <-time.After(n.c.timeout):
		state, _ := n.link.State()
		n.c.fatalf("%s: the channel of State is still open %v %s; state is %v (%v)", n.id, n.c.timeout, when, state.Status, state.Reason)
	}
}

func testOutageState(c *cluster) {
	c.outages(3, func(o *outage, nodes []*node) {
		hit := o.hit(nodes)
		before := make([]<-chan struct{}, len(hit))
		for i, n := range hit {
			_, before[i] = n.link.State()
		}
		o.cut()
		lost := make([]adapter.State, len(hit))
		for i, n := range hit {
			n.changes(before[i], "after its broker has gone")
			if lost[i] = n.become(adapter.Degraded); lost[i].Reason == nil {
				c.fatalf("%s: state is %v without a reason", n.id, lost[i].Status)
			}
			for range 3 {
				_ = c.try("Publish", func(ctx context.Context) error { return n.link.Publish(ctx, room("lobby"), nil) })
			}
		}
		during := make([]<-chan struct{}, len(hit))
		for i, n := range hit {
			var state adapter.State
			if state, during[i] = n.link.State(); state.Status != adapter.Degraded || state.Reason == nil {
				c.fatalf("%s: state is %v (%v) while its broker is away, want %v and why", n.id, state.Status, state.Reason, adapter.Degraded)
			}
			if state.Connections != lost[i].Connections {
				c.fatalf("%s: Connections was %d and is %d while its broker is away", n.id, lost[i].Connections, state.Connections)
			}
		}
		o.restore()
		for i, n := range hit {
			n.changes(during[i], "after its broker has come back")
			n.reconnected(lost[i])
		}
		o.end()
		for _, n := range nodes {
			if state, _ := n.link.State(); state.Status != adapter.Connected || state.Reason != nil {
				c.fatalf("%s: state is %v (%v) after the outage, want %v without a reason", n.id, state.Status, state.Reason, adapter.Connected)
			}
		}
	})
}

func testOutagePublish(c *cluster) {
	c.outages(3, func(o *outage, nodes []*node) {
		topics := mixedTopics(20)
		for _, n := range nodes {
			n.subscribe(topics...)
		}
		o.begin()
		for _, n := range o.hit(nodes) {
			for i, topic := range topics {
				var got error
				err := c.within(c.timeout, "Publish without a broker", func() error {
					got = n.link.Publish(context.Background(), topic, fmt.Appendf(nil, "refused %d", i))
					return nil
				})
				c.must(err, n.id)
				if !errors.Is(got, adapter.ErrUnavailable) {
					c.fatalf("%s: Publish returned %v while the broker is away, want %v", n.id, got, adapter.ErrUnavailable)
				}
			}
		}
		o.end()
		for _, n := range nodes {
			n.publish(topics[0], "from "+n.id)
			n.publish(topics[1], "again from "+n.id)
			n.fenceAll()
		}
		for _, n := range nodes {
			got := n.take()
			if i := slices.IndexFunc(got, func(msg string) bool { return len(msg) > 7 && msg[:7] == "refused" }); i >= 0 {
				c.fatalf("%s: got %q, which Publish had refused", n.id, got[i])
			}
			for _, other := range nodes {
				if other != n {
					if lost := missing(got, []string{"from " + other.id, "again from " + other.id}); lost != "" {
						c.fatalf("%s: %s", n.id, lost)
					}
				}
			}
		}
	})
}

func testOutageSubscriptions(c *cluster) {
	const each = 100
	rooms := func(sort string) []adapter.Topic {
		var topics []adapter.Topic
		for i := range each {
			topics = append(topics, room(fmt.Sprint(sort, " ", i)))
		}
		return topics
	}
	kept := append(rooms("kept"), everyKind(&node{id: "owner"})...)
	kept = append(kept, adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "owner", Room: "owner0"}) // covered by the owner's topic
	left, made, undone, again := rooms("left"), rooms("made"), rooms("undone"), rooms("again")
	stay, gone := slices.Concat(kept, made, again), slices.Concat(left, undone)

	c.outages(3, func(o *outage, nodes []*node) {
		n, owners := nodes[0], kept[:len(kept)-1]
		n.subscribe(slices.Concat(owners, left, again)...)
		o.begin()
		c.do("Subscribe without a broker", func(ctx context.Context) error { return n.link.Subscribe(ctx, slices.Concat(made, undone)...) })
		c.do("Unsubscribe without a broker", func(ctx context.Context) error {
			return n.link.Unsubscribe(ctx, slices.Concat(left, undone, again)...)
		})
		c.do("Subscribe without a broker", func(ctx context.Context) error { return n.link.Subscribe(ctx, again...) })
		of := nameTopics(slices.Concat(stay, gone))
		for r := range 2 {
			o.end()
			n.take()
			of.publish(nodes[1], slices.Concat(stay, gone))
			nodes[1].fenceTo(n)
			got := n.take()
			if lost := missing(got, of.all(stay)); lost != "" {
				c.fatalf("outage %d: %s", r, lost)
			}
			if c.exact {
				for _, msg := range of.all(gone) {
					if slices.Contains(got, msg) {
						c.fatalf("outage %d: got %q on a topic whose subscription has been ended", r, msg)
					}
				}
			}
			if r == 0 {
				o.begin() // the link knows its subscriptions by itself, and not from the outage
			}
		}
	})
}

func testOutageFence(c *cluster) {
	c.outages(3, func(o *outage, nodes []*node) {
		// Each node subscribes to one topic after the other, all the time.
		const around = 5 // topics at the least before the outage, in it and after it
		topics := make([][]adapter.Topic, len(nodes))
		counts := make([]atomic.Int64, len(nodes)) // of topics
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		stop := sync.OnceFunc(func() {
			cancel()
			wg.Wait()
		})
		c.t.Cleanup(stop)
		for k, n := range nodes {
			wg.Go(func() {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for ctx.Err() == nil && !c.isBroken() {
					topic := room(fmt.Sprint(n.id, " topic ", len(topics[k])))
					if err := c.try("Subscribe", func(ctx context.Context) error { return n.link.Subscribe(ctx, topic) }); err != nil {
						c.breach("%s: %v", n.id, err)
					}
					topics[k] = append(topics[k], topic)
					counts[k].Add(1)
					<-tick.C
				}
			})
		}
		more := func() { c.progress(around, func(k int) int { return int(counts[k].Load()) }, nodes) }
		more()
		o.begin()
		more()
		o.restore()
		for _, n := range nodes {
			n.become(adapter.Connected)
		}
		more()
		stop()
		c.meet()
		for k, n := range nodes {
			for _, other := range nodes {
				if other == n {
					continue
				}
				of := nameTopics(topics[k])
				of.publish(other, topics[k])
				other.fenceTo(n)
				n.expect(of.all(topics[k])...)
			}
		}
		c.fenceRounds(enoughRounds, nodes)
	})
}
