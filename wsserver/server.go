// Package wsserver is a Socket.IO server: it serves the official clients, puts their sockets into
// rooms, and broadcasts to rooms on every node of a cluster.
//
// A [Server] is an [http.Handler]. A [Namespace] has handlers for each [Socket] that connects, and
// for its events, which are handled one at a time and in order. A [sockets.Broadcast] is a value
// that selects sockets, on all nodes, to emit to them, ask, fetch, count, move or disconnect them.
// [Config].Adapter says which cluster the server belongs to.
//
// All functions that set a handler or a middleware return stop, which removes it: it is not called
// for later events. stop does not wait for a handler that is running, and the handler may call it.
// An event that is being handled may still reach the handler. Further calls of stop do nothing.
package wsserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/rs/cors"
	"golang.org/x/time/rate"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A Server serves Socket.IO clients. It is one node of its adapter's cluster. Its methods may be
// called concurrently.
type Server struct {
	cfg      Config
	unusable error // what is wrong with the Config that it was given: nothing is served
	hub      *cluster.Hub
	budget   *budget.Budget
	codec    packet.Codec
	limits   packet.Limits
	root     *Namespace

	ctx context.Context // of handlers of disconnections; ends with the ctx that Close was given
	end context.CancelCauseFunc

	engine *engine.Server
	cors   *cors.Cors // nil without Config.HTTP.CORS

	setting   sync.Mutex             // held while the limits change
	bounds    atomic.Pointer[Limits] // as they are now
	inboxes   atomic.Pointer[inboxLimits]
	gate      gate
	turnstile *turnstile
	accepts   *rate.Limiter // of the listeners of Pace

	lull    lull    // between broadcasts
	workers workers // of sockets; their count has one for each connection that has not ended, too

	keys     *keyring
	strays   *strays   // nil without Config.Adapter
	recovery *recovery // of the sessions of clients that are away; nil without Config.Recovery

	runs     sync.WaitGroup // what follows the other servers, until unfollow
	unfollow context.CancelFunc

	drain atomic.Pointer[drainer] // nil before Drain; set under mu

	mu         sync.Mutex // guards what follows
	closed     bool
	namespaces namespaces
	parents    []*ParentNamespace // in the order of their making; replaced, not changed
	dynamic    int                // children of parents that may go
	madeBy     tally[netip.Addr]  // of these, by who made them

	lastAck atomic.Uint64 // the id of the last acknowledgement that a client was asked for

	counts    counts
	handled   *handlerTimes // nil without Config.TimeHandlers
	endings   endings
	unmatched rarely                       // logs that a match has panicked
	undecoded rarely                       // logs that a broadcast cannot be decoded
	foreign   rarely                       // logs that a page of another origin was refused
	refusals  [engineio.NumRefusals]rarely // logs that a request was refused
	declined  [numDeclined]rarely          // logs that something of a connected client was
}

type counts struct {
	events, unhandled, discarded, failures, unusable atomic.Uint64

	declined [numDeclined]atomic.Uint64
	acks     atomic.Int64 // that sockets wait for

	handedOver, notHandedOver atomic.Uint64 // sessions: see DrainStats
}

// New returns a Server, which begins to join its adapter's cluster; see [Server.Ready]. Close it in
// the end. If cfg is wrong, the server joins no cluster and serves no client: it logs the mistake,
// answers every request with it, and returns it from every method that would reach the cluster.
func New(cfg Config) *Server {
	unusable := cfg.Check()
	if unusable != nil {
		cfg = Config{Logger: cfg.Logger, OnError: cfg.OnError}
	}
	cfg = cfg.defaults()
	srv := &Server{
		cfg:        cfg,
		unusable:   unusable,
		budget:     budget.New(int64(cfg.Limits.BudgetBytes)),
		codec:      cfg.Codec,
		limits:     cfg.Limits.Packet,
		turnstile:  newTurnstile(),
		accepts:    rate.NewLimiter(rate.Inf, 1),
		namespaces: namespaces{byName: make(map[string]*Namespace)},
	}
	if cfg.TimeHandlers {
		srv.handled = new(handlerTimes)
	}
	if unusable != nil {
		cfg.Logger.Error("belfry: nothing is served: the Config is wrong", "error", unusable)
	}
	srv.ctx, srv.end = context.WithCancelCause(context.Background())
	srv.hub = cluster.NewHub(cluster.HubConfig{
		Adapter:     cfg.Adapter,
		Name:        cfg.Cluster.NodeName,
		QueueBytes:  cfg.Cluster.QueueBytes,
		RepairBytes: cfg.Cluster.RepairBytes,
		OnLoss:      cfg.Cluster.OnLoss,
		OnDelivery:  srv.onDelivery(),
		Logger:      cfg.Logger,

		NameSuspects: cfg.Cluster.NameSuspects,
		Recovery:     cfg.log(),
	})
	srv.hub.OnServerSide(srv.serverEvent)
	srv.tellAbout()
	srv.keys = newKeyring(srv.hub.Node(), cfg.Recovery, cfg.Logger)
	if cfg.Recovery != nil {
		srv.recovery = newRecovery(srv)
	}
	srv.cors = cfg.HTTP.CORS.handler()
	engineConfig := engine.Config{
		Path:             cfg.Path,
		NewSID:           srv.keys.newEngineSID,
		PingInterval:     cfg.PingInterval,
		PingTimeout:      cfg.PingTimeout,
		UpgradeTimeout:   cfg.UpgradeTimeout,
		AcceptTimeout:    cfg.ConnectTimeout,
		Transports:       cfg.transports(),
		DisableUpgrades:  cfg.DisableUpgrades,
		MaxPayload:       cfg.Limits.MaxPayload,
		QueueBytes:       cfg.Limits.QueueBytes,
		SlowRate:         cfg.Limits.SlowRate,
		SlowAfter:        cfg.Limits.SlowAfter,
		BehindFor:        cfg.Limits.BehindFor,
		Budget:           srv.budget,
		CompressMessages: cfg.Compression.from(cfg.Compression.PerMessageDeflate),
		CompressHTTP:     cfg.Compression.from(cfg.Compression.HTTP),
		Cookie:           srv.cookie,
		Allow:            srv.allow,
		CORS:             srv.cors,
		Open:             srv.open,
		Logger:           cfg.Logger,
	}
	if cfg.Adapter != nil {
		srv.strays = newStrays(srv)
		engineConfig.Network = srv.strays
	}
	srv.engine = engine.New(engineConfig)
	srv.follow()
	srv.setLimits(cfg.Limits)
	srv.root = srv.Of("/")
	return srv
}

// Of returns a namespace, and makes it if it does not exist, with the handlers of the first parent
// that matches its name ([Server.OfFunc]). A missing "/" at the front of the name is added. The
// namespace then stays, even if clients had made it. Clients are refused if they ask for a
// namespace that does not exist and that no parent matches.
func (srv *Server) Of(name string) *Namespace {
	name = fullName(name)
	srv.mu.Lock()
	ns, parents := srv.namespaces.byName[name], srv.parents
	if ns == nil && len(parents) > 0 {
		srv.mu.Unlock()
		parent := srv.parentOf(parents, name)
		srv.mu.Lock()
		if ns = srv.namespaces.byName[name]; ns == nil && parent != nil {
			ns = srv.newNamespace(name, parent)
		}
	}
	defer srv.mu.Unlock()
	switch {
	case ns == nil:
		ns = srv.newNamespace(name, nil)
	case ns.parent != nil && !ns.stays:
		srv.notDynamic(ns)
	}
	ns.stays = true
	return ns
}

// Use adds a middleware to the namespace "/": see [Namespace.Use].
func (srv *Server) Use(admit func(ctx context.Context, s *Socket) error) (stop func()) {
	return srv.root.Use(admit)
}

// OnConnect sets a handler for sockets of the namespace "/" that have connected: see
// [Namespace.OnConnect].
func (srv *Server) OnConnect(handle func(ctx context.Context, s *Socket) error) (stop func()) {
	return srv.root.OnConnect(handle)
}

// OnServerSide sets a handler for a server-side event of the namespace "/": see
// [Namespace.OnServerSide].
func (srv *Server) OnServerSide(event string, handle ServerHandler) (stop func()) {
	return srv.root.OnServerSide(event, handle)
}

// All returns the broadcast to all sockets of the namespace "/": see [Namespace.All].
func (srv *Server) All() sockets.Broadcast { return srv.root.All() }

// To returns the broadcast to the sockets of the namespace "/" in any of rooms: see
// [sockets.Broadcast.To].
func (srv *Server) To(rooms ...string) sockets.Broadcast { return srv.root.To(rooms...) }

// In is the same as To.
func (srv *Server) In(rooms ...string) sockets.Broadcast { return srv.root.To(rooms...) }

// Except returns the broadcast to all sockets of the namespace "/" except those in any of rooms.
func (srv *Server) Except(rooms ...string) sockets.Broadcast { return srv.root.Except(rooms...) }

// Emit sends an event to all sockets of the namespace "/": see [sockets.Broadcast.Emit].
func (srv *Server) Emit(ctx context.Context, event string, args ...any) error {
	return srv.root.Emit(ctx, event, args...)
}

// Ready waits until the server has met its cluster: every node that it has heard of has answered,
// or had time for two round trips, at least 250 ms. Without an adapter it returns nil at once. An
// error says what is wrong with the Config, or why the adapter cannot be opened; or it wraps
// [adapter.ErrRefused] and names the missing permissions, or wraps ctx's error. The server serves
// clients before, too.
func (srv *Server) Ready(ctx context.Context) error {
	if srv.unusable != nil {
		return srv.unusable
	}
	return srv.hub.Ready(ctx)
}

// Node returns this server's id among the nodes of its cluster. Every Server has a new one.
func (srv *Server) Node() string { return srv.hub.Node() }

// NodeName is [ClusterConfig.NodeName], or the name of the host.
func (srv *Server) NodeName() string { return srv.hub.Name() }

// Nodes returns the servers of the cluster, this one first and the others by name and id, and a
// channel that is closed when the list changes: when a server was met, becomes suspect, is back,
// was given up or has left, or its name has become known.
//
// A program that compares each list with the one before sees every change that lasts. The channel
// never closes if the server has no adapter, or was closed.
func (srv *Server) Nodes() (all []cluster.Node, changed <-chan struct{}) { return srv.hub.Nodes() }

// ServerCount returns the number of the cluster's servers that are known and alive, including this
// one.
func (srv *Server) ServerCount() int { return srv.hub.ServerCount() }

// ServeHTTP serves the requests below Config.Path, and answers all others with 404.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case srv.unusable != nil:
		srv.serveUnusable(w)
	case srv.serveClientFile(w, r):
	default:
		srv.engine.ServeHTTP(w, r)
	}
}

// allow decides on a request that opens or upgrades a session. One that upgrades it names its id, a
// secret that only the page has which was allowed to open it.
func (srv *Server) allow(r *http.Request, opens bool) error {
	if opens {
		if srv.refusesNew() {
			return errDraining
		}
		l := srv.bounds.Load()
		if !srv.allowOrigin(r) {
			return errOrigin
		}
		if keeps(r, srv.cfg.HTTP.KeepHeaders) > l.HandshakeBytes {
			return errHandshake
		}
		// While it waits it counts for its address, which so has a bounded part of the queue.
		v := srv.address(r, l)
		if refusal := srv.gate.enter(v, l); refusal != nil {
			return srv.refuse(refusal, r)
		}
		defer srv.gate.leave(v)
		if refusal := srv.turnstile.pass(r.Context(), l); refusal != nil {
			return srv.refuse(refusal, r)
		}
	}
	if srv.cfg.HTTP.AllowRequest != nil {
		return srv.cfg.HTTP.AllowRequest(r)
	}
	return nil
}

// open makes the owner of a session that r opens.
func (srv *Server) open(r *http.Request, s *engine.Session) (engine.Owner, error) {
	l := srv.bounds.Load()
	if srv.refusesNew() {
		return nil, errDraining // since it was allowed
	}
	v := srv.visitor(r, l)
	if refusal := srv.gate.enter(v, l); refusal != nil {
		return nil, srv.refuse(refusal, r)
	}
	c := srv.newConn(r, s)
	if c == nil {
		srv.gate.leave(v)
		return nil, nil
	}
	if v != (visitor{}) {
		c.visitor = &v
	}
	return c, nil
}

// plain encodes a packet that the server itself has made.
func (srv *Server) plain(p *packet.Packet) packet.Encoded {
	encoded, err := srv.codec.Encode(p)
	if err != nil {
		srv.cfg.Logger.Error("belfry: a packet cannot be encoded", "type", p.Type, "error", err)
	}
	return encoded
}

// report counts an error of a handler and gives it to Config.OnError; one of no socket is logged.
func (srv *Server) report(s *Socket, event string, err error) {
	srv.counts.failures.Add(1)
	defer onPanic(func(panicked error) {
		srv.cfg.Logger.Error("belfry: Config.OnError failed", "event", event, "reported", err, "error", panicked)
	})
	if s == nil {
		srv.cfg.Logger.Warn("belfry: handler failed", "event", event, "error", err)
		return
	}
	srv.cfg.OnError(s, event, err)
}

// Close ends all sockets with ErrShutdown, at once ([Server.Drain] does it in steps), refuses new ones, leaves the cluster, and waits until
// everything that the server has started has ended. It waits for clients and handlers until ctx
// ends, and then returns an error. The ctx of handlers of disconnections ends with ctx.
//
// A *[cluster.PartialError] names the nodes that have not confirmed within two seconds that they
// have everything from this server. Silent nodes are not waited for. A handler must not call Close:
// it would wait for itself. [Server.Shutdown] ends the http.Server that serves srv, too.
func (srv *Server) Close(ctx context.Context) error {
	srv.mu.Lock()
	closed := srv.closed
	srv.closed = true
	srv.mu.Unlock()
	if d := srv.drain.Load(); d != nil {
		d.cancel(errDrainClosed)
	}
	stop := context.AfterFunc(ctx, func() { srv.end(context.Cause(ctx)) })
	defer stop()
	srv.engine.CloseSessions(ErrShutdown)
	if !closed {
		srv.turnstile.close()
		srv.recovery.close()
	}
	handled := make(chan struct{})
	go func() {
		srv.workers.close()
		close(handled)
	}()
	err := srv.engine.Close(ctx)
	select {
	case <-handled:
	case <-ctx.Done():
		select {
		case <-handled:
		default:
			err = errors.Join(err, fmt.Errorf("wsserver: close: handlers have not ended: %w", context.Cause(ctx)))
		}
	}
	srv.unfollow()
	srv.runs.Wait()
	return errors.Join(err, srv.hub.Close(ctx))
}
