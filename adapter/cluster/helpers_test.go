package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// wire is an adapter that joins the nodes of a Memory and can fail in every way that the contract allows, and in some that it does not.
// Its functions are set before it is opened; nil means that nothing special happens.
type wire struct {
	Memory *adapter.Memory

	opening    func(ctx context.Context) error                            // instead of Open, if it returns an error
	publishing func(ctx context.Context, topic adapter.Topic) error       // instead of Publish, if it returns an error
	receiving  func(msg []byte, broadcast bool, recv func([]byte))        // instead of recv
	over       func(topic adapter.Topic, msg []byte, deliver func(*wire)) // more than was asked, after a Publish

	mu      sync.Mutex // guards what follows
	recv    func([]byte)
	topics  map[adapter.Topic]bool // that the link is subscribed to
	state   adapter.State
	changed chan struct{}
	got     []adapter.Topic // where broadcasts were published that came here, by their names
	control int             // other messages that came here
	sent    map[adapter.Kind]int
}

// decode reads a message that is no chunk.
func decode(msg []byte) (from string, b *envelope.Broadcast, m mesh.Message, err error) {
	d, err := envelope.Decode(msg)
	if err != nil {
		return "", nil, nil, err
	}
	return d.From, d.Broadcast, d.Mesh, nil
}

func (w *wire) Open(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
	if w.opening != nil {
		if err := w.opening(ctx); err != nil {
			return nil, err
		}
	}
	handle := func(msg []byte) {
		_, b, _, err := decode(msg)
		w.mu.Lock()
		down := w.state.Status == adapter.Degraded
		if b != nil && !down {
			w.got = append(w.got, published(&b.Body, topics(&b.Body))...)
		} else if err == nil {
			w.control++
		}
		w.mu.Unlock()
		switch {
		case down:
		case w.receiving != nil:
			w.receiving(msg, b != nil, recv)
		default:
			recv(msg)
		}
	}
	link, err := w.Memory.Open(ctx, handle)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recv, w.sent, w.topics = recv, make(map[adapter.Kind]int), make(map[adapter.Topic]bool)
	if w.state.Status == 0 {
		w.state = adapter.State{Status: adapter.Connected, Connections: 1}
	}
	w.changed = make(chan struct{})
	return &wireLink{Link: link, wire: w}, nil
}

// set changes the state of the link, to one after the other before anybody looks, and counts its connections.
func (w *wire) set(states ...adapter.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range states {
		s.Connections = w.state.Connections
		if s.Status == adapter.Connected && w.state.Status != adapter.Connected {
			s.Connections++
		}
		w.state = s
	}
	if w.changed != nil {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

func (w *wire) received() []adapter.Topic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// subscriptions are those that every node has not.
func (w *wire) subscriptions() map[adapter.Topic]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	topics := make(map[adapter.Topic]bool)
	for topic := range w.topics {
		if topic.Kind != adapter.Cluster && topic.Kind != adapter.Node {
			topics[topic] = true
		}
	}
	return topics
}

type wireLink struct {
	adapter.Link
	wire *wire
}

func (l *wireLink) State() (adapter.State, <-chan struct{}) {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	return l.wire.state, l.wire.changed
}

func (l *wireLink) Subscribe(ctx context.Context, topics ...adapter.Topic) error {
	if err := l.Link.Subscribe(ctx, topics...); err != nil {
		return err
	}
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	for _, topic := range topics {
		l.wire.topics[topic] = true
	}
	return nil
}

func (l *wireLink) Unsubscribe(ctx context.Context, topics ...adapter.Topic) error {
	if err := l.Link.Unsubscribe(ctx, topics...); err != nil {
		return err
	}
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	for _, topic := range topics {
		delete(l.wire.topics, topic)
	}
	return nil
}

func (l *wireLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	l.wire.mu.Lock()
	status := l.wire.state.Status
	l.wire.mu.Unlock()
	if status == adapter.Degraded {
		return fmt.Errorf("wire: %w", adapter.ErrUnavailable)
	}
	if l.wire.publishing != nil {
		if err := l.wire.publishing(ctx, topic); err != nil {
			return err
		}
	}
	l.wire.mu.Lock()
	l.wire.sent[topic.Kind]++
	l.wire.mu.Unlock()
	if err := l.Link.Publish(ctx, topic, msg); err != nil {
		return err
	}
	if l.wire.over != nil {
		l.wire.over(topic, msg, func(to *wire) { to.recv(bytes.Clone(msg)) })
	}
	return nil
}

// member keeps what it gets.
type member struct {
	remove     func()                                                  // what Disconnect does
	asking     func(text string, answer func(payload []byte, ok bool)) // what DeliverWithAck does; nil keeps silent
	describing func() []byte                                           // nil says nothing
	refusing   bool                                                    // Deliver says that it has not taken what it gets

	mu     sync.Mutex // guards what follows
	got    []string
	forgot []string
}

func (m *member) note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, text)
}

func (m *member) Deliver(frame any) bool {
	m.note(frame.(string))
	return !m.refusing
}

func (m *member) DeliverWithAck(frame any, answer func(payload []byte, ok bool)) {
	m.note(frame.(string))
	if m.asking != nil {
		m.asking(frame.(string), answer)
	}
}

func (m *member) CancelAck(frame any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgot = append(m.forgot, frame.(string))
}

func (m *member) forgotten() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.forgot)
}

func (m *member) Describe() []byte {
	if m.describing != nil {
		return m.describing()
	}
	return nil
}

func (m *member) Disconnect(close bool) {
	m.note(fmt.Sprint("disconnect ", close))
	m.remove()
}

// take returns what has come since the last take.
func (m *member) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.got
	m.got = nil
	return got
}

// frame is what the tests' members take: the payload as a string.
func frame(payload []byte, volatile bool) (any, error) {
	if string(payload) == "unframeable" {
		return nil, errors.New("no frame for it")
	}
	if volatile {
		return "volatile " + string(payload), nil
	}
	return string(payload), nil
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// open returns a Hub on a, which may be nil. It is closed with the test.
func open(t *testing.T, a adapter.Adapter) *Hub {
	t.Helper()
	h := NewHub(HubConfig{Adapter: a, Logger: silent})
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

// newWires returns n wires to the nodes of one Memory.
func newWires(n int) (*adapter.Memory, []*wire) {
	memory, wires := new(adapter.Memory), make([]*wire, n)
	for i := range wires {
		wires[i] = &wire{Memory: memory}
	}
	return memory, wires
}

// cluster returns n Hubs that have met, each on a wire of its own.
func cluster(t *testing.T, n int) ([]*Hub, []*wire) {
	t.Helper()
	_, wires := newWires(n)
	return clusterOn(t, wires...), wires
}

func clusterOn(t *testing.T, wires ...*wire) []*Hub {
	t.Helper()
	hubs := make([]*Hub, len(wires))
	for i, w := range wires {
		hubs[i] = open(t, w)
		kit.OK(t, hubs[i].Ready(t.Context()), "node", i)
	}
	synctest.Wait()
	for i, h := range hubs {
		if got := len(h.Stats().Nodes); got != len(hubs)-1 {
			t.Fatalf("node %d knows %d others, want %d", i, got, len(hubs)-1)
		}
	}
	return hubs
}

// add puts a new member into the namespace "/" of h and into rooms.
func add(t *testing.T, h *Hub, rooms ...string) (id string, m *member) {
	t.Helper()
	id, m = h.NewID(), new(member)
	r := h.Rooms("/", frame)
	m.remove = func() { r.Remove(id) }
	kit.OK(t, r.Add(t.Context(), id, m))
	kit.OK(t, r.Join(t.Context(), id, rooms...))
	return id, m
}

// say broadcasts from the namespace "/" of h.
func say(t *testing.T, h *Hub, payload string, b Broadcast) {
	t.Helper()
	b.Payload = []byte(payload)
	kit.OK(t, h.Rooms("/", frame).Emit(b), "Broadcast", payload)
}

// got checks what m has been delivered since the last look, in order.
func got(t *testing.T, name string, m *member, want ...string) {
	t.Helper()
	synctest.Wait()
	kit.EqualSlices(t, m.take(), want, name)
}

// settle lets time pass until everything that was said has come, without a Beat.
func settle() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

// die has the node behind w say nothing any more, and hear nothing.
func (w *wire) die() { w.set(adapter.State{Status: adapter.Degraded, Reason: errors.New("dead")}) }

// idle checks that nothing is left of the calls of hubs.
func idle(t *testing.T, hubs ...*Hub) {
	t.Helper()
	synctest.Wait()
	for i, h := range hubs {
		s := h.ask.State()
		h.events.mu.Lock()
		events := len(h.events.queues)
		h.events.mu.Unlock()
		kit.Equal(t, s.Calls+s.Answers+s.Held+s.Running+events, 0, "calls left on node", i, s, events)
	}
}

// missing checks that err is a PartialError that names just these nodes, so many clients, and why.
func missing(t *testing.T, what string, err error, clients int, why error, nodes ...string) {
	t.Helper()
	slices.Sort(nodes)
	var p *PartialError
	if !errors.As(err, &p) || !slices.Equal(p.Nodes, nodes) || p.Clients != clients || (why == nil) != (p.Err == nil) || !errors.Is(err, why) && why != nil {
		t.Errorf("%s: %v; want a PartialError without nodes %v and %d clients, for %v", what, err, nodes, clients, why)
	}
}
