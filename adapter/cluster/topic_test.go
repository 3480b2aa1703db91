package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

const (
	nodeA = "AAAAAAAAAA"
	nodeB = "node-B_000"
)

// The hash of a topic is part of the wire format: the values that stand here never change.
func TestTopicHash(t *testing.T) {
	for _, c := range []struct {
		topic adapter.Topic
		want  uint64
	}{
		{adapter.Topic{Kind: adapter.Namespace, Namespace: "/"}, 0x84713a90455163f1},
		{adapter.Topic{Kind: adapter.Namespace, Namespace: "/chat"}, 0xf8ea3a8800e52593},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: ""}, 0xf5c9b687f8ebf9ac},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: "lobby"}, 0x7e8ea35d7f4525ec},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/l", Room: "obby"}, 0x556b070ee3a13c9b},
		{adapter.Topic{Kind: adapter.Room, Namespace: strings.Repeat("n", 300), Room: "ü\x00"}, 0x75e80fec68cc415a},
		{adapter.Topic{Kind: adapter.Cluster}, 0xd0a397186727310c},
		{adapter.Topic{Kind: adapter.Node, Node: nodeA}, 0xbf3b895f586f350b},
		{adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: nodeA, Room: nodeA + ".BBBBBBBBBB"}, 0xbf3b895f3475b98e},
		{adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: nodeB, Room: nodeB + ".BBBBBBBBBB"}, 0x97cf48996399505c},
	} {
		kit.Equal(t, hash(c.topic), c.want, "hash of", c.topic)
	}
}

// A node knows its own private topics by their hash, and no others.
func TestPrivateHash(t *testing.T) {
	for _, c := range []struct {
		topic adapter.Topic
		want  bool
	}{
		{roomTopic("/", nodeA+".0123456789"), true},
		{roomTopic("/other", nodeA+".0123456789"), true},
		{roomTopic("/", nodeB+".0123456789"), false},
		{roomTopic("/", "room"), false},
		{adapter.Topic{Kind: adapter.Node, Node: nodeA}, true},
		{adapter.Topic{Kind: adapter.Node, Node: nodeB}, false},
		{adapter.Topic{Kind: adapter.Cluster}, false},
		{adapter.Topic{Kind: adapter.Namespace, Namespace: "/"}, false},
	} {
		kit.Equal(t, uint32(hash(c.topic)>>32) == nodeHash(nodeA), c.want, c.topic, "is a private topic of", nodeA)
	}
}

func TestRoomTopic(t *testing.T) {
	for _, c := range []struct {
		room string
		node string // of a private topic
	}{
		{nodeA + ".0123456789", nodeA},
		{nodeB + ".a-b_c-d_e-", nodeB},
		{nodeA + ".012345678", ""},
		{nodeA + ".01234567890", ""},
		{nodeA + "x0123456789", ""},
		{nodeA + ".012345678.", ""},
		{"AAAA.AAAAA.0123456789", ""},
		{"", ""},
		{"*", ""},
		{"lobby", ""},
	} {
		want := adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: c.room}
		if c.node != "" {
			want.Kind, want.Node = adapter.Private, c.node
		}
		kit.Equal(t, roomTopic("/", c.room), want, "room", c.room)
	}
}

func TestIDs(t *testing.T) {
	h := open(t, nil)
	if !validNode(h.Node()) {
		t.Errorf("node id %q", h.Node())
	}
	seen := make(map[string]bool)
	for range 1000 {
		id := h.NewID()
		if topic := roomTopic("/", id); topic.Kind != adapter.Private || topic.Node != h.Node() || seen[id] {
			t.Fatalf("id %q has topic %+v, seen before: %v", id, topic, seen[id])
		}
		seen[id] = true
	}
}

func TestTopicsOfBroadcast(t *testing.T) {
	b := &envelope.Body{Route: envelope.ByNamespace, Namespace: "/n", Rooms: []string{"a", "b"}}
	if got, want := topics(b), []adapter.Topic{{Kind: adapter.Namespace, Namespace: "/n"}}; !slices.Equal(got, want) {
		t.Errorf("by namespace: %v, want %v", got, want)
	}
	b.Flags = envelope.InRooms
	among := topics(b)
	if want := []adapter.Topic{{Kind: adapter.Namespace, Namespace: "/n"}, roomTopic("/n", "a"), roomTopic("/n", "b")}; !slices.Equal(among, want) {
		t.Errorf("by namespace, in rooms: %v, want %v", among, want)
	}
	kit.EqualSlices(t, published(b, among), among[:1], "by namespace, in rooms: published on")
	b.Flags = 0
	b.Route = envelope.ByRoom
	if got, want := topics(b), []adapter.Topic{roomTopic("/n", "a"), roomTopic("/n", "b")}; !slices.Equal(got, want) {
		t.Errorf("by room: %v, want %v", got, want)
	}
	b.Route = envelope.ByCluster
	if got, want := topics(b), []adapter.Topic{{Kind: adapter.Cluster}, {Kind: adapter.Namespace, Namespace: "/n"}}; !slices.Equal(got, want) {
		t.Errorf("by cluster: %v, want %v", got, want)
	}
	b.Flags = envelope.InRooms
	got, want := topics(b), []adapter.Topic{{Kind: adapter.Cluster}, roomTopic("/n", "a"), roomTopic("/n", "b")}
	kit.EqualSlices(t, got, want, "by cluster, in rooms")
	kit.EqualSlices(t, published(b, got), want[:1], "by cluster: published on")
	b.Route, b.To = envelope.ByNode, nodeA
	if got, want := topics(b), []adapter.Topic{{Kind: adapter.Node, Node: nodeA}}; !slices.Equal(got, want) || !slices.Equal(published(b, got), want) {
		t.Errorf("by node: %v, want %v", got, want)
	}
}
