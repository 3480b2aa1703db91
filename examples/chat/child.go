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
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// A demo's processes are this program with the first argument childFlag. Then come the role, the
// address to listen on, and whether a free port will do if that one is taken; for a node also the
// address of NATS, and the flags of the parent.
const (
	childFlag = "-child"
	childNode = "node"
	childNATS = "nats"
)

// runChild runs a process of a demo until it is told to end, or its input ends.
func runChild(args []string, stderr io.Writer) error {
	switch {
	case len(args) >= 4 && args[0] == childNode:
		return runChildNode(args[1], args[2] == "true", args[3], args[4:], stderr)
	case len(args) == 3 && args[0] == childNATS:
		return runChildNATS(args[1])
	}
	return usageError{errors.New(childFlag + " is for chat itself: want -nodes")}
}

func runChildNode(addr string, spare bool, nats string, args []string, stderr io.Writer) error {
	cfg, own, err := load(args, stderr)
	if err != nil {
		return err
	}
	defer cfg.Close()
	cfg.Addrs = []string{addr}
	cfg.Server.Adapter = demoAdapter(nats, cfg.Logger)
	own.Service = false // it is the parent's
	listeners, err := listen(cfg, spare)
	if err != nil {
		return err
	}
	ctx, stop, about := parent(listeners[0].Addr().String())
	defer stop()
	own.Peers = strings.Split(about, ",")
	kill := func(name string) { fmt.Println(killWord + name) }
	n, err := startNode(ctx, cfg, own, listeners, kill, os.Stdout)
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

// demoAdapter joins a demo's processes.
func demoAdapter(nats string, log *slog.Logger) *natsadapter.Adapter {
	return natsadapter.New(natsadapter.Config{URL: "nats://" + nats, Cluster: "chat", Logger: log})
}

func runChildNATS(addr string) error {
	host, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	server, err := embedded.Start(context.Background(), embedded.Config{Host: host, Port: port})
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
// a ctx that ends when the parent says so, or dies. If it dies after it has said so, by a second
// Ctrl-C, this process ends at once.
func parent(addr string) (ctx context.Context, stop context.CancelFunc, about string) {
	// Ctrl-C, which a terminal sends to all processes at once, is for the parent, who ends its
	// children in order.
	signal.Ignore(os.Interrupt)
	fmt.Println(addrWord + addr)
	input := bufio.NewReader(os.Stdin)
	about, _ = input.ReadString('\n')
	about = strings.TrimSpace(about)
	ctx, stop = context.WithCancel(context.Background())
	go func() {
		line := about
		if line != endWord {
			line, _ = input.ReadString('\n')
		}
		stop()
		if strings.TrimSpace(line) == endWord {
			io.Copy(io.Discard, input)
			os.Exit(1)
		}
	}()
	return ctx, stop, about
}
