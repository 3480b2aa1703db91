package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

func TestRule15FramedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		framed := 0
		r := hubs[0].Rooms("/framed", func(payload []byte, volatile bool) (any, error) { framed++; return frame(payload, volatile) })
		say := func(b Broadcast) {
			t.Helper()
			b.Payload = []byte("x")
			kit.OK(t, r.Emit(b))
		}
		var members []*member
		for i := range 10 {
			members = append(members, addAs(t, r, fmt.Sprint(i), "red", "blue"))
		}
		addAs(t, hubs[1].Rooms("/framed", frame), "there", "red")
		say(Broadcast{Rooms: []string{"red", "blue"}})
		say(Broadcast{Local: true})
		say(Broadcast{Volatile: true})
		say(Broadcast{Rooms: []string{"nowhere"}})
		kit.Equal(t, framed, 3, "framings, once for each of three that somebody gets")
		settle()
		for i, m := range members {
			got(t, fmt.Sprint("member ", i), m, "x", "x", "volatile x")
		}
		if got := len(wires[1].received()); got != 3 { // a union of two topics, which came on the one that it has subscribed to, and the volatile one
			t.Logf("received %v", wires[1].received())
			t.Errorf("the other node received %d, want none of the local one", got)
		}
	})
}

func TestRule16LeaveAfterBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		r := hubs[0].Rooms("/", frame)
		m := addAs(t, r, "a", "red")
		say(t, hubs[0], "first", Broadcast{Rooms: []string{"red"}})
		say(t, hubs[0], "then to one", Broadcast{Rooms: []string{"a"}})
		r.Leave("a", "red")
		say(t, hubs[0], "after the leave", Broadcast{Rooms: []string{"red"}})
		say(t, hubs[0], "to one", Broadcast{Rooms: []string{"a"}})
		r.Remove("a")
		say(t, hubs[0], "after the removal", Broadcast{})
		settle()
		got(t, "the member", m, "first", "then to one", "to one")
	})
}

// Members of this node get a broadcast once and at once when the broker refuses it, hangs, is out of reach, or has too much to do.
func TestRule17LocalDeliveryWhateverTheBrokerDoes(t *testing.T) {
	away := func(_ *Hub, w *wire) { w.set(adapter.State{Status: adapter.Degraded}) }
	for _, c := range []struct {
		broker     string
		opening    func(context.Context) error
		publishing func(context.Context, adapter.Topic) error
		bytes      int
		after      func(*Hub, *wire)
		fails      error // what a Broadcast may return, and once does
	}{
		{broker: "refuses", publishing: func(context.Context, adapter.Topic) error { return errors.New("refused") }},
		{broker: "hangs", publishing: func(ctx context.Context, _ adapter.Topic) error { <-ctx.Done(); return ctx.Err() }},
		{broker: "is away", after: away},
		{broker: "is away for long", after: away, bytes: 100, fails: ErrOverflow},
		{broker: "was never there", opening: func(context.Context) error { return errors.New("nobody there") }},
		{broker: "does not answer", opening: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{broker: "was closed", after: func(h *Hub, _ *wire) { h.Close(context.Background()) }, fails: adapter.ErrClosed},
	} {
		kit.Bubble(t, c.broker, func(t *testing.T) {
			w := &wire{Memory: new(adapter.Memory), opening: c.opening, publishing: c.publishing}
			h := NewHub(HubConfig{Adapter: w, Logger: silent, QueueBytes: c.bytes})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			t.Cleanup(func() { h.Close(ctx) }) // does not wait for what the broker does not take
			m, r := new(member), h.Rooms("/", frame)
			_ = r.Add(ctx, "a", m)
			_ = r.Join(ctx, "a", "red", "blue")
			synctest.Wait()
			if c.after != nil {
				c.after(h, w)
				synctest.Wait()
			}
			start, failed := time.Now(), false
			for i := range 100 {
				payload := fmt.Sprint("packet ", i)
				err := r.Emit(Broadcast{Rooms: []string{"red", "blue"}, Payload: []byte(payload)})
				if err != nil && (c.fails == nil || !errors.Is(err, c.fails)) {
					t.Fatalf("Broadcast %d: %v", i, err)
				}
				failed = failed || err != nil
				if got := m.take(); !slices.Equal(got, []string{payload}) { // nobody has waited for anything
					t.Fatalf("the member got %q, want %q", got, payload)
				}
			}
			if failed != (c.fails != nil) || time.Since(start) != 0 {
				t.Errorf("an error: %v, want %v; it took %v", failed, c.fails, time.Since(start))
			}
		})
	}
}

func TestRule18NoOwnMessageTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var met atomic.Bool
		one := make(chan struct{}, 1) // recv is called by one goroutine at a time
		for _, w := range wires {
			w.over = func(_ adapter.Topic, msg []byte, deliver func(*wire)) {
				if !met.Load() {
					return
				}
				for range 2 { // everything comes to everybody, and to whoever sent it, and twice more
					for _, to := range wires {
						one <- struct{}{}
						deliver(to)
						<-one
					}
				}
			}
			w.receiving = func(msg []byte, _ bool, recv func([]byte)) {
				one <- struct{}{}
				defer func() { <-one }()
				recv(msg)
			}
		}
		hubs := clusterOn(t, wires...)
		met.Store(true)
		m := addAs(t, hubs[0].Rooms("/", frame), "a", "red")
		far := addAs(t, hubs[1].Rooms("/", frame), "b", "red")
		other := addAs(t, hubs[1].Rooms("/other", frame), "c", "red")
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red", "blue"}})
		say(t, hubs[0], "y", Broadcast{})
		settle()
		got(t, "the sender's member", m, "x", "y")
		got(t, "the other node's", far, "x", "y")
		got(t, "another namespace's", other)
		before := hubs[1].Stats().Malformed
		for _, msg := range []string{"", "nonsense", "\x01\xff0123456789", "\xff"} {
			hubs[1].receive([]byte(msg))
		}
		kit.Equal(t, hubs[1].Stats().Malformed-before, 4, "messages not understood")
		say(t, hubs[0], "z", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the other node's", far, "z")
	})
}

func TestRule25OneNodeWithoutCluster(t *testing.T) {
	h := open(t, nil)
	if got := h.Stats().Nodes; len(got) != 0 {
		t.Errorf("other nodes: %q, want none", got)
	}
	if err := h.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v, want nil at once", err)
	}
}

// Socket.IO logs what goes wrong when an adapter begins. belfry tries again, says so in State and Ready, and serves meanwhile.
func TestRule27OpensInTheBackgroundAndSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		others := clusterOn(t, &wire{Memory: memory})
		nobody, opened := errors.New("nobody there"), false
		w := &wire{Memory: memory, opening: func(context.Context) error {
			if !opened {
				opened = true
				return nobody
			}
			return nil
		}}
		h := open(t, w)
		start := time.Now()
		m := addAs(t, h.Rooms("/", frame), "a", "red")
		kit.Took(t, start, 0, 250*time.Millisecond, "a member was kept waiting for")
		kit.ErrorIs(t, h.Ready(t.Context()), nobody)
		say(t, h, "alone", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "alone")
		time.Sleep(2 * time.Second)
		say(t, others[0], "together", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member", m, "together")
		kit.OK(t, h.Close(t.Context()))
		synctest.Wait()
		if got := others[0].Stats().Nodes; len(got) != 0 {
			t.Errorf("the other node still knows %q", got)
		}
		say(t, others[0], "too late", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member of a closed node", m)
	})
}
