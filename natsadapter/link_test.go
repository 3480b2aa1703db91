package natsadapter

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
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
