package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestServerSideEmit(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		var mu sync.Mutex
		got := make([][]string, len(hubs))
		for i, h := range hubs {
			h.OnServerSide(func(_ context.Context, e ServerEvent) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				got[i] = append(got[i], fmt.Sprintf("%s %s %s %v", e.Node, e.Namespace, e.Payload, e.Answer))
				return nil, nil
			})
		}
		var want []string
		for i := range 500 {
			namespace := []string{"/", "/other"}[i%2]
			kit.OK(t, hubs[0].Rooms(namespace, frame).ServerSideEmit(t.Context(), fmt.Append(nil, i), nil))
			want = append(want, fmt.Sprintf("%s %s %d false", hubs[0].Node(), namespace, i))
		}
		settle()
		for i := range hubs {
			if i == 0 && len(got[i]) > 0 || i > 0 && !slices.Equal(got[i], want) {
				t.Errorf("node %d got %q", i, got[i])
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		kit.ErrorIs(t, hubs[0].Rooms("/", frame).ServerSideEmit(ctx, nil, nil), context.Canceled,
			"with a ctx that has ended")
	})
}

// A handler that is slow holds up the events of one node, up to a bound.
func TestSlowEventHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		hold := make(chan struct{})
		var got, other atomic.Int64
		hubs[2].OnServerSide(func(_ context.Context, e ServerEvent) ([]byte, error) {
			if e.Node == hubs[0].Node() {
				<-hold
				got.Add(1)
				panic("a handler's fault")
			}
			other.Add(1)
			return nil, nil
		})
		emit := func(h *Hub, size int) {
			t.Helper()
			kit.OK(t, h.Rooms("/", frame).ServerSideEmit(t.Context(), make([]byte, size), nil))
		}
		emit(hubs[0], 0)
		settle() // the handler has it
		for range maxServerEvents + 10 {
			emit(hubs[0], 10)
		}
		emit(hubs[1], 10)
		settle()
		if n := hubs[2].Stats().Busy; n != 10 || other.Load() != 1 {
			t.Errorf("%d were dropped, want 10; %d of another node came, want 1", n, other.Load())
		}
		hold <- struct{}{}
		close(hold)
		settle()
		kit.Equal(t, got.Load(), maxServerEvents+1, "that came")
		idle(t, hubs...)
		hold = make(chan struct{})
		emit(hubs[0], 0)
		settle()
		emit(hubs[0], maxServerEventBytes+1)
		emit(hubs[0], 1)
		settle()
		kit.Equal(t, hubs[2].Stats().Busy, 11, "dropped")
		close(hold)
		settle()
		idle(t, hubs...)
	})
}

func TestServerSideEmitWithAck(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		want := make(map[string]string)
		for i, h := range hubs {
			h.OnServerSide(func(_ context.Context, e ServerEvent) ([]byte, error) {
				if !e.Answer || e.Namespace != "/" || e.Node != hubs[0].Node() {
					t.Errorf("%+v", e)
				}
				return bytes.Repeat([]byte(fmt.Sprintf("%s%d", e.Payload, i)), 50_000*(i-1)), nil
			})
			if i > 0 {
				want[h.Node()] = strings.Repeat(fmt.Sprint("x", i), 50_000*(i-1))
			}
		}
		answers, err := r.ServerSideEmitWithAck(t.Context(), []byte("x"), nil)
		if err != nil || len(answers) != len(want) {
			t.Errorf("%d answers, %v; want %d", len(answers), err, len(want))
		}
		for _, a := range answers {
			if string(a.Payload) != want[a.Node] {
				t.Errorf("node %s answered %d bytes, want %d", a.Node, len(a.Payload), len(want[a.Node]))
			}
		}
	})
}

func TestServersThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 5)
		for i, answer := range []func() ([]byte, error){
			1: func() ([]byte, error) { return []byte("fine"), nil },
			2: func() ([]byte, error) { return nil, errors.New("no luck") },
			3: func() ([]byte, error) { panic("bad luck") },
		} {
			if answer != nil {
				hubs[i].OnServerSide(func(context.Context, ServerEvent) ([]byte, error) { return answer() })
			}
		}
		answers, err := hubs[0].Rooms("/", frame).ServerSideEmitWithAck(t.Context(), nil, nil)
		missing(t, "ServerSideEmitWithAck", err, 0, ErrUnknown, hubs[2].Node(), hubs[3].Node(), hubs[4].Node())
		if len(answers) != 1 || string(answers[0].Payload) != "fine" {
			t.Errorf("%+v", answers)
		}
		for _, text := range []string{hubs[2].Node() + "): no luck", hubs[3].Node() + "): panic: bad luck"} {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
		idle(t, hubs...)
	})
}

func TestHubCall(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		large := bytes.Repeat([]byte("0123456789"), 100_000)
		for i, h := range hubs {
			h.Handle("echo", func(_ context.Context, from string, payload []byte) ([]byte, error) {
				kit.Equal(t, from, hubs[0].Node(), "called by")
				return slices.Concat(fmt.Append(nil, i, " "), payload), nil
			})
			h.Handle("fail", func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("no luck") })
			h.Handle("panic", func(context.Context, string, []byte) ([]byte, error) { panic("bad luck") })
		}
		for i, h := range hubs {
			for _, payload := range [][]byte{nil, []byte("x"), large} {
				out, err := hubs[0].Call(t.Context(), h.Node(), "echo", payload)
				if want := slices.Concat(fmt.Append(nil, i, " "), payload); err != nil || !bytes.Equal(out, want) {
					t.Errorf("node %d echoed %d bytes, %v; want %d", i, len(out), err, len(want))
				}
			}
			for kind, text := range map[string]string{"fail": "no luck", "panic": "panic: bad luck", "none": ErrUnknown.Error()} {
				out, err := hubs[0].Call(t.Context(), h.Node(), kind, nil)
				var node *NodeError
				if out != nil || !errors.As(err, &node) || node.Node != h.Node() || !strings.Contains(err.Error(), text) || errors.Is(err, ErrUnknown) != (kind == "none") {
					t.Errorf("%q of node %d: %q, %v", kind, i, out, err)
				}
			}
		}
		for _, node := range []string{"", "somebody", randomID()} {
			if out, err := hubs[0].Call(t.Context(), node, "echo", nil); out != nil || !errors.Is(err, ErrNode) {
				t.Errorf("a node that is not there: %q, %v; want ErrNode", out, err)
			}
		}
	})
}

// The handler's ctx ends with the asker's patience, and with either Hub.
func TestHandlerIsNotWantedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		ends := make(chan time.Duration, 10)
		for _, h := range hubs[:2] {
			wait := func(ctx context.Context) {
				start := time.Now()
				<-ctx.Done()
				ends <- time.Since(start)
			}
			h.Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) { wait(ctx); return nil, nil })
			h.OnServerSide(func(ctx context.Context, _ ServerEvent) ([]byte, error) { wait(ctx); return nil, nil })
		}
		ended := func(name string, want time.Duration) {
			t.Helper()
			settle()
			select {
			case d := <-ends:
				if d < want || d > want+20*time.Millisecond {
					t.Errorf("%s: the handler's ctx ended after %v, want %v", name, d, want)
				}
			default:
				t.Errorf("%s: the handler goes on", name)
			}
		}
		hour, cancel := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(time.Second, cancel)
		if _, err := hubs[0].Call(hour, hubs[1].Node(), "wait", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Call: %v", err)
		}
		ended("canceled", time.Second)
		second, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := hubs[0].Call(second, hubs[1].Node(), "wait", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
		ended("its deadline", time.Second)
		hour, cancel = context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(time.Second, cancel)
		if _, err := hubs[2].Rooms("/", frame).ServerSideEmitWithAck(hour, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("ServerSideEmitWithAck: %v", err)
		}
		ended("canceled ServerSideEmitWithAck, one node", time.Second)
		ended("canceled ServerSideEmitWithAck, the other", time.Second)
		hour, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go hubs[2].Call(hour, hubs[1].Node(), "wait", nil)
		time.Sleep(time.Second)
		hubs[2].Close(t.Context())
		ended("the asker's Close", time.Second)
		go hubs[0].Call(hour, hubs[1].Node(), "wait", nil)
		time.Sleep(time.Second)
		hubs[1].Close(t.Context())
		ended("its own Close", time.Second)
		idle(t, hubs...)
	})
}
