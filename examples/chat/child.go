package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// The roles of a demo's processes.
const (
	childNode = "node"
	childNATS = "nats"
)

// runChildNode runs a node of a demo.
func runChildNode(cfg config, log *slog.Logger) error {
	listener, err := listen(cfg.addr, cfg.spare)
	if err != nil {
		return err
	}
	ctx, stop, about := parent(listener.Addr().String())
	defer stop()
	cfg.peers = strings.Split(about, ",")
	kill := func(name string) { fmt.Println(killWord + name) }
	n, err := startNode(ctx, cfg, listener, kill, os.Stdout, log)
	if err != nil {
		return err
	}
	fmt.Println(readyWord)
	err = n.wait(ctx)
	if _, ok := errors.AsType[*cluster.PartialError](err); ok {
		return nil // the others end, too, or were killed
	}
	return err
}

// runChildNATS runs the NATS server of a demo.
func runChildNATS(cfg config, log *slog.Logger) error {
	host, text, _ := net.SplitHostPort(cfg.addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	server, err := embedded.Start(context.Background(), embedded.Config{Host: host, Port: port, Logger: log})
	if err != nil {
		return err
	}
	ctx, stop, _ := parent(strings.TrimPrefix(server.URL(), "nats://"))
	defer stop()
	fmt.Println(readyWord)
	<-ctx.Done()
	server.Shutdown()
	return nil
}

// parent tells the parent where this child listens, and returns what it says about the cluster, and
// a ctx that ends when the parent closes this child's input, or dies.
func parent(addr string) (ctx context.Context, stop context.CancelFunc, about string) {
	// Ctrl-C, which a terminal sends to all processes at once, is for the parent, who ends its
	// children in order.
	signal.Ignore(os.Interrupt)
	fmt.Println(addrWord + addr)
	input := bufio.NewReader(os.Stdin)
	about, _ = input.ReadString('\n')
	ctx, stop = context.WithCancel(context.Background())
	go func() {
		defer stop()
		io.Copy(io.Discard, input)
	}()
	return ctx, stop, strings.TrimSpace(about)
}
