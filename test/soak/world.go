package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/wsserver"
)

var quiet = slog.New(slog.DiscardHandler)

// A world is a NATS server, two servers with their addresses, and what clients have done there.
type world struct {
	nats    *embedded.Server
	servers []*wsserver.Server
	webs    []*http.Server
	hosts   []string
	http    *http.Client

	sessions, events, emitters, failures atomic.Int64

	mu    sync.Mutex // guards first
	first error      // failure
}

func newWorld(ctx context.Context) (*world, error) {
	nats, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return nil, err
	}
	w := &world{nats: nats, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute}}
	for range 2 {
		srv := wsserver.New(wsserver.Config{
			Adapter: w.adapter(), Logger: quiet,
			PingInterval: 2 * time.Second, PingTimeout: 5 * time.Second, // those who vanish are to be found within a cycle
			Limits:  wsserver.Limits{MaxNamespaces: 10_000},
			Cluster: wsserver.ClusterConfig{RepairBytes: 1 << 20}, // a node remembers its broadcasts for half a minute: all fit in what it has by default, and look like a leak
			OnError: func(*wsserver.Socket, string, error) {},
		})
		w.servers = append(w.servers, srv)
		serve(srv)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
		web := &http.Server{Handler: srv}
		w.webs, w.hosts = append(w.webs, web), append(w.hosts, l.Addr().String())
		go web.Serve(l) // until close
		if err := srv.Ready(ctx); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

func (w *world) adapter() adapter.Adapter {
	return natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "soak", Logger: quiet})
}

// serve is the application: clients join and leave rooms, and say something to one.
func serve(srv *wsserver.Server) {
	connect := func(ctx context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
			return true, s.Join(ctx, room)
		})
		wsserver.OnAck(s, "leave", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
			s.Leave(room)
			return true, nil
		})
		wsserver.OnAck(s, "say", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
			return true, s.Namespace().To(room).Emit(ctx, "said", strings.Repeat("x", 500))
		})
		return nil
	}
	srv.OnConnect(connect)
	srv.OfFunc(func(name string) bool { return strings.HasPrefix(name, "/made-") }).OnConnect(connect)
}

// churn has clients and emitters come and go for a cycle, and returns when all have left.
func (w *world) churn(ctx context.Context, cfg config) {
	ctx, cancel := context.WithTimeout(ctx, cfg.cycle)
	defer cancel()
	var all sync.WaitGroup
	for i := range cfg.clients {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n += cfg.clients {
				if err := w.visit(n); err != nil {
					w.fail(err)
				}
				w.sessions.Add(1)
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			if err := w.emit(ctx); err != nil && ctx.Err() == nil {
				w.fail(err)
			}
			w.emitters.Add(1)
		}
	})
	all.Wait()
	w.http.CloseIdleConnections()
}

// emit is an emitter's life.
func (w *world) emit(ctx context.Context) error {
	e := emitter.New(emitter.Config{Adapter: w.adapter(), Logger: quiet})
	err := e.Ready(ctx)
	for i := range 20 {
		err = errors.Join(err, e.To(fmt.Sprint("room-", i)).Emit(ctx, "said", i))
	}
	_, counted := e.All().Count(ctx)
	var partial *cluster.PartialError // of a client that went meanwhile, say
	if errors.As(counted, &partial) {
		counted = nil
	}
	ending, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	time.Sleep(200 * time.Millisecond)
	return errors.Join(err, counted, e.Close(ending))
}

func (w *world) fail(err error) {
	w.failures.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = err
	}
}

func (w *world) progress() string {
	return fmt.Sprintf("so far %d sessions, %d events, %d emitters, %d failures",
		w.sessions.Load(), w.events.Load(), w.emitters.Load(), w.failures.Load())
}

// verdict is an error if too much has failed, or nothing was tried.
func (w *world) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, of := w.failures.Load(), w.sessions.Load(); n*100 > of || of == 0 || w.events.Load() == 0 {
		return fmt.Errorf("%d failures in %d sessions with %d events, the first: %w", n, of, w.events.Load(), w.first)
	}
	return nil
}

// settle waits until all is as it was after the first cycle, or its patience is at an end. After the first cycle it waits until nothing changes any more:
// rooms, namespaces and their subscriptions are kept for a while.
func (w *world) settle(ctx context.Context, before []gauge) (g gauge, err error) {
	const (
		patience = 90 * time.Second // the numbers of broadcasts are remembered for a minute
		still    = 6 * time.Second
	)
	start := time.Now()
	since := start
	for ; time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		now := measure(w.nats.Subscriptions())
		if now.goroutines != g.goroutines || now.descriptors != g.descriptors || now.subscriptions != g.subscriptions {
			since = time.Now()
		}
		g = now
		if len(before) > 0 && g.grown(before[0]) == nil || len(before) == 0 && time.Since(since) > still {
			return g, nil
		}
		if ctx.Err() != nil {
			return g, errors.New("interrupted")
		}
	}
	if len(before) > 0 && g.goroutines > before[0].goroutines+countSlack {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) // who is left
	}
	return g, nil
}

func (w *world) close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, srv := range w.servers {
		errs = append(errs, srv.Close(ctx))
	}
	for _, web := range w.webs {
		errs = append(errs, web.Close())
	}
	w.http.CloseIdleConnections()
	w.nats.Shutdown()
	return errors.Join(errs...)
}
