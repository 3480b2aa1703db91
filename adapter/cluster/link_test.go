package cluster

import (
	"context"
	"errors"
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
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// A link may deliver more than was asked: messages of its own, of others, and twice.
func TestLinkThatDeliversTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(3)
		var mu sync.Mutex // recv is called by one goroutine at a time
		rng := rand.New(rand.NewPCG(1, 1))
		for _, w := range wires {
			w.receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
				mu.Lock()
				defer mu.Unlock()
				recv(slices.Clone(msg))
				if rng.IntN(3) == 0 {
					recv(msg)
				}
			}
			w.over = func(topic adapter.Topic, msg []byte, deliver func(*wire)) {
				mu.Lock()
				defer mu.Unlock()
				deliver(w)
			}
		}
		hubs := clusterOn(t, wires...)
		a, m0 := add(t, hubs[0], "red")
		_, m1 := add(t, hubs[1], "red", "blue", a)
		_, m2 := add(t, hubs[2])
		var want0, want1, want2 []string
		for i := range 200 {
			payload := fmt.Sprint(i)
			switch i % 4 {
			case 0:
				say(t, hubs[0], payload, Broadcast{Rooms: []string{"red"}})
				want0, want1 = append(want0, payload), append(want1, payload)
			case 1:
				say(t, hubs[0], payload, Broadcast{Rooms: []string{"red", "blue", a}})
				want0, want1 = append(want0, payload), append(want1, payload)
			case 2:
				say(t, hubs[0], payload, Broadcast{Except: []string{"blue"}})
				want0, want2 = append(want0, payload), append(want2, payload)
			case 3:
				say(t, hubs[0], payload, Broadcast{Rooms: []string{a}, Except: []string{a}})
			}
		}
		settle()
		got(t, "the sender's member", m0, want0...)
		got(t, "the member of all rooms", m1, want1...)
		got(t, "the member of none", m2, want2...)
		if s := hubs[1].Stats(); s.Copies == 0 || s.Missed != 0 {
			t.Errorf("%+v, want copies", s)
		}
	})
}

// While the broker is away members here get everything, the queue fills up to its bound, and what it took leaves in order afterwards.
func TestBrokerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		hubs := []*Hub{
			NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 2000}),
			open(t, wires[1]),
		}
		t.Cleanup(func() { hubs[0].Close(context.Background()) })
		for _, h := range hubs {
			kit.OK(t, h.Ready(t.Context()))
		}
		_, local := add(t, hubs[0], "red")
		id, remote := add(t, hubs[1], "red")
		reason := errors.New("no broker")
		wires[0].set(adapter.State{Status: adapter.Degraded, Reason: reason})
		synctest.Wait()
		if s := hubs[0].State(); s.Status != adapter.Degraded || s.Reason != reason {
			t.Errorf("state %+v, want Degraded", s)
		}
		start := time.Now()
		if err := hubs[0].Rooms("/", frame).Join(t.Context(), hubs[0].Rooms("/", frame).IDs()[0], "blue"); err != nil || time.Since(start) > time.Millisecond {
			t.Errorf("Join without a broker: %v after %v, want nil at once", err, time.Since(start))
		}
		var accepted, all []string
		refused := 0
		for i := range 200 {
			payload := fmt.Sprintf("%020d", i)
			all = append(all, payload)
			switch err := hubs[0].Rooms("/", frame).Emit(Broadcast{Rooms: []string{"red"}, Payload: []byte(payload)}); {
			case err == nil:
				accepted = append(accepted, payload)
			case errors.Is(err, ErrOverflow):
				refused++
			default:
				t.Fatalf("Broadcast %d: %v", i, err)
			}
		}
		got(t, "the local member", local, all...)
		got(t, "the remote member", remote)
		s := hubs[0].Stats()
		if refused == 0 || len(accepted) == 0 || s.Refused != uint64(refused) || s.Queued == 0 || s.Queued > 2000 {
			t.Errorf("%d accepted, %d refused: %+v", len(accepted), refused, s)
		}
		time.Sleep(5 * time.Second)
		wires[0].set(adapter.State{Status: adapter.Connected})
		settle()
		got(t, "the remote member", remote, accepted...)
		if s := hubs[0].Stats(); s.Queued != 0 || s.Lost != 0 || s.State.Status != adapter.Connected {
			t.Errorf("afterwards: %+v", s)
		}
		say(t, hubs[1], "back", Broadcast{Rooms: []string{"blue"}}) // joined while the broker was away
		settle()
		got(t, "the local member", local, "back")
		kit.OK(t, hubs[1].Rooms("/", frame).Join(t.Context(), id, "green"), "Join afterwards")
		kit.Equal(t, hubs[1].Stats().Missed, 0, "holes, although nothing was lost")
	})
}

// A message of any size goes into an empty queue; a broadcast that was refused leaves no hole.
func TestOneBroadcastIsAlwaysAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		hubs := []*Hub{NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 10}), open(t, wires[1])}
		t.Cleanup(func() { hubs[0].Close(context.Background()) })
		for _, h := range hubs {
			kit.OK(t, h.Ready(t.Context()))
		}
		_, m := add(t, hubs[1], "red")
		wires[0].set(adapter.State{Status: adapter.Degraded})
		synctest.Wait()
		large := strings.Repeat("x", 100_000)
		say(t, hubs[0], large, Broadcast{Rooms: []string{"red"}})
		kit.ErrorIs(t, hubs[0].Rooms("/", frame).Emit(Broadcast{Rooms: []string{"red"}}), ErrOverflow, "a second one")
		wires[0].set(adapter.State{Status: adapter.Connected})
		settle()
		say(t, hubs[0], "y", Broadcast{Rooms: []string{"red"}})
		time.Sleep(time.Second)
		got(t, "the member", m, large, "y")
		kit.Equal(t, hubs[1].Stats().Missed, 0, "holes, although nothing was lost")
	})
}

// A message that the broker refuses for good is counted, and reaches whom it is for all the same: it is a hole, and sent again.
func TestRefusedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var refuse atomic.Bool
		wires[0].publishing = func(_ context.Context, topic adapter.Topic) error {
			if refuse.Load() && topic.Kind == adapter.Room {
				return errors.New("too large")
			}
			return nil
		}
		hubs := clusterOn(t, wires...)
		_, m := add(t, hubs[1], "red", "blue")
		say(t, hubs[0], "1", Broadcast{Rooms: []string{"red"}})
		settle()
		refuse.Store(true)
		say(t, hubs[0], "2", Broadcast{Rooms: []string{"red"}})
		say(t, hubs[0], "3", Broadcast{Rooms: []string{"blue"}})
		synctest.Wait()
		refuse.Store(false)
		say(t, hubs[0], "4", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member", m, "1", "2", "4")
		if s := hubs[0].Stats(); s.Lost != 2 || s.Queued != 0 {
			t.Errorf("%+v, want 2 lost", s)
		}
		time.Sleep(time.Second) // the next Beat shows what is missing in blue
		got(t, "the member", m, "3")
		if s := hubs[1].Stats(); s.Missed+s.Unknown != 0 || s.Repaired != 2 || s.Overtaken != 1 {
			t.Errorf("%+v, want 2 repaired, one of them overtaken, and nothing missed", s)
		}
	})
}

// A loss without any error is seen, in front of the next broadcast or by the next Beat, and mended.
func TestLostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		n := 0
		wires[1].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
			if broadcast {
				if n++; n%3 == 0 && n <= 30 { // what is sent again might go the same way each time
					return
				}
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		_, m := add(t, hubs[1], "red")
		var want []string
		for i := range 30 {
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
			want = append(want, fmt.Sprint(i))
		}
		time.Sleep(3 * time.Second)
		got(t, "the member", m, want...)
		if s := hubs[1].Stats(); s.Received != 30 || s.Repaired < 5 || s.Missed+s.Unknown+s.Overtaken != 0 {
			t.Errorf("%+v, want 30 received in order, 5 of them repaired or more", s)
		}
		if s := hubs[0].Stats(); s.Resent < 5 {
			t.Errorf("%+v, want 5 resent or more", s)
		}
	})
}

func TestGarbageIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		for _, msg := range []string{"", "x", "\x01\x06\x05short", "\x07\x06\x0aAAAAAAAAAA", "\x01\x63\x0aAAAAAAAAAA"} {
			wires[0].recv([]byte(msg))
		}
		if s := hubs[0].Stats(); s.Malformed != 5 || len(s.Nodes) != 1 {
			t.Errorf("%+v, want 5 malformed and one node", s)
		}
	})
}

// A link that was lost and came back before anybody looked is new all the same, and the nodes meet again, whatever else has changed; one that
// is refused something is not: a meeting makes all nodes suspect, and would end the calls that are under way.
func TestLinkThatFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		hubs := clusterOn(t, wires...)
		settle()
		hellos := 0
		wires[1].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if _, _, m, _ := decode(msg); m != nil {
				if f, ok := m.(*mesh.Fence); ok && f.Hello {
					hellos++
				}
			}
			recv(msg)
		}
		lost := adapter.State{Status: adapter.Degraded, Reason: errors.New("lost")}
		for _, change := range []struct {
			what   string
			states []adapter.State
			meets  bool
		}{
			{"lost, and as it was", []adapter.State{lost, {Status: adapter.Connected}}, true},
			{"denied a topic", []adapter.State{{Status: adapter.Connected, Reason: errors.New("a topic is denied")}}, false},
			{"denied another one", []adapter.State{{Status: adapter.Connected, Reason: errors.New("another topic is denied")}}, false},
			{"lost, and denied a third one", []adapter.State{lost, {Status: adapter.Connected, Reason: errors.New("a third topic is denied")}}, true},
			{"lost, and denied nothing", []adapter.State{lost, {Status: adapter.Connected}}, true},
			{"told of nothing", []adapter.State{{Status: adapter.Connected}}, false},
		} {
			hellos = 0
			wires[0].set(change.states...)
			settle()
			if (hellos > 0) != change.meets || hubs[0].State() != wires[0].state {
				t.Errorf("%s: %d hellos, and the state is %v", change.what, hellos, hubs[0].State())
			}
		}
	})
}
