package natsadapter

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// A node is a link under test and what it has received.
type node struct {
	*link
	t    *testing.T
	msgs chan string
}

// open opens a, which must succeed. The link ends with the test.
func open(t *testing.T, a *Adapter) *node {
	t.Helper()
	n := &node{t: t, msgs: make(chan string, 1<<20)}
	l, err := a.Open(t.Context(), func(msg []byte) { n.msgs <- string(msg) })
	kit.OK(t, err)
	n.link = l.(*link)
	t.Cleanup(func() {
		kit.OK(t, l.Close())
	})
	return n
}

// quiet is an adapter on the servers at url that keeps its log to itself, and whose links return soon unless options say otherwise.
func quiet(url string, options ...nats.Option) *Adapter {
	soon := []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond)}
	return New(Config{URL: url, Logger: slog.New(slog.DiscardHandler), Options: append(soon, options...)})
}

// until waits for the link's status and returns the reason.
func (n *node) until(want adapter.Status) error {
	n.t.Helper()
	return n.untilState(want, func(s adapter.State) bool { return s.Status == want && (want != adapter.Connected || s.Reason == nil) })
}

// refused waits until the link is connected and the server refuses it something, and returns what.
func (n *node) refused() error {
	n.t.Helper()
	return n.untilState("connected and refused something", func(s adapter.State) bool { return s.Status == adapter.Connected && s.Reason != nil })
}

func (n *node) untilState(want any, is func(adapter.State) bool) error {
	n.t.Helper()
	deadline := time.After(kit.Patience)
	for {
		state, changed := n.State()
		if is(state) {
			return state.Reason
		}
		select {
		case <-changed:
		case <-deadline:
			n.t.Fatalf("the state is %v (%v), want %v", state.Status, state.Reason, want)
		}
	}
}

func (n *node) subscribe(topics ...adapter.Topic) {
	n.t.Helper()
	if err := n.Subscribe(n.t.Context(), topics...); err != nil {
		n.t.Fatal(err)
	}
}

// settle returns when the link's server knows what the link is subscribed to.
func (n *node) settle() {
	n.t.Helper()
	if err := n.current().nc.Flush(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) unsubscribe(topics ...adapter.Topic) {
	n.t.Helper()
	if err := n.Unsubscribe(n.t.Context(), topics...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) publish(topic adapter.Topic, msg string) {
	n.t.Helper()
	if err := n.Publish(n.t.Context(), topic, []byte(msg)); err != nil {
		n.t.Fatal(err)
	}
}

// next returns the next message, but for what is left of reaches.
func (n *node) next() string {
	n.t.Helper()
	deadline := time.After(kit.Patience)
	for {
		select {
		case msg := <-n.msgs:
			if !strings.HasPrefix(msg, probe) {
				return msg
			}
		case <-deadline:
			n.t.Fatal("no message")
		}
	}
}

// expect fails unless the next messages are want.
func (n *node) expect(want ...string) {
	n.t.Helper()
	for _, w := range want {
		if got := n.next(); got != w {
			n.t.Fatalf("received %.80q, want %q", got, w)
		}
	}
}

const probe = "a probe of "

// reaches publishes from n on topic until to has received it; other messages that come are skipped. It is for where interest travels.
func (n *node) reaches(to *node, topic adapter.Topic) {
	n.t.Helper()
	msg := probe + rand.Text() // none of an earlier call
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(kit.Patience); ; {
		if err := n.Publish(n.t.Context(), topic, []byte(msg)); err != nil {
			n.t.Logf("publish: %v", err)
		}
		for waiting := true; waiting; {
			select {
			case got := <-to.msgs:
				if got == msg {
					return
				}
			case <-tick.C:
				waiting = false
			case <-deadline:
				n.t.Fatalf("nothing arrives on %s", topic)
			}
		}
	}
}

func room(name string) adapter.Topic {
	return adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: name}
}

// current returns the connection in use.
func (n *node) current() *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cur
}

// another waits until the link is connected by another connection than old, which it returns. That it is Degraded in between, nobody may
// see: a link whose connection has lasted connects again at once.
func (n *node) another(old *conn) (cur *conn) {
	n.t.Helper()
	kit.Until(n.t, func() error {
		cur = n.current()
		if state, _ := n.State(); cur == nil || cur == old || state.Status != adapter.Connected || state.Reason != nil {
			return fmt.Errorf("there is no other connection; the state is %v (%v)", state.Status, state.Reason)
		}
		return nil
	})
	return cur
}
