package cluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// Requests and answers that the broker loses are repaired: no call fails for it, or waits for its deadline.
func TestCallsOverLossyBroker(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			_, wires := newWires(3)
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(1, 2))
			lost := 0
			var lossy atomic.Bool
			for _, w := range wires {
				w.receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
					mu.Lock()
					lose := lossy.Load() && broadcast && rng.IntN(3) == 0
					if lose {
						lost++
					}
					mu.Unlock()
					if !lose {
						recv(msg)
					}
				}
			}
			hubs := clusterOn(t, wires...)
			populate(t, hubs)
			lossy.Store(true)
			for range 10 {
				start := time.Now()
				n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
				parts(t, c.name, n, 3)
				if d := time.Since(start); err != nil || d > 10*time.Second {
					t.Errorf("%v after %v", err, d)
				}
			}
			if lost < 5 {
				t.Errorf("%d were lost, too few to see anything", lost)
			}
			settle()
			idle(t, hubs...)
		})
	}
}

// A node without members is asked nothing, neither waited for nor named, and asks as any other.
func TestCallsOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hubs := clusterOn(t, &wire{Memory: memory}, &wire{Memory: memory})
		populate(t, hubs)
		w := &wire{Memory: memory}
		client := NewHub(HubConfig{Adapter: w, Client: true, Logger: silent})
		t.Cleanup(func() { client.Close(context.Background()) })
		kit.OK(t, client.Ready(t.Context()))
		client.OnServerSide(func(context.Context, ServerEvent) ([]byte, error) {
			t.Error("the client was asked")
			return nil, nil
		})
		settle()
		for _, dead := range []bool{false, true} {
			for _, c := range everyCall {
				start := time.Now()
				n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
				parts(t, c.name, n, 2)
				if d := time.Since(start); err != nil || d > 25*time.Millisecond {
					t.Errorf("%s with a client that is dead %v: %v after %v", c.name, dead, err, d)
				}
				if dead {
					continue
				}
				n, err = c.call(t.Context(), client.Rooms("/", frame))
				if c.name == "ServerSideEmitWithAck" {
					n-- // it counts the caller
				}
				if parts(t, c.name+" of a client", n, 2); err != nil {
					t.Errorf("%s of a client: %v", c.name, err)
				}
			}
			w.die()
			time.Sleep(time.Second)
		}
		if out, err := hubs[0].Call(t.Context(), hubs[1].Node(), "call", nil); err != nil {
			t.Errorf("Call: %q, %v", out, err)
		}
		idle(t, hubs...)
	})
}

// What only asks is not queued while nobody would be waited for.
func TestLookingCostsNothingWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		populate(t, hubs)
		wires[0].die()
		settle()
		r := hubs[0].Rooms("/", frame)
		_, _ = r.FetchSockets(t.Context(), Selection{})
		_, _ = r.Count(t.Context(), Selection{})
		_, _ = r.AllRooms(t.Context())
		kit.Equal(t, hubs[0].Stats().Queued, 0, "bytes queued")
	})
}

// The answers of another node's members are bounded while they wait to be sent; those of this node are the result already.
func TestLargeAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		for range 3 {
			_, m := add(t, hubs[0])
			m.asking = func(_ string, answer func([]byte, bool)) { answer(make([]byte, 3<<20), true) }
		}
		acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{})
		if len(acks.Answers) != 3 || err != nil {
			t.Errorf("%d answers of this node, %v; want 3", len(acks.Answers), err)
		}
		acks, err = hubs[1].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{})
		missing(t, "3 answers at once", err, 2, ErrBusy, hubs[0].Node())
		kit.Equal(t, len(acks.Answers), 1, "answers: the first")
		kit.Equal(t, acks.Members, 3, "members")
		idle(t, hubs...)
	})
}
