package adapter

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// The defaults of a HubConfig.
const (
	DefaultQueueBytes  = 32 << 20
	DefaultRepairBytes = 64 << 20
)

// A Loss is a broadcast that was due on this node and will not come.
type Loss struct {
	Node    string // which had sent it
	Unknown bool   // it may be any number of them, or none: nobody remembers what was sent
}

// A HubConfig is what a Hub is made of. Its zero value is one node.
type HubConfig struct {
	// Adapter joins the node to others. nil is one node: no link, no goroutine, nothing encoded for the wire.
	Adapter Adapter

	// Client says that the node has no members, and only speaks to those of others: it does not count as a server, and is asked nothing.
	Client bool

	// QueueBytes bounds the broadcasts that wait for the broker, in bytes. Zero means DefaultQueueBytes.
	QueueBytes int

	// RepairBytes bounds the broadcasts that this node remembers, for 30 s at the most, to send them again to nodes that have missed them.
	// Zero means DefaultRepairBytes.
	RepairBytes int

	// OnLoss is told of broadcasts of other nodes that were due here and will not come: the broker lost them, and the node that had
	// sent them does not remember them any more, or has gone. It is called from one goroutine at a time, and must not block. nil means
	// that nobody is told; Stats counts them, and the first is logged.
	OnLoss func(Loss)

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

	receiving sync.Mutex // held while what other nodes have sent is dealt with, so that it is in its order. Taken before all others.
	assembly  assembly   // used by receive alone

	meshMu  sync.Mutex // guards the machine, and the order in which its effects reach the writer. Taken inside Rooms.mu.
	machine *mesh.Machine[Topic]
	next    time.Duration // when the ticker will run
	state   State
	openErr error // why the adapter could not be opened, when it was tried last
	counts  hubCounts
	closing bool          // Close was called: nothing is published any more
	left    chan struct{} // closed when nobody needs this node any more

	elided atomic.Uint64 // room events

	roomsMu sync.Mutex // guards rooms
	rooms   map[string]*Rooms

	calls    calls    // what this node asks others
	answers  answers  // what others ask this node
	handlers handlers // what the program answers them
}

type hubCounts struct{ malformed, refused, lost uint64 }

// NewHub returns a Hub, which begins to join the cluster if it has an adapter. Close it in the end.
func NewHub(cfg HubConfig) *Hub {
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = DefaultQueueBytes
	}
	if cfg.RepairBytes <= 0 {
		cfg.RepairBytes = DefaultRepairBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	h := &Hub{
		cfg:    cfg,
		node:   randomID(),
		linked: make(chan struct{}),
		ready:  make(chan struct{}),
		left:   make(chan struct{}),
		opened: time.Now(),
		wake:   make(chan struct{}, 1),
		rooms:  make(map[string]*Rooms),
		state:  State{Status: Connected},
	}
	h.calls.pending = make(map[uint64]*call)
	h.answers.under = make(map[asker]*answer)
	h.answers.events = make(map[string]*eventQueue)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if cfg.Adapter == nil {
		h.becomeReady(nil)
		return h
	}
	own, all := nodeHash(h.node), Topic{Kind: Cluster}.hash()
	h.machine = mesh.New(mesh.Config[Topic]{
		Node:   h.node,
		Client: cfg.Client,
		Hash:   Topic.hash,
		Own:    func(t Topic) bool { return t.Kind == Cluster || t.Node == h.node },
		Mine:   func(hash uint64) bool { return hash == all || uint32(hash>>32) == own },
		Limits: mesh.Limits{RingBytes: cfg.RepairBytes},
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

// Nodes are the ids of the other nodes that are known and believed to be alive, those without members (HubConfig.Client) not among them.
func (h *Hub) Nodes() []string {
	if h.machine == nil {
		return nil
	}
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.machine.Servers()
}

// Close leaves the cluster, says so to the other nodes, and waits for everything that the Hub has started. What waits in the queue is
// sent first, and what others have missed of it is sent again, until ctx ends, for two seconds at the most, or unless the broker is out of
// reach; an error says that some of it was not sent. Rooms go on to work on this node.
func (h *Hub) Close(ctx context.Context) (err error) {
	if h.machine != nil && h.ctx.Err() == nil {
		h.meshMu.Lock()
		if !h.closing {
			h.closing = true
			h.apply(h.machine.Close(h.age()))
		}
		h.meshMu.Unlock()
		select {
		case <-h.linked:
			select {
			case <-h.left:
			case <-ctx.Done():
			}
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
			h.step(func() []mesh.Effect[Topic] { return h.machine.Tick(h.age()) })
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
	h.assembly.expire(h.age())
	m, err := read(msg)
	if err == nil && m.From == h.node {
		return // the link delivers more than was asked
	}
	if err == nil && m.Chunk != nil {
		if msg = h.assembly.add(h.age(), m.From, m.Chunk); msg == nil {
			return
		}
		from := m.From
		m, err = read(msg)
		if err == nil && (m.Chunk != nil || m.From != from) {
			err = envelope.ErrMalformed
		}
	}
	if err != nil {
		h.malformed(err)
		return
	}
	if m.To != "" && m.To != h.node {
		return // so does one that brings what is for another node
	}
	if nack, ok := m.Mesh.(*mesh.Nack); ok && len(nack.Ranges) > 0 && h.writer.crowded() {
		return // it is asked again
	}
	h.step(func() []mesh.Effect[Topic] {
		if b := m.Broadcast; b != nil {
			return h.machine.Broadcast(h.age(), m.From, mesh.Incoming[Topic]{
				Stamp:     b.Stamp,
				Topics:    topics(&b.Body),
				Size:      len(msg),
				Repaired:  b.Repaired,
				Changes:   b.Changes(),
				Broadcast: b,
			})
		}
		return h.machine.Receive(h.age(), m.From, m.Mesh)
	})
}

// read decodes a message. All nodes that it names are nodes by their form: their ids are parts of topics, which drivers rely on.
func read(msg []byte) (*envelope.Message, error) {
	m, err := envelope.Decode(msg)
	if err != nil {
		return nil, err
	}
	if ack, ok := m.Mesh.(*mesh.Ack); ok && slices.ContainsFunc(ack.Members, func(id string) bool { return !validNode(id) }) || !validNode(m.From) {
		return nil, envelope.ErrMalformed
	}
	return m, nil
}

func (h *Hub) malformed(err error) {
	h.meshMu.Lock()
	h.counts.malformed++
	first := h.counts.malformed == 1
	h.meshMu.Unlock()
	if first {
		h.cfg.Logger.Warn("belfry: a message that is not understood was ignored; further ones are only counted", "node", h.node, "error", err)
	}
}

// step takes a step of the machine and deals with what comes of it, in order: broadcasts are handed to the members, requests are served.
func (h *Hub) step(do func() []mesh.Effect[Topic]) {
	h.receiving.Lock()
	defer h.receiving.Unlock()
	h.meshMu.Lock()
	results := h.apply(do())
	h.meshMu.Unlock()
	for i := 0; i < len(results); i++ {
		switch e := results[i].(type) {
		case mesh.Lost[Topic]:
			h.lost(e)
		case mesh.Deliver[Topic]:
			b := e.Broadcast.(*envelope.Broadcast)
			h.deliver(b, e.Past)
			if b.Changes() { // what came behind it is judged by what this node receives now
				h.meshMu.Lock()
				results = append(results, h.apply(h.machine.Resume(h.age(), b.From))...)
				h.meshMu.Unlock()
			}
		}
	}
}

// deliver hands a broadcast to those whom it is for. Members of rooms whose topics are past do not get it.
func (h *Hub) deliver(b *envelope.Broadcast, past []bool) {
	if past != nil {
		b.Rooms = selecting(&b.Body, past)
	}
	switch b.Route {
	case envelope.ByCluster, envelope.ByNode:
		h.serve(b)
	default:
		if r := h.lookup(b.Namespace); r != nil {
			r.deliver(&b.Body)
		}
	}
}

// lost reports broadcasts that will not come.
func (h *Hub) lost(e mesh.Lost[Topic]) {
	h.meshMu.Lock()
	h.counts.lost++
	first := h.counts.lost == 1
	h.meshMu.Unlock()
	if first {
		h.cfg.Logger.Error("belfry: broadcasts were lost; further ones are only counted", "node", h.node, "of", e.Node,
			"after", e.After, "upto", e.Upto, "unknown", e.Unknown)
	}
	if h.cfg.OnLoss != nil {
		h.tell(Loss{Node: e.Node, Unknown: e.Unknown})
	}
}

// tell calls OnLoss, which is the program's: a panic is its own.
func (h *Hub) tell(l Loss) {
	defer func() {
		if p := recover(); p != nil {
			h.cfg.Logger.Error("belfry: OnLoss panicked", "node", h.node, "error", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	h.cfg.OnLoss(l)
}

// apply carries out the effects of a step, or hands them to the writer. It returns those that are left to step: Deliver and Lost.
// h.meshMu must be held.
func (h *Hub) apply(effects []mesh.Effect[Topic]) (results []mesh.Effect[Topic]) {
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
			h.writer.put(job{publish: []Topic{to}, body: envelope.AppendMessage(nil, h.node, e.To, e.Message)})
		case mesh.Resend[Topic]:
			body := envelope.AppendRepair(nil, h.node, e.To, e.Stamp, e.Broadcast.([]byte))
			h.writer.put(job{publish: []Topic{{Kind: Node, Node: e.To}}, body: body})
		case mesh.Deliver[Topic], mesh.Lost[Topic]:
			results = append(results, effect)
		case mesh.Joined[Topic]:
			e.Wait.(chan []string) <- e.Missing // never blocks: it has room for one, and gets one
		case mesh.Membership[Topic]:
			h.lookAround()
		case mesh.Release[Topic]:
			h.writer.release()
		case mesh.Ready[Topic]:
			h.becomeReady(nil)
		case mesh.Closed[Topic]:
			close(h.left)
		}
	}
	if h.machine.Next() < h.next {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	return results
}

// publish numbers a broadcast and hands it to the writer.
func (h *Hub) publish(b *envelope.Body) error {
	body := envelope.AppendBody(nil, b)
	to := topics(b)
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.emit(b, to, body)
}

// emit is publish for a body that is encoded. h.meshMu must be held.
func (h *Hub) emit(b *envelope.Body, to []Topic, body []byte) error {
	if h.closing {
		return ErrClosed
	}
	if err := h.writer.admit(len(body)); err != nil {
		if errors.Is(err, ErrOverflow) {
			h.counts.refused++
		}
		return err
	}
	stamp := h.machine.Emit(h.age(), to, body, len(body))
	h.writer.put(job{publish: published(b, to), stamp: stamp, body: body})
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
