// Package emitter does to the sockets of a cluster what a server can do, from a Go process without sockets: a cron job, a worker, the
// backend of a web site.
//
// An [Emitter] joins the cluster by the adapter of its servers, as a node that does not count as one. Whatever can be done to sockets is a
// method of the [sockets.Broadcast] that it makes, as a server does.
package emitter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// ErrNoAdapter is the error of everything that an Emitter without an adapter is asked for, by which it could reach anybody.
var ErrNoAdapter = errors.New("emitter: no adapter: set Config.Adapter to the one that the servers have")

// A Config is what an Emitter is made of. Adapter is to be set; what else is zero has a default.
type Config struct {
	// Adapter is how the servers' Config.Adapter joins their cluster: of the same broker and the same cluster.
	Adapter adapter.Adapter

	// Codec writes packets as messages, and must be that of the servers. nil means packet.JSON, which is theirs by default.
	Codec packet.Codec

	// AckTimeout is how long EmitWithAck waits for clients' answers if its ctx has no deadline. Zero means 30 seconds.
	AckTimeout time.Duration

	// QueueBytes bounds what is emitted and waits for the broker, in bytes. Beyond it, Emit returns cluster.ErrOverflow. Zero means
	// cluster.DefaultQueueBytes.
	QueueBytes int

	// RepairBytes bounds what was emitted and is remembered, for 30 s at the most, for servers that have missed it. Zero means
	// cluster.DefaultRepairBytes.
	RepairBytes int

	// Limits bound what is emitted, as the clients' own do: one that accepts more than Socket.IO's 10 attachments can be sent more. A field
	// that is zero means its default; AttachmentBytes does not count.
	Limits packet.Limits

	// NameSuspects is how long calls name a server that does not answer any more, in an cluster.PartialError; then they count without it: see
	// [cluster.HubConfig]. Zero means cluster.DefaultNameSuspects, 10 s.
	NameSuspects time.Duration

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// check reports what is wrong with cfg.
func (cfg Config) check() error {
	var errs []error
	if cfg.Adapter == nil {
		errs = append(errs, ErrNoAdapter)
	}
	negative := func(name string, value int64) {
		if value < 0 {
			errs = append(errs, fmt.Errorf("emitter: Config.%s is negative", name))
		}
	}
	negative("AckTimeout", int64(cfg.AckTimeout))
	negative("QueueBytes", int64(cfg.QueueBytes))
	negative("RepairBytes", int64(cfg.RepairBytes))
	negative("NameSuspects", int64(cfg.NameSuspects))
	if err := cfg.Limits.Check(); err != nil {
		errs = append(errs, fmt.Errorf("emitter: Config.Limits: %w", err))
	}
	return errors.Join(errs...)
}

// An Emitter is a node of a cluster without sockets of its own. Its methods may be called concurrently. What it does of itself is done in the
// namespace "/"; [Emitter.Of] has the others.
//
// It may be used at once. What is emitted before it has met the cluster waits until it has, in its order, and calls that ask the servers
// wait likewise, as long as they may. An emitter remembers what servers may have missed, so it is made to be kept. One that is needed for a
// moment does as well, at the cost of a few round trips: if [Emitter.Close] returns nil, every server has all that was emitted.
type Emitter struct {
	cfg      Config
	hub      *cluster.Hub
	root     *sockets.Namespace
	unusable error
}

// New returns an Emitter, which begins to join its adapter's cluster; see [Emitter.Ready]. Close it in the end. Without an adapter, or with
// another mistake in cfg, it joins none: the error, which wraps [ErrNoAdapter] if that is it, is what the Emitter answers whatever it is
// asked for.
func New(cfg Config) *Emitter {
	e := &Emitter{unusable: cfg.check()}
	if e.unusable != nil {
		cfg = Config{Logger: cfg.Logger}
	}
	e.cfg = cfg
	e.hub = cluster.NewHub(cluster.HubConfig{
		Adapter:     cfg.Adapter,
		Client:      true,
		QueueBytes:  cfg.QueueBytes,
		RepairBytes: cfg.RepairBytes,
		Logger:      cfg.Logger,

		NameSuspects: cfg.NameSuspects,
	})
	e.root = e.Of("/")
	return e
}

// Of returns the namespace of this name. A missing "/" at its front is added. Nothing is kept of it: an emitter may use any number.
func (e *Emitter) Of(name string) *sockets.Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	rooms := e.hub.Rooms(name, noFrame)
	rooms.Discard() // works on, see there
	return sockets.NewNamespace(name, rooms, sockets.NamespaceConfig{
		Codec: e.cfg.Codec, Limits: &e.cfg.Limits, AckTimeout: e.cfg.AckTimeout, Ready: e.Ready, Unusable: e.unusable,
	})
}

// noFrame is the Framer of a node without members, which is never called.
func noFrame([]byte, bool) (any, error) { return nil, errors.ErrUnsupported }

// Ready waits until the emitter has met its cluster: every node that it has heard of has answered, or had the time of two round trips to, 250 ms
// at the least. An error says why the adapter cannot be opened, wraps [adapter.ErrRefused] and names the permissions that are missing, or wraps ctx's.
func (e *Emitter) Ready(ctx context.Context) error {
	if e.unusable != nil {
		return e.unusable
	}
	return e.hub.Ready(ctx)
}

// Node is the id of this emitter among the nodes of its cluster. Every emitter has a new one.
func (e *Emitter) Node() string { return e.hub.Node() }

// Nodes are the ids of the servers of the cluster that are known and alive.
func (e *Emitter) Nodes() []string { return e.hub.Nodes() }

// State is that of the link to the broker.
func (e *Emitter) State() adapter.State {
	if e.unusable != nil {
		return adapter.State{Status: adapter.Closed, Reason: e.unusable}
	}
	return e.hub.State()
}

// Stats returns the state and the counts as they are now.
func (e *Emitter) Stats() cluster.Stats {
	s := e.hub.Stats()
	s.State = e.State()
	return s
}

// Close leaves the cluster, and waits for everything that the Emitter has started. What was emitted goes out first: if the cluster has not
// been met yet, Close waits until it has, until ctx ends; without a deadline in ctx, no longer than [cluster.CallTimeout]. Then it waits, for
// two seconds at the most, for the servers to say that they have everything. nil means that they have. A *[cluster.PartialError] names those
// that have not said so. A server that is silent is not waited for, and named for a minute: it may be cut off, and be back. Another error
// says that some of it was not sent, and why.
func (e *Emitter) Close(ctx context.Context) error {
	var unmet error
	if e.hub.Stats().Queued > 0 {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, cluster.CallTimeout)
			defer cancel()
		}
		unmet = e.hub.Ready(ctx)
	}
	err := e.hub.Close(ctx)
	if err != nil && unmet != nil {
		err = fmt.Errorf("%w (%w)", err, unmet)
	}
	if err != nil {
		return &sockets.Error{Op: "close", Err: err}
	}
	return nil
}

// All is the broadcast to all sockets of the namespace "/".
func (e *Emitter) All() sockets.Broadcast { return e.root.All() }

// To is the broadcast to the sockets in any of rooms: see [sockets.Broadcast.To].
func (e *Emitter) To(rooms ...string) sockets.Broadcast { return e.root.To(rooms...) }

// In is To.
func (e *Emitter) In(rooms ...string) sockets.Broadcast { return e.root.To(rooms...) }

// Except is the broadcast to all sockets but those in any of rooms.
func (e *Emitter) Except(rooms ...string) sockets.Broadcast { return e.root.Except(rooms...) }

// Emit sends an event to all sockets: see [sockets.Broadcast.Emit].
func (e *Emitter) Emit(ctx context.Context, event string, args ...any) error {
	return e.root.Emit(ctx, event, args...)
}
