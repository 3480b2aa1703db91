// Chat is a small chat on the rooms of a cluster. Its page shows the cluster living: who is in a
// room on which node, nodes that die and return, and how the broker is.
//
//	go run ./examples/chat
//
// runs a cluster on this host: three nodes and a NATS server between them, each in a process of its
// own. Open the pages of two nodes side by side, talk across them, and kill one, or NATS.
//
//	go run ./examples/chat -adapter nats://127.0.0.1:4222 -addr 127.0.0.1:8080
//
// runs one node, as a program would in earnest: the same code, another configuration. The flag -h
// lists all settings.
//
// Where to read: node.go puts a Socket.IO server into a cluster, chat.go has the events of its
// clients, people.go says who is in a room, and nodes.go which nodes there are. What demo.go,
// process.go and child.go do, a cluster in earnest leaves to systemd or Kubernetes.
//
// Nothing is stored: who joins a room sees what is said from then on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/belfry-io/belfry/natsadapter/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first Ctrl-C drains, and a second one ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode is 0 for nil, 2 for wrong flags, and 1 for everything else that can go wrong.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// run runs the program until ctx ends, which is no error. It prints the addresses of its nodes to
// stdout and logs to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == childFlag {
		return runChild(args[1:], stderr)
	}
	cfg, own, err := load(args, stderr)
	if help, ok := errors.AsType[*config.HelpError](err); ok {
		_, err := io.WriteString(stdout, help.Help)
		return err
	}
	if err != nil {
		return err
	}
	defer cfg.Close()
	if own.Nodes > 0 {
		err = runDemo(ctx, cfg, own, args, stdout, stderr)
	} else {
		err = runNode(ctx, cfg, own, stdout)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // told to end while it began
	}
	return err
}
