package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/metrics"
)

// A node is a Socket.IO server with a chat on it, and an HTTP server with the page in front of it.
type node struct {
	cfg       *config.Config
	io        *wsserver.Server
	service   *service.Service // nil for none
	listeners []net.Listener
	web       *http.Server
	work      sync.WaitGroup // what runs until stop is called
	stop      context.CancelFunc
	served    chan error // gets what Serve returned, for each listener

	draining func(clients int) // is called when the node begins to send its clients to others; nil for none
}

// runNode runs one node until ctx ends or the node fails.
func runNode(ctx context.Context, cfg *config.Config, own settings, out io.Writer) error {
	wanted := cfg.Addrs[0]
	listeners, err := listen(cfg, !cfg.Given("addr"))
	if err != nil {
		return err
	}
	n, err := startNode(ctx, cfg, own, listeners, nil, out)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		fmt.Fprintf(out, "node %s%s\n", pageURL(l, cfg), moved(wanted, l.Addr().String()))
	}
	fmt.Fprintln(out, "Open it in a browser. Ctrl-C ends it.")
	n.draining = func(clients int) {
		fmt.Fprintf(out, "%d clients go to other nodes; a second Ctrl-C ends it at once\n", clients)
	}
	return n.wait(ctx)
}

// startNode starts a node and returns when it has met its cluster and serves; wait must be called
// in the end. ctx bounds the start alone. kill is called with the name of a node, or NATS, that a
// user wants killed; nil means that this node's cluster is none to play with.
func startNode(
	ctx context.Context, cfg *config.Config, own settings, listeners []net.Listener,
	kill func(name string), out io.Writer,
) (*node, error) {
	if !cfg.Given("node-name") {
		cfg.Server.Cluster.NodeName = reachable(listeners[0])
	}
	letPeers(&cfg.Server.HTTP, own.Peers, kill != nil)
	mux := http.NewServeMux()
	n := &node{
		cfg:       cfg,
		io:        wsserver.New(cfg.Server),
		listeners: listeners,
		web: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		},
		served: make(chan error, len(listeners)),
	}
	chat := newChat(n.io, own.Peers, kill, cfg.Logger)
	err := cfg.Ready(ctx, n.io)
	if err == nil && own.Service {
		n.service, err = startService(ctx, cfg.NATS, "", out, cfg.Logger)
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.work.Go(func() { chat.people.run(running) })
	n.work.Go(func() { chat.nodes.run(running) })
	mux.Handle("/socket.io/", n.io)
	mux.Handle("/metrics", metrics.Handler(n.io))
	mux.HandleFunc("/healthz", n.io.ServeHealth)
	mux.HandleFunc("/readyz", n.io.ServeReady)
	mux.Handle("/", page(own.Peers))
	for _, l := range listeners {
		go func() { n.served <- n.web.Serve(n.io.Pace(l)) }()
	}
	return n, nil
}

// letPeers lets the pages of all peers connect. Where they may kill, no other page can, also if its
// host's name leads here (DNS rebinding): then the request's Host is that name.
func letPeers(cfg *wsserver.HTTPConfig, peers []string, kill bool) {
	var hosts, origins []string
	for _, peer := range peers {
		hosts = append(hosts, peer)
		if host, port, _ := net.SplitHostPort(peer); net.ParseIP(host).IsLoopback() {
			hosts = append(hosts, net.JoinHostPort("localhost", port))
		}
	}
	for _, host := range hosts {
		origins = append(origins, "http://"+host, "https://"+host)
	}
	var cors wsserver.CORS
	if cfg.CORS != nil {
		cors = *cfg.CORS
	}
	cors.Origins = slices.Concat(cors.Origins, origins)
	cfg.CORS = &cors
	if kill {
		cfg.AllowRequest = func(r *http.Request) error {
			if !slices.Contains(hosts, r.Host) {
				return fmt.Errorf("this is no host of the cluster's: want one of %q", hosts)
			}
			return nil
		}
	}
}

// pageURL is the address of the page for a browser on this host.
func pageURL(listener net.Listener, cfg *config.Config) string {
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "unix:" + listener.Addr().String()
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1" // all addresses, this one among them
	}
	scheme := "http"
	if cfg.Given("tls.cert") {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// wait waits until ctx ends or the node fails, and stops it.
func (n *node) wait(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			n.cfg.Reload(n.io) // it logs what is wrong
		case <-ctx.Done():
			return errors.Join(n.drain(), n.close())
		case err := <-n.served:
			return errors.Join(err, n.close())
		}
	}
}

// drain sends the node's clients to other nodes.
func (n *node) drain() error {
	if clients := n.io.Stats().Connections; clients > 0 && n.draining != nil {
		n.draining(clients)
	}
	return n.cfg.Drain(context.Background(), n.io)
}

// close ends the node: it says goodbye to its clients and to its cluster, and returns when it has
// stopped, or has had its time.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.ShutdownTime)
	defer cancel()
	if n.stop != nil {
		n.stop()
	}
	n.work.Wait()
	var err error
	if n.service != nil {
		err = n.service.Close(ctx)
	}
	err = errors.Join(err, n.io.Shutdown(ctx, n.web))
	for _, l := range n.listeners {
		l.Close() // a second time, unless it never served
	}
	return err
}
