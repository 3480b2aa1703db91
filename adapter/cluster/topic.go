package cluster

import (
	"hash/fnv"
	"slices"
	"unicode/utf8"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// Ids. A node's id is made for every Hub, so that it never comes back. A socket's id is that of its
// node, a dot, and as many random characters again: a room of that form is known by its name alone
// to be a socket's own.
const (
	nodeLen = 10
	idLen   = nodeLen + 1 + nodeLen
)

// MaxRoomName is the longest name of a room or a namespace, in bytes.
const MaxRoomName = 1024

// maxUnionTopics is how many rooms a broadcast may have to travel by the topics of its rooms rather
// than by its namespace's. The first way costs a message for each room and each node with a member
// of it, the second one for each node. So the break-even depends on the size of the cluster and on
// where the members are. With 10 nodes it lies below 2 rooms if each has members everywhere, at
// about 3 with members on a quarter of the nodes, and at about 6 with members on one node each;
// with 30 nodes below 2, at about 3, and at 13; with 3 nodes below 2. 4 is the number that is least
// wrong in the worst of these cases: see BenchmarkUnion, which changes it, and bench/RESULTS.md.
var maxUnionTopics = 4

func validNode(id string) bool {
	if len(id) != nodeLen {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

func validName(name string) bool { return len(name) <= MaxRoomName && utf8.ValidString(name) }

func validNames(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !validName(name) })
}

// roomTopic is the topic of a room: private where the name is a socket's id.
func roomTopic(namespace, room string) adapter.Topic {
	if len(room) == idLen && room[nodeLen] == '.' && validNode(room[:nodeLen]) && validNode(room[nodeLen+1:]) {
		return adapter.Topic{Kind: adapter.Private, Namespace: namespace, Node: room[:nodeLen], Room: room}
	}
	return adapter.Topic{Kind: adapter.Room, Namespace: namespace, Room: room}
}

// topics are those on which a broadcast has its place: that of each room that it names, and those
// that it travels on. They follow from its names, on every node alike.
func topics(b *envelope.Body) []adapter.Topic {
	var list []adapter.Topic
	switch b.Route {
	case envelope.ByNode:
		return []adapter.Topic{{Kind: adapter.Node, Node: b.To}}
	case envelope.ByCluster:
		list = []adapter.Topic{{Kind: adapter.Cluster}}
	}
	if !b.AmongRooms() || b.Route == envelope.ByNamespace {
		list = append(list, adapter.Topic{Kind: adapter.Namespace, Namespace: b.Namespace})
	}
	if b.AmongRooms() {
		list = slices.Grow(list, len(b.Rooms))
		for _, room := range b.Rooms {
			list = append(list, roomTopic(b.Namespace, room))
		}
	}
	return list
}

// published are those of its topics that a broadcast travels on, which are the first ones. Whoever
// has a member in one of its rooms receives what travels by the namespace's topic, and everybody
// what travels by that of the cluster.
func published(b *envelope.Body, topics []adapter.Topic) []adapter.Topic {
	if b.Route == envelope.ByNamespace || b.Route == envelope.ByCluster {
		return topics[:1]
	}
	return topics
}

// nobody is a room without members, as names are UTF-8.
const nobody = "\xff"

// selecting are the rooms of a broadcast that select, where those whose topics are past do not.
func selecting(b *envelope.Body, past []bool) []string {
	var rooms []string
	if b.AmongRooms() {
		past = past[len(past)-len(b.Rooms):] // another topic that it has travelled on selects nobody
		for i, room := range b.Rooms {
			if !past[i] {
				rooms = append(rooms, room)
			}
		}
	} else if !past[len(past)-1] { // the namespace's
		return b.Rooms
	}
	if rooms == nil {
		return []string{nobody}
	}
	return rooms
}

// hash is t on the wire. The upper half of the hash of a node's topic, or a private one, is the
// node's, so that a node knows its own.
func hash(t adapter.Topic) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(t.Kind), byte(len(t.Namespace)), byte(len(t.Namespace) >> 8)})
	h.Write([]byte(t.Namespace))
	h.Write([]byte(t.Room))
	if t.Kind == adapter.Private || t.Kind == adapter.Node {
		return uint64(nodeHash(t.Node))<<32 | h.Sum64()&0xffffffff
	}
	return h.Sum64()
}

func nodeHash(node string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(node))
	return h.Sum32()
}
