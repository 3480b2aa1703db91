package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// everyCall is every call that asks all other nodes. parts says how many nodes have given theirs; -1 if that does not show.
var everyCall = []struct {
	name string
	call func(ctx context.Context, r *Rooms) (parts int, err error)
}{
	{"FetchSockets", func(ctx context.Context, r *Rooms) (int, error) {
		infos, err := r.FetchSockets(ctx, Selection{})
		return len(infos), err
	}},
	{"Count", func(ctx context.Context, r *Rooms) (int, error) { return r.Count(ctx, Selection{}) }},
	{"AllRooms", func(ctx context.Context, r *Rooms) (int, error) {
		names, err := r.AllRooms(ctx)
		return len(names), err
	}},
	{"SocketsJoin", func(ctx context.Context, r *Rooms) (int, error) {
		err := r.SocketsJoin(ctx, Selection{}, r.all()...)
		return -1, err
	}},
	{"SocketsLeave", func(ctx context.Context, r *Rooms) (int, error) {
		return -1, r.SocketsLeave(ctx, Selection{}, "none")
	}},
	{"DisconnectSockets", func(ctx context.Context, r *Rooms) (int, error) {
		return -1, r.DisconnectSockets(ctx, Selection{Rooms: []string{"none"}}, false)
	}},
	{"EmitWithAck", func(ctx context.Context, r *Rooms) (int, error) {
		acks, err := r.EmitWithAck(ctx, Broadcast{})
		return len(acks.Answers), err
	}},
	{"EmitCounted", func(ctx context.Context, r *Rooms) (int, error) { return r.EmitCounted(ctx, Broadcast{}) }},
	{"ServerSideEmitWithAck", func(ctx context.Context, r *Rooms) (int, error) {
		answers, err := r.ServerSideEmitWithAck(ctx, nil, nil)
		return len(answers) + 1, err
	}},
}

// populate puts a member into a room of its own on each node, and has all that can be asked answered.
func populate(t *testing.T, hubs []*Hub) {
	t.Helper()
	for i, h := range hubs {
		_, m := add(t, h, fmt.Sprint("node", i))
		answering(m, "answer", 0)
		h.OnServerSide(func(context.Context, ServerEvent) ([]byte, error) { return nil, nil })
		h.Handle("call", func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
	}
	settle()
}

func parts(t *testing.T, name string, got, want int) {
	t.Helper()
	if got != want && got != -1 {
		t.Errorf("%s: the parts of %d nodes, want those of %d", name, got, want)
	}
}

func TestEveryCall(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		populate(t, hubs)
		for _, c := range everyCall {
			start := time.Now()
			n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
			parts(t, c.name, n, len(hubs))
			if d := time.Since(start); err != nil || d > 25*time.Millisecond {
				t.Errorf("%s: %v after %v", c.name, err, d)
			}
		}
	})
}

// A node that dies is waited for until it is silent for 2 s, and named; after that, nobody waits.
func TestNodeDiesDuringCalls(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, wires := cluster(t, 3)
			populate(t, hubs)
			wires[2].die()
			start := time.Now()
			n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
			parts(t, c.name, n, 2)
			missing(t, c.name, err, 0, ErrNode, hubs[2].Node())
			kit.Took(t, start, 100*time.Millisecond, mesh.SuspectAfter+mesh.HeartbeatInterval)
			start = time.Now()
			n, err = c.call(t.Context(), hubs[0].Rooms("/", frame))
			parts(t, c.name, n, 2)
			missing(t, c.name+", again", err, 0, ErrNode, hubs[2].Node())
			kit.Took(t, start, 0, 25*time.Millisecond, "a node that is silent was waited for")
			time.Sleep(mesh.DeadAfter + mesh.SuspectAfter)
			if n, err = c.call(t.Context(), hubs[0].Rooms("/", frame)); err != nil {
				t.Errorf("when it is given up: %v", err)
			}
			parts(t, c.name, n, 2)
			idle(t, hubs[:2]...)
		})
	}
}

// deafened returns a cluster whose last node does not get requests, and is alive otherwise.
func deafened(t *testing.T, n int) (hubs []*Hub, deaf *atomic.Bool) {
	t.Helper()
	_, wires := newWires(n)
	deaf = new(atomic.Bool)
	wires[n-1].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
		if _, b, _, _ := decode(msg); b == nil || b.Kind == 0 || !deaf.Load() {
			recv(msg)
		}
	}
	hubs = clusterOn(t, wires...)
	populate(t, hubs)
	deaf.Store(true)
	return hubs, deaf
}

func TestNodeLeavesDuringCalls(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, _ := deafened(t, 3)
			time.AfterFunc(300*time.Millisecond, func() { hubs[2].Close(context.Background()) })
			start := time.Now()
			n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
			parts(t, c.name, n, 2)
			missing(t, c.name, err, 0, ErrNode, hubs[2].Node())
			kit.Took(t, start, 300*time.Millisecond, 310*time.Millisecond)
			if n, err = c.call(t.Context(), hubs[0].Rooms("/", frame)); err != nil {
				t.Errorf("when it has left: %v", err)
			}
			parts(t, c.name, n, 2)
			idle(t, hubs[:2]...)
		})
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, _ := deafened(t, 3)
			ended := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			for _, end := range []struct {
				ctx   context.Context
				after time.Duration
				cause error
			}{{ctx, 700 * time.Millisecond, ended}, {context.Background(), CallTimeout, context.DeadlineExceeded}} {
				time.AfterFunc(700*time.Millisecond, func() { cancel(ended) })
				start := time.Now()
				n, err := c.call(end.ctx, hubs[0].Rooms("/", frame))
				parts(t, c.name, n, 2)
				missing(t, c.name, err, 0, end.cause, hubs[2].Node())
				kit.Equal(t, time.Since(start), end.after, "it took")
			}
			settle()
			idle(t, hubs...)
		})
	}
}

// A Hub that is closed ends its calls. What concerns this node alone goes on to work.
func TestCloseEndsCalls(t *testing.T) {
	for _, c := range everyCall {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, _ := deafened(t, 2)
			time.AfterFunc(time.Second, func() { hubs[0].Close(context.Background()) })
			r := hubs[0].Rooms("/", frame)
			n, err := c.call(t.Context(), r)
			parts(t, c.name, n, 1)
			missing(t, c.name, err, 0, adapter.ErrClosed, hubs[1].Node())
			n, err = c.call(t.Context(), r)
			parts(t, c.name, n, 1)
			kit.ErrorIs(t, err, adapter.ErrClosed, "after Close")
			if acks, err := r.EmitWithAck(t.Context(), Broadcast{Local: true}); err != nil || len(acks.Answers) != 1 {
				t.Errorf("on this node: %d answers, %v", len(acks.Answers), err)
			}
			idle(t, hubs...)
		})
	}
}

// Without a broker there are the results of this node, at once; changes reach the others later.
func TestCallsWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		populate(t, hubs)
		wires[0].set(adapter.State{Status: adapter.Degraded, Reason: errors.New("no broker")})
		settle()
		for _, c := range everyCall {
			start := time.Now()
			n, err := c.call(t.Context(), hubs[0].Rooms("/", frame))
			parts(t, c.name, n, 1)
			missing(t, c.name, err, 0, adapter.ErrUnavailable, hubs[1].Node(), hubs[2].Node())
			kit.Equal(t, time.Since(start), 0, c.name, "took")
		}
		if err := hubs[0].Rooms("/", frame).SocketsJoin(t.Context(), Selection{}, "red"); err == nil {
			t.Error("SocketsJoin without a broker: nil")
		}
		time.Sleep(time.Second)
		wires[0].set(adapter.State{Status: adapter.Connected})
		time.Sleep(time.Second)
		if n, err := hubs[0].Rooms("/", frame).Count(t.Context(), Selection{Rooms: []string{"red"}}); n != 3 || err != nil {
			t.Errorf("%d have joined when it is back, %v; want 3", n, err)
		}
		idle(t, hubs...)
	})
}

// The queue's bound holds for requests, too; this node's part is done.
func TestCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		stuck := make(chan struct{})
		var full atomic.Bool
		wires[0].publishing = func(ctx context.Context, topic adapter.Topic) error {
			if full.Load() {
				<-stuck
			}
			return nil
		}
		near := NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 1000})
		t.Cleanup(func() { near.Close(context.Background()) })
		far := open(t, wires[1])
		for _, h := range []*Hub{near, far} {
			kit.OK(t, h.Ready(t.Context()))
		}
		populate(t, []*Hub{near, far})
		full.Store(true)
		say(t, near, string(make([]byte, 2000)), Broadcast{})
		for _, c := range everyCall {
			n, err := c.call(t.Context(), near.Rooms("/", frame))
			parts(t, c.name, n, 1)
			missing(t, c.name, err, 0, ErrOverflow, far.Node())
		}
		kit.ErrorIs(t, near.Rooms("/", frame).ServerSideEmit(t.Context(), nil, nil), ErrOverflow)
		close(stuck)
		settle()
		idle(t, near, far)
	})
}

// A node of another version does not know every request, and says so. What it answers to those that it knows is known.
func TestUnknownRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		start := time.Now()
		err := hubs[0].Rooms("/", frame).askAll(t.Context(), 200, Selection{}, func(ask.Page) error {
			t.Error("it was answered")
			return nil
		})
		missing(t, "an unknown kind", err, 0, ErrUnknown, hubs[1].Node(), hubs[2].Node())
		kit.Took(t, start, 0, 10*time.Millisecond)
		idle(t, hubs...)
	})
}

// Requests with arguments that make no sense do no harm.
func TestMalformedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, m := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		for kind := range envelope.Kind(20) {
			for _, id := range []uint64{0, 7} {
				for _, arg := range []string{"", "\xff", "\x01\xff", "\xff\xff\xff\xff\xff\xff\xff\x7f"} {
					b := r.request(kind, Broadcast{}, time.Second)
					b.ID, b.Arg = id, []byte(arg)
					_, err := hubs[1].publish(b)
					kit.OK(t, err)
				}
			}
		}
		time.Sleep(2 * time.Second)
		for _, text := range m.take() { // each kind that changes something, which three of the four arguments cannot be
			if text != "" && text != "disconnect false" {
				t.Errorf("the member got %q", text)
			}
		}
		kit.Equal(t, r.Len(), 0, "members left by those who were to disconnect them")
		idle(t, hubs...)
	})
}
