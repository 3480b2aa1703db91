package cluster

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// Two rooms of the namespace "/" whose topics have the same hash: one stream to the mesh.
const (
	twinA = "SREm9eHY6AM"
	twinB = "2Dm60aCuvDN"
)

func TestTwins(t *testing.T) {
	if a, b := roomTopic("/", twinA), roomTopic("/", twinB); a == b || hash(a) != hash(b) {
		t.Fatalf("the hashes of %v and %v are %#x and %#x, want the same", a, b, hash(a), hash(b))
	}
}

// Rooms with the same hash stay apart for their members, whoever is in which, and whatever is lost.
func TestRoomsWithOneHash(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			hubs, sieves := sifted(t, 3)
			_, a := add(t, hubs[0], twinA)
			_, b := add(t, hubs[1], twinB)
			_, both := add(t, hubs[1], twinA, twinB)
			if lossy {
				for i, s := range sieves {
					rng := rand.New(rand.NewPCG(1, uint64(i)))
					s.set(func(m *envelope.Message) bool { return broadcasts(m) && rng.IntN(3) == 0 })
				}
			}
			var wantA, wantB, wantAll []string
			for i := range 100 {
				payload := string(rune('!' + i))
				wantAll = append(wantAll, payload)
				switch i % 4 {
				case 0:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinA}})
					wantA = append(wantA, payload)
				case 1:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinB}})
					wantB = append(wantB, payload)
				case 2:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinA, twinB}})
					wantA, wantB = append(wantA, payload), append(wantB, payload)
				case 3: // by the topic of the namespace, in its place on both
					say(t, hubs[2], payload, Broadcast{Rooms: []string{"1", twinA, "2", "3", "4", twinB}})
					wantA, wantB = append(wantA, payload), append(wantB, payload)
				}
			}
			time.Sleep(10 * time.Second)
			got(t, "the member of one", a, wantA...)
			got(t, "the member of the other", b, wantB...)
			got(t, "the member of both", both, wantAll...)
			for i, h := range hubs[:2] {
				if s := h.Stats(); s.Missed+s.Unknown != 0 || lossy && s.Repaired == 0 {
					t.Errorf("lossy: %v, node %d: %+v, want nothing missed", lossy, i, s)
				}
			}
		})
	}
}

// A room joins the stream of another while that has a hole, and leaves it: what is for the one that stays comes, and the topics that are
// subscribed are those that have members.
func TestRoomsWithOneHashThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		_, a := add(t, hubs[0], twinA)
		id, b := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		sieves[0].set(broadcasts)
		say(t, hubs[1], "1", Broadcast{Rooms: []string{twinA}})
		say(t, hubs[1], "not joined yet", Broadcast{Rooms: []string{twinB}})
		settle()
		sieves[0].set(nil)
		kit.OK(t, r.Join(t.Context(), id, twinB))
		say(t, hubs[1], "2", Broadcast{Rooms: []string{twinB}})
		say(t, hubs[1], "3", Broadcast{Rooms: []string{twinA}})
		time.Sleep(2 * time.Second)
		got(t, "the member of the first", a, "1", "3")
		if came := b.take(); !slices.Equal(came, []string{"2"}) && !slices.Equal(came, []string{"not joined yet", "2"}) {
			t.Errorf("the member of the second got %q, want 2, at the most with what its room was told before", came)
		}
		r.Leave(r.Members(twinA)[0], twinA)
		time.Sleep(2 * time.Second)
		if s := sieves[0].subscriptions(); s[roomTopic("/", twinA)] || !s[roomTopic("/", twinB)] {
			t.Errorf("subscribed to %v, want the second room alone", s)
		}
		say(t, hubs[1], "nobody", Broadcast{Rooms: []string{twinA}}) // which does not come, and looks like a loss
		say(t, hubs[1], "4", Broadcast{Rooms: []string{twinB}})
		time.Sleep(2 * time.Second)
		got(t, "the member of the first", a)
		got(t, "the member of the second", b, "4")
		if s := hubs[0].Stats(); s.Missed+s.Unknown != 0 {
			t.Errorf("%+v, want nothing missed", s)
		}
	})
}
