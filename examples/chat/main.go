// Chat is a small chat on the rooms of a cluster. Without flags it runs a whole cluster in one process: an embedded NATS server and
// three nodes, each with its own connection to it and its own address. Open the pages of two nodes side by side and talk across them.
//
//	go run ./examples/chat
//
// With -adapter it runs one node, which is how a program would run in earnest: the same code, another configuration.
//
//	go run ./examples/chat -adapter nats://127.0.0.1:4222 -addr 127.0.0.1:8080
//
// With -service, programs in any language may use the cluster by NATS: a line says how.
//
// Nothing is stored: who joins a room sees what is said from then on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
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

// run runs the program until ctx ends, which is no error. It prints the addresses of its nodes to stdout and logs to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	if cfg.help {
		_, err := io.WriteString(stdout, help)
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := start(ctx, cfg, stdout, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end while it began
		}
		return err
	}
	return c.serve(ctx)
}
