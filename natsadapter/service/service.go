// Package service offers what can be done to the sockets of a cluster as a NATS service, for programs in any language: they send a request in
// JSON to a subject, and get an answer in JSON.
//
//	nats req belfry.service.rchat.emit '{"rooms":["lobby"],"event":"news","args":["hi"]}'
//	{"ok":true,"count":2}
//
// [Start] starts it, and nothing else does. It is found by `nats service ls` and the like, under the name "belfry", with all its subjects, and
// with a JSON schema and an example of each request. Several instances for one cluster share the requests.
//
// # Subjects
//
// The subjects are <prefix>.service.<cluster>.<endpoint>, of which [Service.Subject] is the beginning: prefix is natsadapter.Config's, and
// cluster its name behind an 'r', with every byte but letters, digits, '-' and '_' as "=XX" in hexadecimal: "rchat" for "chat". The endpoints:
//
//	emit        sends an event to sockets, and says how many have it
//	join        puts sockets into rooms
//	leave       takes sockets out of rooms
//	disconnect  disconnects sockets
//	count       says how many sockets there are
//	fetch       says which
//
// # Requests
//
// A request is an object. These fields of it, all of which may be left out, select sockets, on all servers:
//
//	namespace   of which namespace; "/" if it is left out
//	rooms       those in any of these rooms, each once; a socket's id is a room, too. Of an empty list, [] or null, nobody: the answer is ok, and
//	            counts none. If it is left out, all of the namespace
//	except      without those in any of these rooms
//	timeout     how long to wait for the servers, in milliseconds, 30,000 at the most; Config.Timeout if it is left out
//
// Those of emit besides: event, its name; args, a list of its arguments, any JSON; volatile and compress, as Broadcast's methods of these
// names have it. An argument cannot be binary: there is no JSON for it. A request without a reply subject (nats pub) is carried out and not
// answered; emit then reaches only the servers that have such sockets, and keeps the order of what one client sends to one instance.
//
// Those of join and leave: join and leave, the rooms. Of disconnect: close, to end the connections of the clients, with their sockets in all
// namespaces; and all, which must be true to disconnect a whole namespace, with neither rooms nor except. Of fetch: limit, how many sockets
// at the most; after, the id of a socket, to go on behind it; handshake, to have that of each socket, with its credentials.
//
// Other fields are refused, so that a wrong name does not go unnoticed.
//
// # Answers
//
// An answer is an object. ok says that all of it was done, on all servers; otherwise error says why not, missing which servers have not said
// that they have done it, by their ids, and unconfirmed which servers do not know yet of the rooms that were joined. What else is in it is
// what was done, or is known, without them: count, of emit and count; sockets, of fetch, in the order of their ids, and more, if there are
// others, of which those behind the last can be fetched next. An answer is as large as a message may be on this NATS; of a socket that is
// larger by itself, there is no more than that it is truncated. Each request fetches all sockets that are selected from the servers.
//
// A request that was refused has an answer with the headers of a service's error: Nats-Service-Error-Code is 400 for a wrong request, 413 for
// one that is too large, 429 if there are too many, and 503 if the service is closing, has not reached the cluster or is denied what it needs of
// NATS, or knows no server of the cluster.
// Nats-Service-Error says more, and so does error in its JSON. Nobody got anything then. Those who send requests one after the other, and wait for the answers,
// have them carried out in this order.
//
// # Who may use it
//
// Whoever may publish to its subjects can do everything to every socket: the permissions of the NATS server are the guard, and there is no
// other. A client needs to publish to the endpoints that it is to use, and to subscribe to its inbox. The service needs what a node of the
// cluster does, to subscribe to its own subjects and to $SRV.>, and to publish to the inboxes of those who ask, such as by allow_responses.
package service

import (
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
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
)

// Name and Version are how the service is found. The version is that of its requests and answers, by the rules of semantic versioning.
const (
	Name    = "belfry"
	Version = "1.0.0"
)

// A Config is what a Service is made of. Adapter is to be set; what else is zero has a default.
type Config struct {
	// Adapter says which cluster the service is for, on which NATS. It may be that of a server in this process: the service makes
	// connections of its own.
	Adapter *natsadapter.Adapter

	// Emitter is what reaches the cluster. It stays the caller's, who closes it after the Service. nil means one of the Service's own over
	// Adapter, with the codec that servers have by default: set it for another one.
	Emitter *emitter.Emitter

	// Timeout is how long a request waits for the servers if it does not say so itself. Zero means 3 seconds: within that, a server
	// that has died is known to have, and the answer comes before those who ask with `nats req` give up.
	Timeout time.Duration

	// MaxRequests bounds the requests that are carried out at a time. Further ones are refused. Zero means 64.
	MaxRequests int

	// MaxRequestBytes bounds a request. Larger ones are refused. Zero means 1 MiB, which is what a NATS server allows by default.
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

// A Service answers requests, until it is closed. Its methods may be called concurrently.
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

// Start starts the service for the cluster of cfg.Adapter. It returns when the service can be found, and its requests reach the cluster,
// or with an error that says why that cannot be, or that ctx has ended; without a deadline in ctx, after 30 seconds. Close it in the end.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Adapter == nil {
		return nil, errors.New("service: start: no adapter: set Config.Adapter to one for the cluster of the servers")
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
	s.nc, err = s.cfg.Adapter.Connect(ctx,
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
		Metadata:     map[string]string{"cluster": s.cfg.Adapter.Cluster(), "node": s.emitter.Node()},
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

// Subject is what the subjects of the service begin with; a dot and the name of an endpoint follow.
func (s *Service) Subject() string { return s.subject }

// Close takes no more requests, waits for those that are being carried out, and for all that Start has started, until ctx ends. Requests that
// are not done then are answered with what is known. An error says that something was left undone.
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

// drained waits until the requests that the server had sent before Stop have come to their handlers. nats.go does not say so otherwise.
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

// begin counts a request that is to be carried out: end is to follow, and then tasks.Done. It returns why it is not.
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

// stats is what STATS of the service says besides. The processing times there are those of taking the requests.
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
	}{len(s.emitter.Nodes()), s.emitter.State().Status.String(), running, s.counts.requests.Load(), s.counts.refused.Load(), s.counts.partial.Load()}
}
