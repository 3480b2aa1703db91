// Package sockets acts on sockets on any node of a cluster: a [Broadcast] selects them, emits to
// them, fetches, moves and disconnects them. A [RemoteSocket] is one socket as it was fetched.
// Servers (package wsserver) and emitters (package emitter) make them.
package sockets

import (
	"context"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// A Namespace acts on the sockets of a namespace, on all nodes. Its methods may be called
// concurrently.
type Namespace struct {
	name       string
	rooms      *cluster.Rooms
	codec      packet.Codec
	limits     *packet.Limits // of what is emitted
	ackTimeout time.Duration
	ready      func(context.Context) error // NamespaceConfig.Ready
	unusable   error                       // why nothing can be done
	tracer     Tracer                      // nil for none
	node       string                      // for tracer
}

// A NamespaceConfig configures a [Namespace]. Its zero value works. It is for servers and emitters.
type NamespaceConfig struct {
	Codec      packet.Codec                // nil means packet.JSON
	Limits     *packet.Limits              // of what is emitted; nil means the defaults
	AckTimeout time.Duration               // how long EmitWithAck waits without a deadline; zero means cluster.CallTimeout
	Ready      func(context.Context) error // waits until the nodes to ask are known; nil: need not wait
	Unusable   error                       // the error of all methods; nil if the namespace works
	Tracer     Tracer                      // of what is sent; nil: no traces
	Node       string                      // this node's id, for Tracer
}

// NewNamespace returns a namespace over rooms, whose Hub stays the caller's. Servers and emitters
// call it.
func NewNamespace(name string, rooms *cluster.Rooms, cfg NamespaceConfig) *Namespace {
	if cfg.Codec == nil {
		cfg.Codec = packet.JSON{}
	}
	if cfg.AckTimeout <= 0 {
		cfg.AckTimeout = cluster.CallTimeout
	}
	return &Namespace{
		name: name, rooms: rooms, codec: cfg.Codec, limits: cfg.Limits, ackTimeout: cfg.AckTimeout, ready: cfg.Ready,
		unusable: cfg.Unusable, tracer: cfg.Tracer, node: cfg.Node,
	}
}

// usable says why nothing can be done with ns, which may be nil: that of a zero Broadcast.
func (ns *Namespace) usable() error {
	if ns == nil {
		return ErrNoNamespace
	}
	if ns.unusable != nil {
		return ns.unusable
	}
	return ns.rooms.Closed()
}

// begin begins a call that asks other nodes. It gives ctx a deadline if it has none, and waits
// until the nodes to ask are known. If ctx ends first, the error is a PartialError.
func (ns *Namespace) begin(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, error) {
	cancel := func() {}
	if err := ns.usable(); err != nil {
		return ctx, cancel, err
	}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	if ns.ready != nil {
		if err := ns.ready(ctx); err != nil {
			return ctx, cancel, &cluster.PartialError{Err: err}
		}
	}
	return ctx, cancel, nil
}

// Name returns the namespace's name, "/" for the default one.
func (ns *Namespace) Name() string { return ns.name }

// All returns the broadcast to all sockets of the namespace.
func (ns *Namespace) All() Broadcast { return Broadcast{ns: ns} }

// To returns the broadcast to the sockets in any of rooms: see [Broadcast.To].
func (ns *Namespace) To(rooms ...string) Broadcast { return ns.All().To(rooms...) }

// In is the same as To.
func (ns *Namespace) In(rooms ...string) Broadcast { return ns.To(rooms...) }

// Except returns the broadcast to all sockets except those in any of rooms.
func (ns *Namespace) Except(rooms ...string) Broadcast { return ns.All().Except(rooms...) }

// Emit sends an event to all sockets of the namespace: see [Broadcast.Emit].
func (ns *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return ns.All().Emit(ctx, event, args...)
}

// AllRooms returns the names of the rooms that have a socket on any node, each once, in no order,
// without the sockets' own rooms: a room with the name of a socket's id is that socket's own, even
// if others have joined it. AllRooms waits as [Broadcast.FetchSockets] does. With an error come the
// rooms of the nodes that have answered.
func (ns *Namespace) AllRooms(ctx context.Context) (rooms []string, err error) {
	ctx, sp := ns.begins(ctx, Sending{Op: "list rooms", Waits: true})
	defer func() { sp.over(err) }()
	ctx, cancel, err := ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return nil, wrap("list rooms", err)
	}
	rooms, err = ns.rooms.AllRooms(ctx)
	return rooms, wrap("list rooms", err)
}
