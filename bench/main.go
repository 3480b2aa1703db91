// Bench measures what fan-out costs the server: a room on one node and over several, beside a loop that does nothing but write, and
// what an idle socket costs. Every delivery is checked. Servers, NATS and the load each have a process of their own, on this machine.
// Its rooms command measures a node with very many rooms: its memory, how fast it joins them, and what it does not hear after its NATS
// server was killed. Its compare command says what differs between two results that were kept, and show prints one again.
//
//	go run ./bench
//	go run ./bench rooms
//	go run ./bench -compare A B
//	go run ./bench -show A -html page.html
//	go run ./bench -url http://localhost:3000
//
// The last one puts load on a server of one's own, and runs on every system; all else runs on Linux. The report is Markdown,
// on standard output; progress is on standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	child(os.Args[1:])
	contend(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode is 0 for nil, 2 for wrong flags, and 1 for everything else that can go wrong, wrong deliveries among them.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// run does what args ask for: one of them may be that of a command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	do := measureFanouts
	for name, command := range map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		roomsCommand: measureRooms, peersCommand: measurePeers, compareCommand: compareKept, showCommand: showKept,
	} {
		if i := slices.Index(args, name); i == 0 || i > 0 && strings.HasPrefix(name, "-") {
			do = command
		}
	}
	if asksForURL(args) {
		do = loadTest
	}
	return do(ctx, args, stdout, stderr)
}

// measureFanouts is what is done without a command.
func measureFanouts(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parse(args)
	if err != nil {
		return explain(err, help, stdout)
	}
	return do(ctx, &report{Origin: findOrigin(ctx, args), Config: cfg}, cfg.JSON, stdout, stderr)
}

// measureRooms measures a node with very many rooms.
func measureRooms(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseRooms(args[1:])
	if err != nil {
		return explain(err, roomsHelp, stdout)
	}
	return do(ctx, &roomsReport{Origin: findOrigin(ctx, args), Config: cfg}, cfg.JSON, stdout, stderr)
}

// A measurement is what a command does.
type measurement interface {
	measure(ctx context.Context, progress io.Writer) error
	write(w io.Writer)
	err() error // what is wrong with what was measured
}

// explain writes help, if the error of flags is that it was asked for.
func explain(err error, help string, stdout io.Writer) error {
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(stdout, help)
	}
	return err
}

// do measures and reports.
func do(ctx context.Context, m measurement, path string, stdout, stderr io.Writer) error {
	if err := supported(); err != nil {
		return err
	}
	if err := m.measure(ctx, stderr); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return finish(m, path, stdout)
}

// finish reports what was measured.
func finish(m measurement, path string, stdout io.Writer) error {
	m.write(stdout)
	if path != "" {
		text, err := json.MarshalIndent(m, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return m.err()
}

// inTurn returns what is measured in a run, in its order. That is reversed from run to run, so that
// what changes on the machine meanwhile does not meet the same ones each time.
func inTurn[T any](all []T, run int) []T {
	all = slices.Clone(all)
	if run%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// measure does all runs.
func (r *report) measure(ctx context.Context, progress io.Writer) error {
	setups := r.Config.setups()
	for n := range r.Config.Runs {
		for _, s := range inTurn(setups, n) {
			fmt.Fprintf(progress, "run %d of %d: %v: ", n+1, r.Config.Runs, s)
			f, err := measureFanout(ctx, r.Config, s, n+1)
			if err != nil {
				fmt.Fprintln(progress)
				return fmt.Errorf("%v: %w", s, err)
			}
			r.Fanouts = append(r.Fanouts, f)
			fmt.Fprintf(progress, "%.2f us a delivery\n", f.perDelivery(f.Server))
		}
		if r.Config.Idle > 0 {
			fmt.Fprintf(progress, "run %d of %d: %d idle sockets: ", n+1, r.Config.Runs, r.Config.Idle)
			i, err := measureIdle(ctx, r.Config, n+1)
			if err != nil {
				fmt.Fprintln(progress)
				return fmt.Errorf("idle sockets: %w", err)
			}
			r.Idles = append(r.Idles, i)
			fmt.Fprintf(progress, "%.0f B a socket\n", i.perSocket(natural))
		}
	}
	r.Origin.After = loadAverage()
	return nil
}
