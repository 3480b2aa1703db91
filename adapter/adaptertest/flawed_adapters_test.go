package adaptertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/adapter"
)

// openQueueGroup hands each message to one of its receivers alone.
func openQueueGroup(t *testing.T) adapter.Adapter {
	var next atomic.Uint64
	var taken sync.Map
	return withLinks(func(l *link) {
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			return l.Link.Publish(ctx, topic, append(binary.BigEndian.AppendUint64(nil, next.Add(1)), msg...))
		}
		recv := l.recv
		l.recv = func(msg []byte) {
			if _, ok := taken.LoadOrStore(binary.BigEndian.Uint64(msg), true); !ok {
				recv(msg[8:])
			}
		}
	})(t)
}

// openLocking publishes under a lock until the receiver has taken the message, which takes the receiver's lock.
func openLocking(t *testing.T) adapter.Adapter {
	const acknowledged, plain = 1, 0
	acks := make(map[*link]chan struct{}) // by publisher
	var publishers []*link
	return withLinks(func(l *link) {
		lock := make(chan struct{}, 1)
		acks[l] = make(chan struct{}, 1)
		self := byte(len(publishers))
		publishers = append(publishers, l)
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			lock <- struct{}{}
			defer func() { <-lock }()
			kind := byte(plain)
			if topic.Kind == adapter.Room {
				kind = acknowledged
			}
			if err := l.Link.Publish(ctx, topic, append([]byte{kind, self}, msg...)); err != nil || kind == plain {
				return err
			}
			select {
			case <-acks[l]:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		recv := l.recv
		l.recv = func(msg []byte) {
			lock <- struct{}{}
			defer func() { <-lock }()
			recv(msg[2:])
			if msg[0] == acknowledged {
				select {
				case acks[publishers[msg[1]]] <- struct{}{}:
				default:
				}
			}
		}
	})(t)
}

// openColdTopics loses the first message that is published on any room, as if its interest were still on the way.
func openColdTopics(t *testing.T) adapter.Adapter {
	var warm sync.Map
	return dropping(func(topic adapter.Topic, _ []byte) bool {
		_, ok := warm.LoadOrStore(topic, true)
		return !ok && topic.Kind != adapter.Node
	})(t)
}

// sharingBuffers hands all receivers of a message the same buffer, or the first of them that of the publisher.
func sharingBuffers(withPublisher bool) func(t *testing.T) adapter.Adapter {
	return func(t *testing.T) adapter.Adapter {
		var mu sync.Mutex // guards what follows, and what recv does with it
		var first, others [][]byte
		return withLinks(func(l *link) {
			l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
				mu.Lock()
				id := uint64(len(others))
				others = append(others, bytes.Clone(msg))
				if withPublisher {
					first = append(first, msg)
				} else {
					first = append(first, others[id])
				}
				mu.Unlock()
				return l.Link.Publish(ctx, topic, binary.BigEndian.AppendUint64(nil, id))
			}
			recv := l.recv
			l.recv = func(msg []byte) {
				mu.Lock()
				defer mu.Unlock()
				id := binary.BigEndian.Uint64(msg)
				msg, first[id] = first[id], others[id]
				recv(msg)
			}
		})(t)
	}
}

// openEndingWithContext opens links that close when the ctx of Open ends.
func openEndingWithContext(*testing.T) adapter.Adapter {
	memory := new(adapter.Memory)
	return opener(func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
		inner, err := memory.Open(ctx, recv)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = inner.Close() })
		return inner, nil
	})
}

// openHanging waits when the ctx of Open has ended.
func openHanging(t *testing.T) adapter.Adapter {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	memory := new(adapter.Memory)
	return opener(func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
		if ctx.Err() != nil {
			<-release
		}
		return memory.Open(ctx, recv)
	})
}

// openOnce returns the first link for every Open.
func openOnce(*testing.T) adapter.Adapter {
	var mu sync.Mutex // guards what follows
	var first adapter.Link
	memory := new(adapter.Memory)
	return opener(func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil {
			return first, nil
		}
		var err error
		first, err = memory.Open(ctx, recv)
		return first, err
	})
}

// openSharingSubscriptions ends the subscriptions of rooms for all links when one of them closes.
func openSharingSubscriptions(t *testing.T) adapter.Adapter {
	var mu sync.Mutex // guards what follows
	var links []adapter.Link
	return withLinks(func(l *link) {
		var rooms []adapter.Topic
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			mu.Lock()
			links = append(links, l.Link)
			mu.Unlock()
			for _, topic := range topics {
				if topic.Kind == adapter.Room {
					rooms = append(rooms, topic)
				}
			}
			return l.Link.Subscribe(ctx, topics...)
		}
		l.close = func() error {
			mu.Lock()
			defer mu.Unlock()
			for _, other := range links {
				_ = other.Unsubscribe(context.Background(), rooms...)
			}
			return l.Link.Close()
		}
	})(t)
}
