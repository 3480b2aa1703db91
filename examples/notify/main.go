// Notify is a notification server. A backend posts a notification to a user, a group or everyone by
// HTTP, and hears how many devices have it. The devices of a user share one list: what is read on one
// is read on all. Devices are web pages here, with the official client of Socket.IO.
//
//	go run ./examples/notify
//
// runs three nodes joined by a NATS server, all in one process, and prints links for two users and
// commands to paste. In earnest each node is a process:
//
//	notify -addr :3010 -adapter nats://127.0.0.1:4222 -secret-file secret -api-token-file token
//
// # What it promises
//
// A connected device gets each notification once, also if a request is repeated with its
// Idempotency-Key, here or at another node. The last 2,000 notifications are kept for a day in the
// memory of every node, for devices that were away; they are gone when the last node ends. A
// notification that a NATS client publishes reaches connected devices only. Nothing is on disk.
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
		fmt.Fprintln(os.Stderr, "notify:", err)
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

// run runs the program until ctx ends, which is no error.
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
	s, err := start(ctx, cfg, stdout, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end while it began
		}
		return err
	}
	return s.serve(ctx)
}
