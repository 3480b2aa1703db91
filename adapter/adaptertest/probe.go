package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// backPrefix marks what probes hand back.
const backPrefix = "back "

// largestBack is the most that a probe hands back, in bytes.
const largestBack = 64

// probe probes a node's topic.
func (n *node) probe(topic adapter.Topic, back string) {
	n.c.t.Helper()
	buf := []byte(back)
	n.c.do("Probe of "+topic.String(), func(ctx context.Context) error {
		return n.link.(adapter.Prober).Probe(ctx, topic, buf)
	})
	if string(buf) != back {
		n.c.fatalf("%s: Probe has modified what is to be handed back: got %.70q, want %.70q", n.id, buf, back)
	}
	for i := range buf {
		buf[i] = scribble
	}
}

// untilBack probes a topic again and again, until something is handed back: the broker may take a moment to hear that nobody is there.
func (n *node) untilBack(topic adapter.Topic, back string) {
	n.c.t.Helper()
	n.c.do("Probe of "+topic.String()+", where nobody is any more", func(ctx context.Context) error {
		for {
			if err := n.link.(adapter.Prober).Probe(ctx, topic, []byte(back)); err != nil {
				return err
			}
			soon, cancel := context.WithTimeout(ctx, greetEvery)
			err := n.await(soon, func() string { return missing(n.got, []string{back}) })
			cancel()
			if err == nil || ctx.Err() != nil || n.c.isBroken() {
				return err
			}
		}
	})
}

// backs takes what has come, and returns what probes have handed back. A link may hand it back twice, as any message.
func (n *node) backs() []string {
	return slices.Compact(slices.DeleteFunc(n.take(), func(msg string) bool { return !strings.HasPrefix(msg, backPrefix) }))
}

// testProbe is for drivers that are Probers.
func testProbe(c *cluster) {
	nodes := c.open(3)
	a := nodes[0]
	if _, ok := a.link.(adapter.Prober); !ok {
		return
	}
	nobody := adapter.Topic{Kind: adapter.Node, Node: "nobody"}
	largest := backPrefix + string(pattern("largest", 0, largestBack-len(backPrefix)))[:largestBack-len(backPrefix)]
	for _, back := range []string{backPrefix, backPrefix + "\x00\r\n.*> \xff", largest} {
		a.probe(nobody, back)
		a.waitFor(back)
	}
	a.probe(a.topic(), backPrefix+"nobody else")
	a.waitFor(backPrefix + "nobody else")
	a.take()

	// Who is there hears nothing of it, nor does the one that asks. What comes behind shows that nothing comes.
	for _, other := range nodes[1:] {
		a.probe(other.topic(), backPrefix+other.id)
	}
	a.probe(nobody, backPrefix+"nobody")
	a.waitFor(backPrefix + "nobody")
	if got := a.backs(); !slices.Equal(got, []string{backPrefix + "nobody"}) {
		c.fatalf("probes of nodes that are there, and of one that is not, have handed back %q", got)
	}
	a.fenceAll()
	for _, other := range nodes[1:] {
		if got := other.take(); len(got) > 0 {
			c.fatalf("%s has received %.40q, and was only probed", other.id, got)
		}
	}

	// Who has gone is not there, whether it has said so to the broker or not.
	b, gone := nodes[1], nodes[2]
	b.unsubscribe(b.topic())
	a.untilBack(b.topic(), backPrefix+"unsubscribed")
	gone.close()
	a.untilBack(gone.topic(), backPrefix+"closed")
	b.subscribe(b.topic())
	c.greet(a, b)
	a.take()
	a.probe(b.topic(), backPrefix+"is back")
	a.probe(nobody, backPrefix+"nobody")
	a.waitFor(backPrefix + "nobody")
	if got := a.backs(); !slices.Equal(got, []string{backPrefix + "nobody"}) {
		c.fatalf("a probe of a node that has subscribed again has handed back %q", got)
	}
	a.close()
	if err := a.link.(adapter.Prober).Probe(context.Background(), nobody, []byte(backPrefix)); !errors.Is(err, adapter.ErrClosed) {
		c.fatalf("Probe of a closed link returned %v, want %v", err, adapter.ErrClosed)
	}
}

// testOutageProbe is testProbe for links that lose their broker.
func testOutageProbe(c *cluster) {
	c.outages(2, func(o *outage, nodes []*node) {
		if _, ok := nodes[0].link.(adapter.Prober); !ok {
			return
		}
		nobody := adapter.Topic{Kind: adapter.Node, Node: "nobody"}
		o.begin()
		for _, n := range o.hit(nodes) {
			var got error
			if err := c.within(c.timeout, "Probe without a broker", func() error {
				got = n.link.(adapter.Prober).Probe(context.Background(), nobody, []byte(backPrefix+"refused"))
				return nil
			}); err != nil {
				c.fatalf("%s: %v", n.id, err)
			}
			if !errors.Is(got, adapter.ErrUnavailable) {
				c.fatalf("%s: Probe returned %v while the broker is away, want %v", n.id, got, adapter.ErrUnavailable)
			}
		}
		o.end()
		for i, n := range nodes {
			n.take()
			n.probe(nodes[1-i].topic(), backPrefix+"there")
			n.probe(nobody, backPrefix+"nobody")
			n.waitFor(backPrefix + "nobody")
			if got := n.backs(); !slices.Equal(got, []string{backPrefix + "nobody"}) {
				c.fatalf("%s: after an outage probes have handed back %q", n.id, got)
			}
		}
	})
}

// testRoundTrip is for drivers that know how far away their broker is.
func testRoundTrip(c *cluster) {
	start := time.Now()
	for _, n := range c.open(2) {
		state, _ := n.link.State()
		if d := state.RoundTrip; d < 0 || d > time.Since(start) {
			c.fatalf("%s: %s to the broker and back, %v after the beginning", n.id, fmt.Sprint(d), time.Since(start))
		}
	}
}
