package embedded

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// StartCluster starts n servers that are joined by routes, and returns when each knows all the
// others. ctx bounds all of that; without a deadline in ctx, the start of each server and the wait
// for the routes may take 10 seconds each. cfg configures each server: its ports must be zero, and
// its Name and Routes empty. The caller must shut down all of them in the end.
func StartCluster(ctx context.Context, n int, cfg Config) ([]*Server, error) {
	if n < 1 || cfg.Port != 0 || cfg.ClusterPort != 0 || cfg.Name != "" || len(cfg.Routes) > 0 {
		return nil, fmt.Errorf("embedded: a cluster of %d servers: want one or more, without Port, ClusterPort, Name and Routes", n)
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = "belfry"
	}
	var servers []*Server
	for range n {
		s, err := Start(ctx, cfg)
		if err == nil {
			servers = append(servers, s)
			if len(servers) == 1 {
				// The first server is the one that all others ask for the rest.
				cfg.Routes = []string{s.ClusterURL()}
			}
			continue
		}
		ShutdownAll(servers)
		return nil, err
	}
	if err := WaitForRoutes(ctx, servers); err != nil {
		ShutdownAll(servers)
		return nil, err
	}
	return servers, nil
}

// WaitForRoutes waits until each of servers, which must be a whole cluster, has its routes to all
// the others. It returns an error when ctx ends; without a deadline in ctx, after 10 seconds.
func WaitForRoutes(ctx context.Context, servers []*Server) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for _, s := range servers {
		if err := s.WaitForRoutes(ctx, len(servers)); err != nil {
			return err
		}
	}
	return nil
}

// WaitForRoutes waits until s, which must be one of a cluster of that many servers, has its routes to
// all the others: until then what is published there does not reach clients of theirs. It returns an
// error when ctx ends; without a deadline in ctx, after 10 seconds.
func (s *Server) WaitForRoutes(ctx context.Context, servers int) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := poll(ctx, func() bool { return s.nats.NumRoutes() >= s.routes(servers) }); err != nil {
		return fmt.Errorf("embedded: server %s has %d routes, want %d: %w", s.URL(), s.nats.NumRoutes(), s.routes(servers), err)
	}
	return nil
}

// routes returns how many routes a server of a cluster of n has: to each other server as many as
// the pool holds, and one for the system account and for every account that is pinned to a route of
// its own.
func (s *Server) routes(n int) int {
	pool, pinned := server.DEFAULT_ROUTE_POOL_SIZE, 1
	if o := s.cfg.Options; o != nil {
		if o.Cluster.PoolSize > 0 {
			pool = o.Cluster.PoolSize
		}
		if o.Cluster.PoolSize < 0 { // pooling is off: one connection for everything
			return n - 1
		}
		if o.NoSystemAccount {
			pinned = 0
		}
		pinned += len(o.Cluster.PinnedAccounts)
		if o.SystemAccount != "" && slices.Contains(o.Cluster.PinnedAccounts, o.SystemAccount) {
			pinned--
		}
	}
	return (n - 1) * (pool + pinned)
}

// ShutdownAll shuts servers down and returns when they have stopped.
func ShutdownAll(servers []*Server) {
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
}
