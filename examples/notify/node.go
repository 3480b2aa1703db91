package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// A node is a Socket.IO server, and an HTTP server with the page and the API in front of it.
type node struct {
	url      string // for browsers; also its name in the cluster, which tells devices where to go
	io       *wsserver.Server
	log      *slog.Logger
	devices  *devices
	listener net.Listener
	web      *http.Server
	served   chan error // gets what Serve returned, once open was called
	watching sync.WaitGroup
	stop     context.CancelFunc
}

// newNode makes a node that listens but does not answer yet, and begins to join its cluster. close must be
// called in the end. i counts the nodes of the process.
func newNode(cfg config, i int, a adapter.Adapter, id *identity, log *slog.Logger) (*node, error) {
	listener, err := listen(cfg.addr, i)
	if err != nil {
		return nil, err
	}
	n := &node{url: cfg.url, log: log, listener: listener, served: make(chan error, 1)}
	if n.url == "" {
		n.url = pageURL(listener.Addr())
	}
	n.io = wsserver.New(wsserver.Config{
		Adapter: a,
		Cluster: wsserver.ClusterConfig{NodeName: n.url},
		HTTP: wsserver.HTTPConfig{
			ClientFiles: clientFiles(),
			// Pages of other nodes may come when theirs has died. Any page may: it needs a token, and a
			// browser does not send that by itself, as it does with a cookie.
			CORS: &wsserver.CORS{Origins: []string{"*"}},
		},
		Logger: log,
	})
	n.devices = newDevices(n.io, id, log)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.io)
	mux.Handle("/notify/", (&api{token: cfg.apiToken, devices: n.devices}).handler())
	mux.Handle("/", page())
	n.web = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return n, nil
}

// listen listens on the port that is i behind that of addr. Without addr it takes the default, and another
// port if that is taken.
func listen(addr string, i int) (net.Listener, error) {
	wanted := addr
	if wanted == "" {
		wanted = defaultAddr
	}
	host, text, _ := net.SplitHostPort(wanted) // as the configuration was checked
	port, _ := strconv.Atoi(text)
	if port != 0 {
		port += i
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil && addr == "" {
		return net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen: choose another -addr, or port 0 for a free one: %w", err)
	}
	return l, nil
}

// pageURL is the address of the page for a browser on this host.
func pageURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // all addresses, this one among them
	}
	return "http://" + net.JoinHostPort(host, port)
}

// open asks the other nodes what was sent before, and begins to serve.
func (n *node) open(ctx context.Context) {
	n.devices.recall(ctx)
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.watching.Go(func() { n.devices.watch(ctx) })
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

// close ends the node: it says goodbye to its clients and to its cluster, and returns when it has stopped,
// or ctx ends.
func (n *node) close(ctx context.Context) error {
	if n.stop != nil {
		n.stop()
		n.watching.Wait()
	}
	err := n.io.Shutdown(ctx, n.web)
	n.listener.Close() // a second time, unless the node was never opened
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok {
		n.log.Warn("notify: another node may not have everything from this one", "error", partial)
		return nil // it may have died itself a moment ago
	}
	return err
}
