package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// closing closes h and checks how long that takes.
func closing(t *testing.T, ctx context.Context, h *Hub, least, most time.Duration) error {
	t.Helper()
	start := time.Now()
	err := h.Close(ctx)
	kit.Took(t, start, least, most, "Close")
	return err
}

// Where nobody is, or nobody misses anything, Close does not wait.
func TestCloseWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		alone := openWith(t, HubConfig{Adapter: memory})
		add(t, alone, "red")
		say(t, alone, "x", Broadcast{})
		kit.OK(t, closing(t, t.Context(), alone, 0, 0), "Close of a node that is alone")
		hubs := []*Hub{openWith(t, HubConfig{Adapter: memory}), openWith(t, HubConfig{Adapter: memory}), openWith(t, HubConfig{Adapter: memory})}
		var members []*member
		for _, h := range hubs {
			_, m := add(t, h, "red")
			members = append(members, m)
		}
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			say(t, hubs[0], want[i], Broadcast{Rooms: []string{"red"}})
		}
		kit.OK(t, closing(t, t.Context(), hubs[0], 0, 0), "Close where all have everything")
		got(t, "the second node's member", members[1], want...)
		kit.OK(t, closing(t, t.Context(), hubs[1], 0, 0), "Close of the second")
		kit.OK(t, closing(t, t.Context(), hubs[2], 0, 0), "Close of the last")
	})
}

// What others have missed of what a node said last is sent again before it leaves, whichever part of that is lost.
func TestCloseRepairs(t *testing.T) {
	for name, lose := range map[string]func(m *envelope.Message) bool{
		"broadcasts": broadcasts,
		"broadcasts and goodbyes": func(m *envelope.Message) bool {
			_, bye := m.Mesh.(*mesh.Bye)
			return broadcasts(m) || bye
		},
		"broadcasts and Beats": func(m *envelope.Message) bool {
			beat, ok := m.Mesh.(*mesh.Heartbeat)
			return broadcasts(m) || ok && m.To == "" && len(beat.Tails) > 0
		},
	} {
		kit.Bubble(t, name, func(t *testing.T) {
			hubs, sieves := sifted(t, 3)
			_, x := add(t, hubs[1], "red", "blue")
			_, y := add(t, hubs[2], "blue")
			for _, s := range sieves[1:] {
				n := 0
				s.set(func(m *envelope.Message) bool {
					drop := m.From == hubs[0].Node() && lose(m)
					if drop && m.Broadcast == nil {
						n++
					}
					return drop && n < 2
				})
			}
			var wantX, wantY []string
			for i := range 20 {
				payload := fmt.Sprint(i)
				wantX = append(wantX, payload)
				if i%2 == 0 {
					say(t, hubs[0], payload, Broadcast{Rooms: []string{"red"}})
				} else {
					wantY = append(wantY, payload)
					say(t, hubs[0], payload, Broadcast{Rooms: []string{"blue"}})
				}
			}
			kit.OK(t, closing(t, t.Context(), hubs[0], 0, time.Second), "Close")
			synctest.Wait()
			if d := sieves[1].set(nil); d == 0 {
				t.Error("nothing was lost")
			}
			if s := hubs[1].Stats(); s.Repaired != 20 || s.Missed+s.Unknown != 0 {
				t.Errorf("%+v, want 20 repaired", s)
			}
			got(t, "x", x, wantX...)
			got(t, "y", y, wantY...)
			time.Sleep(time.Minute)
			for i, h := range hubs[1:] {
				if s := h.Stats(); len(s.Nodes) != 1 || len(s.Suspects) != 0 || s.Missed+s.Unknown != 0 {
					t.Errorf("node %d afterwards: %+v, want the other alone, and nothing missed", i+1, s)
				}
			}
		})
	}
}

// Nodes that leave at once do not wait for each other, and the one that stays gets what it misses of both.
func TestCloseTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		_, m := add(t, hubs[2], "red", "blue")
		for _, s := range sieves {
			s.set(broadcasts)
		}
		say(t, hubs[0], "red", Broadcast{Rooms: []string{"red"}})
		say(t, hubs[1], "blue", Broadcast{Rooms: []string{"blue"}})
		var wg sync.WaitGroup
		for _, h := range hubs[:2] {
			wg.Go(func() {
				if err := closing(t, t.Context(), h, 0, 300*time.Millisecond); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		came := m.take()
		slices.Sort(came)
		kit.EqualSlices(t, came, []string{"blue", "red"}, "what the member that stays got")
	})
}

// Close waits for a node that goes on asking until ctx ends, or 2 s at the most; for one that says nothing, as long as a fence.
func TestCloseIsBounded(t *testing.T) {
	for _, c := range []struct {
		name        string
		patience    time.Duration // of ctx; none if zero
		drop        func(m *envelope.Message) bool
		least, most time.Duration
	}{
		{"repairs that never come", 0, func(m *envelope.Message) bool { return m.Broadcast != nil }, 500 * time.Millisecond, 2100 * time.Millisecond},
		{"repairs that never come, and a ctx", 100 * time.Millisecond, func(m *envelope.Message) bool { return m.Broadcast != nil }, 100 * time.Millisecond, 100 * time.Millisecond},
		{"a node that hears nothing", 0, everything, 250 * time.Millisecond, 300 * time.Millisecond},
		{"a node that hears nothing, and a ctx", 10 * time.Millisecond, everything, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, sieves := sifted(t, 2)
			add(t, hubs[1], "red")
			sieves[1].set(c.drop)
			say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
			ctx := t.Context()
			if c.patience > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.patience)
				defer cancel()
			}
			var cause error
			if c.patience > 0 {
				cause = context.DeadlineExceeded
			}
			err := closing(t, ctx, hubs[0], c.least, c.most)
			missing(t, "Close", err, 0, errUnconfirmed, hubs[1].Node())
			if cause != nil && !errors.Is(err, cause) {
				t.Errorf("Close: %v, want %v among the reasons", err, cause)
			}
			missing(t, "second Close", closing(t, t.Context(), hubs[0], 0, 0), 0, errUnconfirmed, hubs[1].Node())
		})
	}
}

// The broker is away: Close does not wait for it, and says what was not sent.
func TestCloseWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hubs := []*Hub{openWith(t, HubConfig{Adapter: memory}), openWith(t, HubConfig{Adapter: memory})}
		add(t, hubs[1], "red")
		restore := memory.Interrupt()
		defer restore()
		synctest.Wait()
		kit.OK(t, closing(t, t.Context(), hubs[1], 0, 0), "Close with nothing to send")
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
		kit.ErrorIs(t, closing(t, t.Context(), hubs[0], 0, 0), adapter.ErrUnavailable, "Close")
	})
}

// The broker goes away in the middle of Close: what waits then does not.
func TestCloseInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		add(t, hubs[1], "red")
		sieves[1].set(func(m *envelope.Message) bool { return m.Broadcast != nil })
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
		time.AfterFunc(100*time.Millisecond, sieves[0].die)
		err := closing(t, t.Context(), hubs[0], 100*time.Millisecond, 100*time.Millisecond)
		missing(t, "Close", err, 0, errUnconfirmed, hubs[1].Node())
	})
}

// Of two calls of Close the less patient one ends both.
func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		add(t, hubs[1], "red")
		sieves[1].set(func(m *envelope.Message) bool { return m.Broadcast != nil })
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
		patient := make(chan time.Time)
		go func() {
			ctx := kit.Within(t, time.Hour)
			hubs[0].Close(ctx)
			patient <- time.Now()
		}()
		synctest.Wait()
		ctx := kit.Within(t, 10*time.Millisecond)
		start := time.Now()
		hubs[0].Close(ctx)
		kit.Equal(t, (<-patient).Sub(start), 10*time.Millisecond, "the patient Close took")
	})
}

// Close does not wait for the program for longer than its ctx, and says so.
func TestCloseWithStuckHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		stuck := make(chan struct{})
		hubs[1].OnServerSide(func(context.Context, ServerEvent) ([]byte, error) { <-stuck; return nil, nil })
		go hubs[0].Rooms("/", frame).ServerSideEmitWithAck(t.Context(), nil, nil)
		settle()
		ctx := kit.Within(t, time.Second)
		start := time.Now()
		if err := hubs[1].Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Close: %v after %v, want the deadline after 1s", err, time.Since(start))
		}
		close(stuck)
		kit.OK(t, hubs[1].Close(t.Context()), "Close when the handler has returned")
	})
}

// A program that emits and ends at once is heard, though it may not have met anybody.
func TestCloseAtOnce(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, meet := range []time.Duration{0, time.Millisecond, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				memory := new(adapter.Memory)
				h := openWith(t, HubConfig{Adapter: memory})
				_, m := add(t, h, "red")
				short := NewHub(HubConfig{Adapter: memory, Client: client, Logger: silent})
				synctest.Wait() // the link is there
				time.Sleep(meet)
				for i := range 3 {
					say(t, short, fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
				}
				kit.OK(t, closing(t, t.Context(), short, 0, 300*time.Millisecond), "Close")
				got(t, fmt.Sprintf("the member, of a client (%v) after %v,", client, meet), m, "0", "1", "2")
			})
		}
	}
}
