package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// The bounds of the queue between the publishers and one link of a [Memory]. An empty queue takes a message of any size.
const (
	memoryQueueMessages = 4096
	memoryQueueBytes    = 4 << 20
)

// Memory is an [Adapter] that joins nodes of one process, such as several servers in one program or in a test: each Open is a node.
// The zero value is an empty cluster, ready for use. A Memory must not be copied after its first use.
//
// Its links deliver exactly what was asked for, each message once. They are Connected until they are closed, and nothing is lost:
// each link has a queue of 4096 messages or 4 MiB, whichever is reached first, and Publish waits while the queue of a receiver is
// full. As much again may be on its way from the queue to recv. Publish waits no longer than its ctx, its own link and that receiver
// live; when ctx ends it returns an error, and every receiver that had room has the message nevertheless.
//
// A call with a ctx that has already ended does nothing and returns an error; so does Open.
type Memory struct {
	mu    sync.RWMutex            // guards what follows, and memoryLink.topics
	links map[Topic][]*memoryLink // the subscribers of each topic; what stands in a slice stays, so that it can be read without mu
}

// Open joins the cluster as a new node.
func (m *Memory) Open(ctx context.Context, recv func(msg []byte)) (Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memory: open: %w", err)
	}
	if recv == nil {
		return nil, errors.New("memory: open: recv is nil")
	}
	l := &memoryLink{
		memory:  m,
		recv:    recv,
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		topics:  make(map[Topic]struct{}),
	}
	l.filled.L = &l.mu
	go l.deliver()
	return l, nil
}

// subscribers returns the links that a message on topic goes to. The second list is not empty for a private topic alone: it holds
// the links of the topic's node, some of which may stand in the first list too. Neither may be modified.
func (m *Memory) subscribers(topic Topic) (links, node []*memoryLink) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	links = m.links[topic]
	if topic.Kind == Private {
		node = m.links[Topic{Kind: Node, Node: topic.Node}]
	}
	return links, node
}

// add makes l a subscriber of topic. m.mu must be held.
func (m *Memory) add(l *memoryLink, topic Topic) {
	if _, ok := l.topics[topic]; ok {
		return
	}
	if m.links == nil {
		m.links = make(map[Topic][]*memoryLink)
	}
	l.topics[topic] = struct{}{}
	m.links[topic] = append(m.links[topic], l)
}

// drop ends l's subscription of topic. m.mu must be held.
func (m *Memory) drop(l *memoryLink, topic Topic) {
	if _, ok := l.topics[topic]; !ok {
		return
	}
	delete(l.topics, topic)
	old := m.links[topic]
	if len(old) == 1 {
		delete(m.links, topic)
		return
	}
	i := slices.Index(old, l)
	m.links[topic] = slices.Concat(old[:i], old[i+1:])
}

// memoryLink is a node of a Memory.
type memoryLink struct {
	memory  *Memory
	recv    func(msg []byte)
	closing chan struct{} // closed when Close begins
	done    chan struct{} // closed when deliver has returned
	close   sync.Once

	topics map[Topic]struct{} // what the link is subscribed to; guarded by memory.mu

	mu     sync.Mutex // guards what follows
	filled sync.Cond  // signalled when queue is no longer empty, and by Close
	queue  [][]byte
	bytes  int           // the sum of the lengths in queue
	space  chan struct{} // closed when queue has been taken, and by Close; nil if no publisher waits for that
}

func (l *memoryLink) Publish(ctx context.Context, topic Topic, msg []byte) error {
	if err := l.usable(ctx); err != nil {
		return fmt.Errorf("memory: publish %s: %w", topic, err)
	}
	var failed error
	send := func(to *memoryLink) {
		if err := l.send(ctx, to, msg); err != nil && failed == nil {
			failed = fmt.Errorf("memory: publish %s: %w", topic, err)
		}
	}
	links, node := l.memory.subscribers(topic)
	for _, to := range links {
		if to != l {
			send(to)
		}
	}
	for _, to := range node {
		if to != l && !slices.Contains(links, to) {
			send(to)
		}
	}
	return failed
}

// send puts a copy of msg into the queue of to. It waits for room until ctx ends or either link closes; a receiver that has closed
// is no error.
func (l *memoryLink) send(ctx context.Context, to *memoryLink, msg []byte) error {
	owned := make([]byte, len(msg))
	copy(owned, msg)
	for {
		space := to.put(owned)
		if space == nil {
			return nil
		}
		select {
		case <-space:
		case <-l.closing:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// put queues msg, or drops it if l is closed, and returns nil; where the queue is full it returns a channel that is closed when it
// is worth another try.
func (l *memoryLink) put(msg []byte) (space <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed() {
		return nil
	}
	if n := len(l.queue); n > 0 && (n >= memoryQueueMessages || l.bytes+len(msg) > memoryQueueBytes) {
		if l.space == nil {
			l.space = make(chan struct{})
		}
		return l.space
	}
	l.queue = append(l.queue, msg)
	l.bytes += len(msg)
	l.filled.Signal()
	return nil
}

// deliver hands what is queued to recv until the link closes.
func (l *memoryLink) deliver() {
	defer close(l.done)
	for batch := l.take(nil); batch != nil; batch = l.take(batch) {
		for i, msg := range batch {
			if l.closed() {
				return
			}
			batch[i] = nil
			l.recv(msg)
		}
	}
}

// take waits until something is queued and returns the queue, or nil if the link closes. spare becomes the next queue's memory.
func (l *memoryLink) take(spare [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed() {
		l.filled.Wait()
	}
	batch := l.queue
	l.queue, l.bytes = spare[:0], 0
	l.wakePublishers()
	return batch
}

// wakePublishers lets the publishers that wait for room try again. l.mu must be held.
func (l *memoryLink) wakePublishers() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}

func (l *memoryLink) Subscribe(ctx context.Context, topics ...Topic) error {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if err := l.usable(ctx); err != nil {
		return fmt.Errorf("memory: subscribe: %w", err)
	}
	for _, topic := range topics {
		l.memory.add(l, topic)
	}
	return nil
}

func (l *memoryLink) Unsubscribe(ctx context.Context, topics ...Topic) error {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if err := l.usable(ctx); err != nil {
		return fmt.Errorf("memory: unsubscribe: %w", err)
	}
	for _, topic := range topics {
		l.memory.drop(l, topic)
	}
	return nil
}

func (l *memoryLink) State() (State, <-chan struct{}) {
	if l.closed() {
		return State{Status: Closed}, nil
	}
	return State{Status: Connected}, l.closing
}

func (l *memoryLink) Close() error {
	l.close.Do(func() {
		l.mu.Lock()
		close(l.closing)
		l.queue = nil
		l.filled.Signal()
		l.wakePublishers()
		l.mu.Unlock()

		l.memory.mu.Lock()
		for topic := range l.topics {
			l.memory.drop(l, topic)
		}
		l.memory.mu.Unlock()
		<-l.done
	})
	return nil
}

// closed reports whether Close has begun.
func (l *memoryLink) closed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// usable returns the error of a call that cannot be made, because the link is closed or ctx has ended.
func (l *memoryLink) usable(ctx context.Context) error {
	if l.closed() {
		return ErrClosed
	}
	return ctx.Err()
}
