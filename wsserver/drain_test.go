package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// An audience is clients of a server, and when the connection of each has ended.
type audience struct {
	srv     *wsserver.Server
	clients []*wstest.Client
	gone    <-chan farewell
	begun   time.Time // of the drain
}

func newAudience(t *testing.T, n int, cfg wsserver.Config) *audience {
	t.Helper()
	c := &audience{srv: newServer(t, cfg)}
	c.gone = farewells(c.srv.Of("/"))
	for range n {
		c.clients = append(c.clients, wstest.Dial(t, c.srv, wstest.Config{}))
		time.Sleep(time.Millisecond) // so that they have an order
	}
	return c
}

// drain begins to drain, and returns what gets the error.
func (c *audience) drain(ctx context.Context, how wsserver.Drain) <-chan error {
	c.begun = time.Now()
	ended := make(chan error, 1)
	go func() { ended <- c.srv.Drain(ctx, how) }()
	return ended
}

// ends returns when the next n sockets have ended, since the beginning of the drain, and their ids.
func (c *audience) ends(t *testing.T, n int) (at []time.Duration, ids []string) {
	t.Helper()
	for range n {
		f := kit.Receive(t, "the end of a socket", c.gone)
		if !errors.Is(f.reason, wsserver.ErrShutdown) {
			t.Errorf("a socket ended for the reason %v", f.reason)
		}
		at, ids = append(at, f.at.Sub(c.begun)), append(ids, f.id)
	}
	return at, ids
}

// most is how many of times, which are sorted, are within a window.
func most(times []time.Duration, window time.Duration) (n int) {
	for i, from := range times {
		end, _ := slices.BinarySearch(times, from+window)
		n = max(n, end-i)
	}
	return n
}

var atOnce = wsserver.Drain{Notice: -1, Linger: -1}

// TestDrainPace: connections end evenly over Drain.Over, at Drain.Rate at the most, and few of them sooner.
func TestDrainPace(t *testing.T) {
	cases := []struct {
		name     string
		clients  int
		how      wsserver.Drain
		deadline time.Duration // of ctx; zero for none
		took     time.Duration
	}{
		{"over", 200, wsserver.Drain{Over: 10 * time.Second}, 0, 10 * time.Second},
		{"rate", 200, wsserver.Drain{Over: time.Second, Rate: 50}, 0, 4 * time.Second},
		{"few", 10, wsserver.Drain{}, 0, time.Second},
		{"few at a low rate", 10, wsserver.Drain{Rate: 2}, 0, 5 * time.Second},
		{"deadline", 200, wsserver.Drain{Over: 10 * time.Second}, 4 * time.Second, 3600 * time.Millisecond},
		{"deadline before what the rate allows", 200, wsserver.Drain{Rate: 5}, 10 * time.Second, 9 * time.Second},
		{"deadline afterwards", 200, wsserver.Drain{Over: 10 * time.Second}, time.Minute, 10 * time.Second},
		{"deadline within the notice", 200, wsserver.Drain{Notice: time.Minute}, 4 * time.Second, 3800 * time.Millisecond},
		{"nobody", 0, wsserver.Drain{}, 0, 0},
	}
	for _, test := range cases {
		kit.Bubble(t, test.name, func(t *testing.T) {
			c := newAudience(t, test.clients, wsserver.Config{})
			ctx := t.Context()
			if test.deadline > 0 {
				ctx = kit.Within(t, test.deadline)
			}
			if test.how.Notice == 0 {
				test.how.Notice = -1
			}
			kit.OK(t, kit.Receive(t, "the end of Drain", c.drain(ctx, test.how)))
			took := time.Since(c.begun)
			if d := (took - test.took).Abs(); d > test.took/10+100*time.Millisecond {
				t.Errorf("it took %v, want %v", took, test.took)
			}
			times, _ := c.ends(t, test.clients)
			slices.Sort(times)
			if test.clients >= 200 && test.how.Notice < 0 {
				perSecond := float64(test.clients) / test.took.Seconds()
				for _, window := range []time.Duration{100 * time.Millisecond, time.Second} {
					if n := most(times, window); float64(n) > 1+1.2*perSecond*window.Seconds() {
						t.Errorf("%d ended within %v, at %.0f a second", n, window, perSecond)
					}
				}
			}
			s := c.srv.Stats().Drain
			kit.Equal(t, s, wsserver.DrainStats{State: wsserver.DrainStopped, Total: test.clients, Ended: test.clients}, "Stats")
		})
	}
}

// TestDrainTells: what clients, the program and others see of a drain.
func TestDrainTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAudience(t, 20, wsserver.Config{})
		var sockets []*wsserver.Socket
		for _, client := range c.clients {
			sockets = append(sockets, socketOf(t, c.srv, client))
		}
		moving := make(chan bool, 100)
		c.srv.Of("/").OnDisconnect(func(ctx context.Context, s *wsserver.Socket, reason error) { moving <- s.Moving() })
		ended := c.drain(t.Context(), wsserver.Drain{Rate: 10})
		synctest.Wait()
		kit.Equal(t, readiness(t, c.srv, 503), "draining: 20 of 20 connections left")
		time.Sleep(4 * time.Second)
		late := wstest.Dial(t, c.srv, wstest.Config{}) // in time
		time.Sleep(time.Second + 50*time.Millisecond)
		for _, transport := range []string{"polling", "websocket"} {
			answer := handshakeOf(c.srv, transport)
			kit.Equal(t, answer.Code, 503, "the status of a handshake is")
			kit.Equal(t, answer.Header().Get("Retry-After"), "1", "Retry-After is")
			kit.Equal(t, answer.Header().Get("Connection"), "close", "Connection is")
		}
		kit.Equal(t, c.srv.Stats().Refusals.Draining, 2, "refusals")
		time.Sleep(time.Second)
		s := c.srv.Stats().Drain
		if s.State != wsserver.DrainEnding || s.Total != 21 || s.Ended < 9 || s.Ended > 12 || s.Left != 21-s.Ended {
			t.Errorf("a second after the notice: %+v", s)
		}
		kit.Equal(t, readiness(t, c.srv, 503), fmt.Sprintf("draining: %d of 21 connections left", s.Left))
		kit.OK(t, <-ended)
		_, ids := c.ends(t, 21)
		var inOrder []string
		for _, s := range sockets {
			inOrder = append(inOrder, s.ID())
			kit.Check(t, <-moving, "Moving is false")
		}
		if slices.Equal(ids[:20], inOrder) {
			t.Error("the connections ended in the order in which they began")
		}
		for _, client := range append(c.clients, late) {
			kit.Equal(t, client.Wait().Code, 1001, "the close code is")
		}
		kit.Equal(t, handshakeOf(c.srv, "polling").Code, 503, "after Drain, the status is")
	})
}

// readiness is the only reason of what the server answers a balancer.
func readiness(t *testing.T, srv *wsserver.Server, status int) string {
	t.Helper()
	w := httptest.NewRecorder()
	srv.ServeReady(w, httptest.NewRequest("GET", "/readyz", nil))
	kit.Equal(t, w.Code, status, "the status of /readyz is")
	r := srv.Readiness()
	kit.Equal(t, r.State, wsserver.StateDraining)
	return strings.Join(r.Reasons, "; ")
}

// handshakeOf is the answer to a request that would begin a connection.
func handshakeOf(srv http.Handler, transport string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport="+transport, nil)
	if transport == "websocket" {
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Connection", "Upgrade")
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w
}

// TestDrainBusy: connections with handlers that run, and with acknowledgements that are waited for, come later, up to half of the time. Then the
// handler that runs may end, and nothing behind it is handled. One that does not return holds its connection until the end, and is named.
func TestDrainBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAudience(t, 100, wsserver.Config{})
		slow, stuck, asked := c.clients[0], c.clients[1], c.clients[2:12]
		release := make(chan struct{})
		defer close(release)
		c.srv.Of("/").On("sleep", func(ctx context.Context, e *wsserver.Event) error {
			for !e.Socket().Moving() {
				time.Sleep(time.Millisecond)
			}
			return e.Ack("slept")
		})
		handled := make(chan struct{}, 10)
		c.srv.Of("/").On("behind", func(context.Context, *wsserver.Event) error { handled <- struct{}{}; return nil })
		c.srv.Of("/").On("stick", func(context.Context, *wsserver.Event) error { <-release; return nil })
		for _, client := range asked {
			s := socketOf(t, c.srv, client)
			go func() {
				if _, err := s.EmitWithAck(t.Context(), "question"); !errors.Is(err, wsserver.ErrShutdown) {
					t.Errorf("EmitWithAck: %v", err)
				}
			}()
		}
		stuck.Emit("stick")
		synctest.Wait()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			slow.EmitWithAck("sleep")
		}()
		synctest.Wait()
		slow.Emit("behind")
		err := kit.Receive(t, "the end of Drain", c.drain(t.Context(), wsserver.Drain{Notice: -1, Over: 10 * time.Second}))
		if err == nil || !strings.Contains(err.Error(), stuck.ID()) {
			t.Errorf("Drain: %v, want one that names the socket %s", err, stuck.ID())
		}
		<-answered
		times := make(map[string]time.Duration)
		at, ids := c.ends(t, 99) // the handler of one still runs
		for i, id := range ids {
			times[id] = at[i]
		}
		for _, client := range asked {
			if d := times[client.ID()]; d < 5*time.Second {
				t.Errorf("who is asked went after %v", d)
			}
		}
		if d := times[slow.ID()]; d < 5*time.Second || d > 10*time.Second {
			t.Errorf("whose handler runs until it may not, went after %v", d)
		}
		if took := stuck.Wait(); took.Code != 1001 {
			t.Errorf("whose handler does not return: %v", took)
		}
		if d := time.Since(c.begun); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("Drain took %v", d)
		}
		kit.Equal(t, len(handled), 0, "events that were handled behind the one that ran:")
		s := c.srv.Stats()
		kit.Equal(t, s.Drain, wsserver.DrainStats{State: wsserver.DrainStopped, Total: 100, Ended: 100, Cut: 1})
		kit.Equal(t, s.Discarded, 1, "events that were discarded:")
	})
}

// TestDrainCut: when ctx ends, what is left is cut, and the error says how many.
func TestDrainCut(t *testing.T) {
	for _, notice := range []time.Duration{-1, time.Minute} {
		kit.Bubble(t, fmt.Sprint(notice), func(t *testing.T) {
			c := newAudience(t, 100, wsserver.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			ended := c.drain(ctx, wsserver.Drain{Notice: notice, Over: 10 * time.Second})
			time.Sleep(5*time.Second + time.Millisecond)
			before := c.srv.Stats().Drain.Ended
			cancel()
			err := <-ended
			if want := fmt.Sprintf("%d of 100", 100-before); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), want) {
				t.Errorf("Drain: %v, want that %s were cut", err, want)
			}
			if d := time.Since(c.begun); d > 5100*time.Millisecond {
				t.Errorf("it took %v", d)
			}
			for _, client := range c.clients {
				kit.Equal(t, client.Wait().Code, 1001)
			}
			s := c.srv.Stats().Drain
			kit.Equal(t, s.Cut, 100-before)
			kit.Equal(t, s.Ended, 100)
		})
	}
}

// TestDrainTwice: a second call waits for the first, a Close ends both, and after it there is nothing to drain.
func TestDrainTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAudience(t, 20, wsserver.Config{})
		first := c.drain(t.Context(), wsserver.Drain{Notice: -1, Rate: 10})
		synctest.Wait()
		second := c.drain(t.Context(), wsserver.Drain{Notice: time.Hour})
		if err := c.srv.Drain(kit.Within(t, time.Second), atOnce); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that does not wait: %v", err)
		}
		select {
		case err := <-first:
			t.Fatalf("the first call has ended: %v", err)
		default:
		}
		kit.OK(t, <-first)
		kit.OK(t, <-second)
		kit.OK(t, c.srv.Drain(t.Context(), atOnce))
	})
	for _, notice := range []time.Duration{-1, time.Hour} {
		kit.Bubble(t, "Close", func(t *testing.T) {
			c := newAudience(t, 20, wsserver.Config{})
			ended := c.drain(t.Context(), wsserver.Drain{Notice: notice, Rate: 10})
			time.Sleep(time.Second)
			kit.Close(t, c.srv)
			if err := <-ended; !errors.Is(err, wsserver.ErrShutdown) {
				t.Errorf("Drain: %v", err)
			}
			if d := time.Since(c.begun); d > 1100*time.Millisecond {
				t.Errorf("it took %v", d)
			}
			if err := c.srv.Drain(t.Context(), atOnce); !errors.Is(err, wsserver.ErrShutdown) {
				t.Errorf("Drain after Close: %v", err)
			}
			c.ends(t, 20)
		})
	}
}

// TestDrainDeaf: a client that takes nothing does not hold a drain up for long.
func TestDrainDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAudience(t, 2, wsserver.Config{})
		c.clients[0].Stall()
		for range 100 {
			kit.OK(t, c.srv.Emit(t.Context(), "x", strings.Repeat("x", 10_000)))
		}
		kit.OK(t, kit.Receive(t, "the end of Drain", c.drain(t.Context(), atOnce)))
		if d := time.Since(c.begun); d > 6*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// TestDrainMistakes: a Drain that makes no sense, and a server that serves nobody.
func TestDrainMistakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAudience(t, 1, wsserver.Config{})
		for _, how := range []wsserver.Drain{{Over: -1}, {Rate: -1}} {
			if err := c.srv.Drain(t.Context(), how); err == nil {
				t.Errorf("%+v: no error", how)
			}
		}
		kit.Equal(t, c.srv.Readiness().State, wsserver.StateReady)
		wrong := wsserver.New(wsserver.Config{PingInterval: -1, Logger: kit.Silent})
		defer kit.Close(t, wrong)
		if err := wrong.Drain(t.Context(), wsserver.Drain{}); err == nil {
			t.Error("a server whose Config is wrong: no error")
		}
	})
}
