package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
)

// brokerName is how users name the NATS server that they want killed.
const brokerName = "NATS"

// A demo is a cluster on this host to play with: NATS and nodes, each a process that is started
// again when it has ended. No cluster in earnest is run like this.
type demo struct {
	out, stderr io.Writer
	restart     time.Duration // after the end of a process
	patience    time.Duration // for its end
	failed      chan error    // gets why a process was never ready, or that it was told to end

	mu        sync.Mutex          // guards processes
	processes map[string]*process // by name: an address, or brokerName
}

// runDemo runs the cluster that own asks for, until ctx ends or a process of it cannot be started.
// args are the program's own, which the nodes have, too.
func runDemo(
	ctx context.Context, cfg *config.Config, own settings, args []string, out, stderr io.Writer,
) error {
	d := &demo{
		out: out, stderr: stderr, restart: own.Restart, patience: cfg.EndTime() + 2*time.Second,
		failed: make(chan error, own.Nodes+1), processes: make(map[string]*process),
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

	broker := d.start(natsCtx, &nats, childNATS, "127.0.0.1:0", false)
	close(broker.told)
	if err := d.await(ctx, broker.ready); err != nil {
		return err
	}
	d.add(brokerName, broker)

	var all []*process
	args = append([]string{broker.addr}, args...)
	for i := range own.Nodes {
		addr := above(cfg.Addrs[0], i)
		all = append(all, d.start(nodesCtx, &nodes, childNode, addr, !cfg.Given("addr"), args...))
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
	if own.Service {
		adapter := demoAdapter(broker.addr, cfg.Logger)
		s, err := startService(ctx, adapter, "-s nats://"+broker.addr+" ", out, cfg.Logger)
		if err != nil {
			return err
		}
		defer s.Close(context.Background()) // before NATS ends
	}
	for i, addr := range addrs {
		fmt.Fprintf(out, "node http://%s%s\n", addr, moved(above(cfg.Addrs[0], i), addr))
	}
	fmt.Fprintln(out, "Open two of them side by side and talk: the nodes share their rooms. "+
		"Kill one on its page. Ctrl-C ends it.")
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "The nodes send their clients away and end. A second Ctrl-C ends them at once.")
		return nil
	case err := <-d.failed:
		return err
	}
}

// start starts a process of the cluster, which runs until ctx ends.
func (d *demo) start(
	ctx context.Context, running *sync.WaitGroup, role, addr string, spare bool, args ...string,
) *process {
	p := &process{
		role: role, args: args, addr: addr, spare: spare,
		asks: d.kill, pause: d.restart, patience: d.patience, stderr: d.stderr,
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
