//go:build unix

package cluster_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// BenchmarkUnion chooses maxUnionTopics. A node broadcasts to some rooms at once, by the topics of the rooms or by that of the
// namespace, in clusters of several sizes over three NATS servers; each room has members on a share of the other nodes. Everything is
// in this process, so cpu-us/op is what a broadcast costs publisher, NATS servers and receivers together; the time is that of the machine.
//
//	go test ./adapter/cluster -run '^$' -bench Union -benchtime 2000x
func BenchmarkUnion(b *testing.B) {
	for _, nodes := range []int{3, 10, 30} {
		for _, share := range []float64{0, 0.25, 1} {
			b.Run(fmt.Sprintf("nodes=%d/share=%v", nodes, share), func(b *testing.B) {
				u := newUnion(b, nodes, share)
				for _, rooms := range []int{2, 3, 4, 6, 8, 12, 16} {
					for _, by := range []string{"rooms", "namespace"} {
						b.Run(fmt.Sprintf("rooms=%d/by=%s", rooms, by), func(b *testing.B) { u.run(b, rooms, by == "rooms") })
					}
				}
			})
		}
	}
}

const (
	unionRooms  = 16  // that there are
	unionFlying = 100 // broadcasts that have not reached all members
)

// union is a cluster for the benchmark.
type union struct {
	rooms     *cluster.Rooms // of the node that broadcasts
	names     []string
	at        [][]int // by room: the nodes with a member
	delivered atomic.Int64
	wake      chan struct{}
}

func newUnion(b *testing.B, nodes int, share float64) *union {
	b.Helper()
	servers := natstest.NewCluster(b, 3)
	u := &union{wake: make(chan struct{}, 1)}
	log := slog.New(slog.DiscardHandler)
	frame := func(payload []byte, _ bool) (any, error) { return payload, nil }
	hubs := make([]*cluster.Hub, nodes)
	for i := range hubs {
		hubs[i] = cluster.NewHub(cluster.HubConfig{Logger: log, Adapter: natsadapter.New(natsadapter.Config{URL: servers[i%len(servers)].URL(), Logger: log})})
		b.Cleanup(func() {
			if err := hubs[i].Close(b.Context()); err != nil {
				b.Log(err) // its queue is not what is tested
			}
		})
		kit.OK(b, hubs[i].Ready(b.Context()))
	}
	for range unionRooms {
		u.names = append(u.names, fmt.Sprint("room ", len(u.names)))
	}
	others := nodes - 1
	members := max(1, int(math.Round(share*float64(others))))
	u.at = make([][]int, unionRooms)
	for i := range hubs {
		r := hubs[i].Rooms("/", frame)
		if i == 0 {
			u.rooms = r
			continue
		}
		id := hubs[i].NewID()
		kit.OK(b, r.Add(b.Context(), id, u))
		for room, name := range u.names {
			// Room after room is placed on the nodes that come next.
			if (i-1-room*members%others+others)%others < members {
				u.join(b, r, id, name)
				u.at[room] = append(u.at[room], i)
			}
		}
	}
	return u
}

// join waits until all nodes have confirmed, which takes more than one call where many nodes begin at once.
func (u *union) join(b *testing.B, r *cluster.Rooms, id, name string) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := r.Join(b.Context(), id, name)
		if err == nil {
			return
		}
		if _, ok := errors.AsType[*cluster.UnfencedError](err); !ok || time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// Deliver implements [cluster.Member], for the members of all nodes.
func (u *union) Deliver(any) bool {
	u.delivered.Add(1)
	select {
	case u.wake <- struct{}{}:
	default:
	}
	return true
}

// What the other methods of a member are for does not happen here.
func (u *union) DeliverWithAck(any, func([]byte, bool)) {}
func (u *union) CancelAck(any)                          {}
func (u *union) Describe() []byte                       { return nil }
func (u *union) Disconnect(bool)                        {}

// run broadcasts to the first rooms.
func (u *union) run(b *testing.B, rooms int, byRooms bool) {
	cluster.SetMaxUnionTopics(b, map[bool]int{true: unionRooms, false: 0}[byRooms])
	reached := map[int]bool{}
	for _, at := range u.at[:rooms] {
		for _, node := range at {
			reached[node] = true
		}
	}
	u.delivered.Store(0)
	sent := int64(0)
	payload := make([]byte, 200)
	wait := func(flying int64) {
		for deadline := time.After(time.Minute); u.delivered.Load() < (sent-flying)*int64(len(reached)); {
			select {
			case <-u.wake:
			case <-deadline:
				b.Fatalf("%d of %d deliveries", u.delivered.Load(), sent*int64(len(reached)))
			}
		}
	}
	before := processorTime(b)
	for b.Loop() {
		kit.OK(b, u.rooms.Emit(cluster.Broadcast{Rooms: u.names[:rooms], Payload: payload}))
		sent++
		wait(unionFlying)
	}
	wait(0)
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/1000/float64(sent), "cpu-us/op")
	b.ReportMetric(float64(len(reached)), "nodes-reached")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	kit.OK(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
