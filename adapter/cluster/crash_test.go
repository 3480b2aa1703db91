package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/test/kit"
)

// mortal is a node's Memory, which can take the node's link away, as a crash does: the others are not told.
type mortal struct {
	*adapter.Memory
	dumb bool // its link is no Prober

	mu     sync.Mutex // guards what follows
	link   adapter.Link
	probes map[string]int // by node
}

// watched is the link of a mortal, which counts its probes.
type watched struct {
	adapter.Link
	node *mortal
}

func (w watched) Probe(ctx context.Context, topic adapter.Topic, back []byte) error {
	w.node.mu.Lock()
	w.node.probes[topic.Node]++
	w.node.mu.Unlock()
	return w.Link.(adapter.Prober).Probe(ctx, topic, back)
}

func (m *mortal) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	link, err := m.Memory.Open(ctx, recv)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.link, m.probes = link, make(map[string]int)
	if m.dumb {
		return struct{ adapter.Link }{link}, nil
	}
	return watched{link, m}, nil
}

func (m *mortal) crash(t *testing.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kit.OK(t, m.link.Close())
}

// mortals returns nodes that have met.
func mortals(t *testing.T, n int, cfg HubConfig, dumb bool) ([]*Hub, []*mortal) {
	memory := new(adapter.Memory)
	var hubs []*Hub
	var adapters []*mortal
	for range n {
		m := &mortal{Memory: memory, dumb: dumb}
		cfg.Adapter = m
		h := NewHub(cfg)
		t.Cleanup(func() { _ = h.Close(context.Background()) }) // some are cut off
		kit.OK(t, h.Ready(t.Context()))
		hubs, adapters = append(hubs, h), append(adapters, m)
	}
	synctest.Wait()
	return hubs, adapters
}

// named reports whether err says that a node is missing.
func named(err error, h *Hub) bool {
	var partial *PartialError
	return errors.As(err, &partial) && slices.Contains(partial.Nodes, h.Node())
}

// A node crashes while a call waits for it, or before: the call returns when the broker has said so, or when the node was silent for long. For 10 s calls
// name it, at once; then they count without it.
func TestCrashedNode(t *testing.T) {
	for _, c := range []struct {
		name     string
		dumb     bool
		noticed  time.Duration // after the call
		naming   time.Duration // as configured
		nameless time.Duration // after the crash
	}{
		{"the broker tells", false, ask.ProbeInterval, 0, DefaultNameSuspects},
		{"the broker does not tell", true, 2 * time.Second, 0, DefaultNameSuspects},
		{"named for less long", false, ask.ProbeInterval, 4 * time.Second, 4 * time.Second},
		{"named for longer", false, ask.ProbeInterval, 20 * time.Second, 20 * time.Second},
		{"named for longer than anybody is remembered", false, ask.ProbeInterval, time.Hour, 30 * time.Second},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, adapters := mortals(t, 3, HubConfig{NameSuspects: c.naming}, c.dumb)
			for _, h := range hubs {
				add(t, h, "lobby")
			}
			asker, third := hubs[0], hubs[2]
			count := func() (n int, err error) { return asker.Rooms("/", frame).Count(t.Context(), Selection{}) }
			if n, err := count(); n != 3 || err != nil {
				t.Fatalf("before the crash: %d, %v", n, err)
			}
			adapters[2].crash(t)
			crashed := time.Now()
			const beat = 500 * time.Millisecond // what was heard of it last may be so old
			n, err := count()
			if took := time.Since(crashed); n != 2 || !named(err, third) || took > c.noticed || took < c.noticed-beat {
				t.Errorf("the first count: %d, %v, after %v; want %v", n, err, took, c.noticed)
			}
			for {
				start := time.Now()
				n, err := count()
				if took := time.Since(start); n != 2 || took > 0 {
					t.Fatalf("%v after the crash: %d members, after %v", time.Since(crashed), n, took)
				}
				if err == nil {
					break
				}
				if !named(err, third) || time.Since(crashed) > time.Minute {
					t.Fatalf("%v after the crash: %v", time.Since(crashed), err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if d := time.Since(crashed); d > c.nameless+10*time.Millisecond || d < c.nameless-beat-10*time.Millisecond {
				t.Errorf("named until %v after the crash, want %v", d, c.nameless)
			}
		})
	}
}

// The broker is asked only for those who are late, and is not asked for more often because many calls wait.
func TestProbesOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, adapters := mortals(t, 3, HubConfig{}, false)
		release := make(chan struct{})
		for _, h := range hubs[1:] {
			h.OnServerSide(func(ctx context.Context, _ ServerEvent) ([]byte, error) {
				if h == hubs[1] {
					<-release
				}
				return nil, nil
			})
		}
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				if answers, err := hubs[0].Rooms("/", frame).ServerSideEmitWithAck(t.Context(), nil, nil); len(answers) != 2 || err != nil {
					t.Errorf("%v, %v", answers, err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(10*ask.ProbeInterval + ask.ProbeInterval/2)
		synctest.Wait()
		adapters[0].mu.Lock()
		if n := adapters[0].probes[hubs[1].Node()]; n != 10 || len(adapters[0].probes) != 1 {
			t.Errorf("the broker was asked for %v, want 10 times for %s, which is late", adapters[0].probes, hubs[1].Node())
		}
		adapters[0].mu.Unlock()
		close(release)
		calls.Wait()
		kit.Equal(t, hubs[0].ask.State().Probed, 0, "nodes remembered that were asked for")
	})
}
