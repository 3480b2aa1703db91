package cluster

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// Told waits until the listeners know what has changed, whoever tells them.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		r := h.Rooms("/", frame)
		a, _ := add(t, h)
		r.Told(t.Context()) // nobody is telling
		hold := make(map[string]chan struct{})
		for _, room := range []string{"first", "second", "third"} {
			hold[room] = make(chan struct{})
		}
		r.Listen(func(e RoomEvent) {
			if c := hold[e.Room]; e.Kind == JoinRoom && c != nil {
				<-c
			}
		})
		var told atomic.Int32
		go func() { _ = r.Join(t.Context(), a, "first") }()
		for _, room := range []string{"second", "third"} {
			synctest.Wait()
			_ = r.Join(t.Context(), a, room)
			go func() {
				r.Told(t.Context())
				told.Add(1)
			}()
		}
		for i, room := range []string{"first", "second", "third"} {
			synctest.Wait()
			if n := told.Load(); int(n) != max(0, i-1) {
				t.Errorf("while %s is being told, %d calls of Told have returned", room, n)
			}
			close(hold[room])
		}
		synctest.Wait()
		if n := told.Load(); n != 2 || len(r.events.waiting) != 0 {
			t.Errorf("in the end %d calls have returned, %d wait", n, len(r.events.waiting))
		}
		// Who has no time does not wait.
		hold["fourth"] = make(chan struct{})
		go func() { _ = r.Join(t.Context(), a, "fourth") }()
		synctest.Wait()
		ctx := kit.Within(t, time.Second)
		start := time.Now()
		if r.Told(ctx); time.Since(start) != time.Second {
			t.Errorf("Told took %v, want 1s", time.Since(start))
		}
		close(hold["fourth"])
	})
}
