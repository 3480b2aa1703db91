package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// The bounds of the queue between the publishers and one link of a [Memory]. An empty queue takes a
// message of any size.
const (
	memoryQueueMessages = 4096
	memoryQueueBytes    = 4 << 20
)

// Memory is an [Adapter] for the nodes of one process, such as several servers in one program or in
// a test. The zero value is an empty cluster, ready for use. A Memory must not be copied after
// first use.
//
// Its links deliver exactly what was asked for, each message once. They stay Connected until they
// are closed, unless [Memory.Interrupt] is called, and lose nothing. Each link has a queue of 4096
// messages or 4 MiB, whichever is reached first, and as much again may be on its way from the queue
// to recv. Publish waits while the queue of a receiver is full, until its ctx ends or its own link
// or that receiver closes. If ctx ends it returns an error, although every receiver that had room
// has the message. A message may have any size ([Limiter]), and the memory tells if a topic has no
// subscriber ([Prober]).
//
// A call whose ctx has already ended does nothing and returns an error; so does Open.
type Memory struct {
	mu          sync.RWMutex            // guards what follows, and memoryLink.topics
	links       map[Topic][]*memoryLink // the subscribers of each topic; what stands in a slice stays, so that it can be read without mu
	peak        int                     // of links; see shrink.Map
	open        map[*memoryLink]struct{}
	interrupted int // how often Interrupt was called and not undone
}

// errInterrupted is the Reason of a link that is Degraded.
var errInterrupted = errors.New("memory: interrupted")

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
		changed: make(chan struct{}),
	}
	l.filled.L = &l.mu
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = make(map[*memoryLink]struct{})
	}
	m.open[l] = struct{}{}
	if l.down = m.interrupted > 0; !l.down {
		l.connections = 1
	}
	go l.deliver()
	return l, nil
}

// Interrupt takes away the broker, as a crash takes away a real one, until restore is called. It is
// for tests, and may be called at any time.
//
// All links become Degraded with a Reason, and new links begin so. Publish returns an error that
// wraps [ErrUnavailable], also where it waits for a receiver. Queued messages are lost. Subscribe
// and Unsubscribe still take effect. After restore the links are Connected, and receive what is
// published from then on. Further calls of restore do nothing. After several calls of Interrupt,
// the broker is back when each has been undone.
func (m *Memory) Interrupt() (restore func()) {
	m.turn(+1)
	return sync.OnceFunc(func() { m.turn(-1) })
}

// turn adds to the number of interruptions and takes all links down or up if that makes a
// difference.
func (m *Memory) turn(by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.interrupted > 0
	m.interrupted += by
	if down := m.interrupted > 0; down != before {
		for l := range m.open {
			l.turn(down)
		}
	}
}

// subscribers returns the links that a message on topic goes to. The second list is not empty for a
// private topic alone: it holds the links of the topic's node, some of which may stand in the first
// list too. Neither may be modified.
func (m *Memory) subscribers(topic Topic) (links, node []*memoryLink, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.interrupted > 0 {
		return nil, nil, ErrUnavailable
	}
	links = m.links[topic]
	if topic.Kind == Private {
		node = m.links[Topic{Kind: Node, Node: topic.Node}]
	}
	return links, node, nil
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

// remove ends l's subscription of topic. m.mu must be held.
func (m *Memory) remove(l *memoryLink, topic Topic) {
	if _, ok := l.topics[topic]; !ok {
		return
	}
	delete(l.topics, topic)
	l.topics = shrink.Map(l.topics, &l.peak)
	old := m.links[topic]
	if len(old) == 1 {
		delete(m.links, topic)
		m.links = shrink.Map(m.links, &m.peak)
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
	peak   int                // of topics, likewise; see shrink.Map

	mu      sync.Mutex // guards what follows
	filled  sync.Cond  // signalled when queue is no longer empty, and by Close
	queue   [][]byte
	bytes   int           // the sum of the lengths in queue
	space   chan struct{} // closed when queue has been taken, and by Close; nil if no publisher waits for that
	down    bool          // the memory is interrupted; changed under its mu as well
	changed chan struct{} // closed at the next change of state

	connections uint64 // how many times it has become Connected
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
	links, node, err := l.memory.subscribers(topic)
	if err != nil {
		return fmt.Errorf("memory: publish %s: %w", topic, err)
	}
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

// send puts a copy of msg into the queue of to. It waits for room until ctx ends, either link
// closes or the memory is interrupted; a receiver that has closed is no error.
func (l *memoryLink) send(ctx context.Context, to *memoryLink, msg []byte) error {
	owned := make([]byte, len(msg))
	copy(owned, msg)
	for {
		space, err := to.put(owned)
		if space == nil {
			return err
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

// put queues msg, or drops it if l is closed or, which is an error, down; where the queue is full
// it returns a channel that is closed when it is worth another try.
func (l *memoryLink) put(msg []byte) (space <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed():
		return nil, nil
	case l.down:
		return nil, ErrUnavailable
	}
	if n := len(l.queue); n > 0 && (n >= memoryQueueMessages || l.bytes+len(msg) > memoryQueueBytes) {
		if l.space == nil {
			l.space = make(chan struct{})
		}
		return l.space, nil
	}
	l.queue = append(l.queue, msg)
	l.bytes += len(msg)
	l.filled.Signal()
	return nil, nil
}

// turn takes the link down or up. memory.mu must be held.
func (l *memoryLink) turn(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down = down; !down {
		l.connections++
	}
	clear(l.queue)
	l.queue, l.bytes = l.queue[:0], 0
	l.wakePublishers()
	l.wakeWatchers()
}

// wakeWatchers tells of a change of state. l.mu must be held.
func (l *memoryLink) wakeWatchers() {
	close(l.changed)
	l.changed = make(chan struct{})
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

// take waits until something is queued and returns the queue, or nil if the link closes. spare
// becomes the next queue's memory.
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
		l.memory.remove(l, topic)
	}
	return nil
}

func (l *memoryLink) State() (State, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, changed := State{Status: Connected, Connections: l.connections}, l.changed
	switch {
	case l.closed():
		state.Status, changed = Closed, nil
	case l.down:
		state.Status, state.Reason = Degraded, errInterrupted
	}
	return state, changed
}

// Probe implements [Prober]. back is lost where the link's own queue is full.
func (l *memoryLink) Probe(ctx context.Context, topic Topic, back []byte) error {
	if err := l.usable(ctx); err != nil {
		return fmt.Errorf("memory: probe %s: %w", topic, err)
	}
	links, node, err := l.memory.subscribers(topic)
	if err == nil && !slices.ContainsFunc(slices.Concat(links, node), func(other *memoryLink) bool { return other != l }) {
		_, err = l.put(slices.Clone(back))
	}
	if err != nil {
		return fmt.Errorf("memory: probe %s: %w", topic, err)
	}
	return nil
}

// MaxMessage implements [Limiter].
func (l *memoryLink) MaxMessage() int { return 0 }

func (l *memoryLink) Close() error {
	l.close.Do(func() {
		l.mu.Lock()
		close(l.closing)
		l.queue = nil
		l.filled.Signal()
		l.wakePublishers()
		l.wakeWatchers()
		l.mu.Unlock()

		l.memory.mu.Lock()
		delete(l.memory.open, l)
		for topic := range l.topics {
			l.memory.remove(l, topic)
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

// usable returns the error of a call that cannot be made, because the link is closed or ctx has
// ended.
func (l *memoryLink) usable(ctx context.Context) error {
	if l.closed() {
		return ErrClosed
	}
	return ctx.Err()
}
