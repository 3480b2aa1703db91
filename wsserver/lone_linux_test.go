package wsserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestLoneBroadcast: a broadcast that comes alone is written when Emit returns, others by the shards, and all come in their order.
func TestLoneBroadcast(t *testing.T) {
	const rounds, others = 50, 20
	srv := newServer(t, wsserver.Config{})
	dial := listen(t, srv, localhost(t), false)
	clients := []*wstest.Client{wstest.New(t, dial(), wstest.Config{}), wstest.New(t, dial(), wstest.Config{})}
	for _, c := range clients {
		kit.OK(t, socketOf(t, srv, c).Join(t.Context(), "x"))
	}
	emitted, received := 0, 0
	emit := func() {
		kit.OK(t, srv.To("x").Emit(t.Context(), "n", emitted, strings.Repeat("x", 100)))
		emitted++
	}
	atOnce := 0
	for range rounds {
		time.Sleep(time.Millisecond) // a lull
		before := srv.Stats().Writes
		emit()
		if srv.Stats().Writes-before == uint64(len(clients)) {
			atOnce++
		}
		for range others {
			emit()
		}
		for ; received < emitted; received++ {
			for _, c := range clients {
				var n int
				if err := c.Next("n").Decode(&n); err != nil || n != received {
					t.Fatalf("got %d, %v, want %d", n, err, received)
				}
			}
		}
	}
	// A shard that has just been held up may still be at a client's queue.
	if atOnce < rounds*3/4 {
		t.Errorf("%d of %d broadcasts that came alone were written when Emit returned", atOnce, rounds)
	}
}
