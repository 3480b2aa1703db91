package natsadapter

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
)

func TestTopicWithoutKind(t *testing.T) {
	n := open(t, quiet(natstest.NewServer(t).URL()))
	var none adapter.Topic
	for name, err := range map[string]error{
		"Publish":     n.Publish(t.Context(), none, nil),
		"Subscribe":   n.Subscribe(t.Context(), none),
		"Unsubscribe": n.Unsubscribe(t.Context(), none),
	} {
		if !errors.Is(err, errNoKind) {
			t.Errorf("%s: %v, want %v", name, err, errNoKind)
		}
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
	if len(c.subs) != len(topics) {
		t.Errorf("%d subscriptions, want %d", len(c.subs), len(topics))
	}
	for subject, sub := range c.subs {
		if sub.Type() != nats.ChanSubscription {
			t.Fatalf("the subscription to %s is of type %v, want a channel's", subject, sub.Type())
		}
	}
}
