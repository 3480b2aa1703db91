// Package natstest gives tests a NATS server or a cluster of them, in the manner of
// net/http/httptest: in this process, on free ports of the loopback interface, and gone when the
// test ends. Each server can be made to fail and to come back.
package natstest

import (
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// A Server is a NATS server for a test. It keeps its addresses over a Restart. Its methods are for
// the goroutine of the test, but URL may be called from anywhere.
type Server struct {
	t          testing.TB
	cfg        embedded.Config // with the ports that were found free
	url        string
	clusterURL string
	server     *embedded.Server // nil while it is down; see up
	retired    chan struct{}    // closed when it has stopped by itself after LameDuck; nil without LameDuck
	lame       sync.WaitGroup   // LameDuck's goroutines
}

// NewServer starts a server alone. It is shut down when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return Start(t, embedded.Config{})
}

// Start starts a server as cfg says. It is shut down when the test ends. The zero values of
// cfg.LameDuckGrace and LameDuckDuration mean a second and two here.
func Start(t testing.TB, cfg embedded.Config) *Server {
	t.Helper()
	cfg = shorten(cfg)
	server, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	return adopt(t, cfg, server)
}

// NewCluster starts n servers that are joined by routes, and returns when each knows all the
// others. They are shut down when the test ends.
func NewCluster(t testing.TB, n int) []*Server {
	t.Helper()
	return StartCluster(t, n, embedded.Config{})
}

// StartCluster is NewCluster with a configuration for each of the servers, as
// [embedded.StartCluster] takes it.
func StartCluster(t testing.TB, n int, cfg embedded.Config) []*Server {
	t.Helper()
	cfg = shorten(cfg)
	started, err := embedded.StartCluster(t.Context(), n, cfg)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = "belfry"
	}
	servers := make([]*Server, n)
	for i, server := range started {
		servers[i] = adopt(t, cfg, server)
	}
	for _, s := range servers {
		for _, other := range servers {
			if other != s {
				s.cfg.Routes = append(s.cfg.Routes, other.clusterURL)
			}
		}
	}
	return servers
}

// URLs returns the addresses of servers as one list, for natsadapter.Config.URL.
func URLs(servers ...*Server) string {
	urls := make([]string, len(servers))
	for i, s := range servers {
		urls[i] = s.url
	}
	return strings.Join(urls, ",")
}

// WaitForRoutes returns when each of servers, which make up a whole cluster and are all up, has its
// routes to all the others.
func WaitForRoutes(t testing.TB, servers ...*Server) {
	t.Helper()
	up := make([]*embedded.Server, len(servers))
	for i, s := range servers {
		if up[i] = s.up(); up[i] == nil {
			t.Fatalf("natstest: WaitForRoutes: %s is down", s.url)
		}
	}
	if err := embedded.WaitForRoutes(t.Context(), up); err != nil {
		t.Fatalf("natstest: %v", err)
	}
}

func shorten(cfg embedded.Config) embedded.Config {
	if cfg.LameDuckGrace == 0 {
		cfg.LameDuckGrace = time.Second
	}
	if cfg.LameDuckDuration == 0 {
		cfg.LameDuckDuration = 2 * time.Second
	}
	return cfg
}

func adopt(t testing.TB, cfg embedded.Config, server *embedded.Server) *Server {
	t.Helper()
	cfg.Port = port(t, server.URL())
	if u := server.ClusterURL(); u != "" {
		cfg.ClusterPort = port(t, u)
	}
	s := &Server{t: t, cfg: cfg, url: server.URL(), clusterURL: server.ClusterURL(), server: server}
	t.Cleanup(func() {
		s.Shutdown()
		s.lame.Wait()
	})
	return s
}

func port(t testing.TB, text string) int {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	return n
}

// URL returns the address for clients, "nats://127.0.0.1:port".
func (s *Server) URL() string { return s.url }

// up returns the server, or nil while it is down.
func (s *Server) up() *embedded.Server {
	select {
	case <-s.retired:
		s.server, s.retired = nil, nil
	default:
	}
	return s.server
}

// Shutdown stops the server at once: its clients see their connections end. It is a no-op while the
// server is down.
func (s *Server) Shutdown() {
	if server := s.up(); server != nil {
		server.Shutdown()
		s.server, s.retired = nil, nil
	}
}

// Running reports whether the server is up. One that has been told to go by LameDuck is, until it
// has stopped.
func (s *Server) Running() bool { return s.up() != nil }

// Restart starts the server anew on the same addresses, after a Shutdown if it is up. The server of
// a cluster joins it again, but Restart does not wait for that: see [WaitForRoutes].
func (s *Server) Restart() {
	s.t.Helper()
	s.Shutdown()
	s.lame.Wait()
	server, err := embedded.Start(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatalf("natstest: restart: %v", err)
	}
	s.server = server
}

// Disconnect closes the connections of all clients without a warning; the server goes on.
func (s *Server) Disconnect() {
	s.t.Helper()
	server := s.up()
	if server == nil {
		s.t.Fatalf("natstest: Disconnect: %s is down", s.url)
	}
	if err := server.Disconnect(); err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
}

// LameDuck makes the server tell its clients to go, and stop after a while; it does not wait for
// that. See [embedded.Server.LameDuck].
func (s *Server) LameDuck() {
	s.t.Helper()
	server := s.up()
	if server == nil {
		s.t.Fatalf("natstest: LameDuck: %s is down", s.url)
	}
	if s.retired != nil {
		return // it has been told
	}
	retired := make(chan struct{})
	s.retired = retired
	s.lame.Go(func() {
		defer close(retired)
		server.LameDuck()
	})
}

// Clients returns how many clients are connected.
func (s *Server) Clients() int {
	if server := s.up(); server != nil {
		return server.Clients()
	}
	return 0
}

// Subscriptions returns how many subscriptions the clients of the server have.
func (s *Server) Subscriptions() int {
	if server := s.up(); server != nil {
		return server.Subscriptions()
	}
	return 0
}
