package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// callOnce makes a held call that is to end at once.
func callOnce(h *Hub, ctx context.Context, node, kind string, payload []byte) error {
	_, note, err := h.CallHeld(ctx, node, kind, payload, nil)
	if (note == nil) != (err != nil) {
		return fmt.Errorf("a note function: %v, with the error %w", note != nil, err)
	}
	return err
}

// A call that cannot be answered fails at once, and says why.
func TestHeldFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		a, b := hubs[0], hubs[1]
		b.HandleHeld("fails", func(c *Held) { c.Fail(errors.New("no such session")) })
		b.HandleHeld("unknown", func(c *Held) { c.Fail(fmt.Errorf("here: %w", ErrUnknown)) })
		b.HandleHeld("panics", func(*Held) { panic("oh") })
		b.HandleHeld("exits", func(*Held) { runtime.Goexit() })
		b.HandleHeld("answers, and panics", func(c *Held) {
			kit.OK(t, c.Answer(nil))
			panic("oh")
		})
		b.HandleHeld("answers twice", func(c *Held) {
			kit.OK(t, c.Answer(nil))
			if c.Answer(nil) == nil {
				t.Error("the second answer has no error")
			}
			c.Fail(errors.New("the third"))
			if c.Answer(nil) == nil {
				t.Error("an answer after Fail has no error")
			}
		})
		b.Handle("plain", func(ctx context.Context, _ string, _ []byte) ([]byte, error) { return nil, ctx.Err() })
		start := time.Now()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range []struct {
			kind, node string
			ctx        context.Context
			size       int
			is         error
			text       string
		}{
			{kind: "fails", text: "no such session"},
			{kind: "unknown", is: ErrUnknown},
			{kind: "of a later version", is: ErrUnknown},
			{kind: "panics", text: "panic: oh"},
			{kind: "exits", text: "ended its goroutine"},
			{kind: "answers, and panics"},
			{kind: "answers twice"},
			{kind: "plain"},
			{kind: "fails", node: "unknownnod", is: ErrNode},
			{kind: "fails", node: "no node", is: ErrNode},
			{kind: "fails", node: a.Node(), is: ErrNode},
			{kind: "fails", ctx: ended, is: context.Canceled},
			{kind: "fails", size: maxMessage, is: ErrTooLarge},
		} {
			if kit.Raced && c.size > 0 {
				continue // it takes many seconds
			}
			node, ctx := c.node, c.ctx
			if node == "" {
				node = b.Node()
			}
			if ctx == nil {
				ctx = t.Context()
			}
			err := callOnce(a, ctx, node, c.kind, make([]byte, c.size))
			var of *NodeError
			byNode := errors.As(err, &of)
			switch {
			case c.is == nil && c.text == "" && err == nil:
			case c.is != nil && errors.Is(err, c.is) && byNode == (c.is == ErrNode || c.is == ErrUnknown):
			case c.text != "" && err != nil && strings.Contains(err.Error(), c.text) && byNode:
			default:
				t.Errorf("%s of node %q: %v", c.kind, c.node, err)
			}
		}
		kit.Took(t, start, 0, time.Second)
		idle(t, hubs...)
		alone := open(t, nil)
		kit.ErrorIs(t, callOnce(alone, t.Context(), b.Node(), "fails", nil), ErrNode, "without an adapter")
		kit.OK(t, a.Close(t.Context()))
		kit.ErrorIs(t, callOnce(a, t.Context(), b.Node(), "fails", nil), adapter.ErrClosed, "after Close")
		idle(t, hubs...)
	})
}

// The end of ctx cancels a call, and its holder hears so, also where the queue has no room for that at the moment.
func TestHeldCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		a := NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 10_000})
		t.Cleanup(func() { a.Close(context.Background()) })
		b := open(t, wires[1])
		kit.OK(t, errors.Join(a.Ready(t.Context()), b.Ready(t.Context())))
		k := holding(b)
		why := errors.New("the client has gone")
		for _, full := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error)
			go func() { done <- callOnce(a, ctx, b.Node(), "poll", []byte("hello")) }()
			c := <-k.calls
			if full {
				wires[0].die()
				synctest.Wait()
				for say := a.Rooms("/", frame); say.Emit(Broadcast{Payload: make([]byte, 1000)}) == nil; {
				}
				for say := a.Rooms("/", frame); say.Emit(Broadcast{}) == nil; {
				}
			}
			cancel(why)
			kit.ErrorIs(t, <-done, why)
			if full {
				k.heard(t, c, "hello")
				time.Sleep(time.Second)
				wires[0].set(adapter.State{Status: adapter.Connected})
				time.Sleep(5 * time.Second)
			}
			k.heard(t, c, "hello", "end")
			if c.Answer(nil) == nil {
				t.Error("an answer for nobody")
			}
		}
		idle(t, a, b)
		kit.Equal(t, a.Stats().HeldCalls+b.Stats().Held, 0, "calls left")
	})
}

// Whether the answer, the end of the asker or Done comes first, a call ends once, on both sides.
func TestHeldRaces(t *testing.T) {
	hubs := clusterOn2(t)
	b := hubs[1]
	b.HandleHeld("race", func(c *Held) {
		var ends atomic.Int32
		c.OnEnd(func() {
			if ends.Add(1) > 1 {
				t.Error("a call has ended twice")
			}
		})
		go func() {
			c.OnNote(func([]byte) {})
			_ = c.Answer([]byte("answer"))
			c.Done()
		}()
	})
	var calls sync.WaitGroup
	for i := range 500 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
			defer cancel()
			answer, _, err := hubs[0].CallHeld(ctx, b.Node(), "race", nil, func(note func([]byte) error) {
				kit.OK(t, note([]byte("note")))
			})
			if err == nil && string(answer) != "answer" || err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	calls.Wait()
	kit.Eventually(t, "no call is pending", func() bool { return hubs[0].Stats().HeldCalls == 0 })
	for _, h := range hubs {
		kit.OK(t, h.Close(t.Context()))
	}
	if s := b.Stats(); s.Held != 0 {
		t.Errorf("%d are held after Close", s.Held)
	}
}

// clusterOn2 is a cluster of two in real time.
func clusterOn2(t *testing.T) []*Hub {
	memory := new(adapter.Memory)
	hubs := []*Hub{open(t, memory), open(t, memory)}
	for _, h := range hubs {
		kit.OK(t, h.Ready(t.Context()))
	}
	kit.Eventually(t, "they have met", func() bool { return len(hubs[0].Stats().Nodes)+len(hubs[1].Stats().Nodes) == 2 })
	return hubs
}

// Handlers that have not returned are bounded, and so are the notes that nobody takes; calls that are held are not.
func TestHeldBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		release := make(chan struct{})
		hubs[1].HandleHeld("slow", func(c *Held) { <-release })
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for i := range uint64(ask.MaxHolding) { // by hand: so many goroutines take the race detector minutes
			holdByHand(hubs[0], hubs[1].Node(), "slow", 1_000_000+i)
		}
		synctest.Wait()
		kit.ErrorIs(t, callOnce(hubs[0], ctx, hubs[1].Node(), "slow", nil), ErrBusy)
		kit.Equal(t, hubs[1].Stats().Busy, 1, "Busy")
		close(release)
		synctest.Wait()
		calls.Go(func() { kit.ErrorIs(t, callOnce(hubs[0], ctx, hubs[1].Node(), "slow", nil), context.Canceled) })
		synctest.Wait()
		s := hubs[1].ask.State()
		if s.Held != ask.MaxHolding+1 || s.Running != 0 {
			t.Errorf("%+v, want all held, and nothing running", s)
		}
		cancel()
		calls.Wait()
		synctest.Wait()
		kit.Equal(t, hubs[1].Stats().Held, ask.MaxHolding, "held when one was cancelled")
		for _, size := range []int{0, 1000, ask.MaxNoteBytes} {
			n := 0
			err := callHeldNotes(hubs[0], t.Context(), hubs[1].Node(), func(note func([]byte) error) {
				for range ask.MaxNotes + 1 {
					if note(make([]byte, size)) != nil {
						break
					}
					n++
				}
			})
			kit.ErrorIs(t, err, ErrBusy, "with", n, "notes of", size)
		}
		kit.OK(t, hubs[0].Close(t.Context()))
		idle(t, hubs...) // who has left holds nothing
	})
}

func callHeldNotes(h *Hub, ctx context.Context, node string, sent func(func([]byte) error)) error {
	_, _, err := h.CallHeld(ctx, node, "slow", nil, sent)
	return err
}

// The broker is asked once a heartbeat for each node that holds calls, so that one that has crashed is soon suspect; a call waits on.
func TestHeldProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, adapters := mortals(t, 3, HubConfig{}, false)
		k := holding(hubs[1])
		probes := func(h *Hub) int {
			adapters[0].mu.Lock()
			defer adapters[0].mu.Unlock()
			return adapters[0].probes[h.Node()]
		}
		polls := make([]*poll, 50)
		for i := range polls {
			polls[i] = ask1(t, hubs[0], hubs[1], "x")
		}
		before := probes(hubs[1])
		time.Sleep(100*mesh.HeartbeatInterval + time.Millisecond)
		if n := probes(hubs[1]) - before; n < 98 || n > 101 || probes(hubs[2]) > 0 {
			t.Errorf("%d probes in 100 heartbeats, and %d of a node that holds nothing", n, probes(hubs[2]))
		}
		adapters[1].crash(t)
		time.Sleep(mesh.HeartbeatInterval + 10*time.Millisecond)
		if s := hubs[0].Stats(); len(s.Suspects) != 1 || s.HeldCalls != len(polls) {
			t.Errorf("%+v, want it to be suspect, and all calls to wait", s)
		}
		for _, p := range polls {
			<-p.done
			kit.ErrorIs(t, p.err, ErrNode)
		}
		settle()
		before = probes(hubs[1])
		time.Sleep(10 * time.Second)
		kit.Equal(t, probes(hubs[1]), before, "probes of a node that has gone")
		_ = k
	})
}

// Close of either node ends what it holds and what is held for it.
func TestHeldClose(t *testing.T) {
	for i, name := range []string{"the asker", "the holder"} {
		kit.Bubble(t, name, func(t *testing.T) {
			hubs, _ := cluster(t, 2)
			k := holding(hubs[1])
			p := ask1(t, hubs[0], hubs[1], "hello")
			c := <-k.calls
			synctest.Wait()
			kit.OK(t, hubs[i].Close(t.Context()))
			<-p.done
			kit.ErrorIs(t, p.err, []error{adapter.ErrClosed, ErrNode}[i])
			k.heard(t, c, "hello", "end")
			idle(t, hubs...)
		})
	}
}

// TestHeldCost shows what a call that waits costs the node that holds it: no goroutine, and little memory.
func TestHeldCost(t *testing.T) {
	if kit.Raced {
		t.Skip("the race detector takes memory of its own")
	}
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		var mu sync.Mutex
		held := 0
		hubs[1].HandleHeld("poll", func(c *Held) {
			c.OnNote(func([]byte) {})
			c.OnEnd(func() {})
			mu.Lock()
			defer mu.Unlock()
			held++
		})
		const n = 5000
		// The asker's side alone is made by hand: its goroutines would hide what the holder's costs.
		goroutines, heap := runtime.NumGoroutine(), heapNow()
		for i := range n {
			if i%1000 == 0 {
				settle()
			}
			holdByHand(hubs[0], hubs[1].Node(), "poll", uint64(1_000_000+i))
		}
		settle()
		if s := hubs[1].ask.State(); s.Held != n || s.Running != 0 {
			t.Fatalf("%+v", s)
		}
		if more := runtime.NumGoroutine() - goroutines; more > 0 {
			t.Errorf("%d goroutines for %d calls", more, n)
		}
		time.Sleep(time.Minute) // nothing is kept for repairs
		bytes := (heapNow() - heap) / n
		t.Logf("%d bytes a call", bytes)
		if bytes > 600 {
			t.Errorf("a call that is held takes %d bytes", bytes)
		}
	})
}

// holdByHand sends a call, and does not wait for it.
func holdByHand(h *Hub, node, kind string, id uint64) {
	_, _ = h.publish(&envelope.Body{Route: envelope.ByNode, Payload: make([]byte, 200), Request: envelope.Request{
		Kind: envelope.KindCall, ID: id, To: node, Left: forever, Arg: []byte(kind),
	}})
}
