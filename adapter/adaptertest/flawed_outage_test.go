package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/adapter"
)

// giveUpAfter makes l Degraded for ever once the broker was away that many times.
func giveUpAfter(l *link, outages int64) {
	var count atomic.Int64
	l.lost = func() { count.Add(1) }
	l.state = func() (adapter.State, <-chan struct{}) {
		state, changed := l.Link.State()
		if state.Status == adapter.Connected && count.Load() >= outages {
			state.Status, state.Reason = adapter.Degraded, errors.New("gave up")
		}
		return state, changed
	}
}

// sendKept keeps what is published without a broker, and sends it behind the first message that goes through. refusing says whether
// Publish returns the error nevertheless.
func sendKept(l *link, refusing bool) {
	type message struct {
		topic adapter.Topic
		msg   []byte
	}
	var mu sync.Mutex // guards what follows
	var kept []message
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		mu.Lock()
		defer mu.Unlock()
		err := l.Link.Publish(ctx, topic, msg)
		switch {
		case errors.Is(err, adapter.ErrUnavailable):
			kept = append(kept, message{topic, bytes.Clone(msg)})
			if !refusing {
				err = nil
			}
		case err == nil && topic.Kind != adapter.Node:
			for _, m := range kept {
				_ = l.Link.Publish(ctx, m.topic, m.msg)
			}
			kept = nil
		}
		return err
	}
}

// forgetRooms ends the subscriptions of rooms in the given outage and later ones. If late is set they stand again when the link has
// published on a room after the outage.
func forgetRooms(l *link, outage int, late bool) {
	var mu sync.Mutex // guards what follows
	rooms := make(map[adapter.Topic]bool)
	count, due := 0, false
	change := func(topics []adapter.Topic, subscribed bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range topics {
			if topic.Kind == adapter.Room || topic.Kind == adapter.Cluster {
				if subscribed {
					rooms[topic] = true
				} else {
					delete(rooms, topic)
				}
			}
		}
	}
	all := func() []adapter.Topic {
		mu.Lock()
		defer mu.Unlock()
		var topics []adapter.Topic
		for topic := range rooms {
			topics = append(topics, topic)
		}
		return topics
	}
	l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
		change(topics, true)
		return l.Link.Subscribe(ctx, topics...)
	}
	l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
		change(topics, false)
		return l.Link.Unsubscribe(ctx, topics...)
	}
	l.back = func() {
		if count++; count < outage {
			return
		}
		_ = l.Link.Unsubscribe(context.Background(), all()...)
		mu.Lock()
		defer mu.Unlock()
		due = late
	}
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		if err := l.Link.Publish(ctx, topic, msg); err != nil || topic.Kind != adapter.Room {
			return err
		}
		mu.Lock()
		subscribe := due
		due = false
		mu.Unlock()
		if !subscribe {
			return nil
		}
		return l.Link.Subscribe(ctx, all()...)
	}
}

// readNewestFirst hands on what has come since the last outage before what came earlier.
func readNewestFirst(l *link) {
	recv := l.recv
	var mu sync.Mutex // guards what follows
	more := sync.NewCond(&mu)
	queues := make([][][]byte, 1)
	closed, done := false, make(chan struct{})
	next := func() []byte {
		mu.Lock()
		defer mu.Unlock()
		for !closed {
			for i := range slices.Backward(queues) {
				if q := queues[i]; len(q) > 0 {
					queues[i] = q[1:]
					return q[0]
				}
			}
			more.Wait()
		}
		return nil
	}
	go func() {
		defer close(done)
		for msg := next(); msg != nil; msg = next() {
			recv(msg)
		}
	}()
	l.recv = func(msg []byte) {
		mu.Lock()
		defer mu.Unlock()
		queues[len(queues)-1] = append(queues[len(queues)-1], msg)
		more.Signal()
	}
	l.back = func() {
		mu.Lock()
		defer mu.Unlock()
		queues = append(queues, nil)
	}
	l.close = sync.OnceValue(func() error {
		err := l.Link.Close()
		mu.Lock()
		closed = true
		more.Signal()
		mu.Unlock()
		<-done
		return err
	})
}

// readByConnection has a goroutine for the messages between two outages.
func readByConnection(l *link) {
	const queue = 4096
	recv := l.recv
	var mu sync.Mutex // guards what follows
	var cur chan []byte
	closed := false
	var wg sync.WaitGroup
	begin := func() {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			return
		}
		if cur != nil {
			close(cur)
		}
		q := make(chan []byte, queue)
		cur = q
		wg.Go(func() {
			for msg := range q {
				recv(msg)
			}
		})
	}
	begin()
	l.back = begin
	l.recv = func(msg []byte) {
		mu.Lock()
		defer mu.Unlock()
		cur <- msg
	}
	l.close = sync.OnceValue(func() error {
		err := l.Link.Close()
		mu.Lock()
		close(cur)
		cur, closed = nil, true
		mu.Unlock()
		wg.Wait()
		return err
	})
}

// openWaiting waits in Open until the broker is there.
func openWaiting(t *testing.T) adapter.Adapter {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	b := withLinks(func(*link) {})(t).(*broker)
	open := b.opener
	b.opener = func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
		link, err := open(ctx, recv)
		if err != nil {
			return nil, err
		}
		for {
			state, changed := link.State()
			if state.Status == adapter.Connected {
				return link, nil
			}
			select {
			case <-changed:
			case <-release:
				return nil, errors.Join(errors.New("too late"), link.Close())
			}
		}
	}
	return b
}
