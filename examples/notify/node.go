package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/metrics"
)

// A node is a Socket.IO server, and an HTTP server with the page and the API in front of it.
type node struct {
	url       string // for browsers
	io        *wsserver.Server
	devices   *devices
	log       *slog.Logger
	listeners []net.Listener
	web       *http.Server
	served    chan error // gets what each Serve returned, once open was called
	watching  sync.WaitGroup
	stop      context.CancelFunc
}

// newNode makes a node that listens but does not answer yet, and begins to join its cluster. close
// must be called in the end. i counts the nodes of the process.
func newNode(cfg *config.Config, own settings, i int, id *identity) (*node, error) {
	listeners, err := listen(cfg, i)
	if err != nil {
		return nil, err
	}
	n := &node{url: cmp.Or(own.URL, pageURL(listeners[0].Addr())), listeners: listeners, log: cfg.Logger}
	n.served = make(chan error, len(listeners))
	server := cfg.Server
	server.Cluster.NodeName = cmp.Or(server.Cluster.NodeName, n.url) // tells devices where to go
	n.io = wsserver.New(server)
	n.devices = newDevices(n.io, id, n.url, n.log)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.io)
	mux.Handle("/notify/", (&api{token: own.APIToken, devices: n.devices}).handler())
	mux.Handle("/", page())
	// For Prometheus and Kubernetes. A proxy in front keeps the Internet from these.
	mux.Handle("/metrics", metrics.Handler(n.io))
	mux.HandleFunc("/healthz", n.io.ServeHealth)
	mux.HandleFunc("/readyz", n.io.ServeReady)
	n.web = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelWarn),
	}
	return n, nil
}

// serverConfig is what only code can say of the server, and what text may override.
func serverConfig() wsserver.Config {
	return wsserver.Config{
		Recovery: new(wsserver.Recovery),
		HTTP: wsserver.HTTPConfig{
			ClientFiles: clientFiles(),
			// Pages of other nodes may come when theirs has died. Any page may: it needs a token, and
			// a browser does not send that by itself, as it does with a cookie.
			CORS: &wsserver.CORS{Origins: []string{"*"}},
		},
	}
}

// listen listens for the node i of the process, on the port that is i behind that of cfg. Instead
// of the default port, if that is taken, it takes another one.
func listen(cfg *config.Config, i int) ([]net.Listener, error) {
	addrs := cfg.Addrs
	defer func() { cfg.Addrs = addrs }()
	host, text, err := net.SplitHostPort(addrs[0])
	port, _ := strconv.Atoi(text)
	if err == nil && port != 0 && i > 0 {
		cfg.Addrs = []string{net.JoinHostPort(host, strconv.Itoa(port+i))}
	}
	listeners, err := cfg.Listen()
	if err != nil && isDefault(addrs) {
		cfg.Addrs = []string{net.JoinHostPort(host, "0")}
		return cfg.Listen()
	}
	return listeners, err
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
	for _, l := range n.listeners {
		go func() { n.served <- n.web.Serve(n.io.Pace(l)) }()
	}
}

// wait returns when the node has ended: nil after close, else why.
func (n *node) wait() error {
	for range n.listeners {
		if err := <-n.served; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s: %w", n.url, err)
		}
	}
	return nil
}

// close ends the node: it says goodbye to its clients and to its cluster, and returns when it has
// stopped, or ctx ends.
func (n *node) close(ctx context.Context) error {
	if n.stop != nil {
		n.stop()
		n.watching.Wait()
	}
	err := n.io.Shutdown(ctx, n.web)
	for _, l := range n.listeners {
		l.Close() // a second time, unless the node was never opened
	}
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok {
		n.log.Warn("notify: another node may not have everything from this one", "error", partial)
		return nil // it may have died itself a moment ago
	}
	return err
}
