package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// counting is a member that counts what it gets.
type counting struct {
	mu  sync.Mutex // guards got
	got int
}

func (c *counting) Deliver(any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got++
	return true
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}

func (*counting) DeliverWithAck(any, func([]byte, bool)) {}
func (*counting) CancelAck(any)                          {}
func (*counting) Describe() []byte                       { return nil }
func (*counting) Disconnect(bool)                        {}

// A server loses its connection to NATS for some seconds. Meanwhile others emit and leave, nodes that were there before and one that begins
// then: the Close of each names the server, and when it is back it reports an unknown loss of each. Another server, which was there all the
// time, has everything.
func TestPartings(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes seconds: not with -short")
	}
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	frame := func(payload []byte, _ bool) (any, error) { return string(payload), nil }
	var mu sync.Mutex // guards losses
	losses := make(map[string][]cluster.Loss)
	open := func(url string, client bool, onLoss func(cluster.Loss)) *cluster.Hub {
		h := cluster.NewHub(cluster.HubConfig{Adapter: quiet(url), Client: client, OnLoss: onLoss, Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { _ = h.Close(context.Background()) })
		kit.OK(t, h.Ready(t.Context()))
		return h
	}
	join := func(h *cluster.Hub) *counting {
		m, r, id := new(counting), h.Rooms("/", frame), h.NewID()
		kit.OK(t, errors.Join(r.Add(t.Context(), id, m), r.Join(t.Context(), id, "red")))
		return m
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(kit.Patience); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within %v", what, kit.Patience)
			}
		}
	}
	stays := open(s.URL(), false, func(l cluster.Loss) { t.Errorf("the server that stays has lost %+v", l) })
	away := open(p.url(), false, func(l cluster.Loss) {
		mu.Lock()
		defer mu.Unlock()
		losses[l.Node] = append(losses[l.Node], l)
	})
	there, missed := join(stays), join(away)
	before, server := open(s.URL(), true, nil), open(s.URL(), false, nil)
	wait("all have met", func() bool {
		return len(away.Stats().Nodes) == 2 && len(stays.Stats().Nodes) == 2 && len(before.Stats().Nodes) == 3
	})
	time.Sleep(time.Second) // a Beat of each

	p.hold()
	p.cut()
	wait("the cut is noticed", func() bool { return slices.Contains(stays.Stats().Suspects, away.Node()) })
	meanwhile := open(s.URL(), true, nil)
	left := []*cluster.Hub{before, server, meanwhile}
	for _, h := range left {
		for i := range 10 {
			if err := h.Rooms("/", frame).Emit(cluster.Broadcast{Rooms: []string{"red"}, Payload: []byte(fmt.Sprint(i))}); err != nil {
				t.Fatal(err)
			}
		}
		err := h.Close(t.Context())
		var partial *cluster.PartialError
		if !errors.As(err, &partial) || !slices.Equal(partial.Nodes, []string{away.Node()}) {
			t.Errorf("Close: %v; want a PartialError that names %s alone", err, away.Node())
		}
	}
	wait("the server that stays has everything", func() bool { return there.count() == 30 })
	p.cut()
	p.release()
	for _, h := range left {
		wait("a loss is reported", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(losses[h.Node()]) > 0
		})
	}
	wait("the servers have met again", func() bool { return len(away.Stats().Nodes) == 1 && len(away.Stats().Suspects) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for node, list := range losses {
		if len(list) != 1 || !list[0].Unknown {
			t.Errorf("of %s %v was reported, want one unknown loss", node, list)
		}
	}
	if n := missed.count(); n != 0 || len(losses) != len(left) {
		t.Errorf("%d broadcasts came to the server that was away, which has reported losses of %d nodes; want none, and %d", n, len(losses), len(left))
	}
}
