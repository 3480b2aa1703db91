// Package embedded runs NATS servers in this process, alone or joined by routes: for examples,
// tests, and small clusters without NATS servers of their own.
//
// Such a server offers core NATS to clients and routes, and nothing else: no JetStream, no
// monitoring port, no listener for WebSocket, MQTT, leaf nodes or gateways. It does not handle the
// signals of the process.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config configures a [Server]. The zero value means a single server on a free port of the loopback
// interface.
type Config struct {
	// Host is the address to listen on for clients. Empty means 127.0.0.1. An address that is not
	// loopback needs authorization: Username and Password.
	Host string

	// Port is the port for clients. Zero means a free one.
	Port int

	// Name is the server's name, unique in its cluster. Empty means a random one.
	Name string

	// ClusterName is the name of the cluster that the server joins. Empty means no cluster, unless
	// another field about the cluster is set; then it means "belfry".
	ClusterName string

	// ClusterHost is the address to listen on for routes. Empty means Host. An address that is not
	// loopback needs ClusterUsername and ClusterPassword. With a Host that is loopback, clients are
	// not told of the cluster's other servers, which they could not reach.
	ClusterHost string

	// ClusterPort is the port for routes. Zero means a free one.
	ClusterPort int

	// Routes are the cluster addresses of other servers, as ClusterURL returns them. One that is up
	// suffices: servers tell each other of the rest. Addresses without a user get ClusterUsername
	// and ClusterPassword.
	Routes []string

	// Username and Password are required of clients. Empty means that any client may connect.
	Username, Password string

	// ClusterUsername and ClusterPassword are required of other servers.
	ClusterUsername, ClusterPassword string

	// MaxPayload is the largest message, in bytes. Zero means 1 MiB.
	MaxPayload int

	// LameDuckGrace is how long clients may stay undisturbed after LameDuck was called, and
	// LameDuckDuration when the last one is disconnected. Zero means 10 and 30 seconds.
	LameDuckGrace, LameDuckDuration time.Duration

	// Logger receives the server's notices, warnings and errors. nil means no logging.
	Logger *slog.Logger

	// Options are all other options: users with permissions, accounts, TLS. Fields above that are
	// set override them. They must not turn on what this package does not offer. The server works
	// on a copy.
	Options *server.Options
}

// The settings that make a broken or slow connection show soon, and none hold up the others.
const (
	maxPayload         = 1 << 20
	largestPayload     = 8 << 20 // nats-server warns of more
	maxControlLine     = 4096
	maxPending         = 64 << 20
	writeDeadline      = 2 * time.Second
	clientPingInterval = 10 * time.Second
	routePingInterval  = 2 * time.Second
	lameDuckGrace      = 10 * time.Second
	lameDuckDuration   = 30 * time.Second
)

// startTimeout bounds Start and WaitForRoutes where ctx has no deadline.
const startTimeout = 10 * time.Second

// bounded is ctx with a deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startTimeout)
}

// A Server is a NATS server in this process. Its methods may be called concurrently.
type Server struct {
	nats *server.Server
	cfg  Config

	shutdown sync.Once
}

// Start starts a server and returns when it accepts connections. ctx bounds the start alone, not
// the life of the server; without a deadline in ctx, Start gives up after 10 seconds. The caller
// must call Shutdown or LameDuck in the end.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	log := &logger{log: cfg.Logger, fatal: make(chan error, 1)}
	ns.SetLogger(log, false, false)
	ns.Start()
	s := &Server{nats: ns, cfg: cfg}
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = poll(ctx, func() bool {
		return log.failed() || ns.ReadyForConnections(time.Millisecond)
	})
	select {
	case err = <-log.fatal:
	default:
	}
	if err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("embedded: start: %w", err)
	}
	return s, nil
}

// options returns the settings of nats-server that cfg amounts to.
func (cfg Config) options() (*server.Options, error) {
	o := &server.Options{}
	if cfg.Options != nil {
		o = cfg.Options.Clone()
	}
	if what := unwanted(o); what != "" {
		return nil, fmt.Errorf("the field Options turns on %s, which an embedded server does not offer", what)
	}
	o.Host = cmp.Or(cfg.Host, o.Host, "127.0.0.1")
	o.Port = cmp.Or(cfg.Port, o.Port, server.RANDOM_PORT)
	o.ServerName = cmp.Or(cfg.Name, o.ServerName)
	o.NoSigs = true
	o.MaxControlLine = cmp.Or(o.MaxControlLine, maxControlLine)
	o.MaxPending = cmp.Or(o.MaxPending, maxPending)
	o.WriteDeadline = cmp.Or(o.WriteDeadline, writeDeadline)
	o.PingInterval = cmp.Or(o.PingInterval, clientPingInterval)
	o.LameDuckGracePeriod = cmp.Or(cfg.LameDuckGrace, o.LameDuckGracePeriod, lameDuckGrace)
	o.LameDuckDuration = cmp.Or(cfg.LameDuckDuration, o.LameDuckDuration, lameDuckDuration)
	if cfg.MaxPayload < 0 || cfg.MaxPayload > largestPayload {
		return nil, fmt.Errorf("the field MaxPayload is %d bytes: want 0 to %d", cfg.MaxPayload, largestPayload)
	}
	o.MaxPayload = cmp.Or(int32(cfg.MaxPayload), o.MaxPayload, maxPayload)
	if cfg.Username != "" || cfg.Password != "" {
		o.Username, o.Password = cfg.Username, cfg.Password
	}
	if clustered(cfg) {
		o.Cluster.Name = cmp.Or(cfg.ClusterName, o.Cluster.Name, "belfry")
		o.Cluster.Host = cmp.Or(cfg.ClusterHost, o.Host)
		o.Cluster.NoAdvertise = o.Cluster.NoAdvertise || loopback(o.Host) && !loopback(o.Cluster.Host)
		o.Cluster.Port = cmp.Or(cfg.ClusterPort, o.Cluster.Port, server.RANDOM_PORT)
		o.Cluster.PingInterval = cmp.Or(o.Cluster.PingInterval, routePingInterval)
		if cfg.ClusterUsername != "" || cfg.ClusterPassword != "" {
			o.Cluster.Username, o.Cluster.Password = cfg.ClusterUsername, cfg.ClusterPassword
		}
		for _, route := range cfg.Routes {
			u, err := url.Parse(route)
			if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "nats-route" {
				return nil, fmt.Errorf("route %q: want nats://host:port", redact(u))
			}
			if u.User == nil && cfg.ClusterUsername != "" {
				u.User = url.UserPassword(cfg.ClusterUsername, cfg.ClusterPassword)
			}
			o.Routes = append(o.Routes, u)
		}
	}
	return o, guarded(o)
}

// unwanted names what o turns on beside clients and routes, or returns "".
func unwanted(o *server.Options) string {
	switch {
	case o.JetStream:
		return "JetStream"
	case o.HTTPPort != 0 || o.HTTPSPort != 0 || o.ProfPort != 0:
		return "a monitoring or profiling port"
	case o.Websocket.Port != 0:
		return "a WebSocket listener"
	case o.MQTT.Port != 0:
		return "an MQTT listener"
	case o.LeafNode.Port != 0 || len(o.LeafNode.Remotes) > 0:
		return "leaf nodes"
	case o.Gateway.Name != "" || o.Gateway.Port != 0:
		return "gateways"
	}
	return ""
}

func redact(u *url.URL) string {
	if u == nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

func clustered(cfg Config) bool {
	return cfg.ClusterName != "" || cfg.ClusterHost != "" || cfg.ClusterPort != 0 || len(cfg.Routes) > 0 || cfg.ClusterUsername != "" || cfg.ClusterPassword != "" ||
		cfg.Options != nil && cfg.Options.Cluster.Port != 0
}

// guarded returns an error if o opens the server to others without asking who they are.
func guarded(o *server.Options) error {
	if !loopback(o.Host) {
		if o.Username == "" && o.Authorization == "" && len(o.Users) == 0 && len(o.Nkeys) == 0 && len(o.TrustedOperators) == 0 &&
			len(o.TrustedKeys) == 0 && o.CustomClientAuthentication == nil && o.AuthCallout == nil {
			return fmt.Errorf("host %s is open to others, and any client may connect: set Username and Password, or users in Options, "+
				"or listen on 127.0.0.1", o.Host)
		}
		if o.NoAuthUser != "" {
			return fmt.Errorf("host %s is open to others, and Options.NoAuthUser lets any client connect: leave it empty", o.Host)
		}
	}
	if o.Cluster.Port != 0 && !loopback(o.Cluster.Host) && o.Cluster.Username == "" &&
		!(o.Cluster.TLSConfig != nil && o.Cluster.TLSMap) && o.CustomRouterAuthentication == nil {
		return fmt.Errorf("host %s is open to others, and any server may join the cluster: set ClusterUsername and ClusterPassword",
			o.Cluster.Host)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost"
}

// URL returns the address for clients, "nats://host:port", without credentials.
func (s *Server) URL() string {
	return "nats://" + hostPort(s.nats.Addr())
}

// ClusterURL returns the address for other servers' Routes, "nats://host:port", without
// credentials; it is empty for a server alone.
func (s *Server) ClusterURL() string {
	addr := s.nats.ClusterAddr()
	if addr == nil {
		return ""
	}
	return "nats://" + hostPort(addr)
}

// hostPort returns addr in a form to connect to: a server that listens on all addresses is reached
// on the loopback one.
func hostPort(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// Shutdown stops the server and returns when it has stopped: clients and routes see their
// connections end. Further calls are no-ops that wait as well.
func (s *Server) Shutdown() {
	s.shutdown.Do(s.nats.Shutdown)
	s.nats.WaitForShutdown()
}

// Close is Shutdown, as an io.Closer. It returns nil.
func (s *Server) Close() error {
	s.Shutdown()
	return nil
}

// LameDuck stops the server gently: it accepts no more clients, tells those that it has, gives them
// LameDuckGrace to find another server, and disconnects them until LameDuckDuration is over. It
// returns when the server has stopped.
func (s *Server) LameDuck() {
	s.nats.LameDuckShutdown()
	s.nats.WaitForShutdown()
}

// Clients returns how many clients are connected.
func (s *Server) Clients() int { return s.nats.NumClients() }

// Subscriptions returns how many subscriptions the server's own clients have, together.
func (s *Server) Subscriptions() int {
	n := 0
	conns, err := s.nats.Connz(nil)
	if err == nil {
		for _, c := range conns.Conns {
			n += int(c.NumSubs)
		}
	}
	return n
}

// Disconnect closes the connections of all clients without a warning. They may reconnect.
func (s *Server) Disconnect() error {
	conns, err := s.nats.Connz(nil)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	var errs []error
	for _, c := range conns.Conns {
		if err := s.nats.DisconnectClientByID(c.Cid); err != nil {
			errs = append(errs, fmt.Errorf("embedded: client %d: %w", c.Cid, err))
		}
	}
	return errors.Join(errs...)
}

// poll waits until done returns true. nats-server tells of none of what is waited for here.
func poll(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
