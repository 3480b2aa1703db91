package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// limited is an adapter whose links take messages of up to limit bytes.
type limited struct {
	adapter.Adapter
	limit   atomic.Int64
	largest atomic.Int64 // of what was published
	refused atomic.Int64
}

func (l *limited) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	link, err := l.Adapter.Open(ctx, recv)
	return &limitedLink{link, l}, err
}

type limitedLink struct {
	adapter.Link
	of *limited
}

func (l *limitedLink) MaxMessage() int { return int(l.of.limit.Load()) }

func (l *limitedLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if len(msg) > int(l.of.limit.Load()) {
		l.of.refused.Add(1)
		return fmt.Errorf("a message of %d bytes", len(msg))
	}
	l.of.largest.Store(max(l.of.largest.Load(), int64(len(msg))))
	return l.Link.Publish(ctx, topic, msg)
}

const smallLimit = 5000

// narrow returns Hubs on links that take little, each behind a sieve.
func narrow(t *testing.T, n int) ([]*Hub, []*sieve, []*limited) {
	t.Helper()
	memory := new(adapter.Memory)
	hubs, sieves, links := make([]*Hub, n), make([]*sieve, n), make([]*limited, n)
	for i := range hubs {
		sieves[i] = newSieve(memory)
		links[i] = &limited{Adapter: sieves[i]}
		links[i].limit.Store(smallLimit)
		hubs[i] = openWith(t, HubConfig{Adapter: links[i]})
	}
	return hubs, sieves, links
}

// text is a payload that differs everywhere from others.
func text(seed uint64, size int) string {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, size)
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return string(b)
}

// same checks what m got, without printing it.
func same(t *testing.T, name string, m *member, want ...string) {
	t.Helper()
	synctest.Wait()
	came := m.take()
	for i := range max(len(came), len(want)) {
		switch {
		case i >= len(came):
			t.Errorf("%s got %d messages, want %d", name, len(came), len(want))
			return
		case i >= len(want):
			t.Errorf("%s got %d messages, want %d; the first too many has %d bytes", name, len(came), len(want), len(came[i]))
			return
		case came[i] != want[i]:
			k := slices.IndexFunc(want, func(s string) bool { return s == came[i] })
			t.Errorf("%s: message %d has %d bytes and is number %d of those that were sent, want %d bytes", name, i, len(came[i]), k, len(want[i]))
			return
		}
	}
}

// Messages of every size around the limit arrive whole, in order, once, on unions as well as on one topic, and between small ones.
func TestLargeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _, links := narrow(t, 3)
		own, x := add(t, hubs[0], "red")
		_, y := add(t, hubs[1], "red", "blue", own)
		var all []string
		for i, size := range []int{0, 1, 4000, smallLimit - 60, smallLimit - 40, smallLimit - 20, smallLimit, smallLimit + 1, 2 * smallLimit, 3*smallLimit - 100, 1 << 20} {
			for j, rooms := range [][]string{{"red"}, {"blue", "red"}, nil, {"1", "2", "3", "4", "red"}, {own, "blue", "red"}} {
				payload := text(uint64(100*i+j), size)
				say(t, hubs[2], payload, Broadcast{Rooms: rooms})
				say(t, hubs[2], "small", Broadcast{Rooms: rooms})
				all = append(all, payload, "small")
			}
		}
		time.Sleep(time.Second)
		same(t, "x", x, all...)
		same(t, "y", y, all...)
		if n, refused := links[2].largest.Load(), links[2].refused.Load(); n > smallLimit || n < smallLimit-100 || refused != 0 {
			t.Errorf("the largest message had %d bytes, and %d were refused", n, refused)
		}
		for i, h := range hubs {
			if s := h.Stats(); s.Repaired+s.Missed+s.Unknown+s.Malformed+s.Lost != 0 {
				t.Errorf("node %d: %+v, want nothing lost or repaired", i, s)
			}
		}
	})
}

// Requests and their answers may be as large.
func TestLargeRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _, links := narrow(t, 2)
		large := text(1, 300_000)
		hubs[1].Handle("echo", func(_ context.Context, _ string, payload []byte) ([]byte, error) { return payload, nil })
		if out, err := hubs[0].Call(t.Context(), hubs[1].Node(), "echo", []byte(large)); err != nil || string(out) != large {
			t.Errorf("Call: %d bytes, %v", len(out), err)
		}
		var rooms []string
		for i := range 1000 {
			rooms = append(rooms, fmt.Sprint(i, "-", text(uint64(i), 40)))
		}
		_, m := add(t, hubs[1], rooms...)
		m.describing = func() []byte { return []byte(large) }
		infos, err := hubs[0].Rooms("/", frame).FetchSockets(t.Context(), Selection{})
		if err != nil || len(infos) != 1 || len(infos[0].Rooms) != 1001 || string(infos[0].Data) != large {
			t.Errorf("FetchSockets: %d members, %v", len(infos), err)
		}
		for i, l := range links {
			kit.Equal(t, l.refused.Load(), 0, "node", i, "refused")
		}
	})
}

// A link that is back may take less than it did: what waits leaves in what it takes then.
func TestLimitThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves, links := narrow(t, 2)
		links[0].limit.Store(100_000)
		_, m := add(t, hubs[1], "red")
		var want []string
		sayLarge := func(size int) {
			want = append(want, text(uint64(len(want)), size))
			say(t, hubs[0], want[len(want)-1], Broadcast{Rooms: []string{"red"}})
		}
		for _, limit := range []int64{smallLimit, 200_000, 4 << 10, 1 << 20, 1, 50_000} {
			sayLarge(90_000)
			settle()
			sayLarge(90_000) // on its way, or not
			sieves[0].die()
			sayLarge(90_000)
			sayLarge(10)
			time.Sleep(300 * time.Millisecond)
			links[0].limit.Store(max(limit, minMaxMessage)) // a link that takes less than any does is no link
			sieves[0].wire.set(adapter.State{Status: adapter.Connected})
			sayLarge(90_000)
			time.Sleep(2 * time.Second)
		}
		same(t, "the member", m, want...)
		kit.Equal(t, links[0].refused.Load(), 0, "messages refused")
	})
}

// isChunk says of what a sieve sees whether it is a part of a broadcast: mesh messages are smaller.
func isChunk(m *envelope.Message) bool { return m != nil && m.Chunk != nil }

// One chunk that is lost costs a repair, which comes in chunks, too.
func TestLostChunk(t *testing.T) {
	for lost := range 4 {
		synctest.Test(t, func(t *testing.T) {
			hubs, sieves, _ := narrow(t, 2)
			_, m := add(t, hubs[1], "red")
			n := 0
			sieves[1].set(func(m *envelope.Message) bool {
				if !isChunk(m) {
					return false
				}
				n++
				return n == lost+1
			})
			want := []string{text(1, 18_000), text(2, 18_000), "small"}
			for _, payload := range want {
				say(t, hubs[0], payload, Broadcast{Rooms: []string{"red"}})
			}
			settle()
			same(t, "the member", m, want...)
			if s := hubs[1].Stats(); s.Repaired != 1 || s.Missed+s.Malformed != 0 || n != 12 {
				t.Errorf("chunk %d lost: %+v, %d chunks; want one repair, of 4 chunks", lost, s, n)
			}
			if a := &hubs[1].assembly; a.bytes != 0 || len(a.partial) != 0 {
				t.Errorf("chunk %d lost: %d bytes of %d messages are left", lost, a.bytes, len(a.partial))
			}
		})
	}
}

// Chunks that are lost, doubled, late, or of several nodes at a time: every message is whole when it comes, and comes once, in its order.
func TestChunksInDisorder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		rng := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		var old [][]byte
		var later []byte
		disorder := true
		w := &wire{Memory: memory}
		w.receiving = func(msg []byte, _ bool, recv func([]byte)) {
			mu.Lock()
			defer mu.Unlock()
			m, _ := envelope.Decode(msg)
			if !disorder || !isChunk(m) {
				recv(msg)
				return
			}
			old = append(old, bytes.Clone(msg))
			switch rng.IntN(30) {
			case 0: // lost
				return
			case 1:
				recv(bytes.Clone(msg))
			case 2: // stale, as from an old connection
				recv(bytes.Clone(old[rng.IntN(len(old))]))
			case 3: // behind the next one
				if later == nil {
					later = msg
					return
				}
			}
			recv(msg)
			if later != nil {
				recv(later)
				later = nil
			}
		}
		var hubs []*Hub
		for range 3 {
			l := &limited{Adapter: &wire{Memory: memory}}
			if len(hubs) == 2 {
				l.Adapter = w
			}
			l.limit.Store(smallLimit)
			hubs = append(hubs, openWith(t, HubConfig{Adapter: l}))
		}
		_, m := add(t, hubs[2], "red")
		sizes := rand.New(rand.NewPCG(seed, 2))
		var want [2][]string
		for i := range 150 {
			for j := range 2 {
				payload := fmt.Sprint(j, ":", i, ":") + text(uint64(i), sizes.IntN(60_000))
				say(t, hubs[j], payload, Broadcast{Rooms: []string{"red"}})
				want[j] = append(want[j], payload)
			}
			if i%20 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		disorder = false
		mu.Unlock()
		time.Sleep(5 * time.Second)
		came := m.take()
		for j := range 2 {
			of := slices.DeleteFunc(slices.Clone(came), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(j, ":")) })
			if !slices.Equal(of, want[j]) {
				t.Errorf("seed %d: %d messages of node %d came, want %d, whole and in order", seed, len(of), j, len(want[j]))
			}
		}
		if s := hubs[2].Stats(); s.Repaired == 0 || s.Missed+s.Unknown != 0 {
			t.Errorf("seed %d: %+v, want repairs, and nothing missed", seed, s)
		}
	})
}

// What no other node would take is refused, and delivered here.
func TestBroadcastThatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, here := add(t, hubs[0], "red")
		_, there := add(t, hubs[1], "red")
		r := hubs[0].Rooms("/", frame)
		payload := make([]byte, maxMessage)
		kit.ErrorIs(t, r.Emit(Broadcast{Rooms: []string{"red"}, Payload: payload}), ErrTooLarge,
			"a broadcast of more than", maxMessage, "bytes")
		payload = payload[:maxMessage-100]
		kit.OK(t, r.Emit(Broadcast{Rooms: []string{"red"}, Payload: payload}), "a broadcast of", len(payload), "bytes")
		many := union(2000, 0, "red") // their names take about 20 kB, and their places up to as much
		payload = payload[:maxMessage-30_000]
		kit.ErrorIs(t, r.Emit(Broadcast{Rooms: many, Payload: payload}), ErrTooLarge,
			"a broadcast to", len(many), "rooms of", len(payload), "bytes")
		settle()
		here.mu.Lock()
		defer here.mu.Unlock()
		there.mu.Lock()
		defer there.mu.Unlock()
		kit.Equal(t, len(here.got), 3, "messages here")
		kit.Equal(t, len(there.got), 1, "messages there")
	})
}
