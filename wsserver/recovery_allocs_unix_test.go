//go:build unix

package wsserver_test

import (
	"runtime"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestRecoveryAllocations: a broadcast allocates nothing more with recovery than without, since the log
// keeps the payload that it has anyway, and an event to one socket allocates what the log keeps of it.
func TestRecoveryAllocations(t *testing.T) {
	if kit.Raced {
		t.Skip("the race detector empties pools")
	}
	const events = 2000
	var took [2]map[string]float64
	for i, r := range []*wsserver.Recovery{nil, {}} {
		srv := crowded(t, 1, r)
		s := srv.Of("/").Sockets()[0]
		took[i] = map[string]float64{}
		for name, emit := range map[string]func() error{
			"room":    func() error { return srv.To("room").Emit(t.Context(), "said", 1) },
			"private": func() error { return s.Emit(t.Context(), "said", 1) },
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range events {
				kit.OK(t, emit())
			}
			runtime.ReadMemStats(&after)
			took[i][name] = float64(after.Mallocs-before.Mallocs) / events
		}
	}
	for name, more := range map[string]float64{"room": 0, "private": 1} {
		off, on := took[0][name], took[1][name]
		if on > off+more+0.5 { // what shards and pools allocate now and then
			t.Errorf("%s: %.2f allocations of an event, without recovery %.2f", name, on, off)
		}
	}
	t.Logf("allocations of an event: without recovery %v, with it %v", took[0], took[1])
}
