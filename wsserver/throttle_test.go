package wsserver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A diary notes when events were handled, by the seconds since its beginning.
type diary struct {
	began time.Time
	mu    sync.Mutex
	notes []string
}

func keepDiary(srv *wsserver.Server) *diary {
	d := &diary{began: time.Now()}
	srv.Of("/").OnAny(func(ctx context.Context, e *wsserver.Event) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.notes = append(d.notes, fmt.Sprintf("%s@%.1f", e.Name(), time.Since(d.began).Seconds()))
		return nil
	})
	return d
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.notes, " ")
}

// A sender sends events to the namespace "/" of a server, by polling or a WebSocket. send waits for the client's own part only.
func sender(t *testing.T, srv *wsserver.Server, transport string) (send func(events ...string)) {
	t.Helper()
	packets := func(prefix string, events []string) []string {
		out := make([]string, len(events))
		for i, e := range events {
			out[i] = prefix + `2["` + e + `"]`
		}
		return out
	}
	if transport == "websocket" {
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send("40")
		c.Read()
		return func(events ...string) { c.Send(packets("4", events)...) }
	}
	g := guest{t: t, srv: srv, transport: transport}
	open := g.serve("GET", "EIO=4&transport=polling", "").Body.String()
	query := "EIO=4&transport=polling&sid=" + kit.Must(wsrig.SID(open))(t)
	g.serve("POST", query, "40")
	g.serve("GET", query, "")
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	t.Cleanup(func() { stop(); done.Wait() })
	done.Go(func() {
		for ctx.Err() == nil {
			w := g.serve("GET", query, "")
			if w.Code != 200 || w.Body.String() == "1" || w.Body.String() == "6" {
				return
			}
			if w.Body.String() == "2" {
				done.Go(func() { g.serve("POST", query, "3") })
			}
		}
	})
	bodies := make(chan string, 100)
	done.Go(func() { // one POST at a time
		for {
			select {
			case body := <-bodies:
				g.serve("POST", query, body)
			case <-ctx.Done():
				return
			}
		}
	})
	return func(events ...string) { bodies <- strings.Join(packets("4", events), "\x1e") }
}

func numbered(n int) []string {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprint(i)
	}
	return events
}

// TestEventRate: a client that sends too much is held back until it has made up for it, loses nothing, and lives; others do not notice.
func TestEventRate(t *testing.T) {
	for _, transport := range []string{"polling", "websocket"} {
		kit.Bubble(t, transport, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{EventRate: 10}})
			d := keepDiary(srv)
			send := sender(t, srv, transport) // CONNECT counts
			other := wstest.Dial(t, srv, wstest.Config{})
			time.Sleep(time.Second)
			d.began = time.Now()
			send(numbered(30)...) // 20 more than may come at once
			synctest.Wait()
			if got := len(strings.Fields(d.String())); got != 30 {
				t.Fatalf("what was read was not handled: %d of 30", got)
			}
			d.notes = nil
			send("late")
			other.EmitWithAck("echo")
			kit.Want(t, d.String(), "echo@0.0", "at once: the other alone")
			time.Sleep(1900 * time.Millisecond)
			kit.Want(t, d.String(), "echo@0.0", "soon: the other alone")
			time.Sleep(200 * time.Millisecond)
			kit.Want(t, d.String(), "echo@0.0 late@2.0", "then")
			if got := srv.Stats(); got.HeldBack == 0 || got.Ended != (wsserver.Ended{}) {
				t.Errorf("held back %d times, ended %+v", got.HeldBack, got.Ended)
			}
		})
	}
}

// TestByteRate: likewise by bytes.
func TestByteRate(t *testing.T) {
	for _, transport := range []string{"polling", "websocket"} {
		kit.Bubble(t, transport, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{ByteRate: 2000}})
			d := keepDiary(srv)
			send := sender(t, srv, transport)
			time.Sleep(time.Second)
			d.began = time.Now()
			for range 10 {
				send(strings.Repeat("x", 1990)) // a second's worth
			}
			send("late")
			time.Sleep(6800 * time.Millisecond) // a burst comes at once, and what the last read takes, up to 4 KiB
			if got := strings.Fields(d.String()); strings.HasPrefix(got[len(got)-1], "late") {
				t.Errorf("it came after %s", got[len(got)-1])
			}
			time.Sleep(2400 * time.Millisecond)
			if got := strings.Fields(d.String()); !strings.HasPrefix(got[len(got)-1], "late") {
				t.Errorf("it has not come: the client is held back for too long")
			}
		})
	}
}

// TestWithinRate: a client that keeps to its rate is never held back.
func TestWithinRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{EventRate: 10, ByteRate: 2000}})
		send := sender(t, srv, "websocket")
		for range 100 {
			time.Sleep(time.Second)
			send(numbered(10)...)
		}
		synctest.Wait()
		if got := srv.Stats(); got.HeldBack != 0 || got.Events != 1000 {
			t.Errorf("held back %d times, %d events, want 0 and 1000", got.HeldBack, got.Events)
		}
	})
}

// TestHeldBackIsAlive: pings go on, so that a client that is held back for many ping times-out lives, as long as it answers.
func TestHeldBackIsAlive(t *testing.T) {
	for _, transport := range []string{"polling", "websocket"} {
		kit.Bubble(t, transport, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{
				PingInterval: time.Second, PingTimeout: time.Second,
				Limits: wsserver.Limits{EventRate: 1, FastFor: time.Hour},
			})
			gone := farewells(srv.Of("/"))
			send := sender(t, srv, transport)
			send(numbered(60)...)
			time.Sleep(50 * time.Second)
			select {
			case f := <-gone:
				t.Errorf("the client was disconnected: %v", f.reason)
			default:
			}
			kit.Want(t, srv.Stats().HeldBack, 1, "times held back")
		})
	}
	kit.Bubble(t, "a dead client", func(t *testing.T) {
		srv := newServer(t, wsserver.Config{
			PingInterval: time.Second, PingTimeout: time.Second,
			Limits: wsserver.Limits{EventRate: 1, FastFor: time.Hour},
		})
		gone := farewells(srv.Of("/"))
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send("40")
		c.Read()
		c.IgnorePings()
		c.Send(`42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`, `42["a"]`)
		began := time.Now()
		if f := next(t, gone); f.at.Sub(began) > 10*time.Second {
			t.Errorf("it was found out after %v", f.at.Sub(began))
		}
	})
}

// TestTooFast: a client that goes on for too long is disconnected, counted and logged; one that takes breaks is not.
func TestTooFast(t *testing.T) {
	for _, transport := range []string{"polling", "websocket"} {
		kit.Bubble(t, transport, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{EventRate: 10, FastFor: 5 * time.Second}})
			gone := farewells(srv.Of("/"))
			send := sender(t, srv, transport)
			for range 10 { // with breaks
				send(numbered(20)...)
				time.Sleep(3 * time.Second)
			}
			began := time.Now()
			go func() {
				for range 15 {
					send(numbered(20)...)
					time.Sleep(500 * time.Millisecond)
				}
			}()
			f := next(t, gone)
			if after := f.at.Sub(began); !isReason(f.reason, wsserver.ErrTooFast) || after < 5*time.Second || after > 7*time.Second {
				t.Errorf("got %v after %v, want ErrTooFast after 5s to 7s", f.reason, after)
			}
			time.Sleep(10 * time.Second)
			kit.Want(t, srv.Stats().Ended, (wsserver.Ended{TooFast: 1}))
		})
	}
}

// TestAcksAreFree: the answers to the program's own questions are no events.
func TestAcksAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{EventRate: 5}})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.On("ask", func(wstest.Event) []any { return []any{1} })
		s := socketOf(t, srv, c)
		for range 100 {
			kit.Must(s.EmitWithAck(t.Context(), "ask"))(t)
		}
		kit.Want(t, srv.Stats().HeldBack, 0, "times held back")
	})
}

// TestRateChanges: rates that change hold for clients that are there: a lower one, none any more, and the first.
func TestRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		d := keepDiary(srv)
		send := sender(t, srv, "websocket")
		send(numbered(100)...)
		synctest.Wait()
		set := func(l wsserver.Limits) {
			if err := srv.SetLimits(l); err != nil {
				t.Error(err)
			}
		}
		set(wsserver.Limits{EventRate: 1, EventBurst: 1})
		send(numbered(21)...)
		synctest.Wait()
		d.notes, d.began = nil, time.Now()
		send("a")
		time.Sleep(5 * time.Second)
		kit.Want(t, d.String(), "", "a rate of 1")
		set(wsserver.Limits{EventRate: 100})
		time.Sleep(1200 * time.Millisecond)
		set(wsserver.Limits{})
		send(numbered(100)...)
		time.Sleep(2 * time.Second)
		if got := strings.Fields(d.String()); len(got) != 101 || got[0] > "a@6.1" {
			t.Errorf("a rate of 100, and none: got %q", got)
		}
	})
}

func isReason(err, reason error) bool {
	return err != nil && strings.HasPrefix(err.Error(), reason.Error())
}
