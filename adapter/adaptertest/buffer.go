package adaptertest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// scribble overwrites a buffer that the publisher owns.
const scribble = 0xEE

func testPublishKeepsNothing(c *cluster) {
	nodes := c.open(3)
	a := nodes[0]
	topics := []adapter.Topic{room("lobby"), room("hall"), {Kind: adapter.Cluster}}
	const count = 300
	var received []*series
	for _, n := range nodes[1:] {
		n.subscribe(topics...)
		received = append(received, expectSeries(n, nil))
	}
	c.do("Publish", func(ctx context.Context) error {
		var buf []byte // the same for all messages
		for i := range count {
			want := pattern(a.id, i, 10+i*7%5000)
			buf = append(buf[:0], want...)
			if err := a.link.Publish(ctx, topics[i%len(topics)], buf); err != nil {
				return err
			}
			if !bytes.Equal(buf, want) {
				return fmt.Errorf("message %d was modified: first difference at byte %d", i, difference(buf, want))
			}
			for j := range buf {
				buf[j] = scribble
			}
		}
		return nil
	})
	a.fenceAll()
	for _, got := range received {
		got.wait(a, count)
	}
}

func testRecvOwnsMessage(c *cluster) {
	nodes := c.open(3)
	a := nodes[0]
	topics := []adapter.Topic{room("lobby"), room("hall")}
	const count = 300
	size := func(i int) int { return 20 + i*13%3000 }

	// Every receiver, the publisher among them should it get its own messages, overwrites each message up to its capacity with what no
	// other message holds, and keeps it.
	kept := make([][][]byte, len(nodes))
	mine := func(n *node, i, size int) []byte { return pattern("kept by "+n.id, i, size)[:size] }
	var received []*series
	for k, n := range nodes {
		n.subscribe(topics...)
		received = append(received, expectSeries(n, func(_ string, i int, msg []byte) {
			msg = msg[:cap(msg)]
			copy(msg, mine(n, i, len(msg)))
			kept[k] = append(kept[k], msg)
		}))
	}
	sent := make([][]byte, count)
	c.do("Publish", func(ctx context.Context) error {
		for i := range sent {
			sent[i] = pattern(a.id, i, size(i))
			if err := a.link.Publish(ctx, topics[i%len(topics)], sent[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, got := range received[1:] {
		got.wait(a, count)
	}
	for k, n := range nodes {
		n.mu.Lock()
		for i, msg := range kept[k] {
			if want := mine(n, i, len(msg)); !bytes.Equal(msg, want) {
				c.breach("%s: message %d was overwritten after recv had taken it: got %.30q, want %.30q", n.id, i, msg, want)
			}
		}
		n.mu.Unlock()
	}
	for i, msg := range sent {
		if want := pattern(a.id, i, size(i)); !bytes.Equal(msg, want) {
			c.breach("what recv did to message %d has reached the publisher's buffer: got %.30q, want %.30q", i, msg, want)
		}
	}
}
