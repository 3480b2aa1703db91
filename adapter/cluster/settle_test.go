package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
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

// settles calls Settle, and checks whom it names.
func settles(t *testing.T, h *Hub, unsettled ...string) {
	t.Helper()
	got, err := h.Settle(t.Context())
	kit.OK(t, err)
	kit.EqualSlices(t, got, unsettled, "unsettled")
}

// control is how many messages of the protocol have come to all since the beginning.
func control(wires []*wire) (n int) {
	for _, w := range wires {
		w.mu.Lock()
		n += w.control
		w.mu.Unlock()
	}
	return n
}

func TestSettleOfOneNode(t *testing.T) {
	h := NewHub(HubConfig{Logger: silent})
	defer h.Close(t.Context())
	settles(t, h)
	kit.OK(t, h.Close(t.Context()))
	if _, err := h.Settle(t.Context()); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("%v after Close, want ErrClosed", err)
	}
}

// In a quiet cluster a Settle takes one fence and its answers, and all who call while it is under way share the next; each node that has
// sent something since its last heartbeat is asked for more.
func TestSettleCosts(t *testing.T) {
	for _, busy := range []bool{false, true} {
		kit.Bubble(t, fmt.Sprintf("busy %v", busy), func(t *testing.T) {
			const nodes = 3
			_, wires := newWires(nodes)
			gates := make(chan chan struct{}, 1) // while there is one, nothing comes to the first node until it is closed
			wires[0].receiving = func(msg []byte, _ bool, recv func([]byte)) {
				select {
				case gate := <-gates:
					<-gate
				default:
				}
				recv(msg)
			}
			hubs := clusterOn(t, wires...)
			for _, h := range hubs {
				add(t, h, "red")
			}
			time.Sleep(time.Second) // just behind the heartbeats
			synctest.Wait()
			rounds, want := 1, 2*(nodes-1)
			if busy {
				want *= 2
				for _, h := range hubs[1:] {
					say(t, h, "x", Broadcast{Rooms: []string{"red"}})
				}
				synctest.Wait()
			}
			messages, fences, began := control(wires), hubs[0].Stats().Fences, time.Now()
			check := func() {
				t.Helper()
				synctest.Wait()
				kit.Equal(t, control(wires)-messages, want, "messages that came")
				kit.Equal(t, int(hubs[0].Stats().Fences-fences), rounds, "fences")
			}
			settles(t, hubs[0])
			check()
			gate := make(chan struct{})
			gates <- gate
			var calls sync.WaitGroup
			for range 100 {
				calls.Go(func() { settles(t, hubs[0]) })
			}
			synctest.Wait()
			close(gate)
			calls.Wait()
			rounds, want = 3, want+2*2*(nodes-1)
			check()
			if d := time.Since(began); d > 0 {
				t.Errorf("%v, without any delay on the way", d)
			}
		})
	}
}

// What was lost at the end of a stream has come when Settle returns, whatever else is lost then.
func TestSettleOverLossyBroker(t *testing.T) {
	named := 0
	for round := range uint64(20) {
		kit.Bubble(t, fmt.Sprint(round), func(t *testing.T) {
			hubs, sieves := sifted(t, 3)
			_, m := add(t, hubs[0], "red", "blue")
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(1, round))
			lossy := func(msg *envelope.Message) bool {
				if msg == nil {
					return false
				}
				if _, ack := msg.Mesh.(*mesh.Ack); ack { // one that is lost makes its node suspect
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				return rng.IntN(3) == 0
			}
			sieves[0].set(lossy)
			var all, came []string
			for i := range 20 {
				said := make(map[string][]string) // by node
				for _, h := range hubs[1:] {
					for _, room := range []string{"red", "blue"} {
						payload := fmt.Sprint(h.Node(), room, i)
						say(t, h, payload, Broadcast{Rooms: []string{room}})
						said[h.Node()] = append(said[h.Node()], payload)
						all = append(all, payload)
					}
				}
				unsettled, err := hubs[0].Settle(t.Context())
				kit.OK(t, err)
				came = append(came, m.take()...) // at once
				for node, payloads := range said {
					if slices.Contains(unsettled, node) {
						named++
						continue
					}
					for _, payload := range payloads {
						if !slices.Contains(came, payload) {
							t.Errorf("%s has not come", payload)
						}
					}
				}
				if i%4 == 3 {
					time.Sleep(100 * time.Millisecond)
				}
			}
			if sieves[0].set(nil) == 0 {
				t.Error("nothing was lost")
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			came = append(came, m.take()...)
			slices.Sort(came)
			slices.Sort(all)
			kit.EqualSlices(t, came, all, "delivered in the end")
		})
	}
	if named > 80 { // of 800
		t.Errorf("%d times a node was named", named)
	}
	t.Logf("%d times a node was named", named)
}

// slowMember takes its time.
type slowMember struct {
	member
	entered, leave chan struct{}
	taken          bool
}

func (m *slowMember) Deliver(any) bool {
	close(m.entered)
	<-m.leave
	m.taken = true
	return true
}

// Settle waits for the members, not only for the machine, whose last step ends it and delivers.
func TestSettleWaitsForDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		m := &slowMember{entered: make(chan struct{}), leave: make(chan struct{})}
		r, id := hubs[0].Rooms("/", frame), hubs[0].NewID()
		kit.OK(t, r.Add(t.Context(), id, m))
		kit.OK(t, r.Join(t.Context(), id, "red"))
		sieves[0].set(broadcasts)
		say(t, hubs[1], "x", Broadcast{Rooms: []string{"red"}})
		settled := make(chan error)
		go func() {
			_, err := hubs[0].Settle(t.Context())
			if err == nil && !m.taken {
				err = errors.New("it returned before the delivery had")
			}
			settled <- err
		}()
		<-m.entered
		for range 1000 {
			runtime.Gosched() // whoever does not wait has returned
		}
		close(m.leave)
		kit.OK(t, <-settled)
	})
}

// Who is silent, or does not send again what is missing, is named.
func TestSettleNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		add(t, hubs[0], "red")
		sieves[0].set(func(m *envelope.Message) bool { return m != nil && m.Broadcast != nil && m.From == hubs[1].Node() })
		say(t, hubs[1], "x", Broadcast{Rooms: []string{"red"}})
		began := time.Now()
		settles(t, hubs[0], hubs[1].Node())
		if d := time.Since(began); d < mesh.MaxPatience || d > mesh.MaxPatience+2*mesh.FenceTimeout {
			t.Errorf("a broadcast that does not come has cost %v", d)
		}
		sieves[0].set(nil)
		time.Sleep(3 * time.Second)
		sieves[2].die()
		began = time.Now()
		settles(t, hubs[0], hubs[2].Node())
		if d := time.Since(began); d > 2*mesh.FenceTimeout {
			t.Errorf("a node that does not answer has cost %v", d)
		}
	})
}

func TestSettleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		silence := errors.New("enough")
		for _, w := range wires[1:] {
			w.die()
		}
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(silence) })
		if _, err := hubs[0].Settle(ctx); !errors.Is(err, silence) {
			t.Errorf("%v, want the cause of the context's end", err)
		}
		time.AfterFunc(time.Millisecond, wires[0].die)
		others := []string{hubs[1].Node(), hubs[2].Node()}
		unsettled, err := hubs[0].Settle(t.Context())
		kit.OK(t, err)
		slices.Sort(others)
		slices.Sort(unsettled)
		kit.EqualSlices(t, unsettled, others, "unsettled when the link is lost")
		if _, err := hubs[0].Settle(t.Context()); !errors.Is(err, adapter.ErrUnavailable) {
			t.Errorf("%v without the broker, want ErrUnavailable", err)
		}
	})
}
