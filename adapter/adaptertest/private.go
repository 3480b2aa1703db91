package adaptertest

import (
	"github.com/belfry-io/belfry/adapter"
)

// privateTopics returns private topics of the node, with rooms and namespaces of all sorts.
func privateTopics(id string) []adapter.Topic {
	var topics []adapter.Topic
	for _, name := range hostileNames() {
		topics = append(topics,
			adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: id, Room: id + name},
			adapter.Topic{Kind: adapter.Private, Namespace: name, Node: id, Room: id + "0"},
		)
	}
	return topics
}

func nodeTopic(id string) adapter.Topic { return adapter.Topic{Kind: adapter.Node, Node: id} }

// alikeNodes are identifiers of nodes that a careless driver takes for one another.
var alikeNodes = []string{"x", "X", "x1", "x-1", "x_1", "-", "_", "x-", "0", "00000000000000000000000000000000", "0000000000000000000000000000000"}

func testNodeCoversPrivate(c *cluster) {
	a, b := c.pair()
	topics := privateTopics(b.id) // b is subscribed to its own topic, as every node of the suite
	of := nameTopics(topics)
	of.publish(a, topics)
	a.fenceTo(b)
	b.expect(of.all(topics)...)

	for _, id := range alikeNodes {
		b.subscribe(nodeTopic(id))
		private := adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: id, Room: id + "0"}
		a.publish(private, "private of "+id)
		a.publish(nodeTopic(id), "node "+id)
		a.fenceTo(b)
		b.expect("private of "+id, "node "+id)
	}
}

func testPrivateAlone(c *cluster) {
	nodes := c.open(3)
	a, b, d := nodes[0], nodes[1], nodes[2]
	private := adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "owner", Room: "owner0"}
	other := adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "owner", Room: "owner1"}
	arrive := func(step string, n *node, topics ...adapter.Topic) {
		c.t.Helper()
		of := nameTopics(topics)
		of.publish(a, topics)
		a.fenceTo(n)
		if lost := missing(n.take(), of.all(topics)); lost != "" {
			c.fatalf("%s: %s: %s", step, n.id, lost)
		}
	}
	b.subscribe(nodeTopic("owner"))
	d.subscribe(private)
	arrive("the owner's topic, and the room's at another node", b, private, other)
	arrive("the room's topic alone", d, private)
	d.unsubscribe(private)
	arrive("after another node has left the room's topic", b, private, other)

	b.subscribe(private)
	arrive("the node's topic and then the room's", b, private, other)
	b.unsubscribe(private)
	arrive("the node's topic after the room's was left", b, private, other)
	b.subscribe(private)
	b.unsubscribe(nodeTopic("owner"))
	arrive("the room's topic after the node's was left", b, private)
	b.subscribe(nodeTopic("owner"))
	arrive("the room's topic and then the node's", b, private, other)
}

func testExactPrivate(c *cluster) {
	a, b := c.pair()
	for _, id := range alikeNodes {
		b.subscribe(nodeTopic(id))
		for _, other := range alikeNodes {
			if other != id {
				a.publish(nodeTopic(other), "node "+other)
				a.publish(adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: other, Room: id + "0"}, "private of "+other)
				a.publish(adapter.Topic{Kind: adapter.Private, Namespace: id, Node: other, Room: id}, "private of "+other)
			}
		}
		a.publish(adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: id}, "room "+id)
		a.publish(adapter.Topic{Kind: adapter.Namespace, Namespace: id}, "namespace "+id)
		a.fenceTo(b)
		if got := b.take(); len(got) > 0 {
			c.fatalf("subscribed to node %q alone, got %q", id, got)
		}
		b.unsubscribe(nodeTopic(id))
	}
}

func testExactOnce(c *cluster) {
	a, b := c.pair()
	a.subscribe(room("lobby"))
	b.subscribe(room("lobby"))
	b.subscribe(room("lobby"), room("lobby"))
	const rounds = 50
	for range rounds {
		a.publish(room("lobby"), "from a")
		a.fenceTo(b)
		b.publish(room("lobby"), "from b")
		b.fenceTo(a)
	}
	a.fenceTo(b)
	once := func(n *node, want string) {
		c.t.Helper()
		got := n.take()
		for _, msg := range got {
			if msg != want {
				c.fatalf("%s: got %q, want %q alone: a message of the link itself", n.id, msg, want)
			}
		}
		if len(got) != rounds {
			c.fatalf("%s: got %d messages, want each of the %d once", n.id, len(got), rounds)
		}
	}
	once(a, "from b")
	once(b, "from a")

	own := adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: a.id, Room: a.id + "0"}
	for range rounds {
		a.publish(own, "to itself")
		a.fenceTo(b)
		b.fenceTo(a)
	}
	if got := a.take(); len(got) > 0 {
		c.fatalf("got %q, which is a message of the link itself", got[0])
	}

	b.unsubscribe(room("lobby"))
	a.publish(room("lobby"), "after the last Unsubscribe")
	a.fenceTo(b)
	if got := b.take(); len(got) > 0 {
		c.fatalf("got %q on a topic that has been left", got)
	}
}
