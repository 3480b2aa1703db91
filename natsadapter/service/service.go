// Package service lets programs in any language act on the sockets of a cluster, as a NATS service:
// they send a request in JSON to a subject, and get an answer in JSON.
//
//	nats req belfry.service.rchat.emit '{"rooms":["lobby"],"event":"news","args":["hi"]}'
//	{"ok":true,"count":2}
//
// Only [Start] starts it. `nats service ls` and the like find it under the name "belfry", with all
// its subjects, and a JSON schema and an example of each request. Several instances for one cluster
// share the requests.
//
// # Subjects
//
// The subjects are <prefix>.service.<cluster>.<endpoint>; [Service.Subject] returns the part before
// the endpoint. The prefix is that of natsadapter.Config. The cluster is its name behind an 'r',
// with every byte except letters, digits, '-' and '_' as "=XX" in hexadecimal: "rchat" for "chat".
// The endpoints:
//
//	emit        sends an event to sockets, and counts those that have it
//	join        puts sockets into rooms
//	leave       takes sockets out of rooms
//	disconnect  disconnects sockets
//	count       counts sockets
//	fetch       lists sockets
//	nodes       lists the servers
//	stats       asks each server how it stands, and what it has counted
//	rooms       lists the rooms of a namespace
//	namespaces  lists the namespaces, with the number of their sockets
//
// # Requests
//
// A request is an object. These fields select sockets on all servers, and all may be left out:
//
//	namespace   the namespace; default "/"
//	rooms       sockets in any of these rooms; the id of a socket is a room, too. Default: the whole
//	            namespace. An empty list, or null, selects no socket: the answer is ok, and counts 0
//	except      without the sockets in any of these rooms
//	timeout     how long to wait for the servers, in milliseconds, at most 30,000; default Config.Timeout
//
// The other fields of an emit request are event, the name of the event; args, the list of its
// arguments, in any JSON; volatile and compress, as Broadcast's methods of these names. An argument
// cannot be binary, since JSON has no such value. A request without a reply subject (nats pub) is
// carried out and not answered. An emit then reaches only servers that have selected sockets, and
// events from one client to one instance keep their order.
//
// Other fields of join and leave are join and leave, the lists of rooms. Those of disconnect are
// close, which ends the clients' connections, with their sockets in all namespaces; and all, which
// must be true to disconnect a whole namespace, without rooms and except. Those of fetch are limit,
// the largest number of sockets; after, the id of a socket, to continue behind it; handshake, to
// include each socket's handshake, with its credentials.
//
// nodes, stats, rooms and namespaces select no sockets, and take timeout alone; rooms takes
// namespace, too. stats, rooms and namespaces also take limit, the largest number of servers or
// names, and after, the name to continue behind, or the id of a server (node).
//
// Other fields are refused, so that a wrong name does not go unnoticed.
//
// # Answers
//
// An answer is an object. Its field ok is true if all servers did everything. Otherwise error says
// why; missing lists the servers that did not confirm; unconfirmed lists those that may not know
// the new rooms yet, both by their ids; names has the names of these servers. The other fields hold
// what was done, or is known, on the other servers: count, of emit and count; sockets, of fetch, in
// the order of their ids; more, which is true if there are further sockets, to be fetched with
// after. nodes lists servers, each with id, name and suspect, as the service knows them. stats lists
// under servers what each says of itself: state (ready, degraded, starting or draining), node,
// node_name, reasons, and stats, which are those of package wsserver with names in small letters.
// rooms lists names, and namespaces lists namespaces, each with name, sockets, and servers, the
// number of servers that have it. An answer is at most as large as a message may be on this NATS; a socket that is larger
// alone is only marked as truncated. Each fetch request fetches all selected sockets from the
// servers.
//
// The answer to a refused request has the headers of a service error. Nats-Service-Error-Code is
// 400 for a wrong request, 413 for one that is too large, 429 if there are too many, and 503 if the
// service is closing, has not reached the cluster, lacks a NATS permission, or knows no server of
// the cluster. Nats-Service-Error says more, as does error in the JSON. After a refusal no socket
// got anything. A client that waits for each answer before it sends the next request has its
// requests carried out in order.
//
// # Permissions
//
// A client that may publish to the service's subjects can do everything to every socket. Only the
// permissions of the NATS server restrict it: there are no others. A client needs to publish to the
// endpoints that it uses, and to subscribe to its inbox. The service needs the permissions of a
// node of the cluster, to subscribe to its own subjects and to $SRV.>, and to publish to the
// inboxes of its clients, for instance by allow_responses.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
)

// Name and Version identify the service. Version is the semantic version of its requests and
// answers.
const (
	Name    = "belfry"
	Version = "1.1.0"
)

// A Config configures a [Service]. Adapter must be set; other fields may be zero.
type Config struct {
	// Adapter says which cluster the service is for, on which NATS. It may be the adapter of a
	// server in this process: the service makes its own connections.
	Adapter *natsadapter.Adapter

	// Emitter reaches the cluster. It stays the caller's, who closes it after the Service. nil
	// means an emitter of the Service's own over Adapter, with the default codec: set it for
	// another codec.
	Emitter *emitter.Emitter

	// Timeout is how long a request waits for the servers if it does not say so itself. Zero means
	// 3 seconds: by then a dead server is known to be dead, and `nats req` still waits.
	Timeout time.Duration

	// MaxRequests bounds the requests that are carried out at a time. Further ones are refused.
	// Zero means 64.
	MaxRequests int

	// MaxRequestBytes bounds a request, in bytes. Larger ones are refused. Zero means 1 MiB, which
	// a NATS server allows by default.
	MaxRequestBytes int

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// MaxTimeout bounds how long a request may ask to wait.
const MaxTimeout = 30 * time.Second

// startTimeout bounds Start without a deadline.
const startTimeout = 30 * time.Second

func (c Config) defaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Second
	}
	c.Timeout = min(c.Timeout, MaxTimeout)
	if c.MaxRequests <= 0 {
		c.MaxRequests = 64
	}
	if c.MaxRequestBytes <= 0 {
		c.MaxRequestBytes = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// A Service answers requests until it is closed. Its methods may be called concurrently.
type Service struct {
	cfg     Config
	subject string
	nc      *nats.Conn
	micro   micro.Service
	emitter *emitter.Emitter
	own     bool // emitter is the Service's

	ctx    context.Context // ends when nothing is to be waited for any more
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	closing bool
	running int            // requests
	tasks   sync.WaitGroup // the same; nothing is added after closing

	counts counts
}

type counts struct{ requests, refused, partial atomic.Uint64 }

// Start starts the service for the cluster of cfg.Adapter. It returns when clients can find the
// service and requests reach the cluster. It returns an error if that cannot be, or when ctx ends;
// without a deadline in ctx, after 30 seconds. Close the Service in the end.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Adapter == nil {
		return nil, errors.New("service: start: no adapter: set Config.Adapter to the adapter of the servers")
	}
	s := &Service{cfg: cfg.defaults(), emitter: cfg.Emitter}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	if err := s.start(ctx); err != nil {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Close(gone)
		return nil, fmt.Errorf("service: start: %w", err)
	}
	return s, nil
}

func (s *Service) start(ctx context.Context) (err error) {
	if s.subject, err = s.cfg.Adapter.ServiceSubject(); err != nil {
		return err
	}
	if s.emitter == nil {
		s.emitter, s.own = emitter.New(emitter.Config{Adapter: s.cfg.Adapter, Logger: s.cfg.Logger}), true
	}
	node := cluster.Node{ID: s.emitter.Node(), Name: s.emitter.NodeName()}
	s.nc, err = s.cfg.Adapter.Connect(ctx,
		func(o *nats.Options) error { // the program's own name wins
			o.Name = cmp.Or(o.Name, "service of "+node.String())
			return nil
		},
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.cfg.Logger.Warn("belfry: the service has lost its connection", "subject", s.subject, "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.cfg.Logger.Info("belfry: the service is connected again", "subject", s.subject) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.cfg.Logger.Error("belfry: the service", "subject", s.subject, "error", err)
		}),
	)
	if err != nil {
		return err
	}
	if err := s.emitter.Ready(ctx); err != nil {
		return err
	}
	s.micro, err = micro.AddService(s.nc, micro.Config{
		Name:         Name,
		Version:      Version,
		Description:  "what can be done to the sockets of the cluster " + s.cfg.Adapter.Cluster() + ", in JSON",
		Metadata:     map[string]string{"cluster": s.cfg.Adapter.Cluster(), "node": node.ID, "node_name": node.Name},
		StatsHandler: func(*micro.Endpoint) any { return s.stats() },
	})
	if err != nil {
		return err
	}
	group := s.micro.AddGroup(s.subject)
	for _, e := range endpoints {
		if err := group.AddEndpoint(e.name, s.handler(e), micro.WithEndpointMetadata(e.metadata())); err != nil {
			return err
		}
	}
	// What the server denies is known when it has answered what comes behind.
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := s.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: the service needs permission to subscribe to %s.> and to %s.>: %w", adapter.ErrRefused, s.subject, micro.APIPrefix, err)
	}
	return nil
}

// Subject returns the beginning of the service's subjects; a dot and the name of an endpoint
// follow.
func (s *Service) Subject() string { return s.subject }

// Close takes no more requests, and waits until those that are being carried out are done, and
// everything that Start has started has ended, or ctx ends. Requests that are not done by then are
// answered with what is known. An error says what was left undone.
func (s *Service) Close(ctx context.Context) error {
	var errs []error
	if s.micro != nil {
		errs = append(errs, s.micro.Stop(), s.drained(ctx))
	}
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	s.tasks.Wait()
	stop()
	s.cancel()
	if s.nc != nil {
		if s.nc.IsConnected() && ctx.Err() == nil {
			errs = append(errs, flush(ctx, s.nc))
		}
		s.nc.Close()
	}
	if s.own {
		errs = append(errs, s.emitter.Close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("service: close: %w", err)
	}
	return nil
}

// drained waits until the requests that the server had sent before Stop have come to their
// handlers. nats.go does not say so otherwise.
func (s *Service) drained(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.nc.NumSubscriptions() > 0 && s.nc.IsConnected() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// flush waits until the server has what was published. nats.go wants a deadline.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// begin counts a request that is to be carried out: end is to follow, and then tasks.Done. It
// returns why it is not.
func (s *Service) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return &refusal{503, "this instance of the service is closing: send the request again"}
	case s.running >= s.cfg.MaxRequests:
		return &refusal{429, fmt.Sprintf("%d requests are being carried out already: send it again in a while", s.running)}
	}
	s.running++
	s.tasks.Add(1)
	return nil
}

func (s *Service) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// stats is what STATS of the service says besides. The processing times there are those of taking
// the requests.
func (s *Service) stats() any {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	return struct {
		Servers  int    `json:"servers"`  // of the cluster
		State    string `json:"state"`    // of the link to it
		Running  int    `json:"running"`  // requests, of all endpoints
		Requests uint64 `json:"requests"` // carried out
		Refused  uint64 `json:"refused"`
		Partial  uint64 `json:"partial"` // answered without ok
	}{s.emitter.ServerCount(), s.emitter.State().Status.String(), running, s.counts.requests.Load(), s.counts.refused.Load(), s.counts.partial.Load()}
}
