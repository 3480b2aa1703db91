package natsadapter

import (
	"errors"
	"fmt"
	"log/slog"
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

func TestTopicWithoutKind(t *testing.T) {
	n := open(t, quiet(natstest.NewServer(t).URL()))
	var none adapter.Topic
	for name, err := range map[string]error{
		"Publish":     n.Publish(t.Context(), none, nil),
		"Subscribe":   n.Subscribe(t.Context(), none),
		"Unsubscribe": n.Unsubscribe(t.Context(), none),
	} {
		kit.ErrorIs(t, err, errNoKind, name)
	}
}

// TestOneChannelForAllTopics checks that no subscription has a callback, which would cost it a goroutine and the order across topics.
func TestOneChannelForAllTopics(t *testing.T) {
	n := open(t, quiet(natstest.NewServer(t).URL()))
	var topics []adapter.Topic
	for i := range 200 {
		topics = append(topics, room(fmt.Sprint(i)))
	}
	n.subscribe(topics...)
	c := n.current()
	n.mu.Lock()
	defer n.mu.Unlock()
	kit.Equal(t, len(c.subs), len(topics), "subscriptions")
	for subject, sub := range c.subs {
		if sub.Type() != nats.ChanSubscription {
			t.Fatalf("the subscription to %s is of type %v, want a channel's", subject, sub.Type())
		}
	}
}

func TestMaxPayload(t *testing.T) {
	for _, size := range []int{1000, 8 << 20} {
		s := natstest.Start(t, embedded.Config{MaxPayload: size})
		a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
		a.subscribe(room("x"))
		a.settle()
		err := b.Publish(t.Context(), room("x"), make([]byte, size+1))
		if !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, adapter.ErrUnavailable) ||
			!strings.Contains(err.Error(), fmt.Sprint(size+1)) || !strings.Contains(err.Error(), fmt.Sprint(size)) {
			t.Errorf("Publish of %d bytes: %v, want nats.ErrMaxPayload with both sizes", size+1, err)
		}
		b.publish(room("x"), strings.Repeat("x", b.MaxMessage()))
		kit.Equal(t, len(a.next()), size, "bytes received")
	}
}

func TestMaxMessage(t *testing.T) {
	s := natstest.Start(t, embedded.Config{MaxPayload: 1000})
	s.Shutdown()
	a := open(t, quiet(s.URL()))
	check := func(when string, want int) {
		t.Helper()
		kit.Equal(t, a.MaxMessage(), want, "MaxMessage", when)
	}
	check("before the first connection", limitBefore)
	s.Restart()
	a.until(adapter.Connected)
	check("of a server that takes 1000 bytes", 1000)
	s.Shutdown()
	a.until(adapter.Degraded)
	check("while the server is away", 1000)

	other := natstest.Start(t, embedded.Config{MaxPayload: 2000})
	a = open(t, quiet(natstest.URLs(s, other)))
	a.until(adapter.Connected)
	check("of another server", 2000)
	s.Restart()
	old := a.current()
	other.Shutdown()
	a.another(old)
	check("of the server that is left", 1000)
}

// TestDrops blocks recv, which the contract forbids, until messages are dropped.
func TestDrops(t *testing.T) {
	s := natstest.NewServer(t)
	var text kit.Log
	cfg := Config{URL: s.URL(), Logger: slog.New(slog.NewTextHandler(&text, nil))}
	slow := New(cfg)
	slow.times.queue = 8
	slow.times.recount = 10 * time.Millisecond
	blocked := make(chan struct{})
	l, err := slow.Open(t.Context(), func([]byte) { <-blocked })
	kit.OK(t, err)
	t.Cleanup(func() {
		kit.OK(t, l.Close())
	})
	t.Cleanup(sync.OnceFunc(func() { close(blocked) }))
	kit.OK(t, l.Subscribe(t.Context(), room("x"), room("y")))
	(&node{link: l.(*link), t: t}).settle()
	b := open(t, quiet(s.URL()))
	for round := range 3 {
		if round == 2 {
			<-time.After(10 * slow.times.recount) // let counts pass without a drop
		}
		const sent = 200
		for range sent {
			b.publish(room("x"), "x")
			b.publish(room("y"), "y")
		}
		want := uint64((round+1)*2*sent - 9) // one message is with recv and 8 are in the queue
		kit.Until(t, func() error {
			if got := slow.Stats().Dropped; got != want {
				return fmt.Errorf("%d messages counted as dropped, want %d", got, want)
			}
			if log := text.String(); !strings.Contains(log, "messages dropped") {
				return fmt.Errorf("nothing about it in the log: %q", log)
			}
			return nil
		})
	}
	if lines := strings.Count(text.String(), "\n"); lines > 20 {
		t.Errorf("%d lines in the log, want few", lines)
	}
}

// TestDropsOfEndedSubscriptions ends subscriptions on which messages were dropped: these count, and nothing is kept of the subscriptions.
func TestDropsOfEndedSubscriptions(t *testing.T) {
	s := natstest.NewServer(t)
	slow := quiet(s.URL())
	slow.times.queue = 8
	slow.times.recount = 5 * time.Millisecond
	blocked := make(chan struct{})
	l, err := slow.Open(t.Context(), func([]byte) { <-blocked })
	kit.OK(t, err)
	a, b := &node{link: l.(*link), t: t}, open(t, quiet(s.URL()))
	t.Cleanup(func() {
		kit.OK(t, l.Close())
	})
	t.Cleanup(func() { close(blocked) })
	const rooms, each = 100, 20
	for i := range rooms {
		a.subscribe(room(fmt.Sprint(i)))
		a.settle()
		for range each {
			b.publish(room(fmt.Sprint(i)), "x")
		}
		b.settle()
		a.settle()
		a.unsubscribe(room(fmt.Sprint(i)))
	}
	kit.Until(t, func() error {
		if got, want := slow.Stats().Dropped, uint64(rooms*each-9); got != want { // one message is with recv and 8 are in the queue
			return fmt.Errorf("%d messages counted as dropped, want %d", got, want)
		}
		a.stateMu.Lock()
		defer a.stateMu.Unlock()
		if got := len(a.cur.drops); got > 0 {
			return fmt.Errorf("%d subscriptions are kept, want none: all have ended", got)
		}
		return nil
	})
}
