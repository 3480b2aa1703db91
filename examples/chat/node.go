package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/wsserver"
)

const (
	startTimeout = 15 * time.Second // to meet the cluster
	stopTimeout  = 8 * time.Second  // for the farewell to clients, some of them silent, and for what is queued
)

// A node is a Socket.IO server with a chat on it, and an HTTP server with the page in front of it.
type node struct {
	name     string // its address, by which the cluster knows it
	io       *wsserver.Server
	chat     *chat
	service  *service.Service // nil for none
	listener net.Listener
	web      *http.Server
	work     sync.WaitGroup // what runs until stop is called
	stop     context.CancelFunc
	served   chan error // gets what Serve returned
}

// runNode runs one node until ctx ends or the node fails.
func runNode(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) error {
	listener, err := listen(cfg.addr, cfg.spare)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, cfg, listener, nil, out, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "node http://%s%s\nOpen it in a browser. Ctrl-C ends it.\n",
		pageHost(listener), moved(cfg.addr, listener.Addr().String()))
	return n.wait(ctx)
}

// startNode starts a node and returns when it has met its cluster and serves; wait must be called
// in the end. ctx bounds the start alone. kill is called with the name of a node, or NATS, that a
// user wants killed; nil means that this node's cluster is none to play with.
func startNode(
	ctx context.Context, cfg config, listener net.Listener, kill func(name string),
	out io.Writer, log *slog.Logger,
) (*node, error) {
	adapter, err := open(cfg.adapter)
	if err != nil {
		listener.Close()
		return nil, err
	}
	name := reachable(listener)
	n := &node{
		name:     name,
		listener: listener,
		io: wsserver.New(wsserver.Config{
			Adapter: adapter,
			Cluster: wsserver.ClusterConfig{NodeName: name},
			HTTP:    httpConfig(cfg.peers, kill != nil),
			Logger:  log,
		}),
		web: &http.Server{
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		served: make(chan error, 1),
	}
	n.chat = newChat(n.io, cfg.peers, kill, log)
	if err := n.meet(ctx, cfg, out, log); err != nil {
		return nil, errors.Join(err, n.close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.work.Go(func() { n.chat.people.run(running) })
	n.work.Go(func() { n.chat.nodes.run(running) })

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.io)
	mux.Handle("/", page(cfg.peers))
	n.web.Handler = mux
	go func() { n.served <- n.web.Serve(n.listener) }()
	return n, nil
}

// meet waits until the node has met its cluster, and starts the service that cfg asks for.
func (n *node) meet(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := n.io.Ready(ctx); err != nil {
		return fmt.Errorf("the node has not met its cluster; does a NATS server run there? "+
			"without -adapter, one is started: %w", err)
	}
	if cfg.service {
		n.service, err = startService(ctx, cfg.adapter, out, log)
	}
	return err
}

// httpConfig lets the pages of all peers connect. Where they may kill, no other page can, also if
// its host's name leads here (DNS rebinding): then the request's Host is that name.
func httpConfig(peers []string, kill bool) wsserver.HTTPConfig {
	var hosts, origins []string
	for _, peer := range peers {
		hosts = append(hosts, peer)
		if host, port, _ := net.SplitHostPort(peer); net.ParseIP(host).IsLoopback() {
			hosts = append(hosts, net.JoinHostPort("localhost", port))
		}
	}
	for _, host := range hosts {
		origins = append(origins, "http://"+host)
	}
	cfg := wsserver.HTTPConfig{CORS: &wsserver.CORS{Origins: origins}}
	if kill {
		cfg.AllowRequest = func(r *http.Request) error {
			if !slices.Contains(hosts, r.Host) {
				return fmt.Errorf("this is no host of the cluster's: want one of %q", hosts)
			}
			return nil
		}
	}
	return cfg
}

// pageHost is the host and port of the page for a browser on this host.
func pageHost(listener net.Listener) string {
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // all addresses, this one among them
	}
	return net.JoinHostPort(host, port)
}

// wait waits until ctx ends or the node fails, and stops it.
func (n *node) wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-n.served:
	}
	return errors.Join(err, n.close())
}

// close ends the node: it says goodbye to its clients and to its cluster, and returns when it has
// stopped, or has had its time.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
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
	n.listener.Close() // a second time, unless it never served
	return err
}
