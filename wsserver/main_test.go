package wsserver_test

import (
	"context"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16") // the tests that are parallel wait for time-outs, and compute next to nothing
	leak.Main(m, "belfry/")
}

// newServer returns a server that closes when the test ends, without an error.
func newServer(t testing.TB, cfg wsserver.Config) *wsserver.Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = kit.Silent
	}
	srv := wsserver.New(cfg)
	t.Cleanup(func() { kit.Close(t, srv) })
	srv.Of("/").On("echo", echo)
	return srv
}

// echo answers an event with its arguments.
func echo(ctx context.Context, e *wsserver.Event) error {
	args := make([]any, e.Len())
	dst := make([]any, e.Len())
	for i := range args {
		dst[i] = &args[i]
	}
	if err := e.Decode(dst...); err != nil {
		return err
	}
	return e.Ack(args...)
}

// socketOf returns the server's end of a client in the namespace "/".
func socketOf(t testing.TB, srv *wsserver.Server, c *wstest.Client) *wsserver.Socket {
	t.Helper()
	s, ok := srv.Of("/").Socket(c.ID())
	if !ok {
		t.Fatalf("the server has no socket %q", c.ID())
	}
	return s
}

// a farewell is a call of OnDisconnect.
type farewell struct {
	id     string
	reason error
	at     time.Time
}

// farewells collects the calls of OnDisconnect.
func farewells(ns *wsserver.Namespace) <-chan farewell {
	c := make(chan farewell, 10_000)
	ns.OnDisconnect(func(ctx context.Context, s *wsserver.Socket, reason error) { c <- farewell{s.ID(), reason, time.Now()} })
	return c
}

// next returns the next call of OnDisconnect, which has to come within an hour of a bubble's time.
func next(t *testing.T, gone <-chan farewell) farewell {
	t.Helper()
	select {
	case f := <-gone:
		return f
	case <-time.After(time.Hour):
		t.Fatal("OnDisconnect was not called")
		return farewell{}
	}
}

// received returns the events that a client has got, in a bubble.
func received(c *wstest.Client) []string {
	synctest.Wait()
	var events []string
	for _, e := range c.Pending() {
		events = append(events, e.String())
	}
	return events
}

func wantEvents(t *testing.T, who string, c *wstest.Client, want ...string) {
	t.Helper()
	kit.WantList(t, received(c), want, who, "events")
}
