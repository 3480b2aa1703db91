package wsserver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestDrainHandsOver: connections are handed over in batches before they end, at the pace that holds without; then the server lingers.
func TestDrainHandsOver(t *testing.T) {
	for _, takes := range []struct{ first, each time.Duration }{
		{0, 0}, {0, 5 * time.Millisecond}, {0, 200 * time.Millisecond}, {time.Second, 0},
	} {
		kit.Bubble(t, fmt.Sprint(takes), func(t *testing.T) {
			const n = 200
			c := newAudience(t, n, wsserver.Config{})
			var sizes []int
			handed := make(map[string]bool)
			c.srv.SetHandOver(func(ctx context.Context, batch []*wsserver.Socket) uint64 {
				time.Sleep(takes.each)
				if len(sizes) == 0 {
					time.Sleep(takes.first)
				}
				for _, s := range batch {
					kit.Check(t, s.Connected() && s.Moving() && !handed[s.ID()], "a socket is not there, or not moving, or handed over twice")
					handed[s.ID()] = true
				}
				sizes = append(sizes, len(batch))
				return uint64(len(batch))
			})
			ended := c.drain(t.Context(), wsserver.Drain{Notice: -1, Over: 2 * time.Second, Rate: 100, Linger: 3 * time.Second})
			times, _ := c.ends(t, n)
			synctest.Wait()
			slices.Sort(times)
			if k := most(times, 100*time.Millisecond); k > 12 {
				t.Errorf("%d ended within 100 ms, at 100 a second", k)
			}
			if k := slices.Max(sizes); k > 5 {
				t.Errorf("a batch of %d, want what is due in 50 ms", k)
			}
			kit.Equal(t, len(handed), n)
			time.Sleep(time.Second)
			kit.Equal(t, c.srv.Stats().Drain.State, wsserver.DrainLinger)
			kit.OK(t, <-ended)
			kit.Equal(t, c.srv.Stats().Drain.HandedOver, n)
			took := time.Since(c.begun) - times[n-1]
			kit.Check(t, took >= 3*time.Second && took < 3200*time.Millisecond, "it ended %v after the last connection", took)
		})
	}
	kit.Bubble(t, "Close meanwhile", func(t *testing.T) {
		c := newAudience(t, 20, wsserver.Config{})
		c.srv.SetHandOver(func(ctx context.Context, batch []*wsserver.Socket) uint64 { <-ctx.Done(); return 0 })
		ended := c.drain(t.Context(), atOnce)
		synctest.Wait()
		kit.Close(t, c.srv)
		kit.ErrorIs(t, <-ended, wsserver.ErrShutdown)
		kit.Check(t, time.Since(c.begun) < 100*time.Millisecond, "it took %v", time.Since(c.begun))
	})
}
