package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// What is emitted before, while and after the broker is away comes, once, in its order: what was on its way is repaired, what was emitted
// meanwhile waits.
func TestInterruption(t *testing.T) {
	for _, away := range []time.Duration{0, time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 20 * time.Second} {
		kit.Bubble(t, away.String(), func(t *testing.T) {
			memory := new(adapter.Memory)
			hubs := make([]*Hub, 3)
			members := make([]*member, 3)
			for i := range hubs {
				hubs[i] = openWith(t, HubConfig{Adapter: memory})
				_, members[i] = add(t, hubs[i], "red")
			}
			emit := newEmitter(t, hubs)
			for range 3 {
				emit.some(20) // half of it is in the queues of the links
				restore := memory.Interrupt()
				emit.some(20)
				time.Sleep(away / 2)
				emit.some(20)
				time.Sleep(away / 2)
				restore()
				emit.some(20)
				time.Sleep(3 * time.Second)
			}
			emit.check(members)
		})
	}
}

// emitter has hubs emit to the room red, in turns.
type emitter struct {
	t    *testing.T
	hubs []*Hub
	said [][]string // by hub
}

func newEmitter(t *testing.T, hubs []*Hub) *emitter {
	return &emitter{t: t, hubs: hubs, said: make([][]string, len(hubs))}
}

func (e *emitter) some(n int) {
	e.t.Helper()
	for range n {
		for i, h := range e.hubs {
			payload := fmt.Sprintf("%d:%d", i, len(e.said[i]))
			say(e.t, h, payload, Broadcast{Rooms: []string{"red"}})
			e.said[i] = append(e.said[i], payload)
		}
	}
}

// check checks that each member, on the hub of the same index, has got everything, each hub's in order.
func (e *emitter) check(members []*member) {
	e.t.Helper()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	for i, m := range members {
		came := m.take()
		for j := range e.hubs {
			var of []string
			for _, payload := range came {
				if payload[:2] == fmt.Sprintf("%d:", j) {
					of = append(of, payload)
				}
			}
			if !slices.Equal(of, e.said[j]) {
				e.t.Errorf("member %d got %q of node %d, want all %d", i, of, j, len(e.said[j]))
			}
		}
		if s := e.hubs[i].Stats(); s.Missed+s.Unknown+s.Lost+s.Refused != 0 || s.Queued != 0 || len(s.Nodes) != len(e.hubs)-1 {
			e.t.Errorf("node %d: %+v, want nothing missed, lost or queued", i, s)
		}
	}
}

// The same where one link alone is away: what the others emit meanwhile is lost on the way to it, and asked for when it is back.
func TestOneLinkAway(t *testing.T) {
	for _, away := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 25 * time.Second} {
		kit.Bubble(t, away.String(), func(t *testing.T) {
			hubs, wires := cluster(t, 3)
			members := make([]*member, 3)
			for i := range hubs {
				_, members[i] = add(t, hubs[i], "red")
			}
			emit := newEmitter(t, hubs)
			for i := range 3 {
				emit.some(20)
				wires[i].die()
				emit.some(20)
				time.Sleep(away / 2)
				emit.some(20)
				time.Sleep(away / 2)
				wires[i].set(adapter.State{Status: adapter.Connected})
				emit.some(20)
				time.Sleep(5 * time.Second)
			}
			emit.check(members)
			repaired := uint64(0)
			for _, h := range hubs {
				repaired += h.Stats().Repaired
			}
			if repaired < 3*40 {
				t.Errorf("%d were repaired, want what two nodes had said while the third was away", repaired)
			}
		})
	}
}

// Links that go away for random times, lose messages of all kinds, and come back.
func TestInterruptionsAndLosses(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		hubs, sieves := sifted(t, 3)
		members := make([]*member, 3)
		for i := range hubs {
			_, members[i] = add(t, hubs[i], "red")
		}
		for i := range hubs {
			lossy := rand.New(rand.NewPCG(seed, uint64(i)))
			sieves[i].set(func(*envelope.Message) bool { return lossy.IntN(10) == 0 })
		}
		emit := newEmitter(t, hubs)
		for range 30 {
			emit.some(rng.IntN(5))
			i := rng.IntN(3)
			sieves[i].die()
			emit.some(rng.IntN(5))
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
			sieves[i].wire.set(adapter.State{Status: adapter.Connected})
			emit.some(rng.IntN(5))
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		}
		for _, s := range sieves {
			s.set(nil)
		}
		emit.check(members)
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
}

// A member that joins while the broker is away gets what is emitted from then on, on nodes that cannot hear of it as well.
func TestJoinWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		id, m := add(t, hubs[0])
		wires[0].set(adapter.State{Status: adapter.Degraded, Reason: errors.New("away")})
		settle()
		say(t, hubs[1], "before", Broadcast{Rooms: []string{"elsewhere"}})
		kit.OK(t, hubs[0].Rooms("/", frame).Join(t.Context(), id, "red"))
		var want []string
		for i := range 10 {
			want = append(want, fmt.Sprint(i))
			say(t, hubs[1], want[i], Broadcast{Rooms: []string{"red"}})
		}
		time.Sleep(time.Second)
		wires[0].set(adapter.State{Status: adapter.Connected})
		time.Sleep(3 * time.Second)
		got(t, "the member", m, want...)
	})
}
