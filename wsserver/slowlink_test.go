package wsserver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/slowlink"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestSlowReader: over a network whose packets have 1,500 bytes, a client that reads a few times the lowest rate stays, whatever waits for
// it, and one that reads less goes in the time that Config says.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const after, rate = 5 * time.Second, 2000 // the default is 15 s
	link := slowlink.New(t)
	l := kit.Must(link.Server.Listen())(t)
	srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{QueueBytes: 32 << 10, SlowAfter: after, SlowRate: rate}})
	gone := farewells(srv.Of("/"))
	listen(t, srv, l, false)
	client := func(perSecond int) string {
		nc := kit.Must(link.Client.Dial(l.Addr().String()))(t)
		nc.SetReadBuffer(16 << 10)
		return wstest.New(t, slowlink.Slow(nc, perSecond), wstest.Config{}).ID()
	}
	steady, slow := client(6*rate), client(rate/10)
	begin := time.Now()
	for range 60 { // 1.2 MB for each
		kit.OK(t, srv.Emit(t.Context(), "n", strings.Repeat("x", 20_000)))
	}
	select {
	case f := <-gone:
		if f.id != slow || !errors.Is(f.reason, wsserver.ErrTooSlow) || f.at.Sub(begin) < after || f.at.Sub(begin) > 3*after {
			t.Errorf("%s ended after %v: %v; want %s, that reads %d B/s, after %v", f.id, f.at.Sub(begin), f.reason, slow, rate/10, after)
		}
	case <-time.After(time.Minute):
		t.Fatal("a client that reads next to nothing is there still")
	}
	select {
	case f := <-gone:
		t.Errorf("%s ended after %v: %v; it reads %d B/s (the other: %s)", f.id, f.at.Sub(begin), f.reason, 6*rate, steady)
	case <-time.After(time.Until(begin.Add(3 * after))):
	}
}
