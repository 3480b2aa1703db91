package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/adaptertest"
	"github.com/belfry-io/belfry/test/kit"
)

var lobby = adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: "lobby"}

func TestMemoryConformance(t *testing.T) {
	var memory *adapter.Memory
	adaptertest.Run(t, adaptertest.Config{
		New: func(*testing.T) []adapter.Adapter {
			memory = new(adapter.Memory)
			return []adapter.Adapter{memory}
		},
		Exact:     true,
		Interrupt: func(*testing.T, int) (restore func()) { return memory.Interrupt() },
	})
}

// openMemory opens a link that is subscribed to lobby and closed when the test ends.
func openMemory(t *testing.T, memory *adapter.Memory, recv func(msg []byte)) adapter.Link {
	t.Helper()
	link, err := memory.Open(t.Context(), recv)
	kit.OK(t, err, "Open")
	t.Cleanup(func() { _ = link.Close() })
	kit.OK(t, link.Subscribe(t.Context(), lobby))
	return link
}

// fill publishes messages of that size on lobby, whose receiver does not take them, until Publish has to wait. It returns how many were
// accepted. It runs in a synctest bubble.
func fill(t *testing.T, from adapter.Link, size int) int {
	t.Helper()
	const enough, enoughBytes = 10_000, 64 << 20
	n := 0
	for ; n < enough && n*size < enoughBytes; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := from.Publish(ctx, lobby, make([]byte, size))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return n
		}
		if err != nil {
			t.Fatalf("Publish of message %d: got %v, want %v", n, err, context.DeadlineExceeded)
		}
	}
	t.Fatalf("the queue has taken %d messages of %d bytes", n, size)
	return n
}

// stuckRecv returns a recv that hangs in its first message until release is closed.
func stuckRecv(release <-chan struct{}, got func(msg []byte)) func(msg []byte) {
	return func(msg []byte) {
		<-release
		if got != nil {
			got(msg)
		}
	}
}

func TestMemoryQueueIsBounded(t *testing.T) {
	const perLink = 4096 // messages, as documented; one more is with recv
	for _, tc := range []struct{ size, want int }{
		{size: 0, want: perLink + 1},
		{size: 1000, want: perLink + 1},
		{size: 1 << 20, want: 4 + 1},
		{size: 3 << 20, want: 1 + 1},
		{size: 5 << 20, want: 1 + 1},
	} {
		kit.Bubble(t, fmt.Sprintf("%d bytes", tc.size), func(t *testing.T) {
			release := make(chan struct{})
			received := 0
			memory := new(adapter.Memory)
			openMemory(t, memory, stuckRecv(release, func([]byte) { received++ }))
			from := openMemory(t, memory, func([]byte) {})
			kit.OK(t, from.Publish(t.Context(), lobby, make([]byte, tc.size)))
			synctest.Wait() // recv has the first message
			kit.Equal(t, 1+fill(t, from, tc.size), tc.want, "messages sent to a link that takes nothing")
			close(release)
			kit.OK(t, from.Publish(t.Context(), lobby, make([]byte, tc.size)), "Publish after the receiver has gone on")
			synctest.Wait()
			if want := tc.want + 1; received != want {
				t.Errorf("received %d messages, want %d: those accepted and no other", received, want)
			}
		})
	}
}

// waitingPublish starts a Publish that waits for the one full link of memory, and returns what it returns. It runs in a bubble.
func waitingPublish(t *testing.T, from adapter.Link, ctx context.Context) <-chan error {
	t.Helper()
	fill(t, from, 1<<20)
	returned := make(chan error, 1)
	go func() { returned <- from.Publish(ctx, lobby, make([]byte, 1<<20)) }()
	synctest.Wait()
	select {
	case err := <-returned:
		t.Fatalf("Publish to a full queue returned %v, want it to wait", err)
	default:
	}
	return returned
}

func TestMemoryPublishWaits(t *testing.T) {
	var interrupt func()
	for _, tc := range []struct {
		name string
		end  func(from, to adapter.Link, cancel func(), release func())
		want error
	}{
		{"until ctx ends", func(_, _ adapter.Link, cancel, _ func()) { cancel() }, context.Canceled},
		{"until the link closes", func(from, _ adapter.Link, _, _ func()) { _ = from.Close() }, adapter.ErrClosed},
		{"until the receiver has room", func(_, _ adapter.Link, _, release func()) { release() }, nil},
		{"until the memory is interrupted", func(_, _ adapter.Link, _, _ func()) { interrupt() }, adapter.ErrUnavailable},
		{"until the receiver closes", func(_, to adapter.Link, _, _ func()) { go func() { _ = to.Close() }() }, nil},
	} {
		kit.Bubble(t, tc.name, func(t *testing.T) {
			release := make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			memory := new(adapter.Memory)
			interrupt = func() { memory.Interrupt() }
			to := openMemory(t, memory, stuckRecv(release, nil))
			t.Cleanup(free)
			from := openMemory(t, memory, func([]byte) {})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			returned := waitingPublish(t, from, ctx)
			tc.end(from, to, cancel, free)
			synctest.Wait()
			select {
			case err := <-returned:
				kit.ErrorIs(t, err, tc.want, "Publish returned")
			default:
				t.Error("Publish still waits")
			}
		})
	}
}

func TestMemoryFullReceiverCostsOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		memory := new(adapter.Memory)
		before, after := 0, 0
		openMemory(t, memory, func([]byte) { before++ })
		openMemory(t, memory, stuckRecv(release, nil))
		openMemory(t, memory, func([]byte) { after++ })
		t.Cleanup(func() { close(release) })
		from := openMemory(t, memory, func([]byte) {})
		accepted := fill(t, from, 1<<20)
		synctest.Wait()
		if want := accepted + 1; before != want || after != want {
			t.Errorf("the receivers beside a full one got %d and %d messages, want %d: the one that was refused too", before, after, want)
		}
	})
}

func TestMemoryPrivateComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private := adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "n", Room: "n0"}
		memory := new(adapter.Memory)
		got := 0
		to := openMemory(t, memory, func([]byte) { got++ })
		from := openMemory(t, memory, func([]byte) { t.Error("the publisher received its own message") })
		node := adapter.Topic{Kind: adapter.Node, Node: "n"}
		kit.OK(t, errors.Join(to.Subscribe(t.Context(), private, node), from.Subscribe(t.Context(), node)))
		kit.OK(t, from.Publish(t.Context(), private, []byte("once")))
		synctest.Wait()
		kit.Equal(t, got, 1, "deliveries of a message that two subscriptions cover")
	})
}

func TestMemoryCloseDropsWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := make(chan struct{})
		memory := new(adapter.Memory)
		received := 0
		to := openMemory(t, memory, func([]byte) {
			received++
			<-step
		})
		from := openMemory(t, memory, func([]byte) {})
		publish := func(count int) {
			for range count {
				kit.OK(t, from.Publish(t.Context(), lobby, nil))
			}
			synctest.Wait()
		}
		publish(1)
		publish(3)
		step <- struct{}{}
		synctest.Wait() // recv has the first of three that were taken from the queue together
		publish(3)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = to.Close()
		}()
		synctest.Wait()
		close(step)
		<-closed
		kit.Equal(t, received, 2, "calls of recv, none once Close had begun")
	})
}

func TestMemoryInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		memory := new(adapter.Memory)
		var got []string
		to := openMemory(t, memory, stuckRecv(release, func(msg []byte) { got = append(got, string(msg)) }))
		from := openMemory(t, memory, func([]byte) {})
		publish := func(msg string) error { return from.Publish(t.Context(), lobby, []byte(msg)) }
		state := func(want adapter.Status) {
			t.Helper()
			for _, link := range []adapter.Link{from, to} {
				if s, _ := link.State(); s.Status != want || (s.Reason != nil) != (want == adapter.Degraded) {
					t.Errorf("state is %v (%v), want %v", s.Status, s.Reason, want)
				}
			}
		}
		kit.OK(t, publish("with recv"))
		synctest.Wait()
		kit.OK(t, publish("in the queue"))
		first, second := memory.Interrupt(), memory.Interrupt()
		state(adapter.Degraded)
		first()
		first()
		state(adapter.Degraded)
		kit.ErrorIs(t, publish("refused"), adapter.ErrUnavailable, "Publish while the memory is interrupted")
		second()
		state(adapter.Connected)
		kit.OK(t, publish("after it"))
		close(release)
		synctest.Wait()
		kit.EqualSlices(t, got, []string{"with recv", "after it"}, "received")
	})
}

func ExampleMemory_Interrupt() {
	memory := new(adapter.Memory)
	link, err := memory.Open(context.Background(), func([]byte) {})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer link.Close()

	restore := memory.Interrupt()
	state, changed := link.State()
	fmt.Println(state.Status, "-", state.Reason)
	restore()
	<-changed
	state, _ = link.State()
	fmt.Println(state.Status)
	// Output:
	// degraded - memory: interrupted
	// connected
}

func TestMemoryForgetsClosedLinks(t *testing.T) {
	memory := new(adapter.Memory)
	open := func() weak.Pointer[[64]byte] {
		held := new([64]byte)
		link, err := memory.Open(t.Context(), func(msg []byte) { copy(held[:], msg) })
		kit.OK(t, err, "Open")
		kit.OK(t, link.Subscribe(t.Context(), lobby, adapter.Topic{Kind: adapter.Cluster}))
		kit.OK(t, link.Close())
		return weak.Make(held)
	}
	first, second := open(), open()
	runtime.GC()
	if first.Value() != nil || second.Value() != nil {
		t.Error("a Memory keeps what recv of a closed link refers to")
	}
	runtime.KeepAlive(memory)
}

func TestMemoryErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	memory := new(adapter.Memory)
	if _, err := memory.Open(ended, func([]byte) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a ctx that has ended: got %v, want %v", err, context.Canceled)
	}
	if link, err := memory.Open(t.Context(), nil); err == nil {
		_ = link.Close()
		t.Error("Open without recv succeeds")
	}
	link := openMemory(t, memory, func([]byte) {})
	calls := map[string]func(ctx context.Context) error{
		"publish":     func(ctx context.Context) error { return link.Publish(ctx, lobby, nil) },
		"subscribe":   func(ctx context.Context) error { return link.Subscribe(ctx, lobby) },
		"unsubscribe": func(ctx context.Context) error { return link.Unsubscribe(ctx, lobby) },
	}
	check := func(ctx context.Context, want error) {
		t.Helper()
		for name, call := range calls {
			if err := call(ctx); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got %v, want %v and the call's name", name, err, want)
			}
		}
	}
	check(ended, context.Canceled)
	if err := link.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	check(t.Context(), adapter.ErrClosed)
	check(ended, adapter.ErrClosed)
}

func BenchmarkMemoryPublish(b *testing.B) {
	for _, receivers := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("%d receivers", receivers), func(b *testing.B) {
			memory := new(adapter.Memory)
			from, err := memory.Open(b.Context(), func([]byte) {})
			kit.OK(b, err)
			b.Cleanup(func() { _ = from.Close() })
			for range receivers {
				to, err := memory.Open(b.Context(), func([]byte) {})
				kit.OK(b, err)
				b.Cleanup(func() { _ = to.Close() })
				kit.OK(b, to.Subscribe(b.Context(), lobby))
			}
			msg := bytes.Repeat([]byte("x"), 200)
			b.ReportAllocs()
			for b.Loop() {
				kit.OK(b, from.Publish(b.Context(), lobby, msg))
			}
		})
	}
}
