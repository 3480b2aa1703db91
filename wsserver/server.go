// Package wsserver is a Socket.IO server: it serves the official clients, holds their sockets in rooms, and broadcasts to rooms on every
// node of a cluster.
//
// A [Server] is an [http.Handler]. Its [Namespace] tells of every [Socket]; handlers of a socket's events run one at a time and in order.
// A [Broadcast] is a value that selects sockets, on all nodes. Which cluster the server belongs to is one field of [Config].
package wsserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

const (
	messageTimeout = 30 * time.Second // for a message to be complete once it has begun
	closeTimeout   = 5 * time.Second  // for a client to close its end once the server has closed its own
)

// A Server serves Socket.IO clients. It is one node of its adapter's cluster. Its methods may be called concurrently.
type Server struct {
	cfg    Config
	hub    *adapter.Hub
	codec  packet.Codec
	limits packet.Limits
	root   *Namespace

	transports *transport.Transports
	deadlines  *engineio.Deadlines

	pingDelay, pongDelay, connectDelay, messageDelay, closeDelay *engineio.Delay

	handlers sync.WaitGroup // the goroutines of sockets, and a count for each connection

	mu         sync.Mutex // guards what follows
	closed     bool
	conns      map[*conn]struct{}
	namespaces map[string]*Namespace
	parents    []*ParentNamespace // in the order of their making; replaced, not changed
	dynamic    int                // children of parents that may go

	counts    counts
	crowded   rarely // logs that there are too many namespaces
	unmatched rarely // logs that a match has panicked
	undecoded rarely // logs that a broadcast cannot be decoded
}

type counts struct {
	accepted, refused, events, failures atomic.Uint64
}

// New returns a server, which begins to join its adapter's cluster; see [Server.Ready]. Close it in the end.
func New(cfg Config) *Server {
	cfg = cfg.defaults()
	srv := &Server{
		cfg:        cfg,
		hub:        adapter.NewHub(adapter.HubConfig{Adapter: cfg.Adapter, Logger: cfg.Logger}),
		codec:      cfg.Codec,
		limits:     packet.Limits{AttachmentBytes: cfg.MaxPayload},
		conns:      make(map[*conn]struct{}),
		namespaces: make(map[string]*Namespace),
	}
	srv.transports = transport.New(transport.Config{MaxMessage: cfg.MaxPayload, QueueBytes: cfg.QueueBytes, Logger: cfg.Logger})
	srv.deadlines = engineio.NewDeadlines()
	srv.pingDelay = srv.deadlines.Delay(cfg.PingInterval)
	srv.pongDelay = srv.deadlines.Delay(cfg.PingTimeout)
	srv.connectDelay = srv.deadlines.Delay(cfg.ConnectTimeout)
	srv.messageDelay = srv.deadlines.Delay(messageTimeout)
	srv.closeDelay = srv.deadlines.Delay(closeTimeout)
	srv.root = srv.Of("/")
	return srv
}

// Of returns the namespace of this name, and makes it if need be, with the handlers of the first parent that matches the name ([Server.OfFunc]).
// A missing "/" at its front is added. It stays from then on, also if clients had made it. Clients are refused that ask for a namespace
// that has not been made and that no parent matches.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.Lock()
	ns, parents := srv.namespaces[name], srv.parents
	if ns == nil && len(parents) > 0 {
		srv.mu.Unlock()
		parent := srv.parentOf(parents, name)
		srv.mu.Lock()
		if ns = srv.namespaces[name]; ns == nil && parent != nil {
			ns = srv.newNamespace(name, parent)
		}
	}
	defer srv.mu.Unlock()
	switch {
	case ns == nil:
		ns = srv.newNamespace(name, nil)
	case ns.parent != nil && !ns.stays:
		srv.dynamic--
	}
	ns.stays = true
	return ns
}

// Use adds a middleware to the namespace "/": see [Namespace.Use].
func (srv *Server) Use(admit func(ctx context.Context, s *Socket) error) { srv.root.Use(admit) }

// OnConnect is that of the namespace "/".
func (srv *Server) OnConnect(handle func(ctx context.Context, s *Socket) error) {
	srv.root.OnConnect(handle)
}

// To is the broadcast to the sockets of the namespace "/" in any of rooms: see [Broadcast.To].
func (srv *Server) To(rooms ...string) Broadcast { return srv.root.To(rooms...) }

// In is To.
func (srv *Server) In(rooms ...string) Broadcast { return srv.root.To(rooms...) }

// Except is the broadcast to all sockets of the namespace "/" but those in any of rooms.
func (srv *Server) Except(rooms ...string) Broadcast { return srv.root.Except(rooms...) }

// Volatile is the volatile broadcast to all sockets of the namespace "/".
func (srv *Server) Volatile() Broadcast { return srv.root.Volatile() }

// Local is the broadcast to the sockets of the namespace "/" on this node.
func (srv *Server) Local() Broadcast { return srv.root.Local() }

// Emit sends an event to all sockets of the namespace "/": see [Broadcast.Emit].
func (srv *Server) Emit(ctx context.Context, event string, args ...any) error {
	return srv.root.Emit(ctx, event, args...)
}

// Ready waits until the server has met its cluster: every node that it has heard of has answered, or had 250 ms to. Without an adapter it
// returns nil at once. An error says why the adapter cannot be opened, or wraps ctx's. Clients are served before, too.
func (srv *Server) Ready(ctx context.Context) error { return srv.hub.Ready(ctx) }

// Node is the id of this server among the nodes of its cluster. Every server has a new one.
func (srv *Server) Node() string { return srv.hub.Node() }

// Nodes are the ids of the other nodes of the cluster that are known and alive.
func (srv *Server) Nodes() []string { return srv.hub.Nodes() }

// ServeHTTP serves the requests below Config.Path, and answers all others with 404.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != srv.cfg.Path && !strings.HasPrefix(r.URL.Path, srv.cfg.Path+"/") {
		http.NotFound(w, r)
		return
	}
	request := engineio.Request{
		Method:  r.Method,
		Query:   r.URL.Query(),
		Origin:  r.Header["Origin"],
		Upgrade: transport.IsUpgrade(r),
		Known:   func(string) bool { return false }, // a WebSocket's session is joined by nothing else
		Allow: func() error {
			if !srv.cfg.AllowOrigin(r) {
				return errOrigin
			}
			return nil
		},
	}
	if refusal := request.Verify(); refusal != nil {
		srv.refuse(w, refusal)
		return
	}
	c := srv.newConn(r)
	if c == nil {
		srv.counts.refused.Add(1)
		w.Header().Set("Connection", "close")
		http.Error(w, "server shutting down", http.StatusServiceUnavailable)
		return
	}
	nc, early, err := transport.Upgrade(w, r)
	if err != nil {
		srv.counts.refused.Add(1)
		srv.cfg.Logger.Debug("belfry: handshake refused", "remote", r.RemoteAddr, "error", err)
		c.drop()
		return
	}
	srv.counts.accepted.Add(1)
	c.open(nc, early)
}

var errOrigin = errors.New("origin not allowed")

func (srv *Server) refuse(w http.ResponseWriter, refusal *engineio.Error) {
	srv.counts.refused.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status())
	w.Write(refusal.JSON())
}

// plain encodes a packet that the server itself has made.
func (srv *Server) plain(p *packet.Packet) packet.Encoded {
	encoded, err := srv.codec.Encode(p)
	if err != nil {
		srv.cfg.Logger.Error("belfry: a packet cannot be encoded", "type", p.Type, "error", err)
	}
	return encoded
}

// report counts an error of a handler and gives it to Config.OnError.
func (srv *Server) report(s *Socket, event string, err error) {
	srv.counts.failures.Add(1)
	defer func() {
		if p := recover(); p != nil {
			srv.cfg.Logger.Error("belfry: Config.OnError failed", "event", event, "reported", err, "error", newPanicError(p))
		}
	}()
	srv.cfg.OnError(s, event, err)
}

// Close ends all sockets with [ErrShutdown], refuses new ones, leaves the cluster, and waits until everything that the server has started
// has ended; for clients and handlers no longer than ctx allows, and then with an error. An http.Server that serves srv is to be shut down
// beside it: it does not know of the connections that it has handed over.
func (srv *Server) Close(ctx context.Context) error {
	srv.mu.Lock()
	srv.closed = true
	srv.mu.Unlock()
	for _, c := range srv.connections() {
		c.close(ErrShutdown)
	}
	handled := make(chan struct{})
	go func() {
		srv.handlers.Wait()
		close(handled)
	}()
	var err error
	select {
	case <-handled:
	case <-ctx.Done():
		err = fmt.Errorf("wsserver: close: connections or handlers have not ended: %w", context.Cause(ctx))
		for _, c := range srv.connections() {
			c.ws.Abort()
		}
	}
	srv.transports.Close()
	srv.deadlines.Close()
	if e := srv.hub.Close(ctx); e != nil && err == nil {
		err = e
	}
	return err
}

func (srv *Server) connections() []*conn {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.conns))
}
