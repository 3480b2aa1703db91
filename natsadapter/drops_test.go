package natsadapter

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

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
