package natsadapter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

func TestMaxPayload(t *testing.T) {
	for _, size := range []int{1000, 8 << 20} {
		s := natstest.Start(t, embedded.Config{MaxPayload: size})
		a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
		a.subscribe(room("x"))
		a.settle()
		err := b.Publish(t.Context(), room("x"), make([]byte, size+1))
		if !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, adapter.ErrUnavailable) ||
			!strings.Contains(err.Error(), fmt.Sprint(size+1)) || !strings.Contains(err.Error(), fmt.Sprint(size)) {
			t.Errorf("Publish of %d bytes: %v, want nats.ErrMaxPayload with both sizes", size+1, err)
		}
		b.publish(room("x"), strings.Repeat("x", b.MaxMessage()))
		kit.Equal(t, len(a.next()), size, "bytes received")
	}
}

func TestMaxMessage(t *testing.T) {
	s := natstest.Start(t, embedded.Config{MaxPayload: 1000})
	s.Shutdown()
	a := open(t, quiet(s.URL()))
	check := func(when string, want int) {
		t.Helper()
		kit.Equal(t, a.MaxMessage(), want, "MaxMessage", when)
	}
	check("before the first connection", limitBefore)
	s.Restart()
	a.until(adapter.Connected)
	check("of a server that takes 1000 bytes", 1000)
	s.Shutdown()
	a.until(adapter.Degraded)
	check("while the server is away", 1000)

	other := natstest.Start(t, embedded.Config{MaxPayload: 2000})
	a = open(t, quiet(natstest.URLs(s, other)))
	a.until(adapter.Connected)
	check("of another server", 2000)
	s.Restart()
	old := a.current()
	other.Shutdown()
	a.another(old)
	check("of the server that is left", 1000)
}
