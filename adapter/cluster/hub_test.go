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
)

func TestHubWithoutAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{})
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("Ready: %v", err)
		}
		_, m := add(t, h, "red")
		say(t, h, "x", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "x")
		if s := h.Stats(); s.State.Status != adapter.Connected || h.Nodes() != nil || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := h.Rooms("/", frame).Broadcast(Broadcast{Payload: []byte("y")}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Broadcast after Close: %v, want %v", err, adapter.ErrClosed)
		}
		got(t, "the member after Close", m, "y")
	})
}

// One node is one membership of the cluster, however many namespaces it has.
func TestOneMembershipForAllNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		said := func() int {
			wires[0].mu.Lock()
			defer wires[0].mu.Unlock()
			return wires[0].sent[adapter.Cluster] + wires[0].sent[adapter.Node]
		}
		start := said()
		time.Sleep(10 * time.Second)
		before := said() - start
		for i := range 50 {
			r := hubs[0].Rooms(fmt.Sprint("/", i), frame)
			if err := r.Add(t.Context(), hubs[0].NewID(), new(member)); err != nil {
				t.Fatal(err)
			}
		}
		start = said()
		time.Sleep(10 * time.Second)
		if after := said() - start; before == 0 || after > before+1 {
			t.Errorf("%d messages in 10 s with 50 namespaces, %d with none", after, before)
		}
		if got := hubs[1].Nodes(); !slices.Equal(got, []string{hubs[0].Node()}) {
			t.Errorf("nodes %v, want one", got)
		}
	})
}

// A link may deliver more than was asked: messages of its own, of others, and twice.
func TestLinkThatDeliversTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := make([]*wire, 3)
		for i := range wires {
			wires[i] = &wire{Memory: memory}
		}
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

// A node whose receiver hangs is named by the Join that waits for it; the next does not wait.
func TestUnfencedJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hang := make(chan struct{})
		var hung atomic.Bool
		wires := []*wire{{Memory: memory}, {Memory: memory}, {Memory: memory}}
		wires[1].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if hung.Load() {
				<-hang
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		id, _ := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		synctest.Wait()
		hung.Store(true)
		wires[1].set(adapter.State{Status: adapter.Degraded, Reason: errors.New("hung")}) // it says nothing either
		settle()
		wires[1].mu.Lock()
		wires[1].state.Status = adapter.Connected // what it is told gets through, and stays with its receiver
		wires[1].mu.Unlock()
		time.Sleep(300 * time.Millisecond) // the next Beat is not due when the fence is
		start := time.Now()
		err := r.Join(t.Context(), id, "red")
		var unfenced *UnfencedError
		if !errors.As(err, &unfenced) || !slices.Equal(unfenced.Nodes, []string{hubs[1].Node()}) || !strings.Contains(err.Error(), hubs[1].Node()) {
			t.Errorf("Join with a hung node: %v, want an error that names %s", err, hubs[1].Node())
		}
		if d := time.Since(start); d < 200*time.Millisecond || d > 300*time.Millisecond {
			t.Errorf("Join with a hung node took %v, want 250ms", d)
		}
		if got := r.Of(id); !slices.Contains(got, "red") {
			t.Errorf("the membership does not stand: %q", got)
		}
		for i := range 10 {
			start = time.Now()
			if err := r.Join(t.Context(), id, fmt.Sprint("more", i)); err != nil {
				t.Errorf("next Join: %v", err)
			}
			if d := time.Since(start); d > 20*time.Millisecond {
				t.Errorf("next Join took %v", d)
			}
		}
		if s := hubs[0].Stats(); !slices.Equal(s.Suspects, []string{hubs[1].Node()}) || !slices.Equal(s.Nodes, []string{hubs[2].Node()}) {
			t.Errorf("suspects %v, nodes %v", s.Suspects, s.Nodes)
		}
		close(hang)
		wires[1].set(adapter.State{Status: adapter.Connected})
		time.Sleep(2 * time.Second)
		if got := hubs[0].Nodes(); len(got) != 2 {
			t.Errorf("nodes %v after it is back, want both", got)
		}
		if err := r.Join(t.Context(), id, "last"); err != nil {
			t.Errorf("Join after it is back: %v", err)
		}
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
		var deaf atomic.Bool
		wires[1].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if !deaf.Load() {
				recv(msg)
			}
		}
		hubs := clusterOn(t, wires...)
		id, _ := add(t, hubs[0])
		deaf.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := hubs[0].Rooms("/", frame)
		if err := r.Join(ctx, id, "red"); !errors.Is(err, context.DeadlineExceeded) || !slices.Contains(r.Of(id), "red") {
			t.Errorf("Join: %v, rooms %q; want the deadline, and the membership", err, r.Of(id))
		}
	})
}

// While the broker is away members here get everything, the queue fills up to its bound, and what it took leaves in order afterwards.
func TestBrokerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
		hubs := []*Hub{
			NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 2000}),
			open(t, wires[1]),
		}
		t.Cleanup(func() { hubs[0].Close(context.Background()) })
		for _, h := range hubs {
			if err := h.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
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
			switch err := hubs[0].Rooms("/", frame).Broadcast(Broadcast{Rooms: []string{"red"}, Payload: []byte(payload)}); {
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
		if err := hubs[1].Rooms("/", frame).Join(t.Context(), id, "green"); err != nil {
			t.Errorf("Join afterwards: %v", err)
		}
		if s := hubs[1].Stats(); s.Missed != 0 {
			t.Errorf("%d holes, although nothing was lost", s.Missed)
		}
	})
}

// A message of any size goes into an empty queue; a broadcast that was refused leaves no hole.
func TestOneBroadcastIsAlwaysAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
		hubs := []*Hub{NewHub(HubConfig{Adapter: wires[0], Logger: silent, QueueBytes: 10}), open(t, wires[1])}
		t.Cleanup(func() { hubs[0].Close(context.Background()) })
		for _, h := range hubs {
			if err := h.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, m := add(t, hubs[1], "red")
		wires[0].set(adapter.State{Status: adapter.Degraded})
		synctest.Wait()
		large := strings.Repeat("x", 100_000)
		say(t, hubs[0], large, Broadcast{Rooms: []string{"red"}})
		if err := hubs[0].Rooms("/", frame).Broadcast(Broadcast{Rooms: []string{"red"}}); !errors.Is(err, ErrOverflow) {
			t.Errorf("a second one: %v, want ErrOverflow", err)
		}
		wires[0].set(adapter.State{Status: adapter.Connected})
		settle()
		say(t, hubs[0], "y", Broadcast{Rooms: []string{"red"}})
		time.Sleep(time.Second)
		got(t, "the member", m, large, "y")
		if s := hubs[1].Stats(); s.Missed != 0 {
			t.Errorf("%d holes, although nothing was lost", s.Missed)
		}
	})
}

// A message that the broker refuses for good is counted, and reaches whom it is for all the same: it is a hole, and sent again.
func TestRefusedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
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
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
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

// A node that closes says so: the others know at once, and nobody waits for it.
func TestCloseSaysBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		id, m := add(t, hubs[0], "red")
		_, gone := add(t, hubs[1], "red")
		for i := range 100 {
			say(t, hubs[1], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
		}
		if err := hubs[1].Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := hubs[1].Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
		synctest.Wait()
		if got := len(m.take()); got != 100 {
			t.Errorf("%d of the 100 broadcasts before Close came", got)
		}
		if got := hubs[0].Nodes(); !slices.Equal(got, []string{hubs[2].Node()}) {
			t.Errorf("nodes %v after Close of one, want the other", got)
		}
		start := time.Now()
		if err := hubs[0].Rooms("/", frame).Join(t.Context(), id, "blue"); err != nil || time.Since(start) > 20*time.Millisecond {
			t.Errorf("Join after Close of another: %v after %v", err, time.Since(start))
		}
		gone.take()
		r := hubs[1].Rooms("/", frame)
		if err := r.Broadcast(Broadcast{Rooms: []string{"red"}, Payload: []byte("x")}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Broadcast after Close: %v, want ErrClosed", err)
		}
		got(t, "the closed node's member", gone, "x")
		if err := r.Join(t.Context(), r.IDs()[0], "blue"); !errors.Is(err, adapter.ErrClosed) || !slices.Contains(r.Of(r.IDs()[0]), "blue") {
			t.Errorf("Join after Close: %v, want ErrClosed, and the membership", err)
		}
		if s := hubs[1].Stats(); s.Refused != 0 {
			t.Errorf("%d refused with ErrOverflow, want none", s.Refused)
		}
		if err := hubs[1].Ready(t.Context()); err != nil && !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Ready after Close: %v", err)
		}
	})
}

// Close waits no longer than its context for a broker that is stuck, and says that something was not sent.
func TestCloseWithStuckLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var stuck atomic.Bool
		w := &wire{Memory: memory, publishing: func(ctx context.Context, topic adapter.Topic) error {
			if stuck.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		hubs := clusterOn(t, w, &wire{Memory: memory})
		add(t, hubs[0], "red")
		stuck.Store(true)
		say(t, hubs[0], "x", Broadcast{})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		err := hubs[0].Close(ctx)
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("Close took %v, want 3s", d)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want the deadline: a broadcast was not sent", err)
		}
	})
}

// A Hub can be closed while its adapter is being opened, and works on its own node before.
func TestCloseBeforeOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Logger: silent, Adapter: &wire{Memory: new(adapter.Memory), opening: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}})
		start := time.Now()
		_, m := add(t, h, "red")
		if d := time.Since(start); d > time.Second {
			t.Errorf("joining took %v without a link", d)
		}
		say(t, h, "x", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Ready: %v, want the deadline", err)
		}
		if s := h.State(); s.Status != adapter.Degraded || s.Reason == nil {
			t.Errorf("state %+v, want Degraded with a reason", s)
		}
		start = time.Now()
		if err := h.Close(t.Context()); err == nil {
			t.Error("Close: nil, although a broadcast was not sent")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("Close took %v, although there is nobody to talk to", d)
		}
		if err := h.Rooms("/", frame).Broadcast(Broadcast{}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Broadcast after Close: %v, want ErrClosed", err)
		}
		if err := h.Ready(t.Context()); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Ready after Close: %v, want ErrClosed", err)
		}
	})
}

// An adapter that cannot be opened is an error of Ready; it is tried again, and Ready is nil once it could.
func TestOpenFailsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wrong := errors.New("wrong password")
		var tries atomic.Int32
		w := &wire{Memory: memory, opening: func(context.Context) error {
			if tries.Add(1) < 4 {
				return wrong
			}
			return nil
		}}
		other := open(t, &wire{Memory: memory})
		h := open(t, w)
		if err := h.Ready(t.Context()); !errors.Is(err, wrong) {
			t.Errorf("Ready: %v, want the adapter's error", err)
		}
		if s := h.State(); s.Status != adapter.Degraded || !errors.Is(s.Reason, wrong) {
			t.Errorf("state %+v, want Degraded with the adapter's error", s)
		}
		id, m := add(t, h, "red")
		time.Sleep(8 * time.Second)
		if n := tries.Load(); n != 4 {
			t.Errorf("%d tries in 8 s, want 4", n)
		}
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("Ready after it was opened: %v, want nil", err)
		}
		if err := h.Rooms("/", frame).Join(t.Context(), id, "blue"); err != nil {
			t.Errorf("Join: %v", err)
		}
		say(t, other, "x", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "the member", m, "x")
	})
}

func TestReadyOfHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, &wire{Memory: new(adapter.Memory)})
		synctest.Wait() // connected, and still listening for others
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Ready: %v, want the deadline", err)
		}
		start := time.Now()
		if err := h.Ready(t.Context()); err != nil || time.Since(start) > 300*time.Millisecond {
			t.Errorf("Ready of a lonely node: %v after %v", err, time.Since(start))
		}
		w := &wire{Memory: new(adapter.Memory), state: adapter.State{Status: adapter.Degraded, Reason: errors.New("no broker")}}
		h = open(t, w)
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no broker") {
			t.Errorf("Ready without a broker: %v, want the deadline, and why", err)
		}
		w.set(adapter.State{Status: adapter.Connected})
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("Ready with a broker: %v", err)
		}
	})
}

// Nodes that open at the same time meet at once.
func TestNodesThatOpenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var hubs []*Hub
		for range 5 {
			hubs = append(hubs, open(t, &wire{Memory: memory}))
		}
		for _, h := range hubs {
			if err := h.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for i, h := range hubs {
			if got := len(h.Nodes()); got != 4 {
				t.Errorf("node %d knows %d others when all are ready, want 4", i, got)
			}
		}
	})
}

// A link that was lost and came back before anybody looked is new all the same, and the nodes meet again, whatever else has changed; one that
// is refused something is not: a meeting makes all nodes suspect, and would end the calls that are under way.
func TestLinkThatFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		wires := []*wire{{Memory: memory}, {Memory: memory}}
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
