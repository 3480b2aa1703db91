package adaptertest

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/adapter"
)

// hostileNames returns the names of rooms and namespaces that brokers and encodings stumble over. Names that a careless driver takes
// for one another stand among them: a cut, a change of case, a trimmed or doubled separator, an encoding that is its own input.
func hostileNames() []string {
	long := strings.Repeat("x", 5000)
	longer := strings.Repeat("y", 100_000)
	names := []string{
		"", " ", "  ", "\t", "\r", "\n", "\r\n", "\r\nPUB x 1\r\nx\r\n", "\r\n+PONG\r\n", "\v", "\f", "\x7f",
		"\x00", "\x00\x00", "a\x00", "a\x00b", "\x1f",
		"\xff", "\xff\xfe", "\xff\xfd", "\xc3", "\xc0\x80", "\ufffd", "\ufffd\ufffd", "\ufeff", "\u202e", "é", "e\u0301", "🔔",
		"*", ">", "**", ".*", ".>", "*.*", "a.*", "a.>", "a*", "?", "[a]", "{a}", "^a", "#", "+", "a/#", "$", "$SYS.>", "_INBOX.>", "$JS.API.>",
		"a", "A", "b", "ab", "abc", "aB", "a ", " a", "a  b", "a b", "a.", "a..", ".a", "..a", "a.b", "a..b", ".", "..", "...",
		"/", "//", "/a", "a/", "a/b", "\\", "\\x2a", "a:b", "a::b", ":", "a|b", "a,b", "a;b", "a-b", "a_b", "-", "_", "~", "'", `"`, "`", "a'b--",
		"=", "==", "=2A", "=2a", "=3D2A", "%", "%2A", "%2a", "%252A", "&amp;", "Kg", "Kg==", "Kg=", "2a", "0x2a", "null", "0", "-1",
		"r", "ra", "r=2A", "h", "h" + strings.Repeat("A", 43), "h" + strings.Repeat("A", 44), strings.Repeat("0", 64),
		long, long + "y", "y" + long, long[:4999] + "X", longer, longer + "x", "x" + longer,
	}
	for _, n := range []int{63, 64, 127, 128, 129, 255, 256, 257, 511, 512, 1023, 1024, 4095, 4096, 4097, 65535, 65536} {
		names = append(names, strings.Repeat("z", n))
	}
	return names
}

// hostileTopics returns topics of all kinds with hostile names, all different.
func hostileTopics() []adapter.Topic {
	var topics []adapter.Topic
	for _, name := range hostileNames() {
		topics = append(topics,
			adapter.Topic{Kind: adapter.Namespace, Namespace: name},
			adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: name},
			adapter.Topic{Kind: adapter.Room, Namespace: name, Room: "lobby"},
			adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "elsewhere", Room: name},
			adapter.Topic{Kind: adapter.Private, Namespace: name, Node: "elsewhere", Room: "elsewhere0"},
		)
	}
	// A separator between two names must not be mistaken for a part of one.
	for _, sep := range []string{".", "..", "/", ":", "|", ",", "#", "-", "_", "=", "%", " ", "\n", "\x00", "\x1f", "\xff"} {
		topics = append(topics,
			adapter.Topic{Kind: adapter.Room, Namespace: "a" + sep + "b", Room: "c"},
			adapter.Topic{Kind: adapter.Room, Namespace: "a", Room: "b" + sep + "c"},
			adapter.Topic{Kind: adapter.Room, Namespace: "a" + sep, Room: "b"},
			adapter.Topic{Kind: adapter.Room, Namespace: "a", Room: sep + "b"},
		)
	}
	return append(topics,
		adapter.Topic{Kind: adapter.Cluster},
		adapter.Topic{Kind: adapter.Node, Node: "a"},
		adapter.Topic{Kind: adapter.Node, Node: "A"},
		adapter.Topic{Kind: adapter.Node, Node: "a-b_c"},
		adapter.Topic{Kind: adapter.Node, Node: strings.Repeat("n", 32)},
		adapter.Topic{Kind: adapter.Node, Node: strings.Repeat("n", 31) + "N"},
	)
}

// halves splits topics by a bit of their index: as bit runs from 0 until one half is empty, any two topics are parted at least once.
func halves(topics []adapter.Topic, bit int) (clear, set []adapter.Topic) {
	for i, topic := range topics {
		if i>>bit&1 == 0 {
			clear = append(clear, topic)
		} else {
			set = append(set, topic)
		}
	}
	return clear, set
}

// names is what is published on topics: each one's readable name, made unique by its place among all.
type names map[adapter.Topic]string

func nameTopics(topics []adapter.Topic) names {
	of := make(names, len(topics))
	for i, topic := range topics {
		of[topic] = strconv.Itoa(i) + " " + topic.String()
	}
	return of
}

func (of names) all(topics []adapter.Topic) []string {
	msgs := make([]string, len(topics))
	for i, topic := range topics {
		msgs[i] = of[topic]
	}
	return msgs
}

// publish lets n publish on each topic its name.
func (of names) publish(n *node, topics []adapter.Topic) {
	n.c.t.Helper()
	n.c.do("Publish", func(ctx context.Context) error {
		for _, topic := range topics {
			if err := n.link.Publish(ctx, topic, []byte(of[topic])); err != nil {
				return fmt.Errorf("%s: %w", of[topic], err)
			}
		}
		return nil
	})
}

func testHostileNames(c *cluster) {
	nodes := c.open(3)
	a, b, d := nodes[0], nodes[1], nodes[2]
	topics := hostileTopics()
	of := nameTopics(topics)
	changes := make([]<-chan struct{}, len(nodes))
	for i, n := range nodes {
		_, changes[i] = n.link.State()
	}

	one, other := halves(topics, 0)
	c.do("Subscribe one by one", func(ctx context.Context) error {
		for _, topic := range one {
			if err := b.link.Subscribe(ctx, topic); err != nil {
				return fmt.Errorf("%s: %w", of[topic], err)
			}
		}
		return nil
	})
	b.fenceAll()
	d.subscribe(other...)
	of.publish(a, topics)
	a.fenceAll()
	b.expect(of.all(one)...)
	d.expect(of.all(other)...)

	for i, n := range nodes {
		select {
		case <-changes[i]:
			state, _ := n.link.State()
			c.fatalf("%s: a name has cost the link its connection for a while; its state is %v now (%v)", n.id, state.Status, state.Reason)
		default:
		}
	}
	for _, n := range nodes {
		n.subscribe(room("plain"))
	}
	for _, n := range nodes {
		n.publish(room("plain"), "from "+n.id)
		for _, to := range nodes {
			if to != n {
				to.waitFor("from " + n.id)
			}
		}
	}
}

func testUnsubscribeHostileNames(c *cluster) {
	a, b := c.pair()
	topics := hostileTopics()
	of := nameTopics(topics)
	b.subscribe(topics...)
	for bit := 0; len(topics)>>bit > 0; bit++ {
		stay, leave := halves(topics, bit)
		b.unsubscribe(leave...)
		of.publish(a, stay)
		a.fenceTo(b)
		b.expect(of.all(stay)...)
		b.subscribe(leave...)
	}
	of.publish(a, topics)
	a.fenceTo(b)
	b.expect(of.all(topics)...)
}

func testExactHostileNames(c *cluster) {
	a, b := c.pair()
	topics := hostileTopics()
	of := nameTopics(topics)
	for bit := 0; len(topics)>>bit > 0; bit++ {
		one, other := halves(topics, bit)
		b.subscribe(one...)
		of.publish(a, other)
		a.fenceTo(b)
		if got := b.take(); len(got) > 0 {
			c.fatalf("got %.80q, and %d more, of topics that are not subscribed", got[0], len(got)-1)
		}
		of.publish(a, one)
		a.fenceTo(b)
		b.expect(of.all(one)...)
		b.unsubscribe(one...)
	}
}
