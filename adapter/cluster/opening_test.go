package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

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
