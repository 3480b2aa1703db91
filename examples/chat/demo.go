package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// brokerName is how users name the NATS server that they want killed.
const brokerName = "NATS"

// A demo is a cluster on this host to play with: NATS and nodes, each a process that is started
// again when it has ended. No cluster in earnest is run like this.
type demo struct {
	out, stderr io.Writer
	restart     time.Duration // after the end of a process
	failed      chan error    // gets why a process was never ready, or that it was told to end

	mu        sync.Mutex          // guards processes
	processes map[string]*process // by name: an address, or brokerName
}

// runDemo runs the cluster that cfg asks for, until ctx ends or a process of it cannot be started.
func runDemo(
	ctx context.Context, cfg config, out, stderr io.Writer, log *slog.Logger,
) error {
	d := &demo{
		out: out, stderr: stderr, restart: cfg.restart,
		failed: make(chan error, cfg.nodes+1), processes: make(map[string]*process),
	}
	var nodes, nats sync.WaitGroup
	nodesCtx, stopNodes := context.WithCancel(ctx)
	natsCtx, stopNATS := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { // nodes first: they say goodbye by NATS
		stopNodes()
		nodes.Wait()
		stopNATS()
		nats.Wait()
	}()

	broker := d.start(natsCtx, &nats, "127.0.0.1:0", false, "-child", childNATS)
	close(broker.told)
	if err := d.await(ctx, broker.ready); err != nil {
		return err
	}
	d.add(brokerName, broker)
	adapter := "nats://" + broker.addr + "?cluster=chat"

	var all []*process
	for i := range cfg.nodes {
		addr := above(cfg.addr, i)
		p := d.start(nodesCtx, &nodes, addr, cfg.spare, "-child", childNode, "-adapter", adapter)
		all = append(all, p)
	}
	var addrs []string
	for _, p := range all {
		if err := d.await(ctx, p.known); err != nil {
			return err
		}
		addrs = append(addrs, p.addr)
		d.add(p.addr, p)
	}
	for _, p := range all {
		p.about = strings.Join(addrs, ",")
		close(p.told)
	}
	for _, p := range all {
		if err := d.await(ctx, p.ready); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "NATS on %s\n", broker.addr)
	if cfg.service {
		s, err := startService(ctx, adapter, out, log)
		if err != nil {
			return err
		}
		defer s.Close(context.Background()) // before NATS ends
	}
	for i, addr := range addrs {
		fmt.Fprintf(out, "node http://%s%s\n", addr, moved(above(cfg.addr, i), addr))
	}
	fmt.Fprintln(out, "Open two of them side by side and talk: the nodes share their rooms. "+
		"Kill one on its page. Ctrl-C ends it.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.failed:
		return err
	}
}

// start starts a process of the cluster, which runs until ctx ends.
func (d *demo) start(
	ctx context.Context, running *sync.WaitGroup, addr string, spare bool, args ...string,
) *process {
	p := &process{
		args: args, addr: addr, spare: spare, asks: d.kill, pause: d.restart, stderr: d.stderr,
		known: make(chan struct{}), told: make(chan struct{}), ready: make(chan struct{}),
	}
	running.Go(func() { d.failed <- p.run(ctx) })
	return p
}

// await waits until c is closed.
func (d *demo) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case err := <-d.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add gives a process the name by which users may have it killed.
func (d *demo) add(name string, p *process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes[name] = p
}

// kill kills a process, of which the page of a node has given the name.
func (d *demo) kill(name string) {
	d.mu.Lock()
	p := d.processes[name]
	d.mu.Unlock()
	if p != nil && p.kill() {
		fmt.Fprintf(d.out, "killed %s; it starts again in %v\n", name, d.restart)
	}
}
