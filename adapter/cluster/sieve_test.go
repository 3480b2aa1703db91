package cluster

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// sieve decides what gets through to a node of what its wire brings.
type sieve struct {
	*wire

	mu      sync.Mutex
	drop    func(m *envelope.Message) bool // nil: nothing; m is nil where the message is not understood
	dropped int
}

func newSieve(memory *adapter.Memory) *sieve {
	s := &sieve{wire: &wire{Memory: memory}}
	s.receiving = func(msg []byte, _ bool, recv func([]byte)) {
		m, _ := envelope.Decode(msg)
		if !s.drops(m) {
			recv(msg)
		}
	}
	return s
}

func (s *sieve) drops(m *envelope.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop := s.drop != nil && s.drop(m)
	if drop {
		s.dropped++
	}
	return drop
}

// set has the sieve drop what drop says from now on, and returns what it has dropped since the last call.
func (s *sieve) set(drop func(m *envelope.Message) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop = drop
	n := s.dropped
	s.dropped = 0
	return n
}

// What a sieve may drop.
func broadcasts(m *envelope.Message) bool {
	return m != nil && m.Broadcast != nil && !m.Broadcast.Repaired
}
func repairs(m *envelope.Message) bool  { return m != nil && m.Broadcast != nil && m.Broadcast.Repaired }
func everything(*envelope.Message) bool { return true }

// sifted returns n Hubs that have met, each behind a sieve.
func sifted(t *testing.T, n int) ([]*Hub, []*sieve) {
	t.Helper()
	memory := new(adapter.Memory)
	sieves := make([]*sieve, n)
	wires := make([]*wire, n)
	for i := range sieves {
		sieves[i] = newSieve(memory)
		wires[i] = sieves[i].wire
	}
	return clusterOn(t, wires...), sieves
}

// openWith returns a Hub that is ready. It is closed with the test.
func openWith(t *testing.T, cfg HubConfig) *Hub {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent
	}
	h := NewHub(cfg)
	t.Cleanup(func() { h.Close(context.Background()) })
	kit.OK(t, h.Ready(t.Context()))
	synctest.Wait()
	return h
}

// journal keeps what is logged, at the level of Error and above.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler           { return j }
func (j *journal) WithGroup(string) slog.Handler                { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, r.Message)
	return nil
}

func (j *journal) logged() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines
}
