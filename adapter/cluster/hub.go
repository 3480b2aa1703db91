// Package cluster is a server's part of a cluster. A [Hub] is its node; [Rooms] are the rooms of a
// namespace, with the [Member]s on this node. Package cluster carries broadcasts to the members of
// rooms on all nodes, and asks other nodes about theirs. It never looks into a payload.
//
// Programs use it through package wsserver or emitter. They meet its errors, such as [PartialError]
// and [ErrOverflow], and its [Stats].
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// The defaults of a HubConfig.
const (
	DefaultQueueBytes  = 32 << 20
	DefaultRepairBytes = 64 << 20

	DefaultNameSuspects = mesh.DefaultNameSuspects // 10 s
)

// A HubConfig configures a [Hub]. Its zero value is a single node.
type HubConfig struct {
	// Adapter joins the node to others. nil means a single node: no link, no goroutine, nothing
	// encoded for the wire.
	Adapter adapter.Adapter

	// Client is true for a node without members, such as an emitter's. It does not count as a
	// server, and is not asked anything.
	Client bool

	// Name is what operators call the node, besides its id: in logs, in errors, in the Nodes of
	// other nodes, and in the broker's list of connections. It is printable UTF-8 of at most
	// [MaxName] bytes; several nodes may have the same. Empty means the name of the host, which is
	// the pod's on Kubernetes. If [CheckName] refuses it, the Hub joins no cluster, and Ready
	// returns the error.
	Name string

	// QueueBytes bounds the broadcasts that wait for the broker, in bytes. Zero means
	// DefaultQueueBytes.
	QueueBytes int

	// RepairBytes bounds the broadcasts that this node remembers, for at most 30 s, to send them
	// again to nodes that have missed them. Zero means DefaultRepairBytes.
	RepairBytes int

	// NameSuspects is how long calls name a silent node in a [PartialError], before they count
	// without it. It begins with the last message of the node, or, if the broker can tell
	// ([adapter.Prober]), when the broker last knew of it. It should be longer than a node takes to
	// reconnect. Zero means DefaultNameSuspects; more than 30 s means 30 s, when a node is given
	// up.
	NameSuspects time.Duration

	// OnLoss is called for broadcasts of other nodes that were due here and will not come: the
	// broker lost them, and the node that sent them no longer remembers them, or has gone. It is
	// called from one goroutine at a time, and must not block. nil means that losses are only
	// counted in Stats, and the first is logged.
	OnLoss func(Loss)

	// OnDelivery is called after a broadcast with a Trace was delivered to members on this node, on
	// the goroutine that delivers. It must not block. nil means that nobody is told.
	OnDelivery func(Delivery)

	// Recovery has the node remember what its members were to get, for those whose client was away.
	// nil means that it remembers nothing.
	Recovery *RecoveryConfig

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// A Hub is a node: the rooms of its namespaces, and its part of the cluster. Its methods may be
// called concurrently.
//
// A Hub runs the protocol between the nodes (package mesh) on a Link. All calls of the link come
// from one goroutine, behind a bounded queue, so nothing else ever waits for the broker.
type Hub struct {
	cfg  HubConfig
	node string
	log  *slog.Logger // names the node in each line

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // run and tick

	linked    chan struct{} // closed when the adapter is open
	ready     chan struct{} // closed when the node has met the cluster, or cannot
	readyOnce sync.Once

	opened time.Time // the mesh's time 0
	writer *writer
	wake   chan struct{} // has room for one: tick is to look for what there is to do

	receiving sync.Mutex // held while what other nodes have sent is dealt with, so that it is in its order. Taken before all others.
	assembly  assembly   // used by receive alone

	meshMu  sync.Mutex // guards the machine, and the order in which its effects reach the writer. Taken inside Rooms.mu.
	machine *machine
	next    time.Duration // when the ticker will run
	state   adapter.State
	hasMet  bool          // the node has met the cluster at least once
	openErr error         // why the adapter could not be opened, when it was tried last
	meeting chan struct{} // closed when the opening of the link ends; nil outside of it
	counts  hubCounts
	closing bool          // Close was called: nothing is published any more
	left    chan struct{} // closed when nobody needs this node any more
	nodes   []Node        // see Nodes; a list that was handed out is not changed

	nodesChanged chan struct{} // closed when nodes is another list

	elided atomic.Uint64 // room events
	news   news          // of the other nodes, to be logged

	roomsMu   sync.Mutex // guards what follows
	rooms     map[string]*Rooms
	peakRooms int // see shrink.Map

	confirms *confirmer // what this node is subscribed to
	joins    joins      // that wait for the cluster

	history *eventLog // what members were to get; nil without recovery

	ask      *ask.Exchange // what this node asks others, and they ask it
	handlers handlers      // what the program answers them
	events   serverEvents  // that wait for their handler
}

type hubCounts struct{ malformed, refused, lost uint64 }

// NewHub returns a Hub. If it has an adapter, it begins to join the cluster. Close it in the end.
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
		state:  adapter.State{Status: adapter.Connected, Connections: 1},
	}
	unfit := CheckName(cfg.Name)
	if unfit != nil {
		h.cfg.Adapter, h.cfg.Name = nil, ""
	}
	if h.cfg.Name == "" {
		h.cfg.Name = hostName(h.node)
	}
	h.log = cfg.Logger.With("node", h.node, "name", h.cfg.Name)
	h.confirms = newConfirmer()
	h.events.queues = make(map[string]*eventQueue)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if cfg.Recovery != nil {
		h.history = newEventLog(h.opened, *cfg.Recovery)
	}
	h.ask = h.newExchange()
	if h.cfg.Adapter == nil {
		h.refreshNodes()
		h.becomeReady(unfit)
		return h
	}
	own, all := nodeHash(h.node), hash(adapter.Topic{Kind: adapter.Cluster})
	h.machine = mesh.New[adapter.Topic, []byte, *envelope.Broadcast, chan []string](mesh.Config[adapter.Topic]{
		Node:   h.node,
		Name:   h.cfg.Name,
		Client: cfg.Client,
		Hash:   hash,
		Own:    func(t adapter.Topic) bool { return t.Kind == adapter.Cluster || t.Node == h.node },
		Mine:   func(h uint64) bool { return h == all || uint32(h>>32) == own },
		Limits: mesh.Limits{RingBytes: cfg.RepairBytes},

		NameSuspects: cfg.NameSuspects,
	})
	h.next = h.machine.Next()
	h.refreshNodes()
	h.state = adapter.State{Status: adapter.Degraded, Reason: errors.New("cluster: the adapter is not open yet")}
	h.writer = newWriter(h.node, cfg.QueueBytes, h.log)
	h.writer.subscribed = h.confirms.subscribed
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

// Node returns this node's id, which NewHub makes.
func (h *Hub) Node() string { return h.node }

// NewID returns an id for a socket of this node. On every node it is also the name of the socket's
// own room.
func (h *Hub) NewID() string { return h.node + "." + randomID() }

// Ready waits until the node has met the cluster. nil means that it is connected, and that every
// node that it has heard of has answered or had time to. An error says why the adapter cannot be
// opened, wraps [adapter.ErrRefused] and says what the broker denies the node, or wraps ctx's
// error.
func (h *Hub) Ready(ctx context.Context) error {
	select {
	case <-h.ready:
	case <-h.ctx.Done():
	case <-ctx.Done():
	}
	// What counts is not which of them select has found first.
	if h.ctx.Err() != nil {
		return adapter.ErrClosed
	}
	select {
	case <-h.ready:
		h.meshMu.Lock()
		defer h.meshMu.Unlock()
		return h.openErr
	default:
		if reason := h.State().Reason; reason != nil {
			return fmt.Errorf("cluster: not connected to the cluster (%w): %w", reason, ctx.Err())
		}
		return fmt.Errorf("cluster: no node of the cluster has answered yet: %w", ctx.Err())
	}
}

// Met reports whether the node has ever met its cluster, as Ready waits for; if not, err says what
// it waits for, or what is in its way. It does not wait.
func (h *Hub) Met() (met bool, err error) {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	switch {
	case h.hasMet:
		return true, nil
	case h.openErr != nil:
		return false, h.openErr
	case h.state.Reason != nil:
		return false, fmt.Errorf("cluster: not connected to the cluster: %w", h.state.Reason)
	}
	return false, errors.New("cluster: no node of the cluster has answered yet")
}

// becomeReady lets Ready return err. h.meshMu must be held once the Hub is shared.
func (h *Hub) becomeReady(err error) {
	h.openErr = err
	h.hasMet = h.hasMet || err == nil
	h.readyOnce.Do(func() { close(h.ready) })
}

// State returns the state of the link. Without an adapter it is always Connected.
func (h *Hub) State() adapter.State {
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.state
}

// Close leaves the cluster, tells the other nodes so, and waits for everything that the Hub has
// started. It first sends what is queued, and sends again what others have missed, until ctx ends,
// for two seconds at the most, unless the broker is out of reach. Rooms continue to work on this
// node.
//
// An error says what was not sent. A *PartialError names the nodes that have not confirmed that
// they have everything from this node. Silent nodes are not waited for, and are named until they
// were silent for a minute. Calls of the program for other nodes (handlers, listeners, Describe)
// are waited for until ctx ends; an error says that some have not returned.
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
			case <-h.ctx.Done(): // another Close was less patient
			}
			err = h.writer.close(ctx)
		default: // there is nobody to send to
			h.cancel()
			err = h.writer.close(h.ctx)
		}
	}
	cause := context.Cause(ctx)
	h.cancel()
	h.tasks.Wait() // nothing comes from other nodes any more
	return errors.Join(err, h.unconfirmed(cause), h.ask.Close(ctx))
}

// unconfirmed names the nodes that have not said that they have everything of this node, which has
// left. cause is why it waited no longer, beside their silence.
func (h *Hub) unconfirmed(cause error) error {
	if h.machine == nil {
		return nil
	}
	h.meshMu.Lock()
	nodes := h.machine.Unconfirmed()
	h.meshMu.Unlock()
	if nodes == nil {
		return nil
	}
	errs := make([]error, 0, len(nodes)+1)
	if cause != nil {
		errs = append(errs, cause)
	}
	slices.Sort(nodes)
	names := h.names(nodes...)
	for i, id := range nodes {
		errs = append(errs, &NodeError{id, names[i], errUnconfirmed})
	}
	return &PartialError{Nodes: nodes, Names: names, Err: errors.Join(errs...)}
}

// errUnconfirmed is why Close names a node.
var errUnconfirmed = errors.New("cluster: the node has not confirmed that it has everything")

// maxRefusals is how many bytes of answers without content, as refusals are, may wait beyond the
// bound of the writer's queue: who waits should know.
const maxRefusals = 1 << 20

// publish numbers a broadcast and hands it to the writer. It returns the number.
func (h *Hub) publish(b *envelope.Body) (seq uint64, err error) {
	body := envelope.AppendBody(nil, b)
	to := topics(b)
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	return h.emit(b, to, body)
}

// emit is publish for a body that is encoded. h.meshMu must be held.
func (h *Hub) emit(b *envelope.Body, to []adapter.Topic, body []byte) (seq uint64, err error) {
	if h.closing {
		return 0, adapter.ErrClosed
	}
	travels := published(b, to)
	if len(body)+maxStamp*(len(to)-1) > maxMessage {
		return 0, ErrTooLarge
	}
	over := 0
	if b.Kind == envelope.KindAnswer && len(b.Payload) == 0 {
		over = maxRefusals
	}
	if err := h.refusal(); err != nil {
		h.counts.refused++
		return 0, err
	}
	if err := h.writer.admit(len(body), over); err != nil {
		if errors.Is(err, ErrOverflow) && b.Kind != envelope.KindAnswer && b.Kind != envelope.KindCancel {
			h.counts.refused++
		}
		return 0, err
	}
	stamp := h.machine.Emit(h.age(), to, len(travels), body, len(body))
	h.writer.put(job{publish: travels, stamp: stamp, body: body})
	return stamp.Sequence, nil
}

// Rooms returns the rooms of a namespace, always the same. The frame of the first call counts.
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
