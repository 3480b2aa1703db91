package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// A node whose receiver hangs is named by the Join that waits for it; the next does not wait.
func TestUnfencedJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hang := make(chan struct{})
		var hung atomic.Bool
		wires := []*wire{{Memory: memory}, {Memory: memory}, {Memory: memory}}
		wires[1].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if hung.Load() {
				<-hang
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		id, _ := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		synctest.Wait()
		hung.Store(true)
		wires[1].set(adapter.State{Status: adapter.Degraded, Reason: errors.New("hung")}) // it says nothing either
		settle()
		wires[1].mu.Lock()
		wires[1].state.Status = adapter.Connected // what it is told gets through, and stays with its receiver
		wires[1].mu.Unlock()
		time.Sleep(300 * time.Millisecond) // the next Beat is not due when the fence is
		start := time.Now()
		err := r.Join(t.Context(), id, "red")
		var unfenced *UnfencedError
		if !errors.As(err, &unfenced) || !slices.Equal(unfenced.Nodes, []string{hubs[1].Node()}) || !strings.Contains(err.Error(), hubs[1].Node()) {
			t.Errorf("Join with a hung node: %v, want an error that names %s", err, hubs[1].Node())
		}
		kit.Took(t, start, 200*time.Millisecond, 300*time.Millisecond, "Join with a hung node")
		if got := r.Of(id); !slices.Contains(got, "red") {
			t.Errorf("the membership does not stand: %q", got)
		}
		for i := range 10 {
			start = time.Now()
			kit.OK(t, r.Join(t.Context(), id, fmt.Sprint("more", i)), "next Join")
			kit.Took(t, start, 0, 20*time.Millisecond, "next Join")
		}
		if s := hubs[0].Stats(); !slices.Equal(s.Suspects, []string{hubs[1].Node()}) || !slices.Equal(s.Nodes, []string{hubs[2].Node()}) {
			t.Errorf("suspects %v, nodes %v", s.Suspects, s.Nodes)
		}
		close(hang)
		wires[1].set(adapter.State{Status: adapter.Connected})
		time.Sleep(2 * time.Second)
		if got := hubs[0].Stats().Nodes; len(got) != 2 {
			t.Errorf("nodes %v after it is back, want both", got)
		}
		kit.OK(t, r.Join(t.Context(), id, "last"), "Join after it is back")
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var deaf atomic.Bool
		wires[1].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if !deaf.Load() {
				recv(msg)
			}
		}
		hubs := clusterOn(t, wires...)
		id, _ := add(t, hubs[0])
		deaf.Store(true)
		ctx := kit.Within(t, 100*time.Millisecond)
		r := hubs[0].Rooms("/", frame)
		if err := r.Join(ctx, id, "red"); !errors.Is(err, context.DeadlineExceeded) || !slices.Contains(r.Of(id), "red") {
			t.Errorf("Join: %v, rooms %q; want the deadline, and the membership", err, r.Of(id))
		}
	})
}

// afar returns what wire.receiving is for messages that take d to come, in their order.
func afar(t *testing.T, d time.Duration) func(msg []byte, broadcast bool, recv func([]byte)) {
	type arrival struct {
		at   time.Time
		recv func()
	}
	arrivals := make(chan arrival, 1000)
	done := make(chan struct{})
	t.Cleanup(func() {
		close(arrivals)
		<-done
	})
	go func() {
		defer close(done)
		for a := range arrivals {
			time.Sleep(time.Until(a.at))
			a.recv()
		}
	}()
	return func(msg []byte, _ bool, recv func([]byte)) {
		arrivals <- arrival{time.Now().Add(d), func() { recv(msg) }}
	}
}

// A call on a new link does not take the nodes that it has not met for nobody: it waits for the answer to the hello.
func TestCallsOnANewLink(t *testing.T) {
	const way = 50 * time.Millisecond // to the new node
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, wires := cluster(t, 2)
			populate(t, hubs)
			w := &wire{Memory: wires[0].Memory, receiving: afar(t, way)}
			h := open(t, w)
			enter(t, h)
			check := func(when string) {
				t.Helper()
				if h.State().Status != adapter.Connected {
					t.Fatalf("%s: not connected", when)
				}
				start := time.Now()
				n, err := c.call(t.Context(), h.Rooms("/", frame))
				if err != nil {
					t.Errorf("%s: %v after %v", when, err, time.Since(start))
				}
				parts(t, when, n, 3)
			}
			check("a new node")
			w.set(adapter.State{Status: adapter.Degraded, Reason: errors.New("no broker")})
			time.Sleep(mesh.DeadAfter + 5*time.Second)
			w.set(adapter.State{Status: adapter.Connected})
			synctest.Wait()
			check("after a long silence")
		})
	}
}

// enter puts a member into a room of its own on a node that is connected and has yet to meet the others.
func enter(t *testing.T, h *Hub) {
	t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the membership stands at once
	id, m := h.NewID(), new(member)
	answering(m, "answer", 0)
	r := h.Rooms("/", frame)
	kit.ErrorIs(t, r.Add(ctx, id, m), context.Canceled, "Add: has the node met the others already?")
	kit.ErrorIs(t, r.Join(ctx, id, "newcomer"), context.Canceled)
}

// Who has no time to wait for the answer to the hello gets a part, and is told so.
func TestCallsThatDoNotWaitForTheHello(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, wires := cluster(t, 2)
			populate(t, hubs)
			h := open(t, &wire{Memory: wires[0].Memory, receiving: afar(t, 50*time.Millisecond)})
			enter(t, h)
			ctx := kit.Within(t, time.Millisecond)
			start := time.Now()
			_, err := c.call(ctx, h.Rooms("/", frame))
			missing(t, c.name, err, 0, context.DeadlineExceeded)
			kit.Equal(t, time.Since(start), time.Millisecond, "it took")
		})
	}
}
