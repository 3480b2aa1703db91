package main

import (
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// A trial is one scenario that sides are compared at.
type trial struct {
	name, title, text string
	basic             bool // of those that are run without -all
	nodes             int  // of a side
	from              int  // clients of rooms are on the nodes after so many; the first has the publishers, others before have nobody
	sockets           int
	rooms             int  // each socket is in one; 0 means none
	join              bool // what is measured is joining them
	connect           bool // what is measured is connecting the sockets, and the memory that they take
	hop               bool // one message from node to node, which a floor of its own can do
	outage            bool // the broker is killed
	flow              crowd.Flow
	transport         string
	variant           variant // of the sides that have it; others are not measured
	metrics           []string
}

// A variant is a way to run a side that not all have.
type variant string

const (
	plain   variant = ""
	deflate variant = "deflate" // permessage-deflate, which the server must agree to
	packed  variant = "msgpack" // MessagePack
	secure  variant = "tls"     // TLS in the process
)

// The metrics of scenarios, the most telling first.
var (
	closedMetrics  = []string{"deliveries_s", "cpu_us", "last50_ms", "last99_ms", "load_cpu_us", "load_busy"}
	clusterMetrics = []string{"deliveries_s", "cpu_us", "broker_cpu_us", "last50_ms", "last99_ms", "load_busy"}
	pacedMetrics   = []string{"p50_ms", "p99_ms", "p999_ms", "max_ms", "cpu_us", "deliveries_s", "load_busy"}
	connectMetrics = []string{"connects_s", "connect_cpu_us", "socket_bytes", "load_busy"}
	hopMetrics     = []string{"p50_ms", "p99_ms", "p999_ms", "deliveries_s", "cpu_us", "broker_cpu_us", "load_cpu_us"}
	awayMetrics    = []string{"cpu_us", "publisher_us", "bystander_us", "member_us", "broker_cpu_us", "p50_ms", "p99_ms"}
	outageMetrics  = []string{"lost", "doubled", "reordered", "outage_s", "p50_ms", "deliveries_s"}
	joinMetrics    = []string{"joins_s", "join_cpu_us", "join_p99_ms"}
)

// room16 is a room with publishes in flight.
func room16(name, title string, members, size int) trial {
	return trial{
		name: name, title: title, nodes: 1, sockets: members, rooms: 1, metrics: closedMetrics,
		text: "16 publishes in flight by 4 of its members: each publishes again when the last member has what it published.",
		flow: crowd.Flow{Kind: "room", Senders: 4, InFlight: 16, Size: size},
	}
}

// room1 is a room with one publish at a time.
func room1(name, title string, members, size int) trial {
	s := room16(name, title, members, size)
	s.text = "One publish at a time: the next waits until the last member has the one before."
	s.flow.Senders, s.flow.InFlight = 1, 1
	return s
}

// paced is rooms at a fixed rate.
func paced(name, title string, sockets, rooms int, rate float64) trial {
	return trial{
		name: name, title: title, nodes: 1, sockets: sockets, rooms: rooms, metrics: pacedMetrics,
		text: "A fixed rate of publishes. The time until a member has one counts from when it was due, not from when it was written.",
		flow: crowd.Flow{Kind: "room", Rate: rate, Size: 128},
	}
}

// clustered is a scenario on three nodes.
func clustered(s trial) trial {
	s.nodes, s.metrics = 3, clusterMetrics
	return s
}

// as is a scenario with another part of the protocol.
func as(s trial, name, title string, v variant, transport string) trial {
	s.name, s.title, s.variant, s.transport, s.basic = name, title, v, transport, false
	return s
}

// basic is a scenario that is run without -all.
func basic(s trial) trial {
	s.basic = true
	return s
}

// allTrials returns what contenders are compared at.
func allTrials() []trial {
	echo := trial{
		name: "echo", title: "Echo: 100 sockets, one event with acknowledgement each", nodes: 1, sockets: 100, metrics: closedMetrics,
		text: "Each socket sends an event of 128 bytes, and the next when it has the acknowledgement, which carries the same bytes. A delivery is an acknowledgement.",
		flow: crowd.Flow{Kind: "echo", InFlight: 100, Size: 128},
	}
	idle := trial{
		name: "connect-10000", title: "10,000 sockets connect, and are idle", nodes: 1, sockets: 10_000, connect: true, metrics: connectMetrics,
		text: "64 connects under way at a time. Memory is what the processes of the server have more than with the first 50 sockets, " +
			"a few seconds after the last connect.",
	}
	room1000 := room16("room-1000", "A room of 1,000, 16 publishes in flight", 1000, 128)
	cluster := clustered(room16("cluster-1000", "A room of 1,000 over 3 nodes, 16 publishes in flight", 1000, 128))
	remote := clustered(room16("remote-1000", "A room of 1,000 on two nodes, published to from a third", 1000, 128))
	remote.from = 1
	hop := clustered(room1("cluster-hop", "A message to one member on another node", 1, 128))
	hop.from, hop.hop, hop.metrics = 1, true, hopMetrics
	hop.text = "One at a time, from a client of one node over the broker to a client of another. The floor is a message of a bare nats.go client " +
		"to another process and its answer: it passes the broker twice, and no socket of a client."
	away := clustered(paced("away-100x10", "100 rooms of 10 on one node, published to from another; the third has neither", 1000, 100, 500))
	away.from, away.flow.Senders, away.metrics = 2, 100, awayMetrics
	away.text = "500 publishes a second. What each node pays for a delivery, the one that has neither members nor publishers too."
	outage := clustered(paced("broker-killed", "The broker is killed under a room of 300 over 3 nodes", 300, 1, 100))
	outage.outage, outage.flow.Senders, outage.metrics = true, 1, outageMetrics
	outage.text = "100 publishes a second by a client of the first node. After a quarter of the time the broker is killed, and started again " +
		"at the same address after another quarter: of NATS the first node's one of three servers, of Redis the one server, which keeps nothing. " +
		"Lost is what members did not get. The longest time is that of the member who got nothing for longest."
	slow := room1000
	slow.name, slow.title, slow.flow.Slow = "slow-100", "A room of 1,000, of whom 100 do not read", 100
	binary := room1000
	binary.name, binary.title, binary.flow.Binary = "binary-1000", "A room of 1,000, binary data", true
	return []trial{
		basic(room1000),
		basic(room1("room-1000-one", "A room of 1,000, one publish at a time", 1000, 128)),
		basic(paced("rooms-100x10", "100 rooms of 10, 2,000 publishes a second", 1000, 100, 2000)),
		basic(echo),
		basic(cluster),
		basic(idle),
		room16("room-100", "A room of 100, 16 publishes in flight", 100, 128),
		room16("room-10000", "A room of 10,000, 16 publishes in flight", 10_000, 128),
		room1("room-100-one", "A room of 100, one publish at a time", 100, 128),
		room1("room-10000-one", "A room of 10,000, one publish at a time", 10_000, 128),
		paced("room-1000-paced", "A room of 1,000, 20 publishes a second", 1000, 1, 20),
		room16("size-1k", "A room of 1,000, 1 KiB", 1000, 1<<10),
		room16("size-16k", "A room of 1,000, 16 KiB", 1000, 16<<10),
		room16("size-256k", "A room of 100, 256 KiB", 100, 256<<10),
		binary,
		slow,
		{
			name: "private", title: "Private messages: 1,000 sockets, 16 in flight", nodes: 1, sockets: 1000, metrics: closedMetrics,
			text: "Each of 100 sockets sends to the id of another one.",
			flow: crowd.Flow{Kind: "private", Senders: 100, InFlight: 16, Size: 128},
		},
		as(echo, "echo-polling", "Echo over HTTP long-polling", plain, "polling"),
		as(idle, "connect-deflate", "10,000 sockets with permessage-deflate", deflate, ""),
		as(idle, "connect-msgpack", "10,000 sockets with MessagePack", packed, ""),
		as(idle, "connect-tls", "10,000 sockets over TLS in the process", secure, ""),
		as(echo, "echo-msgpack", "Echo with MessagePack", packed, ""),
		remote,
		hop, away, outage,
		clustered(paced("cluster-paced", "A room of 1,000 over 3 nodes, 20 publishes a second", 1000, 1, 20)),
		{
			name: "join-10000", title: "10,000 joins: 1,000 sockets join 10 rooms each", nodes: 1, sockets: 1000, rooms: 1000, join: true, metrics: joinMetrics,
			text: "Each join waits for its acknowledgement; 64 are under way at a time.",
		},
	}
}

const (
	warmup    = 500 * time.Millisecond // of each flow
	joinTurns = 10                     // joins of each socket
)
