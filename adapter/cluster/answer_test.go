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

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
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
			kit.OK(t, r.ServerSideEmit(t.Context(), []byte(payload), nil))
		}
		settle()
		kit.Equal(t, handled.Load(), 5, "events handled")
		start := time.Now()
		_, err := r.ServerSideEmitWithAck(t.Context(), []byte("exit"), nil)
		missing(t, "ServerSideEmitWithAck", err, 0, errors.Unwrap(err), hubs[1].Node())
		kit.Took(t, start, 0, 10*time.Millisecond, "the answer")
		if answers, err := r.ServerSideEmitWithAck(t.Context(), nil, nil); len(answers) != 1 || err != nil {
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

// A node does so many things for others at a time; what is beyond is answered, and no other call fails for it.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, m := add(t, hubs[1])
		hold := make(chan struct{})
		m.describing = func() []byte { <-hold; return nil }
		hubs[1].Handle("slow", func(context.Context, string, []byte) ([]byte, error) { <-hold; return []byte("done"), nil })
		r := hubs[0].Rooms("/", frame)
		var fetched, called atomic.Int64
		for range ask.MaxLookups {
			go func() {
				if infos, err := r.FetchSockets(t.Context(), Selection{}); len(infos) == 1 && err == nil {
					fetched.Add(1)
				}
			}()
		}
		for range ask.MaxHandlers {
			go func() {
				if out, err := hubs[0].Call(t.Context(), hubs[1].Node(), "slow", nil); string(out) == "done" && err == nil {
					called.Add(1)
				}
			}()
		}
		settle()
		_, err := r.FetchSockets(t.Context(), Selection{})
		missing(t, "one FetchSockets too many", err, 0, ErrBusy, hubs[1].Node())
		kit.OK(t, r.SocketsJoin(t.Context(), Selection{}, "red"))
		kit.Equal(t, len(hubs[1].Rooms("/", frame).Members("red")), 1, "members that have joined")
		_, err = hubs[0].Call(t.Context(), hubs[1].Node(), "slow", nil)
		var node *NodeError
		if !errors.Is(err, ErrBusy) || !errors.As(err, &node) || node.Node != hubs[1].Node() {
			t.Errorf("one Call too many: %v", err)
		}
		if acks, err := r.EmitWithAck(t.Context(), Broadcast{Rooms: []string{"none"}}); err != nil || acks.Members != 0 {
			t.Errorf("EmitWithAck: %+v, %v", acks, err)
		}
		kit.Equal(t, hubs[1].Stats().Busy, 2, "refused")
		close(hold)
		settle()
		kit.Equal(t, fetched.Load(), ask.MaxLookups, "fetched")
		kit.Equal(t, called.Load(), ask.MaxHandlers, "called")
		idle(t, hubs...)
	})
}

// Also a node whose queue is full says that it is busy. What it has not been refused counts as no refused broadcast.
func TestBusyWithAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		stuck := make(chan struct{})
		var full atomic.Bool
		wires[1].publishing = func(context.Context, adapter.Topic) error {
			if full.Load() {
				<-stuck
			}
			return nil
		}
		near := openWith(t, HubConfig{Adapter: wires[0]})
		far := openWith(t, HubConfig{Adapter: wires[1], QueueBytes: 1000})
		add(t, far)
		settle()
		full.Store(true)
		say(t, far, string(make([]byte, 2000)), Broadcast{})
		settle()
		var mu sync.Mutex // guards calls
		calls := map[string]error{}
		for _, kind := range []string{"call", "count"} {
			go func() {
				var err error
				if kind == "call" {
					r := near.Rooms("/", frame)
					err = r.askAll(t.Context(), 99, Selection{}, nil) // no node knows it
				} else {
					_, err = near.Rooms("/", frame).EmitCounted(t.Context(), Broadcast{})
				}
				mu.Lock()
				defer mu.Unlock()
				calls[kind] = err
			}()
			synctest.Wait()
		}
		close(stuck)
		settle()
		mu.Lock()
		defer mu.Unlock()
		if err, ok := calls["call"]; !ok || !errors.Is(err, ErrUnknown) {
			t.Errorf("Call of a kind that is not known: %v, returned %v", err, ok)
		}
		if err, ok := calls["count"]; !ok || err != nil {
			t.Errorf("EmitCounted: %v, returned %v", err, ok)
		}
		kit.Equal(t, far.Stats().Refused, 0, "broadcasts refused")
		near.Close(t.Context())
		far.Close(t.Context())
	})
}

// More questions than a node collects answers for: its members get the broadcast all the same.
func TestTooManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, m := add(t, hubs[1])
		ctx, cancel := context.WithCancel(t.Context())
		for range ask.MaxCollecting {
			go hubs[0].Rooms("/", frame).EmitWithAck(ctx, Broadcast{})
		}
		settle()
		m.take()
		acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("one more")})
		missing(t, "one question too many", err, 0, ErrBusy, hubs[1].Node())
		synctest.Wait() // it is refused before the member is told
		kit.Equal(t, len(acks.Answers), 0, "answers")
		kit.Equal(t, m.forgotten(), 1, "questions that the member was told to forget")
		got(t, "the member", m, "one more")
		cancel()
		settle()
		kit.Equal(t, m.forgotten(), 1+ask.MaxCollecting, "questions that the member was told to forget")
		idle(t, hubs...)
	})
}
