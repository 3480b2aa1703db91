package natsadapter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

func TestRestartOfServer(t *testing.T) {
	s := natstest.NewServer(t)
	a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
	a.subscribe(room("kept"), room("left"))
	a.settle()
	b.publish(room("kept"), "1")
	a.expect("1")

	s.Shutdown()
	for _, n := range []*node{a, b} {
		if reason := n.until(adapter.Degraded); reason == nil || !strings.Contains(reason.Error(), "lost") {
			t.Errorf("the reason is %v, want that the connection is lost", reason)
		}
	}
	err := b.Publish(t.Context(), room("kept"), []byte("stale"))
	kit.ErrorIs(t, err, adapter.ErrUnavailable, "Publish without a server")
	a.subscribe(room("new"))
	a.unsubscribe(room("left"))

	s.Restart()
	a.until(adapter.Connected)
	b.until(adapter.Connected)
	b.publish(room("left"), "2")
	b.publish(room("kept"), "3")
	b.publish(room("new"), "4")
	a.expect("3", "4")
}

func TestServerThatComesLater(t *testing.T) {
	s := natstest.NewServer(t)
	s.Shutdown()
	a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
	state, _ := a.State()
	if state.Status != adapter.Degraded || state.Reason == nil {
		t.Fatalf("the state is %v (%v), want degraded with a reason", state.Status, state.Reason)
	}
	a.subscribe(room("x"))
	s.Restart()
	a.until(adapter.Connected)
	b.until(adapter.Connected)
	b.publish(room("x"), "1")
	a.expect("1")
}

// TestClosedConnections closes connections in ways after which nats.go never connects again.
func TestClosedConnections(t *testing.T) {
	s := natstest.NewServer(t)
	b := open(t, quiet(s.URL()))
	for name, ruin := range map[string]func(c *nats.Conn) error{
		"Close": func(c *nats.Conn) error { c.Close(); return nil },
		"ControlLine": func(c *nats.Conn) error { // what a raw room name of 5,000 bytes does
			return c.Publish(strings.Repeat("x", 5000), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, quiet(s.URL()))
			a.subscribe(room(name))
			_, changed := a.State()
			kit.OK(t, ruin(a.current().nc))
			kit.Receive(t, "the state to change", changed)
			a.until(adapter.Connected)
			b.publish(room(name), "after")
			a.expect("after")
			kit.Equal(t, a.adapter.Stats().Connections, 2, "connections")
			if state, _ := a.State(); state.Connections != 2 {
				t.Errorf("the link has become connected %d times, want 2", state.Connections)
			}
		})
	}
}

// TestLostAuthorization changes the password under a link and back again.
func TestLostAuthorization(t *testing.T) {
	right := natstest.Start(t, embedded.Config{Username: "u", Password: "right"})
	n := open(t, quiet(strings.Replace(right.URL(), "//", "//u:right@", 1)))
	n.until(adapter.Connected)
	n.subscribe(room("x"))
	right.Shutdown()
	lost := n.until(adapter.Degraded)
	_, changed := n.State()
	failedAgain := func() error {
		n.stateMu.Lock()
		defer n.stateMu.Unlock()
		if n.outages.skipped == 0 {
			return errors.New("the link does not try again")
		}
		return nil
	}
	kit.Until(t, failedAgain)
	select {
	case <-changed:
		state, _ := n.State()
		t.Errorf("the reason changed from %v to %v though the outage goes on", lost, state.Reason)
	default:
	}

	var port int
	if _, err := fmt.Sscanf(right.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	wrong := natstest.Start(t, embedded.Config{Username: "u", Password: "other", Port: port})
	changes := 0
	deadline := time.After(kit.Patience)
	for {
		state, changed := n.State()
		if state.Reason != nil && errors.Is(state.Reason, nats.ErrAuthorization) {
			break
		}
		select {
		case <-changed:
			changes++
		case <-deadline:
			t.Fatalf("the state is %v (%v), want degraded by an authorization violation", state.Status, state.Reason)
		}
	}
	if changes > 1 {
		t.Errorf("the state changed %d times on the way, want once", changes)
	}
	wrong.Shutdown()
	right.Restart()
	n.until(adapter.Connected)
}

// TestConnectionsThatDoNotLast checks that a server that ends every connection is not asked in a loop.
func TestConnectionsThatDoNotLast(t *testing.T) {
	const wait = 50 * time.Millisecond
	s := natstest.NewServer(t)
	a := open(t, quiet(s.URL(), nats.ReconnectWait(wait), nats.ReconnectJitter(0, 0)))
	start := time.Now()
	const times = 4
	for range times {
		a.until(adapter.Connected)
		_, changed := a.State()
		s.Disconnect()
		kit.Receive(t, "the link to notice", changed)
	}
	a.until(adapter.Connected)
	if took := time.Since(start); took < times*wait {
		t.Errorf("%d connections were made within %v, want a pause of %v before each", times, took, wait)
	}
}

// TestLastMessages checks that what a connection had brought before it was lost is delivered, and nothing of it after what the next
// one brings.
func TestLastMessages(t *testing.T) {
	s := natstest.NewServer(t)
	first, gate := make(chan struct{}), make(chan struct{})
	var got []string
	done := make(chan struct{})
	l, err := quiet(s.URL()).Open(t.Context(), func(msg []byte) {
		if len(got) == 0 {
			close(first)
			<-gate
		}
		if got = append(got, string(msg)); string(msg) == "end" {
			close(done)
		}
	})
	kit.OK(t, err)
	a, b := &node{link: l.(*link), t: t}, open(t, quiet(s.URL()))
	t.Cleanup(func() {
		kit.OK(t, l.Close())
	})
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	a.subscribe(room("x"))
	a.settle()
	const count = 100
	for i := range count {
		b.publish(room("x"), fmt.Sprint(i))
	}
	<-first
	c := a.current()
	kit.Until(t, func() error {
		if got := len(c.msgs); got < count-1 {
			return fmt.Errorf("%d messages are waiting, want %d", got, count-1)
		}
		return nil
	})
	c.nc.Close()
	<-c.closed
	release()
	a.another(c)
	b.publish(room("x"), "end")
	kit.Receive(t, "a message over the new connection", done)
	kit.OK(t, l.Close())
	if len(got) != count+1 {
		t.Fatalf("%d messages, want %d", len(got), count+1)
	}
	for i := range count {
		if got[i] != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got[i])
		}
	}
}
