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
	"github.com/belfry-io/belfry/test/kit"
)

func TestHubWithoutAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{})
		kit.OK(t, h.Ready(t.Context()))
		_, m := add(t, h, "red")
		say(t, h, "x", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "x")
		if s := h.Stats(); s.State.Status != adapter.Connected || len(ids(h)) > 0 || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
		kit.OK(t, h.Close(t.Context()))
		kit.ErrorIs(t, h.Rooms("/", frame).Emit(Broadcast{Payload: []byte("y")}), adapter.ErrClosed,
			"Broadcast after Close")
		got(t, "the member after Close", m, "y")
	})
}

// One node is one membership of the cluster, however many namespaces it has.
func TestOneMembershipForAllNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		said := func() int {
			wires[0].mu.Lock()
			defer wires[0].mu.Unlock()
			return wires[0].sent[adapter.Cluster] + wires[0].sent[adapter.Node]
		}
		start := said()
		time.Sleep(10 * time.Second)
		before := said() - start
		for i := range 50 {
			r := hubs[0].Rooms(fmt.Sprint("/", i), frame)
			kit.OK(t, r.Add(t.Context(), hubs[0].NewID(), new(member)))
		}
		start = said()
		time.Sleep(10 * time.Second)
		if after := said() - start; before == 0 || after > before+1 {
			t.Errorf("%d messages in 10 s with 50 namespaces, %d with none", after, before)
		}
		kit.EqualSlices(t, hubs[1].Stats().Nodes, []string{hubs[0].Node()}, "nodes")
	})
}

// A node that closes says so: the others know at once, and nobody waits for it.
func TestCloseSaysBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		id, m := add(t, hubs[0], "red")
		_, gone := add(t, hubs[1], "red")
		for i := range 100 {
			say(t, hubs[1], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
		}
		kit.OK(t, hubs[1].Close(t.Context()))
		kit.OK(t, hubs[1].Close(t.Context()), "second Close")
		synctest.Wait()
		kit.Equal(t, len(m.take()), 100, "broadcasts before Close that came")
		kit.EqualSlices(t, hubs[0].Stats().Nodes, []string{hubs[2].Node()},
			"nodes after Close of one: the other")
		start := time.Now()
		if err := hubs[0].Rooms("/", frame).Join(t.Context(), id, "blue"); err != nil || time.Since(start) > 20*time.Millisecond {
			t.Errorf("Join after Close of another: %v after %v", err, time.Since(start))
		}
		gone.take()
		r := hubs[1].Rooms("/", frame)
		kit.ErrorIs(t, r.Emit(Broadcast{Rooms: []string{"red"}, Payload: []byte("x")}), adapter.ErrClosed,
			"Broadcast after Close")
		got(t, "the closed node's member", gone, "x")
		if err := r.Join(t.Context(), r.IDs()[0], "blue"); !errors.Is(err, adapter.ErrClosed) || !slices.Contains(r.Of(r.IDs()[0]), "blue") {
			t.Errorf("Join after Close: %v, want ErrClosed, and the membership", err)
		}
		kit.Equal(t, hubs[1].Stats().Refused, 0, "refused with ErrOverflow")
		if err := hubs[1].Ready(t.Context()); err != nil && !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Ready after Close: %v", err)
		}
	})
}

// Close waits no longer than its context for a broker that is stuck, and says that something was not sent.
func TestCloseWithStuckLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var stuck atomic.Bool
		w := &wire{Memory: memory, publishing: func(ctx context.Context, topic adapter.Topic) error {
			if stuck.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		hubs := clusterOn(t, w, &wire{Memory: memory})
		add(t, hubs[0], "red")
		stuck.Store(true)
		say(t, hubs[0], "x", Broadcast{})
		ctx := kit.Within(t, 3*time.Second)
		start := time.Now()
		err := hubs[0].Close(ctx)
		kit.Equal(t, time.Since(start), 3*time.Second, "Close took")
		kit.ErrorIs(t, err, context.DeadlineExceeded, "Close, while a broadcast was not sent")
	})
}

// A Hub can be closed while its adapter is being opened, and works on its own node before.
func TestCloseBeforeOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Logger: silent, Adapter: &wire{Memory: new(adapter.Memory), opening: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}})
		start := time.Now()
		_, m := add(t, h, "red")
		kit.Took(t, start, 0, time.Second, "joining", "without a link")
		say(t, h, "x", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "x")
		ctx := kit.Within(t, time.Second)
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Ready: %v, want the deadline", err)
		}
		if s := h.State(); s.Status != adapter.Degraded || s.Reason == nil {
			t.Errorf("state %+v, want Degraded with a reason", s)
		}
		start = time.Now()
		if err := h.Close(t.Context()); err == nil {
			t.Error("Close: nil, although a broadcast was not sent")
		}
		kit.Equal(t, time.Since(start), 0, "Close where there is nobody to talk to took")
		kit.ErrorIs(t, h.Rooms("/", frame).Emit(Broadcast{}), adapter.ErrClosed, "Broadcast after Close")
		kit.ErrorIs(t, h.Ready(t.Context()), adapter.ErrClosed, "Ready after Close")
	})
}

// An adapter that cannot be opened is an error of Ready; it is tried again, and Ready is nil once it could.
func TestOpenFailsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wrong := errors.New("wrong password")
		var tries atomic.Int32
		w := &wire{Memory: memory, opening: func(context.Context) error {
			if tries.Add(1) < 4 {
				return wrong
			}
			return nil
		}}
		other := open(t, &wire{Memory: memory})
		h := open(t, w)
		kit.ErrorIs(t, h.Ready(t.Context()), wrong)
		if s := h.State(); s.Status != adapter.Degraded || !errors.Is(s.Reason, wrong) {
			t.Errorf("state %+v, want Degraded with the adapter's error", s)
		}
		id, m := add(t, h, "red")
		time.Sleep(8 * time.Second)
		kit.Equal(t, tries.Load(), 4, "tries in 8 s")
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("Ready after it was opened: %v, want nil", err)
		}
		kit.OK(t, h.Rooms("/", frame).Join(t.Context(), id, "blue"))
		say(t, other, "x", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member", m, "x")
	})
}

func TestReadyOfHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, &wire{Memory: new(adapter.Memory)})
		synctest.Wait() // connected, and still listening for others
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Ready: %v, want the deadline", err)
		}
		start := time.Now()
		if err := h.Ready(t.Context()); err != nil || time.Since(start) > 300*time.Millisecond {
			t.Errorf("Ready of a lonely node: %v after %v", err, time.Since(start))
		}
		w := &wire{Memory: new(adapter.Memory), state: adapter.State{Status: adapter.Degraded, Reason: errors.New("no broker")}}
		h = open(t, w)
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no broker") {
			t.Errorf("Ready without a broker: %v, want the deadline, and why", err)
		}
		w.set(adapter.State{Status: adapter.Connected})
		kit.OK(t, h.Ready(t.Context()), "Ready with a broker")
	})
}

// Nodes that open at the same time meet at once.
func TestNodesThatOpenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var hubs []*Hub
		for range 5 {
			hubs = append(hubs, open(t, &wire{Memory: memory}))
		}
		for _, h := range hubs {
			kit.OK(t, h.Ready(t.Context()))
		}
		synctest.Wait()
		for i, h := range hubs {
			kit.Equal(t, len(h.Stats().Nodes), 4, "other nodes that", i, "knows when all are ready")
		}
	})
}
