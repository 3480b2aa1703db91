// Package emitter acts on the sockets of a cluster from a Go process without sockets: a cron job, a
// worker, the backend of a web site.
//
// An [Emitter] joins the cluster by the adapter of its servers, as a node that does not count as a
// server. Its All, To, In and Except return a [sockets.Broadcast], as those of a server do.
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

// ErrNoAdapter is returned by every method of an [Emitter] that has no adapter.
var ErrNoAdapter = errors.New("emitter: no adapter: set Config.Adapter to the adapter of the servers")

// A Config configures an [Emitter]. Adapter must be set; other fields may be zero.
type Config struct {
	// Adapter joins the cluster of the servers: the same broker, the same cluster name.
	Adapter adapter.Adapter

	// NodeName is what operators call the emitter in logs, in errors, and in the broker's list of
	// connections: see [cluster.HubConfig]. Empty means the name of the host.
	NodeName string

	// Codec writes packets, and must be the servers' codec. nil means packet.JSON, which is their
	// default, too.
	Codec packet.Codec

	// AckTimeout is how long EmitWithAck waits for clients' answers if its ctx has no deadline.
	// Zero means 30 seconds.
	AckTimeout time.Duration

	// QueueBytes bounds the broadcasts that wait for the broker, in bytes. Beyond it, Emit returns
	// cluster.ErrOverflow. Zero means cluster.DefaultQueueBytes.
	QueueBytes int

	// RepairBytes bounds the broadcasts that are remembered, for at most 30 s, for servers that
	// have missed them, in bytes. Zero means cluster.DefaultRepairBytes.
	RepairBytes int

	// Limits bound what is emitted. They may exceed the defaults if the clients' limits do, such as
	// Socket.IO's 10 attachments. A zero field means its default; AttachmentBytes is ignored.
	Limits packet.Limits

	// NameSuspects is how long calls name a server that does not answer any more, in a
	// cluster.PartialError, before they count without it: see [cluster.HubConfig]. Zero means
	// cluster.DefaultNameSuspects, 10 s.
	NameSuspects time.Duration

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger

	// Tracer makes traces of what is emitted, and of the questions to servers. nil means none.
	Tracer sockets.Tracer
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
	if err := cluster.CheckName(cfg.NodeName); err != nil {
		errs = append(errs, fmt.Errorf("emitter: Config.NodeName: %w", err))
	}
	if err := cfg.Limits.Check(); err != nil {
		errs = append(errs, fmt.Errorf("emitter: Config.Limits: %w", err))
	}
	return errors.Join(errs...)
}

// An Emitter is a node of a cluster that has no sockets. Its methods may be called concurrently.
// All, To, In, Except and Emit act on the namespace "/"; [Emitter.Of] returns others.
//
// An Emitter may be used at once. Broadcasts wait, in order, until it has met the cluster, and
// calls that ask the servers wait until then, as long as their ctx allows. An Emitter remembers
// what servers may have missed, so it is made to be kept. A short-lived one costs a few more round
// trips: if [Emitter.Close] returns nil, every server has everything that was emitted.
type Emitter struct {
	cfg      Config
	hub      *cluster.Hub
	root     *sockets.Namespace
	unusable error
}

// New returns an Emitter, which begins to join its adapter's cluster; see [Emitter.Ready]. Close it
// in the end. If cfg is wrong it joins no cluster, and all its methods return the same error, which
// wraps [ErrNoAdapter] if the adapter is missing.
func New(cfg Config) *Emitter {
	e := &Emitter{unusable: cfg.check()}
	if e.unusable != nil {
		cfg = Config{Logger: cfg.Logger}
	}
	e.cfg = cfg
	e.hub = cluster.NewHub(cluster.HubConfig{
		Adapter:     cfg.Adapter,
		Client:      true,
		Name:        cfg.NodeName,
		QueueBytes:  cfg.QueueBytes,
		RepairBytes: cfg.RepairBytes,
		Logger:      cfg.Logger,

		NameSuspects: cfg.NameSuspects,
	})
	e.root = e.Of("/")
	return e
}

// Of returns a namespace; a missing "/" at the front of its name is added. The Emitter keeps
// nothing of it, so any number may be used.
func (e *Emitter) Of(name string) *sockets.Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	rooms := e.hub.Rooms(name, noFrame)
	rooms.Discard() // works on, see there
	return sockets.NewNamespace(name, rooms, sockets.NamespaceConfig{
		Codec: e.cfg.Codec, Limits: &e.cfg.Limits, AckTimeout: e.cfg.AckTimeout, Ready: e.Ready, Unusable: e.unusable,
		Tracer: e.cfg.Tracer, Node: e.hub.Node(),
	})
}

// noFrame is the Framer of a node without members, which is never called.
func noFrame([]byte, bool) (any, error) { return nil, errors.ErrUnsupported }

// Ready waits until the emitter has met its cluster: every node that it has heard of has answered,
// or had time for two round trips, at least 250 ms. An error says why the adapter cannot be opened,
// wraps [adapter.ErrRefused] and names the missing permissions, or wraps ctx's error.
func (e *Emitter) Ready(ctx context.Context) error {
	if e.unusable != nil {
		return e.unusable
	}
	return e.hub.Ready(ctx)
}

// Node returns the emitter's id among the nodes of its cluster. Every Emitter has a new one.
func (e *Emitter) Node() string { return e.hub.Node() }

// NodeName is [Config.NodeName], or the name of the host.
func (e *Emitter) NodeName() string { return e.hub.Name() }

// Nodes returns the servers of the cluster, by name and id, and a channel that is closed when the
// list changes: see [cluster.Hub.Nodes].
func (e *Emitter) Nodes() (all []cluster.Node, changed <-chan struct{}) { return e.hub.Nodes() }

// CallServers asks all servers what they tell of themselves: see [cluster.Hub.CallServers]. It waits
// until the emitter has met the cluster.
func (e *Emitter) CallServers(ctx context.Context, kind string) (map[string][]byte, error) {
	if err := e.Ready(ctx); err != nil {
		return nil, &sockets.Error{Op: "call servers", Err: err}
	}
	answers, err := e.hub.CallServers(ctx, kind, nil)
	if err != nil {
		err = &sockets.Error{Op: "call servers", Err: err}
	}
	return answers, err
}

// ServerCount returns the number of the cluster's servers that are known and alive.
func (e *Emitter) ServerCount() int { return e.hub.ServerCount() }

// State returns the state of the link to the broker.
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

// Close leaves the cluster, and waits for everything that the Emitter has started. It first sends
// what was emitted. If the cluster has not been met yet, it waits for that until ctx ends; without
// a deadline in ctx, at most [cluster.CallTimeout]. Then it waits up to two seconds for the servers
// to confirm that they have everything.
//
// nil means that all have confirmed. A *[cluster.PartialError] names those that have not. Silent
// servers are not waited for, and are named until they were silent for a minute, since they may be
// cut off and come back. Any other error says what was not sent, and why.
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

// All returns the [sockets.Broadcast] to all sockets of the namespace "/".
func (e *Emitter) All() sockets.Broadcast { return e.root.All() }

// To returns the broadcast to the sockets in any of rooms: see [sockets.Broadcast.To].
func (e *Emitter) To(rooms ...string) sockets.Broadcast { return e.root.To(rooms...) }

// In is the same as To.
func (e *Emitter) In(rooms ...string) sockets.Broadcast { return e.root.To(rooms...) }

// Except returns the broadcast to all sockets except those in any of rooms.
func (e *Emitter) Except(rooms ...string) sockets.Broadcast { return e.root.Except(rooms...) }

// Emit sends an event to all sockets of the namespace "/": see [sockets.Broadcast.Emit].
func (e *Emitter) Emit(ctx context.Context, event string, args ...any) error {
	return e.root.Emit(ctx, event, args...)
}
