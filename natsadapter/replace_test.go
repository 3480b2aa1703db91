package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// stream publishes numbers from n to topics in turn, beginning with 1, until stop is called, which returns the last number.
func (n *node) stream(topics ...adapter.Topic) (stop func() int) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	var wg sync.WaitGroup
	last := 0
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for range 5 {
				if err := n.Publish(n.t.Context(), topics[last%len(topics)], []byte(strconv.Itoa(last+1))); err != nil {
					n.t.Errorf("message %d: %v", last+1, err)
					return
				}
				last++
			}
			<-tick.C
		}
	})
	return func() int {
		cancel()
		wg.Wait()
		return last
	}
}

// numbers receives up to and with last and fails unless all have come and none for the first time before a smaller one.
func (n *node) numbers(last int) (copies int) {
	n.t.Helper()
	for want := 1; want <= last; {
		got, err := strconv.Atoi(n.next())
		switch {
		case err != nil:
			n.t.Fatal(err)
		case got < want:
			copies++
		case got > want:
			n.t.Fatalf("message %d came before %d", got, want)
		default:
			want++
		}
	}
	return copies
}

// whole receives up to and with last, in whatever order, and fails unless each comes once.
func (n *node) whole(last int) {
	n.t.Helper()
	got := make([]bool, last+1)
	for range last {
		i, err := strconv.Atoi(n.next())
		if err != nil || i < 1 || i > last || got[i] {
			n.t.Fatalf("message %d of %d came when it was not due (%v)", i, last, err)
		}
		got[i] = true
	}
}

func rooms(count int) []adapter.Topic {
	topics := make([]adapter.Topic, count)
	for i := range topics {
		topics[i] = room(fmt.Sprint("room ", i))
	}
	return topics
}

// TestLameDuck retires the server of a link while messages flow to and from it.
func TestLameDuck(t *testing.T) {
	servers := natstest.StartCluster(t, 3, embedded.Config{LameDuckGrace: kit.Patience, LameDuckDuration: 2 * kit.Patience})
	a, b := open(t, quiet(servers[0].URL())), open(t, quiet(servers[1].URL()))
	a.until(adapter.Connected)
	to, from := rooms(50), []adapter.Topic{room("from a")}
	a.subscribe(to...)
	b.subscribe(from...)
	b.reaches(a, to[len(to)-1]) // the last that other servers hear of
	a.reaches(b, from[0])
	_, changed := a.State()

	stopB, stopA := b.stream(to...), a.stream(from...)
	servers[0].LameDuck()
	kit.Until(t, func() error {
		if got := servers[0].Clients(); got != 0 {
			return fmt.Errorf("the old server still has %d clients", got)
		}
		return nil
	})
	if servers[0].URL() == "nats://"+a.current().server.url.Host {
		t.Fatal("the link is still on its old server")
	}
	lastB, lastA := stopB(), stopA()
	copies := a.numbers(lastB)
	b.whole(lastA) // what a has published on its old connection takes another way than what comes after it
	t.Logf("%d and %d messages, %d of them twice", lastB, lastA, copies)
	select {
	case <-changed:
		state, _ := a.State()
		t.Errorf("the state changed, and is %v (%v) now", state.Status, state.Reason)
	default:
	}
}

// TestReplacing replaces a link's connection again and again while messages flow and topics are added.
func TestReplacing(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	a, b := open(t, quiet(natstest.URLs(servers...))), open(t, quiet(servers[1].URL()))
	topics := rooms(50)
	a.subscribe(topics...)
	b.reaches(a, topics[len(topics)-1]) // the last that other servers hear of
	_, changed := a.State()
	stop := b.stream(topics...)
	const times = 3
	for i := range times {
		before := a.current()
		notify(before.lame)
		a.subscribe(room(fmt.Sprint("late ", i)))
		kit.Receive(t, fmt.Sprint("the end of connection ", i), before.closed)
	}
	last := stop()
	copies := a.numbers(last)
	t.Logf("%d messages, %d copies", last, copies)
	for i := range times {
		b.reaches(a, room(fmt.Sprint("late ", i)))
	}
	select {
	case <-changed:
		state, _ := a.State()
		t.Errorf("the state changed, and is %v (%v) now", state.Status, state.Reason)
	default:
	}
}

// TestSubscribingWhileReplacing changes subscriptions all the time while the connection is replaced, and checks who is subscribed then.
func TestSubscribingWhileReplacing(t *testing.T) {
	s := natstest.NewServer(t)
	adp := quiet(s.URL())
	adp.times.linger = 5 * time.Millisecond
	a, b := open(t, adp), open(t, quiet(s.URL()))
	topics := rooms(3000)
	a.subscribe(topics...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		left := make([]bool, len(topics))
		for i := 0; ctx.Err() == nil; i = (i + 7) % len(topics) {
			change := a.Unsubscribe
			if left[i] {
				change = a.Subscribe
			}
			left[i] = !left[i]
			if err := change(t.Context(), topics[i]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 10 {
		c := a.current()
		notify(c.lame)
		kit.Until(t, func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.cur == nil || a.cur == c {
				return errors.New("the connection was not replaced")
			}
			if got, want := len(a.cur.subs), len(a.topics); got != want {
				t.Errorf("the new connection has %d subscriptions, the link %d topics", got, want)
			}
			for subject := range a.topics {
				if a.cur.subs[subject] == nil {
					t.Fatalf("the new connection has no subscription to %s", subject)
				}
			}
			return nil
		})
	}
	cancel()
	wg.Wait()
	kit.Until(t, func() error { // or messages come twice
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.conns) != 1 {
			return fmt.Errorf("there are %d connections, want the last one alone", len(a.conns))
		}
		return nil
	})
	a.unsubscribe(topics...)
	a.subscribe(topics[:100]...)
	a.settle()
	b.publish(topics[100], "left")
	for i, topic := range topics[:100] {
		b.publish(topic, fmt.Sprint(i))
	}
	for i := range 100 {
		a.expect(fmt.Sprint(i))
	}
}

// TestFenceWhileReplacing checks the rule of Subscribe at every moment of a change between servers: the node b, on a server of its
// own, answers what it receives on the topic named in it.
func TestFenceWhileReplacing(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	adp := quiet(natstest.URLs(servers...))
	adp.times.linger = 100 * time.Millisecond
	a := open(t, adp)
	b := open(t, quiet(servers[1].URL()))
	ask := room("ask")
	b.subscribe(ask)
	a.reaches(b, ask)

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case name := <-b.msgs:
				if err := b.Publish(t.Context(), room(name), []byte(name)); err != nil {
					t.Error(err)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	asked, changes := 0, 0
	for deadline := time.Now().Add(kit.Patience); changes < 8 && time.Now().Before(deadline); asked++ {
		if asked%100 == 0 {
			notify(a.current().lame)
		}
		name := fmt.Sprint("topic ", asked)
		a.subscribe(room(name))
		a.publish(ask, name)
		for a.next() != name { // copies
		}
		a.unsubscribe(room(name))
		changes = int(adp.Stats().Connections) - 1
	}
	cancel()
	wg.Wait()
	t.Logf("%d topics, %d changes of the connection", asked, changes)
	if changes < 8 {
		t.Errorf("%d changes of the connection, want 8", changes)
	}
}

// TestPublishOrderWhileReplacing holds what was published on the old connection back: nothing may overtake it on the new one.
func TestPublishOrderWhileReplacing(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	d := &routedDialer{}
	d.route(p.url())
	adp := quiet(s.URL(), nats.SetCustomDialer(d))
	adp.times.closeFlush = kit.Patience
	a, b := open(t, adp), open(t, quiet(s.URL()))
	b.subscribe(room("x"))
	a.reaches(b, room("x"))
	d.route(s.URL())

	p.hold()
	a.publish(room("x"), "1")
	notify(a.current().lame)
	kit.Until(t, func() error {
		if got := adp.Stats().Connections; got != 2 {
			return fmt.Errorf("%d connections, want 2", got)
		}
		return nil
	})
	published := make(chan error, 1)
	go func() { published <- a.Publish(t.Context(), room("x"), []byte("2")) }()
	select {
	case err := <-published:
		published <- err
	case <-time.After(100 * time.Millisecond): // it waits for the old connection
	}
	p.release()
	for msg := b.next(); msg != "1"; msg = b.next() {
		if msg != "0" { // what repeat left
			t.Fatalf("received %q before 1", msg)
		}
	}
	b.expect("2")
	kit.OK(t, <-published)
}

// TestLinger checks that the old connection goes on delivering beside the new one.
func TestLinger(t *testing.T) {
	s := natstest.NewServer(t)
	adp := quiet(s.URL())
	adp.times.linger = time.Hour
	a, b := open(t, adp), open(t, quiet(s.URL()))
	a.subscribe(room("x"))
	old := a.current()
	notify(old.lame)
	kit.Until(t, func() error {
		if a.current() == old {
			return errors.New("the link still publishes on its old connection")
		}
		return nil
	})
	b.publish(room("x"), "1")
	b.publish(room("x"), "2")
	a.expect("1", "2")
	select {
	case <-old.closed:
		t.Error("the old connection is closed, want that it lingers")
	default:
	}
	// An end of the old one ends the wait, and what the new one has brought meanwhile follows.
	old.nc.Close()
	a.expect("1", "2")
}

// TestLossWhileReplacing loses the connection while the one that shall replace it is not there yet.
func TestLossWhileReplacing(t *testing.T) {
	s := natstest.NewServer(t)
	d := &gatedDialer{}
	a := open(t, quiet(s.URL(), nats.SetCustomDialer(d)))
	a.until(adapter.Connected)
	entered, release := d.hold()
	t.Cleanup(release)
	notify(a.current().lame)
	kit.Receive(t, "the link to connect", entered)
	s.Disconnect()
	a.until(adapter.Degraded)
	if err := a.Publish(t.Context(), room("x"), nil); err == nil {
		t.Error("Publish without a connection: no error")
	}
	release()
	a.until(adapter.Connected)
	if state, _ := a.State(); state.Connections != 2 {
		t.Errorf("the link has become connected %d times, want 2", state.Connections)
	}
}
