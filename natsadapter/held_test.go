package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// A node that holds a call loses NATS, as a crash does: the caller knows that it is suspect long before it has been silent for long, and the
// call waits on; when the node is back, the answer comes.
func TestHeldByNodeThatIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	route := new(routedDialer)
	route.route(p.url())
	open := func(options ...nats.Option) *cluster.Hub {
		h := cluster.NewHub(cluster.HubConfig{Adapter: quiet(s.URL(), options...), Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { _ = h.Close(context.Background()) })
		kit.OK(t, h.Ready(t.Context()))
		return h
	}
	asker, holder := open(), open(nats.SetCustomDialer(route))
	calls := make(chan *cluster.Held, 1)
	notes := make(chan string, 1)
	holder.HandleHeld("poll", func(c *cluster.Held) {
		c.OnNote(func(note []byte) { notes <- string(note) })
		calls <- c
	})
	var answer []byte
	says := make(chan func([]byte) error, 1)
	ended := make(chan error, 1)
	go func() {
		var err error
		answer, _, err = asker.CallHeld(t.Context(), holder.Node(), "poll", nil, func(note func([]byte) error) { says <- note })
		ended <- err
	}()
	call := <-calls
	suspects := func(n int) {
		t.Helper()
		kit.Eventually(t, fmt.Sprint(n, " suspects"), func() bool { return len(asker.Stats().Suspects) == n })
	}
	silent := time.Now()
	p.end()
	suspects(1)
	t.Logf("suspect after %v", time.Since(silent))
	kit.OK(t, errors.Join((<-says)([]byte("still here")), call.Answer([]byte("answer"))))
	select {
	case err := <-ended:
		t.Fatalf("the call has ended: %v", err)
	default:
	}
	route.route(s.URL())
	suspects(0)
	if err := <-ended; err != nil || string(answer) != "answer" {
		t.Errorf("%q, %v", answer, err)
	}
	kit.Equal(t, <-notes, "still here", "the note")
	call.Done()
}
