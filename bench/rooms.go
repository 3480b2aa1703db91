package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// roomServers is how many NATS servers the rooms' cluster has: one for each of the three nodes.
const roomServers = 3

// A roomField is the processes that rooms are measured with: NATS servers, and nodes or bare clients of which the first has the rooms. The first
// uses the first server; the others, each on one of the others, send to it.
type roomField struct {
	field
	brokers []*process
	urls    []string
	nodes   []*process
}

// openBrokers starts the NATS servers.
func (f *roomField) openBrokers(ctx context.Context) error {
	var first string
	for range roomServers {
		var urls brokerAddresses
		b, err := f.start(ctx, "broker", brokerConfig{Cluster: true, Join: first}, &urls)
		if err != nil {
			return err
		}
		f.brokers = append(f.brokers, b)
		if first == "" {
			first = urls.Route
		}
		f.urls = append(f.urls, urls.Client)
	}
	return nil
}

// openNodes starts a node for each NATS server and has them meet.
func (f *roomField) openNodes(ctx context.Context, noCover bool) error {
	for i, url := range f.urls {
		// It learns of the other servers from the one that it uses.
		n, err := f.start(ctx, "node", nodeConfig{URL: url, NoCover: noCover, ID: byte(i), Members: roomMembers}, nil)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, n)
	}
	return meet(ctx, f.nodes)
}

// openClients starts a bare client for each NATS server.
func (f *roomField) openClients(ctx context.Context) error {
	for i := range f.urls {
		urls := slices.Concat(f.urls[i:], f.urls[:i])
		c, err := f.start(ctx, "client", clientConfig{URL: strings.Join(urls, ","), ID: byte(i)}, nil)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, c)
	}
	return nil
}

// A holding is what has rooms, and is weighed.
type holding struct {
	Name        string `json:"name"`
	Node        bool   `json:"node"`        // a node of belfry, not a bare client of NATS
	Null        bool   `json:"null"`        // with an adapter that carries nothing
	NATS        bool   `json:"nats"`        // connected to NATS
	Memberships int    `json:"memberships"` // of each room
}

// holdings are what is weighed, each in a process of its own. What one needs more than another one is what it has more.
var holdings = []holding{
	{Name: "index alone: one node", Node: true, Memberships: 1},
	{Name: "the same, 10 members a room", Node: true, Memberships: 10},
	{Name: "index and mesh: an adapter that carries nothing", Node: true, Null: true, Memberships: 1},
	{Name: "the whole: index, mesh, natsadapter", Node: true, NATS: true, Memberships: 1},
	{Name: "nats.go alone: a client with a subscription a room", NATS: true, Memberships: 1},
}

// A weight is what the rooms of a holding occupy.
type weight struct {
	Run     int              `json:"run"`
	Holding string           `json:"holding"`
	Rooms   int              `json:"rooms"`
	Before  memory           `json:"before"`
	After   memory           `json:"after"`
	Brokers [][2]memory      `json:"brokers,omitempty"` // of each NATS server, before and after; the first is the one that the holder uses
	Joins   map[string]joins `json:"joins,omitempty"`   // by their manner
}

// joins are some joins of one manner, on a node that has the rooms already.
type joins struct {
	Count int `json:"count"`
	joinResult
}

const (
	roomMembers   = 1000 // of a node; each is in as many rooms
	fillBatch     = 100  // rooms a call
	singleJoins   = 2000 // are awaited one after the other
	parallelJoins = 50_000
	joiners       = 256 // of them at a time
)

// weigh does one run of a holding.
func weigh(ctx context.Context, cfg roomsConfig, h holding, run int) (result *weight, err error) {
	f := new(roomField)
	defer func() { err = errors.Join(err, f.stop()) }()
	rooms := slices.Max(cfg.Rooms)
	result = &weight{Run: run, Holding: h.Name, Rooms: rooms}
	if h.NATS {
		if err := f.openBrokers(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case h.NATS && h.Node:
		err = f.openNodes(ctx, false)
	case h.NATS:
		err = f.openClients(ctx)
	default:
		var n *process
		n, err = f.start(ctx, "node", nodeConfig{Null: h.Null, Members: roomMembers}, nil)
		f.nodes = []*process{n}
	}
	if err != nil {
		return nil, err
	}
	n := f.nodes[0]
	if err := n.call("memory", none{}, &result.Before, 0); err != nil {
		return nil, err
	}
	result.Brokers = make([][2]memory, len(f.brokers))
	for i, b := range f.brokers {
		if err := b.call("memory", none{}, &result.Brokers[i][0], 0); err != nil {
			return nil, err
		}
	}
	fill := joinArgs{Prefix: "room", Rooms: rooms, Batch: fillBatch, Callers: 1, Times: h.Memberships}
	var filled joinResult
	if err := n.call("join", fill, &filled, time.Minute); err != nil {
		return nil, err
	}
	time.Sleep(memorySettle)
	if err := n.call("memory", none{}, &result.After, 0); err != nil {
		return nil, err
	}
	for i, b := range f.brokers {
		if err := b.call("memory", none{}, &result.Brokers[i][1], 0); err != nil {
			return nil, err
		}
	}
	if !h.NATS || !h.Node {
		return result, nil
	}
	result.Joins = map[string]joins{batched: {rooms, filled}}
	for manner, args := range map[string]joinArgs{
		single:   {Prefix: single, Rooms: min(singleJoins, rooms), Batch: 1, Callers: 1, Times: 1},
		parallel: {Prefix: parallel, Rooms: min(parallelJoins, rooms), Batch: 1, Callers: joiners, Times: 1},
	} {
		var r joinResult
		if err := n.call("join", args, &r, time.Minute); err != nil {
			return nil, err
		}
		result.Joins[manner] = joins{args.Rooms, r}
	}
	return result, nil
}

// The manners of joins.
const (
	single   = "single"
	parallel = "parallel"
	batched  = "batched"
)

// memorySettle is for what is under way when a node has joined: the interest on its way from server to server, goroutines that end.
const memorySettle = 500 * time.Millisecond
