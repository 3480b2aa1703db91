package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// A node is a Socket.IO server, and an HTTP server with the page in front of it.
type node struct {
	url      string
	io       *wsserver.Server
	log      *slog.Logger
	listener net.Listener
	web      *http.Server
	served   chan error // gets what Serve returned, once open was called
}

// newNode makes a node that listens but does not answer yet, and begins to join its cluster. close must be called in the end. An empty name
// is that of the host.
func newNode(cfg config, name string, log *slog.Logger) (*node, error) {
	a, err := open(cfg.adapter)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: choose another -addr, or port 0 for a free one: %w", cfg.addr, err)
	}
	return &node{
		url:      pageURL(listener.Addr()),
		io:       wsserver.New(wsserver.Config{Adapter: a, Cluster: wsserver.ClusterConfig{NodeName: name}, Logger: log}),
		log:      log,
		listener: listener,
		web: &http.Server{
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		served: make(chan error, 1),
	}, nil
}

// pageURL is the address of the page for a browser on this host.
func pageURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // all addresses, this one among them
	}
	return "http://" + net.JoinHostPort(host, port)
}

// open begins to serve the page and the chat. links are all nodes that the page shows.
func (n *node) open(links []link) {
	newChat(n.io, links, n.log)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.io)
	mux.Handle("/", page())
	n.web.Handler = mux
	go func() { n.served <- n.web.Serve(n.listener) }()
}

// wait returns when the node has ended: nil after close, else why.
func (n *node) wait() error {
	err := <-n.served
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", n.url, err)
}

// close ends the node: it says goodbye to its clients and to its cluster, and returns when it has stopped, or ctx ends.
func (n *node) close(ctx context.Context) error {
	err := n.io.Shutdown(ctx, n.web)
	n.listener.Close() // a second time, unless the node was never opened
	return err
}
