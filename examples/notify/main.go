// Notify is a notification server. A backend posts a notification to a user, a group or everyone by
// HTTP, and hears how many devices have it. The devices of a user share one list: what is read on
// one is read on all. Devices are web pages here, with the official client of Socket.IO.
//
//	go run ./examples/notify
//
// runs three nodes in one process, and prints links for two users and a command to paste. In
// earnest each node is a process, and NATS joins them; the flag -h lists all settings:
//
//	notify -addr :3010 -adapter nats://127.0.0.1:4222 -secret-file secret -api-token-file token
//
// Where to read: api.go is what a backend calls, devices.go what devices do, identity.go who they
// belong to. inbox.go and answers.go are what a node remembers.
//
// # What it promises
//
// A connected device gets each notification once, also if a request is repeated with its
// Idempotency-Key: nodes tell each other what they have answered, and should two send at the same
// time, devices drop the double by its id. The last 2,000 notifications are kept for about a day in
// the memory of every node, for devices that were away; they are gone when the last node ends. A
// notification that a NATS client publishes reaches connected devices only. Nothing is on disk.
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
	cfg, own, err := load(args, stderr)
	if help, ok := errors.AsType[*config.HelpError](err); ok {
		_, err := io.WriteString(stdout, help.Help)
		return err
	}
	if err != nil {
		return err
	}
	s, err := start(ctx, cfg, own, stdout)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end while it began
		}
		return err
	}
	return s.serve(ctx)
}
