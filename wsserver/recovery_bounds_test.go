package wsserver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestRecoveryBounds: what is over a bound is refused, with a new socket, and counted by its reason.
func TestRecoveryBounds(t *testing.T) {
	large := strings.Repeat("x", 1<<10)
	for _, test := range []struct {
		name   string
		cfg    wsserver.Recovery
		queue  int
		away   func(t *testing.T, srv *wsserver.Server)
		back   bool
		counts wsserver.RecoveryRefused
	}{
		{name: "at MaxAway", cfg: wsserver.Recovery{MaxAway: time.Hour}, back: true,
			away: func(*testing.T, *wsserver.Server) { time.Sleep(time.Hour - time.Second) }},
		{name: "over MaxAway", cfg: wsserver.Recovery{MaxAway: time.Hour}, counts: wsserver.RecoveryRefused{Unknown: 1},
			away: func(*testing.T, *wsserver.Server) { time.Sleep(time.Hour + time.Second) }},
		{name: "at MaxSessions", cfg: wsserver.Recovery{MaxSessions: 2}, back: true,
			away: func(t *testing.T, srv *wsserver.Server) { drop(wstest.Dial(t, srv, wstest.Config{})) }},
		{name: "over MaxSessions", cfg: wsserver.Recovery{MaxSessions: 2}, counts: wsserver.RecoveryRefused{Unknown: 1},
			away: func(t *testing.T, srv *wsserver.Server) {
				for range 2 {
					drop(wstest.Dial(t, srv, wstest.Config{}))
				}
				kit.Equal(t, srv.Stats().Recovery.Away, 2, "away")
				kit.Equal(t, srv.Stats().Recovery.Evicted, 1, "evicted")
			}},
		{name: "within LogBytes", cfg: wsserver.Recovery{LogBytes: 64 << 10}, back: true, away: emits(large, 30)},
		{name: "over LogBytes", cfg: wsserver.Recovery{LogBytes: 64 << 10}, counts: wsserver.RecoveryRefused{LogGone: 1}, away: emits(large, 100)},
		{name: "within QueueBytes", queue: 64 << 10, back: true, away: emits(large, 30)},
		{name: "over QueueBytes", queue: 64 << 10, counts: wsserver.RecoveryRefused{TooMuch: 1}, away: emits(large, 100)},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Recovery: &test.cfg, Limits: wsserver.Limits{QueueBytes: test.queue}})
			c := wstest.Dial(t, srv, wstest.Config{})
			id := c.ID()
			drop(c)
			test.away(t, srv)
			if test.cfg.LogBytes > 0 && srv.Stats().Recovery.LogBytes > test.cfg.LogBytes {
				t.Errorf("the log has %d bytes, of %d", srv.Stats().Recovery.LogBytes, test.cfg.LogBytes)
			}
			c.Return(srv)
			wantBack(t, "return", c, id, test.back)
			kit.Equal(t, srv.Stats().Recovery.Refused, test.counts, "refused")
			got := told(c)
			if !test.back {
				kit.Equal(t, len(got), 0, "events of a new socket")
			}
			id = c.ID()
			drop(c)
			kit.OK(t, srv.Of("/").Emit(t.Context(), "later", 1))
			c.Return(srv)
			wantBack(t, "second return", c, id, true)
			wantTold(t, "later", c, "later 1")
		})
	}
}

func emits(text string, n int) func(t *testing.T, srv *wsserver.Server) {
	return func(t *testing.T, srv *wsserver.Server) {
		for range n {
			kit.OK(t, srv.Of("/").Emit(t.Context(), "e", text))
		}
	}
}

// TestOffsets: an offset that is none of the session's counts as none: then all since its begin is
// sent again.
func TestOffsets(t *testing.T) {
	for _, test := range []struct {
		name, offset string // in JSON; %s is the first part of those of the node, or another's
		all          bool
	}{
		{"none", ``, true},
		{"of the session", `,"offset":"%s"`, false},
		{"higher than the last", `,"offset":"%szzzz"`, true},
		{"huge", `,"offset":"%s3w5e11264sgsf"`, true},
		{"too huge", `,"offset":"%szzzzzzzzzzzzzz"`, true},
		{"long", `,"offset":"%s` + strings.Repeat("1", 10_000) + `"`, true},
		{"negative", `,"offset":"%s-1"`, true},
		{"zero", `,"offset":"%s0"`, true},
		{"before the session", `,"offset":"%s1"`, true},
		{"without a number", `,"offset":"%s"`, true},
		{"of another node", `,"offset":"AAAAAA5"`, true},
		{"a text of the program", `,"offset":"hello"`, true},
		{"empty", `,"offset":""`, true},
		{"null", `,"offset":null`, true},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv, ns, earlier := newRecovering(t, wsserver.Recovery{})
			for i := range 5 {
				kit.OK(t, ns.Emit(t.Context(), "earlier", i))
			}
			drop(earlier)
			c := wstest.Dial(t, srv, wstest.Config{})
			var offset string
			for i := range 3 {
				kit.OK(t, ns.Emit(t.Context(), "had", i))
				var n int
				kit.OK(t, c.Next("had").Decode(&n, &offset))
			}
			drop(c)
			kit.OK(t, ns.Emit(t.Context(), "missed", 3))
			tag := offset[:6]
			if !test.all || test.name == "without a number" {
				tag = offset
			}
			if test.name == "without a number" {
				tag = offset[:6]
			}
			more := test.offset
			if strings.Contains(more, "%s") {
				more = fmt.Sprintf(more, tag)
			}
			conn := comes(t, srv, backAs(c, more))
			kit.Check(t, isBack(c, conn.Read()), "it is not back")
			if test.all {
				for i := range 3 {
					kit.Check(t, strings.HasPrefix(conn.Read(), fmt.Sprintf(`42["had",%d,`, i)), "it has not got %d", i)
				}
			}
			kit.Check(t, strings.HasPrefix(conn.Read(), `42["missed",3,`), "it has not got what it missed")
			conn.Send(`421["echo"]`)
			kit.Equal(t, conn.Read(), `431[]`, "what comes behind it")
		})
	}
}

// TestStaleOffset: a client that was not recovered keeps the offset of its earlier session, which is
// none of the next one.
func TestStaleOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		kit.OK(t, ns.Emit(t.Context(), "e", 1))
		wantTold(t, "c", c, "e 1")
		drop(c)
		time.Sleep(time.Hour)
		kit.OK(t, ns.Emit(t.Context(), "e", 2))
		c.Return(srv)
		kit.Check(t, !c.Recovered(), "recovered after an hour")
		drop(c)
		kit.OK(t, ns.Emit(t.Context(), "e", 3))
		c.Return(srv)
		kit.Check(t, c.Recovered(), "not recovered")
		wantTold(t, "c", c, "e 3")
	})
}

// TestForgedPIDs: a pid that no node has made gets a new socket.
func TestForgedPIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		srv.Of("/other")
		drop(c)
		pids := []string{"x", strings.Repeat("x", 60), c.ID(), c.PID() + "x", c.PID()[:len(c.PID())-1] + "!", strings.ToUpper(c.PID())}
		for _, pid := range pids {
			conn := comes(t, srv, fmt.Sprintf(`40{"pid":%q}`, pid))
			kit.Check(t, !strings.Contains(conn.Read(), c.ID()), "it is back with %s", pid)
			conn.Abort()
		}
		conn := comes(t, srv, fmt.Sprintf(`40/other,{"pid":%q}`, c.PID()))
		kit.Check(t, !strings.Contains(conn.Read(), c.ID()), "it is back in another namespace")
		kit.Equal(t, int(srv.Stats().Recovery.Refused.Forged), len(pids)+1, "forged")
		id := c.ID()
		c.Return(srv)
		wantBack(t, "return", c, id, true)
		synctest.Wait() // until those that were aborted have ended
		kit.Equal(t, len(ns.Sockets()), 1, "sockets")
	})
}

// TestVolatileOffset: an event that is not sent again does no harm to the client's offset.
func TestVolatileOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		id := c.ID()
		for round := range 3 {
			s := socketOf(t, srv, c)
			kit.OK(t, ns.Emit(t.Context(), "e", round))
			kit.OK(t, ns.All().Volatile().Emit(t.Context(), "volatile", "a text"))
			kit.OK(t, s.Volatile().Emit(t.Context(), "volatile", "a text"))
			kit.OK(t, s.Volatile().Emit(t.Context(), "volatile", 7))
			_ = kit.Must(s.Ask(t.Context(), "question", "a text"))(t)
			wantTold(t, "c", c, fmt.Sprint("e ", round), "volatile a text", "volatile a text", "volatile 7", "question a text")
			drop(c)
			c.Return(srv)
			wantBack(t, "return", c, id, true)
			wantTold(t, "missed", c)
		}
	})
}

// TestOutgoingWhileInOrder: listeners of OnAnyOutgoing may emit, and leave the order as it is.
func TestOutgoingWhileInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, ns, c := newRecovering(t, wsserver.Recovery{})
		ns.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) {
			switch e.Name() {
			case "first":
				kit.OK(t, ns.Emit(t.Context(), "second", 2))
			case "second":
				kit.OK(t, s.Emit(t.Context(), "third", 3))
				s.Leave("x")
			}
		})
		id, s := c.ID(), socketOf(t, srv, c)
		kit.OK(t, s.Join(context.Background(), "x"))
		kit.OK(t, ns.To("x").Emit(t.Context(), "first", 1))
		wantTold(t, "c", c, "first 1", "second 2", "third 3")
		kit.OK(t, s.Emit(t.Context(), "first", 1))
		wantTold(t, "c", c, "first 1", "second 2", "third 3")
		drop(c)
		kit.OK(t, ns.Emit(t.Context(), "first", 1))
		c.Return(srv)
		wantBack(t, "return", c, id, true)
		wantTold(t, "missed", c, "first 1")
	})
}
