package adaptertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/adapter"
)

// hanging is withLinks for what hangs: until the test ends.
func hanging(change func(l *link, release <-chan struct{})) func(t *testing.T) adapter.Adapter {
	return func(t *testing.T) adapter.Adapter {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		return withLinks(func(l *link) { change(l, release) })(t)
	}
}

// publishing, subscribing and probing are withLinks for one method, saying for what State says.

func publishing(
	f func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error,
) func(t *testing.T) adapter.Adapter {
	return withLinks(func(l *link) {
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error { return f(ctx, l, topic, msg) }
	})
}

func subscribing(
	f func(ctx context.Context, l *link, topics ...adapter.Topic) error,
) func(t *testing.T) adapter.Adapter {
	return withLinks(func(l *link) {
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error { return f(ctx, l, topics...) }
	})
}

func probing(
	f func(ctx context.Context, l *link, topic adapter.Topic, back []byte) error,
) func(t *testing.T) adapter.Adapter {
	return withLinks(func(l *link) {
		l.probe = func(ctx context.Context, topic adapter.Topic, back []byte) error { return f(ctx, l, topic, back) }
	})
}

func saying(change func(state *adapter.State)) func(t *testing.T) adapter.Adapter {
	return withLinks(func(l *link) {
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			change(&state)
			return state, changed
		}
	})
}

// dropping loses the messages that drop says.
func dropping(drop func(topic adapter.Topic, msg []byte) bool) func(t *testing.T) adapter.Adapter {
	return publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
		if drop(topic, msg) {
			return nil
		}
		return l.Link.Publish(ctx, topic, msg)
	})
}

// mapping takes topics for one another.
func mapping(to func(adapter.Topic) adapter.Topic) func(t *testing.T) adapter.Adapter {
	all := func(topics []adapter.Topic) []adapter.Topic {
		mapped := make([]adapter.Topic, len(topics))
		for i, topic := range topics {
			mapped[i] = to(topic)
		}
		return mapped
	}
	return withLinks(func(l *link) {
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			return l.Link.Publish(ctx, to(topic), msg)
		}
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error { return l.Link.Subscribe(ctx, all(topics)...) }
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			return l.Link.Unsubscribe(ctx, all(topics)...)
		}
	})
}

func onNames(change func(string) string) func(adapter.Topic) adapter.Topic {
	return func(topic adapter.Topic) adapter.Topic {
		topic.Namespace, topic.Room = change(topic.Namespace), change(topic.Room)
		return topic
	}
}

var (
	cutName    = onNames(func(s string) string { return s[:min(len(s), 4096)] })
	ignoreCase = onNames(strings.ToLower)
)

func joinNames(sep string) func(adapter.Topic) adapter.Topic {
	return func(topic adapter.Topic) adapter.Topic {
		if topic.Kind == adapter.Room {
			topic.Namespace, topic.Room = topic.Namespace+sep+topic.Room, ""
		}
		return topic
	}
}

// fresh returns the topics that are not known yet, and makes them known.
func fresh(known map[adapter.Topic]bool, topics []adapter.Topic) []adapter.Topic {
	var unknown []adapter.Topic
	for _, topic := range topics {
		if !known[topic] {
			known[topic] = true
			unknown = append(unknown, topic)
		}
	}
	return unknown
}

// sendLargeLater sends a large message behind the one that follows it.
func sendLargeLater(l *link) {
	var topicOfHeld adapter.Topic
	var held []byte
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		if len(msg) > 100<<10 && held == nil {
			topicOfHeld, held = topic, bytes.Clone(msg)
			return nil
		}
		if err := l.Link.Publish(ctx, topic, msg); err != nil || held == nil {
			return err
		}
		msg, held = held, nil
		return l.Link.Publish(ctx, topicOfHeld, msg)
	}
}

// deliverByTopic has a goroutine for each topic; serial, unless it is nil, lets one of them at a time call recv.
func deliverByTopic(l *link, serial sync.Locker) {
	const queue = 4096
	seed := maphash.MakeSeed()
	recv := l.recv
	queues := make(map[uint64]chan []byte) // only the link's own delivery uses it, and Close thereafter
	var wg sync.WaitGroup
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		header := binary.BigEndian.AppendUint64(nil, maphash.Comparable(seed, topic))
		return l.Link.Publish(ctx, topic, append(header, msg...))
	}
	l.recv = func(msg []byte) {
		id := binary.BigEndian.Uint64(msg)
		if queues[id] == nil {
			q := make(chan []byte, queue)
			queues[id] = q
			wg.Go(func() {
				for msg := range q {
					if serial != nil {
						serial.Lock()
					}
					recv(msg)
					if serial != nil {
						serial.Unlock()
					}
				}
			})
		}
		queues[id] <- msg[8:]
	}
	l.close = sync.OnceValue(func() error {
		err := l.Link.Close()
		for _, q := range queues {
			close(q)
		}
		wg.Wait()
		return err
	})
}

// dropWhenBusy has a short queue in front of recv and drops what comes while that is full.
func dropWhenBusy(l *link) {
	recv, queue, done := l.recv, make(chan []byte, 4), make(chan struct{})
	go func() {
		defer close(done)
		for msg := range queue {
			recv(msg)
		}
	}()
	l.recv = func(msg []byte) {
		select {
		case queue <- msg:
		default:
		}
	}
	l.close = sync.OnceValue(func() error {
		err := l.Link.Close()
		close(queue)
		<-done
		return err
	})
}

// loseUpdates replaces the set of the rooms that it delivers without minding who else does so.
func loseUpdates(l *link) {
	var rooms atomic.Pointer[map[string]bool]
	rooms.Store(new(map[string]bool))
	update := func(topics []adapter.Topic, subscribed bool) {
		set := maps.Clone(*rooms.Load())
		if set == nil {
			set = make(map[string]bool)
		}
		runtime.Gosched()
		for _, topic := range topics {
			set[topic.Room] = subscribed
		}
		rooms.Store(&set)
	}
	l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
		update(topics, true)
		return l.Link.Subscribe(ctx, topics...)
	}
	l.unsubscribe = func(_ context.Context, topics ...adapter.Topic) error {
		update(topics, false)
		return nil
	}
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		header := append([]byte{byte(len(topic.Room))}, topic.Room...)
		return l.Link.Publish(ctx, topic, append(header, msg...))
	}
	recv := l.recv
	l.recv = func(msg []byte) {
		room, msg := string(msg[1:1+msg[0]]), msg[1+msg[0]:]
		if room == "" || (*rooms.Load())[room] {
			recv(msg)
		}
	}
}

// keepBuffer sends a room's message when the next one follows.
func keepBuffer(l *link) {
	var topicOfHeld adapter.Topic
	var held []byte
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		if held != nil {
			if err := l.Link.Publish(ctx, topicOfHeld, held); err != nil {
				return err
			}
			held = nil
		}
		if topic.Kind == adapter.Room {
			topicOfHeld, held = topic, msg
			return nil
		}
		return l.Link.Publish(ctx, topic, msg)
	}
}

// reconnectOverLongName changes its state for a moment when it is given a long name.
func reconnectOverLongName(l *link) {
	var mu sync.Mutex // guards what follows
	changed, times := make(chan struct{}), uint64(0)
	l.state = func() (adapter.State, <-chan struct{}) {
		mu.Lock()
		defer mu.Unlock()
		state, _ := l.Link.State()
		state.Connections += times
		return state, changed
	}
	l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
		if len(topic.Room) >= 5000 {
			mu.Lock()
			times++
			close(changed)
			changed = make(chan struct{})
			mu.Unlock()
		}
		return l.Link.Publish(ctx, topic, msg)
	}
}

// recvLater has a goroutine that calls recv and that Close does not wait for.
func recvLater(l *link) {
	recv, queue := l.recv, make(chan []byte, 4096)
	go func() {
		for msg := range queue {
			recv(msg)
		}
	}()
	l.recv = func(msg []byte) { queue <- msg }
	l.close = sync.OnceValue(func() error {
		err := l.Link.Close()
		close(queue)
		return err
	})
}

// publishLater has a goroutine that publishes, and which Close stops where it stands.
func publishLater(l *link) {
	type message struct {
		topic adapter.Topic
		msg   []byte
	}
	queue, stop, done := make(chan message, 4096), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case m := <-queue:
				runtime.Gosched()
				_ = l.Link.Publish(context.Background(), m.topic, m.msg)
			}
		}
	}()
	l.publish = func(_ context.Context, topic adapter.Topic, msg []byte) error {
		queue <- message{topic, bytes.Clone(msg)}
		return nil
	}
	l.close = sync.OnceValue(func() error {
		close(stop)
		<-done
		return l.Link.Close()
	})
}
