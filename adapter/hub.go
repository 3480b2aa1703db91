package adapter

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// DefaultQueueBytes bounds what a Hub holds for a broker that is slow or out of reach.
const DefaultQueueBytes = 32 << 20

// A HubConfig is what a Hub is made of. Its zero value is one node.
type HubConfig struct {
	// Adapter joins the node to others. nil is one node: no link, no goroutine, nothing encoded for the wire.
	Adapter Adapter

	// QueueBytes bounds the broadcasts that wait for the broker, in bytes. Zero means DefaultQueueBytes.
	QueueBytes int

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// A Hub is what a server holds: the rooms of its namespaces, and its part of the cluster. Its methods may be called concurrently.
//
// Hub runs the protocol between the nodes (package mesh) on a Link: every call of the link comes from one goroutine, behind a queue
// with a bound, so that nothing but that goroutine ever waits for the broker.
type Hub struct {
	cfg  HubConfig
	node string

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // run and its helpers

	linked    chan struct{} // closed when the adapter is open
	ready     chan struct{} // closed when the node has met the cluster, or cannot
	readyOnce sync.Once

	opened time.Time // the mesh's time 0
	writer *writer
	wake   chan struct{}

	meshMu  sync.Mutex // guards the machine, and the order in which its effects reach the writer. Taken inside Rooms.mu.
	machine *mesh.Machine[Topic]
	next    time.Duration // when the ticker will run
	state   State
	openErr error // why the adapter could not be opened, when it was tried last
	counts  hubCounts

	elided atomic.Uint64 // room events

	roomsMu sync.Mutex // guards rooms
	rooms   map[string]*Rooms
}

type hubCounts struct{ malformed, refused uint64 }

// NewHub returns a Hub, which begins to join the cluster if it has an adapter. Close it in the end.
func NewHub(cfg HubConfig) *Hub {
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = DefaultQueueBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	h := &Hub{
		cfg:    cfg,
		node:   randomID(),
		linked: make(chan struct{}),
		ready:  make(chan struct{}),
		opened: time.Now(),
		wake:   make(chan struct{}, 1),
		rooms:  make(map[string]*Rooms),
		state:  State{Status: Connected},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if cfg.Adapter == nil {
		h.becomeReady(nil)
		return h
	}
	own := nodeHash(h.node)
	h.machine = mesh.New(mesh.Config[Topic]{
		Node:    h.node,
		Hash:    Topic.hash,
		Own:     func(t Topic) bool { return t.Node == h.node },
		Private: func(hash uint64) bool { return uint32(hash>>32) == own },
	})
	h.next = h.machine.Next()
	h.state = State{Status: Degraded, Reason: errors.New("adapter: not open yet")}
	h.writer = newWriter(h.node, cfg.QueueBytes, cfg.Logger)
	h.tasks.Go(h.run)
	h.tasks.Go(h.tick)
	return h
}

// randomID returns 60 random bits as characters that are safe in every broker's names.
func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])[:nodeLen]
}

// Node is this node's id, made by NewHub.
func (h *Hub) Node() string { return h.node }

// NewID returns an id for a socket of this node, which is the name of the socket's own room on every node.
func (h *Hub) NewID() string { return h.node + "." + randomID() }

// Ready waits until the node has met the cluster: nil means that it is connected and that every node that it has heard of has answered,
// or had time to. An error says why the adapter cannot be opened, or wraps ctx's.
func (h *Hub) Ready(ctx context.Context) error {
	select {
	case <-h.ready:
		h.meshMu.Lock()
		defer h.meshMu.Unlock()
		return h.openErr
	case <-h.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		if reason := h.State().Reason; reason != nil {
			return fmt.Errorf("adapter: not connected to the cluster (%w): %w", reason, ctx.Err())
		}
		return fmt.Errorf("adapter: nobody in the cluster has answered yet: %w", ctx.Err())
	}
}

// becomeReady lets Ready return err. h.meshMu must be held once the Hub is shared.
func (h *Hub) becomeReady(err error) {
	h.openErr = err
	h.readyOnce.Do(func() { close(h.ready) })
}

// State is that of the link. Without an adapter it is Connected.
func (h *Hub) State() State {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.state
}

// Nodes are the ids of the other nodes that are known and believed to be alive.
func (h *Hub) Nodes() []string {
	if h.machine == nil {
		return nil
	}
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.machine.Members()
}

// Close leaves the cluster, says so to the other nodes, and waits for everything that the Hub has started. What waits in the queue is
// sent first, until ctx ends or unless the broker is out of reach; an error says that some of it was not. Rooms go on to work on this node.
func (h *Hub) Close(ctx context.Context) (err error) {
	if h.machine != nil && h.ctx.Err() == nil {
		h.meshMu.Lock()
		h.apply(h.machine.Close(h.age()))
		h.meshMu.Unlock()
		select {
		case <-h.linked:
			err = h.writer.close(ctx)
		default: // there is nobody to send to
			h.cancel()
			err = h.writer.close(h.ctx)
		}
	}
	h.cancel()
	h.tasks.Wait()
	return err
}

// age is the time on the machine's clock.
func (h *Hub) age() time.Duration { return time.Since(h.opened) }

// run owns the link: it opens it, watches its state, and closes it in the end.
func (h *Hub) run() {
	link := h.open()
	if link == nil {
		return
	}
	h.writer.put(job{subscribe: []Topic{{Kind: Cluster}, {Kind: Node, Node: h.node}}}) // before the hello, which LinkUp asks for
	close(h.linked)
	var tasks sync.WaitGroup
	tasks.Go(func() { h.writer.run(h.ctx, link) })
	var last State
	for h.ctx.Err() == nil {
		state, changed := link.State()
		h.meshMu.Lock()
		h.state = state
		// The same state once more is one that was lost and came back before anybody looked.
		if last.Status == Connected && (state.Status != Connected || fmt.Sprint(state.Reason) == fmt.Sprint(last.Reason)) {
			h.apply(h.machine.LinkDown(h.age(), h.writer.hold()))
			last.Status = Degraded
		}
		if last.Status != Connected && state.Status == Connected {
			h.apply(h.machine.LinkUp(h.age()))
		}
		last = state
		h.meshMu.Unlock()
		if state.Reason != nil {
			h.cfg.Logger.Warn("belfry: adapter "+state.Status.String(), "node", h.node, "error", state.Reason)
		}
		select {
		case <-changed:
		case <-h.ctx.Done():
		}
	}
	if err := link.Close(); err != nil {
		h.cfg.Logger.Warn("belfry: close the adapter", "node", h.node, "error", err)
	}
	tasks.Wait()
}

// open opens the adapter, again and again if it must; nil if the Hub is closed first.
func (h *Hub) open() Link {
	pause := time.Second
	for {
		link, err := h.cfg.Adapter.Open(h.ctx, h.receive)
		if err == nil {
			return link
		}
		if h.ctx.Err() != nil {
			return nil
		}
		err = fmt.Errorf("adapter: open: %w", err)
		h.cfg.Logger.Error("belfry: the node is alone", "node", h.node, "error", err, "retry", pause)
		h.meshMu.Lock()
		h.state.Reason = err
		h.becomeReady(err)
		h.meshMu.Unlock()
		select {
		case <-time.After(pause):
		case <-h.ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// tick gives the machine its time.
func (h *Hub) tick() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			h.meshMu.Lock()
			h.apply(h.machine.Tick(h.age()))
			h.meshMu.Unlock()
		case <-h.wake:
		case <-h.ctx.Done():
			return
		}
		h.meshMu.Lock()
		h.next = h.machine.Next()
		timer.Reset(h.next - h.age())
		h.meshMu.Unlock()
	}
}

// receive takes a message from the link, from one goroutine at a time.
func (h *Hub) receive(msg []byte) {
	sender, broadcast, message, err := envelope.Decode(msg)
	if err == nil && !validNode(sender) {
		err = envelope.ErrMalformed
	}
	h.meshMu.Lock()
	if err != nil {
		h.counts.malformed++
		first := h.counts.malformed == 1
		h.meshMu.Unlock()
		if first {
			h.cfg.Logger.Warn("belfry: a message that is not understood was ignored; further ones are only counted", "node", h.node, "error", err)
		}
		return
	}
	var deliver []*envelope.Broadcast
	if broadcast != nil {
		deliver = h.apply(h.machine.Broadcast(h.age(), sender, broadcast.Stamp, topics(&broadcast.Body), broadcast))
	} else {
		deliver = h.apply(h.machine.Receive(h.age(), sender, message))
	}
	h.meshMu.Unlock()
	for _, b := range deliver {
		if r := h.lookup(b.Namespace); r != nil {
			r.deliver(&b.Body)
		}
	}
}

// apply carries out the effects of a step, or hands them to the writer. It returns the broadcasts to deliver, which only a step of
// receive has. h.meshMu must be held.
func (h *Hub) apply(effects []mesh.Effect[Topic]) (deliver []*envelope.Broadcast) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case mesh.Subscribe[Topic]:
			h.writer.put(job{subscribe: e.Topics})
		case mesh.Unsubscribe[Topic]:
			h.writer.put(job{unsubscribe: e.Topics})
		case mesh.Send[Topic]:
			to := Topic{Kind: Cluster}
			if e.To != "" {
				to = Topic{Kind: Node, Node: e.To}
			}
			h.writer.put(job{publish: []Topic{to}, body: envelope.AppendMessage(nil, h.node, e.Message)})
		case mesh.Deliver[Topic]:
			deliver = append(deliver, e.Broadcast.(*envelope.Broadcast))
		case mesh.Joined[Topic]:
			e.Wait.(chan []string) <- e.Missing // never blocks: it has room for one, and gets one
		case mesh.Release[Topic]:
			h.writer.release()
		case mesh.Ready[Topic]:
			h.becomeReady(nil)
		}
	}
	if h.machine.Next() < h.next {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	return deliver
}

// publish numbers a broadcast and hands it to the writer.
func (h *Hub) publish(b *envelope.Body) error {
	body := envelope.AppendBody(nil, b)
	to := topics(b)
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	if err := h.writer.admit(len(body)); err != nil {
		if errors.Is(err, ErrOverflow) {
			h.counts.refused++
		}
		return err
	}
	stamp := h.machine.Emit(h.age(), to)
	h.writer.put(job{publish: to, stamp: stamp, body: body})
	return nil
}

// Rooms returns the rooms of a namespace, of which there is one set in a Hub: frame counts for the first call.
func (h *Hub) Rooms(namespace string, frame Framer) *Rooms {
	h.roomsMu.Lock()
	defer h.roomsMu.Unlock()
	r := h.rooms[namespace]
	if r == nil {
		r = &Rooms{hub: h, namespace: namespace, frame: frame}
		h.rooms[namespace] = r
	}
	return r
}

func (h *Hub) lookup(namespace string) *Rooms {
	h.roomsMu.Lock()
	defer h.roomsMu.Unlock()
	return h.rooms[namespace]
}
