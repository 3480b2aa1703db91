package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
)

// nodeConfig is what a node is started with.
type nodeConfig struct {
	URL     string `json:"url"`      // of NATS servers; empty means that there are none
	NoCover bool   `json:"no_cover"` // with URL: as in natsadapter.Config
	Null    bool   `json:"null"`     // without URL: there is an adapter all the same, which carries nothing
	ID      byte   `json:"id"`       // of its prober
	Members int    `json:"members"`  // how many it has
}

// joinArgs say which rooms the members of a node join. The members take turns, with Batch rooms in each call.
type joinArgs struct {
	Prefix  string `json:"prefix"` // of the rooms' names, before their numbers
	First   int    `json:"first"`
	Rooms   int    `json:"rooms"`
	Batch   int    `json:"batch"`
	Callers int    `json:"callers"` // calls at a time
	Times   int    `json:"times"`   // members of each room; they join in one call after the other
}

// joinResult is what the joins took.
type joinResult struct {
	Elapsed  time.Duration `json:"elapsed_ns"`
	CPU      cpu           `json:"cpu"`
	Unfenced int           `json:"unfenced"` // calls that not all nodes had confirmed
}

// A node is a node of belfry without a server: a Hub, whose members are its own.
type node struct {
	hub     *cluster.Hub
	rooms   *cluster.Rooms
	members []string
	prober  prober
}

// nodeNamespace is the namespace of all rooms of a node.
const nodeNamespace = "/"

func newNodeRole() map[string]handler {
	n := new(node)
	handlers := map[string]handler{
		"start": handle(func(cfg nodeConfig) (none, error) { return none{}, n.start(cfg) }),
		"peers": handle(func(none) (int, error) { return n.hub.ServerCount() - 1, nil }),
		"join":  handle(n.join),
	}
	maps.Copy(handlers, n.prober.handlers(func(room string, payload []byte) error {
		return n.rooms.Emit(cluster.Broadcast{Rooms: []string{room}, Payload: payload})
	}))
	return handlers
}

// start makes the node. It lives as long as the process.
func (n *node) start(cfg nodeConfig) error {
	n.prober.id = cfg.ID
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	config := cluster.HubConfig{Logger: log}
	switch {
	case cfg.URL != "":
		config.Adapter = natsadapter.New(natsadapter.Config{URL: cfg.URL, Cluster: "bench", Logger: log, NoCover: cfg.NoCover})
	case cfg.Null:
		config.Adapter = nullAdapter{}
	}
	n.hub = cluster.NewHub(config)
	n.rooms = n.hub.Rooms(nodeNamespace, func(payload []byte, _ bool) (any, error) { return payload, nil })
	ctx, cancel := context.WithTimeout(context.Background(), meetTimeout)
	defer cancel()
	if err := n.hub.Ready(ctx); err != nil {
		return err
	}
	for range cfg.Members {
		id := n.hub.NewID()
		n.members = append(n.members, id)
		if err := n.rooms.Add(ctx, id, probed{&n.prober}); err != nil {
			return err
		}
	}
	return nil
}

// join carries out args.
func (n *node) join(args joinArgs) (joinResult, error) {
	if args.Batch < 1 || args.Callers < 1 || args.Times < 1 || args.Times > len(n.members) {
		return joinResult{}, errors.New("want a batch, callers, and no more times than there are members")
	}
	before, err := usedCPU()
	if err != nil {
		return joinResult{}, err
	}
	begun := time.Now()
	var next, unfenced atomic.Int64 // next is the number of the next call
	calls := (args.Rooms + args.Batch - 1) / args.Batch
	var callers sync.WaitGroup
	failures := make(chan error, args.Callers)
	for range args.Callers {
		callers.Go(func() {
			for {
				call := int(next.Add(1)) - 1
				if call >= calls*args.Times {
					return
				}
				first := call / args.Times * args.Batch
				names := make([]string, min(args.Batch, args.Rooms-first))
				for i := range names {
					names[i] = roomName(args.Prefix, args.First+first+i)
				}
				err := n.rooms.Join(context.Background(), n.members[call%len(n.members)], names...)
				if _, ok := errors.AsType[*cluster.UnfencedError](err); ok {
					unfenced.Add(1)
				} else if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	callers.Wait()
	result := joinResult{Elapsed: time.Since(begun), Unfenced: int(unfenced.Load())}
	after, err := usedCPU()
	result.CPU = after.sub(before)
	select {
	case err = <-failures:
	default:
	}
	return result, err
}

// roomName is the name of a room: as long as many have.
func roomName(prefix string, n int) string { return fmt.Sprintf("%s-%06d", prefix, n) }

// probed is a member that hands everything to a prober.
type probed struct{ *prober }

func (m probed) Deliver(frame any) bool {
	m.receive(frame.([]byte))
	return true
}

func (m probed) DeliverWithAck(frame any, answer func([]byte, bool)) {
	m.Deliver(frame)
	answer(nil, false)
}

func (probed) CancelAck(any)    {}
func (probed) Describe() []byte { return nil }
func (probed) Disconnect(bool)  {}

// A nullAdapter joins nobody: its links are connected and carry nothing.
type nullAdapter struct{}

type nullLink struct{ changed chan struct{} }

func (nullAdapter) Open(context.Context, func([]byte)) (adapter.Link, error) {
	return nullLink{make(chan struct{})}, nil
}

func (nullLink) Publish(context.Context, adapter.Topic, []byte) error { return nil }
func (nullLink) Subscribe(context.Context, ...adapter.Topic) error    { return nil }
func (nullLink) Unsubscribe(context.Context, ...adapter.Topic) error  { return nil }
func (l nullLink) State() (adapter.State, <-chan struct{}) {
	return adapter.State{Status: adapter.Connected, Connections: 1}, l.changed
}
func (nullLink) Close() error { return nil }
