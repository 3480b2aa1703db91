package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// stays checks that nobody was disconnected.
func stays(t *testing.T, gone <-chan farewell) {
	t.Helper()
	select {
	case f := <-gone:
		t.Errorf("%s was disconnected: %v", f.id, f.reason)
	default:
	}
}

// TestLargeMessage: a client that reads gets a message of any size, and what comes behind it.
func TestLargeMessage(t *testing.T) {
	for _, rate := range []int{0, 4_000_000, 250_000} {
		for _, size := range []int{900_000, 5_000_000, 12_000_000} {
			if rate == 250_000 && size > 5_000_000 {
				continue
			}
			t.Run(fmt.Sprint(size, " at ", rate), func(t *testing.T) {
				inPipes(t, wsserver.Config{}, func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
					gone := farewells(srv.Of("/"))
					big := strings.Repeat("x", size)
					srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
						return errors.Join(s.Emit(ctx, "big", big), s.Emit(ctx, "small"))
					})
					c := client(rate, wstest.Config{})
					var got string
					if err := c.Next("big").Decode(&got); err != nil || got != big {
						t.Errorf("the large one: got %d bytes, %v", len(got), err)
					}
					c.Next("small")
					stays(t, gone)
				})
			})
		}
	}
}

// TestPingAmidBulk: pings reach a client that reads slowly ahead of what waits for it, so that neither end takes the other for gone.
func TestPingAmidBulk(t *testing.T) {
	const interval, timeout = time.Second, 1500 * time.Millisecond
	for _, test := range []struct {
		name  string
		sizes []int // of the events that wait, in bytes
	}{
		{"one large event", []int{2_500_000}},
		{"several", []int{500_000, 500_000, 500_000, 500_000, 500_000}},
		{"many", slicesOf(20_000, 125)},
	} {
		t.Run(test.name, func(t *testing.T) {
			inPipes(t, wsserver.Config{PingInterval: interval, PingTimeout: timeout},
				func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
					gone := farewells(srv.Of("/"))
					c := client(250_000, wstest.Config{})
					for i, size := range test.sizes {
						kit.OK(t, srv.Emit(t.Context(), "n", i, strings.Repeat("x", size)))
					}
					begin := time.Now()
					for i := range test.sizes {
						var n int
						if err := c.Next("n").Decode(&n); err != nil || n != i {
							t.Fatalf("got event %d, %v, want %d", n, err, i)
						}
					}
					if passed := time.Since(begin); passed < 9*time.Second || passed > 12*time.Second {
						t.Errorf("all came in %v, want about 10 s", passed)
					}
					if pings := wsrig.Under(c).Pings(); len(test.sizes) > 100 && pings < 7 {
						t.Errorf("%d pings came in 10 s amid small events, want about 9", pings)
					} else if pings < len(test.sizes)-1 && len(test.sizes) < 10 {
						t.Errorf("%d pings came amid %d large events", pings, len(test.sizes))
					}
					time.Sleep(time.Minute)
					stays(t, gone)
				})
		})
	}
}

func slicesOf(v, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// TestBurst: what comes at once, of others or after an outage, costs nobody the connection who reads, and one who does not is the only one to go.
func TestBurst(t *testing.T) {
	for _, test := range []struct {
		name           string
		rate           int // at which the members read
		events, size   int // that come at once
		after, later   int // how many events come afterwards, four a second, and their size
		disconnectsOne bool
	}{
		{"eight uploads of another", 4_000_000, 8, 900_000, 0, 0, false},
		{"300 at once", 0, 300, 20_000, 0, 0, true},
		{"repair after an outage", 1_000_000, 96, 62_500, 100, 62_500, false},
		{"repair of many", 10_000_000, 250, 64 << 10, 0, 0, false},
		{"a long history", 100_000, 40, 250_000, 400, 1000, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inPipes(t, wsserver.Config{}, func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
				gone := farewells(srv.Of("/"))
				deaf := client(0, wstest.Config{})
				var members []*wstest.Client
				for range 3 {
					members = append(members, client(test.rate, wstest.Config{}))
				}
				if test.disconnectsOne {
					deaf.Stall()
				}
				text := strings.Repeat("x", test.size)
				for i := range test.events + test.after {
					if i >= test.events {
						time.Sleep(250 * time.Millisecond)
						text = text[:test.later]
					}
					kit.OK(t, srv.Emit(t.Context(), "n", i, text))
				}
				for _, c := range members {
					for i := range test.events + test.after {
						var n int
						if err := c.Next("n").Decode(&n); err != nil || n != i {
							t.Fatalf("got event %d, %v, want %d", n, err, i)
						}
					}
				}
				time.Sleep(time.Minute)
				if test.disconnectsOne {
					if f := next(t, gone); f.id != deaf.ID() {
						t.Errorf("%s was disconnected: %v", f.id, f.reason)
					}
				}
				stays(t, gone)
			})
		})
	}
}

// TestBehind: a client that reads less than comes, for ever, is disconnected after a minute over the bound.
func TestBehind(t *testing.T) {
	inPipes(t, wsserver.Config{}, func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
		gone := farewells(srv.Of("/"))
		c := client(100_000, wstest.Config{})
		text := strings.Repeat("x", 25_000)
		begin := time.Now()
		for range 300 { // 250 kB/s
			time.Sleep(100 * time.Millisecond)
			srv.Emit(t.Context(), "n", text)
			if len(gone) > 0 {
				break
			}
		}
		stays(t, gone) // after 30 s, in which 4.5 MB have gathered
		for len(gone) == 0 && time.Since(begin) < 3*time.Minute {
			time.Sleep(100 * time.Millisecond)
			srv.Emit(t.Context(), "n", text)
		}
		f := next(t, gone)
		// 1 MiB has gathered after 7 s.
		if passed := f.at.Sub(begin); f.id != c.ID() || !errors.Is(f.reason, wsserver.ErrTooSlow) || passed < 65*time.Second || passed > 70*time.Second {
			t.Errorf("disconnected after %v: %v; want ErrTooSlow after 67 s", passed, f.reason)
		}
		if got := srv.Stats().Ended; got.Behind != 1 {
			t.Errorf("Ended: got %+v, want one behind", got)
		}
	})
}

// TestNeverRead: many that never read go within 20 seconds after they have passed QueueBytes, and one line of the log says so.
func TestNeverRead(t *testing.T) {
	var log kit.Log
	inPipes(t, wsserver.Config{Logger: log.Logger()}, func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
		gone := farewells(srv.Of("/"))
		reader := client(0, wstest.Config{})
		const n = 50
		for range n {
			client(0, wstest.Config{}).Stall()
		}
		text := strings.Repeat("x", 16_000)
		var over time.Time
		sent := 0
		for len(gone) < n && sent < 5000 {
			time.Sleep(20 * time.Millisecond)
			kit.OK(t, srv.Emit(t.Context(), "n", sent, text))
			if sent++; sent*len(text) > 1<<20 && over.IsZero() {
				over = time.Now()
			}
		}
		for range n {
			if f := next(t, gone); f.id == reader.ID() || !errors.Is(f.reason, wsserver.ErrTooSlow) || f.at.Sub(over) > 20*time.Second {
				t.Errorf("%s: %v, %v after passing the bound", f.id, f.reason, f.at.Sub(over))
			}
		}
		for i := range sent {
			var got int
			if err := reader.Next("n").Decode(&got); err != nil || got != i {
				t.Fatalf("the reader got event %d, %v, want %d", got, err, i)
			}
		}
	})
	if got := strings.Count(log.String(), "does not keep up"); got != 1 {
		t.Errorf("%d lines in the log say so, want 1:\n%s", got, log.String())
	}
}

// TestBudget: when the memory for what waits is used up, those go that are furthest behind, and no one who reads.
func TestBudget(t *testing.T) {
	inPipes(t, wsserver.Config{Limits: wsserver.Limits{BudgetBytes: 4 << 20, QueueBytes: 256 << 10}},
		func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
			gone := farewells(srv.Of("/"))
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				wsserver.On(s, "back", func(ctx context.Context, _ *wsserver.Socket, text string) error { return s.Emit(ctx, "back", text) })
				return nil
			})
			reader := client(1_000_000, wstest.Config{})
			const n = 20
			for range n {
				c := wstest.Dial(t, srv, wstest.Config{})
				c.Stall()
				for range 8 {
					wsrig.Under(c).Send(`42["back","` + strings.Repeat("x", 200_000) + `"]`)
				}
			}
			most := int64(0)
			begin := time.Now()
			for i := range 100 {
				time.Sleep(20 * time.Millisecond)
				kit.OK(t, srv.Emit(t.Context(), "n", i, strings.Repeat("x", 10_000)))
				most = max(most, srv.Stats().Waiting)
			}
			for i := range 100 {
				var got int
				if err := reader.Next("n").Decode(&got); err != nil || got != i {
					t.Fatalf("the reader got event %d, %v, want %d", got, err, i)
				}
			}
			ended := len(gone)
			for range ended {
				if f := next(t, gone); f.id == reader.ID() || !errors.Is(f.reason, wsserver.ErrOverBudget) || f.at.Sub(begin) > 3*time.Second {
					t.Errorf("%s: %v after %v", f.id, f.reason, f.at.Sub(begin))
				}
			}
			// 1.6 MB each: with two of them whole and what is read of others the budget is used up.
			if got := srv.Stats(); ended < n-5 || got.Ended.OverBudget != uint64(ended) || most > 6<<20 {
				t.Errorf("%d ended of %d; %+v; most that waited: %d bytes", ended, n, got.Ended, most)
			}
			reader.EmitWithAck("echo")
		})
}

// TestSharedFrames: a broadcast that many wait for counts once.
func TestSharedFrames(t *testing.T) {
	inPipes(t, wsserver.Config{}, func(t *testing.T, srv *wsserver.Server, client func(int, wstest.Config) *wstest.Client) {
		var clients []*wstest.Client
		for range 20 {
			c := client(0, wstest.Config{})
			c.Stall()
			clients = append(clients, c)
		}
		for range 10 {
			srv.Emit(t.Context(), "n", strings.Repeat("x", 100_000))
		}
		synctest.Wait()
		if got := srv.Stats().Waiting; got < 900_000 || got > 1_100_000 {
			t.Errorf("%d bytes wait, want about 1 MB", got)
		}
		for _, c := range clients {
			c.Resume()
		}
		synctest.Wait()
		kit.Want(t, srv.Stats().Waiting, 0, "bytes wait after all was read")
	})
}
