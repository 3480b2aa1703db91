package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// No page is sent that says nothing.
func TestNoEmptyPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		for _, after := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, time.Second} {
			_, m := add(t, hubs[1])
			m.asking = func(_ string, answer func([]byte, bool)) {
				time.AfterFunc(after, func() { answer([]byte("x"), true) })
			}
		}
		var mu sync.Mutex
		var pages []int
		sieves[0].set(func(m *envelope.Message) bool {
			if m != nil && m.Broadcast != nil && m.Broadcast.Kind == envelope.KindAnswer {
				replies, _ := envelope.MemberAcks(m.Broadcast.Payload)
				mu.Lock()
				defer mu.Unlock()
				pages = append(pages, len(replies))
			}
			return false
		})
		if acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{}); len(acks.Answers) != 4 || err != nil {
			t.Errorf("%d answers, %v", len(acks.Answers), err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got := fmt.Sprint(pages); got != "[0 3 1]" { // the first is the number of members
			t.Errorf("pages of %s answers, want [0 3 1]", got)
		}
	})
}

// A handler that ends its goroutine, as a test's Fatal does, costs its own answer and no more.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		var handled atomic.Int64
		hubs[1].OnServerSide(func(_ context.Context, e ServerEvent) ([]byte, error) {
			if handled.Add(1); string(e.Payload) == "exit" {
				runtime.Goexit()
			}
			return nil, nil
		})
		r := hubs[0].Rooms("/", frame)
		for _, payload := range []string{"exit", "fine", "exit", "exit", "fine"} {
			kit.OK(t, r.ServerSideEmit(t.Context(), []byte(payload)))
		}
		settle()
		kit.Equal(t, handled.Load(), 5, "events handled")
		start := time.Now()
		_, err := r.ServerSideEmitWithAck(t.Context(), []byte("exit"))
		missing(t, "ServerSideEmitWithAck", err, 0, errors.Unwrap(err), hubs[1].Node())
		kit.Took(t, start, 0, 10*time.Millisecond, "the answer")
		if answers, err := r.ServerSideEmitWithAck(t.Context(), nil); len(answers) != 1 || err != nil {
			t.Errorf("the next: %d answers, %v", len(answers), err)
		}
		idle(t, hubs...)
	})
}

// Members that are moved one by one, all at once: each move is confirmed, however many wait for their fence.
func TestManyChangesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(3)
		var slow atomic.Bool
		wires[2].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
			if slow.Load() && !broadcast {
				time.Sleep(100 * time.Millisecond)
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		const members = 1000
		var ids []string
		for range members {
			id := hubs[1].NewID()
			kit.OK(t, hubs[1].Rooms("/", frame).Add(t.Context(), id, new(member)))
			ids = append(ids, id)
		}
		settle()
		slow.Store(true)
		var failed atomic.Int64
		var tasks sync.WaitGroup
		for i, id := range ids {
			tasks.Go(func() {
				if err := hubs[0].Rooms("/", frame).SocketsJoin(t.Context(), Selection{Rooms: []string{id}}, fmt.Sprint("room", i)); err != nil && failed.Add(1) == 1 {
					t.Errorf("SocketsJoin: %v", err)
				}
			})
		}
		tasks.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d failed", n, members)
		}
		idle(t, hubs...)
	})
}
