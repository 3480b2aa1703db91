package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A setup is one way to deliver what is published to the room.
type setup struct {
	Nodes int `json:"nodes,omitempty"` // of the Socket.IO server; with more than one, a NATS server joins them
	Batch int `json:"batch,omitempty"` // frames a write of the bare loop, if Nodes is 0

	Recovery bool `json:"recovery,omitempty"` // of the Socket.IO server: on
}

func (s setup) String() string {
	with := ""
	if s.Recovery {
		with = ", recovery"
	}
	switch {
	case s.Nodes == 1:
		return "belfry, 1 node" + with
	case s.Nodes > 1:
		return fmt.Sprintf("belfry, %d nodes%s", s.Nodes, with)
	case s.Batch == 1:
		return "bare write loop, 1 frame a write"
	}
	return fmt.Sprintf("bare write loop, %d frames a write", s.Batch)
}

// A fanout is what was measured of a setup in one run. Its window is that of Load: no delivery is under way when it begins or ends.
type fanout struct {
	Setup setup `json:"setup"`
	Run   int   `json:"run"` // from 1 on

	Load    runResult   `json:"load"`
	Faults  faults      `json:"faults"`  // of the window and the warm-up before it
	Server  cpu         `json:"server"`  // of all nodes
	Kernel  cpu         `json:"kernel"`  // the same by the kernel's coarser count: a check
	Broker  cpu         `json:"broker"`  // of the NATS server
	Clients cpu         `json:"clients"` // of the load
	Written serverStats `json:"written"` // by all nodes
}

// perDelivery is t, in microseconds, for each delivery.
func (f *fanout) perDelivery(t cpu) float64 {
	return float64(t.total().Microseconds()) / float64(max(f.Load.Deliveries, 1))
}

const (
	stall       = 10 * time.Second      // without any delivery, the run is given up
	meetTimeout = 20 * time.Second      // for the nodes to know each other
	settle      = 20 * time.Millisecond // for a server's writes to show in its counts
)

// A field is the processes of a setup.
type field struct {
	servers []*process
	broker  *process // nil without one
	load    *process
	all     []*process
}

// add starts a process.
func (f *field) add(ctx context.Context, role string) (*process, error) {
	p, err := startProcess(ctx, role)
	if err == nil {
		f.all = append(f.all, p)
	}
	return p, err
}

// start is add for a role that a request starts.
func (f *field) start(ctx context.Context, role string, args, reply any) (*process, error) {
	p, err := f.add(ctx, role)
	if err != nil {
		return nil, err
	}
	return p, p.call("start", args, reply, 0)
}

// stop ends all processes. An error tells of those that had not ended well by themselves.
func (f *field) stop() error {
	for _, p := range f.all {
		p.cancel()
	}
	var errs []error
	for _, p := range f.all {
		errs = append(errs, p.wait())
	}
	return errors.Join(errs...)
}

// open starts the servers of a setup, which know each other, and what they need. It returns their addresses.
func (f *field) open(ctx context.Context, s setup, sockets int) (addresses []string, err error) {
	cfg := serverConfig{Sockets: sockets, Recovery: s.Recovery}
	if s.Nodes > 1 {
		var urls brokerAddresses
		if f.broker, err = f.start(ctx, "broker", brokerConfig{}, &urls); err != nil {
			return nil, err
		}
		cfg.Broker = urls.Client
	}
	for range s.Nodes {
		var address string
		s, err := f.start(ctx, "server", cfg, &address)
		if err != nil {
			return nil, err
		}
		f.servers = append(f.servers, s)
		addresses = append(addresses, address)
	}
	return addresses, meet(ctx, f.servers)
}

// meet waits until each of the nodes knows all the others.
func meet(ctx context.Context, nodes []*process) error {
	return until(ctx, "met the others", func() (bool, error) {
		for _, n := range nodes {
			var peers int
			if err := n.call("peers", none{}, &peers, 0); err != nil || peers < len(nodes)-1 {
				return false, err
			}
		}
		return true, nil
	})
}

// until waits for done.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(meetTimeout)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the nodes have not %s in %v", what, meetTimeout)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// usage is what the processes of a field have used and done so far.
type usage struct {
	server, kernel, broker, clients cpu
	written                         serverStats
}

// usage reads the CPU times, at the end of a window before anything else and at its beginning after everything else, so that what
// reading costs stays out of it.
func (f *field) usage(atEnd bool) (u usage, err error) {
	written := func() error {
		time.Sleep(settle)
		for _, s := range f.servers {
			var stats serverStats
			if err := s.call("stats", none{}, &stats, 0); err != nil {
				return err
			}
			u.written = u.written.add(stats)
		}
		return nil
	}
	times := func() error {
		for _, s := range f.servers {
			own, kernel, err := s.cpu()
			if err != nil {
				return err
			}
			u.server, u.kernel = u.server.add(own), u.kernel.add(kernel)
		}
		if f.broker != nil {
			if u.broker, _, err = f.broker.cpu(); err != nil {
				return err
			}
		}
		u.clients, _, err = f.load.cpu()
		return err
	}
	first, second := written, times
	if atEnd {
		first, second = times, written
	}
	if err := first(); err != nil {
		return u, err
	}
	return u, second()
}

// measureFanout does one run of a setup, with processes of its own.
func measureFanout(ctx context.Context, cfg config, s setup, number int) (result *fanout, err error) {
	f := new(field)
	defer func() { err = errors.Join(err, f.stop()) }()
	dial := dialArgs{Bare: s.Nodes == 0, Sockets: cfg.Members, Join: true, Publishers: cfg.Publishers, Size: cfg.Size}
	if s.Nodes > 0 {
		dial.Addresses, err = f.open(ctx, s, cfg.Members+cfg.Publishers)
	} else {
		dial.Addresses, err = f.openBare(ctx, bareConfig{Members: cfg.Members, Batch: s.Batch, Size: cfg.Size})
		dial.Publishers = 1
	}
	if err != nil {
		return nil, err
	}
	if f.load, err = f.add(ctx, "load"); err != nil {
		return nil, err
	}
	if err := f.load.call("dial", dial, nil, time.Minute); err != nil {
		return nil, err
	}

	run := runArgs{Window: cfg.InFlight, Publishes: cfg.Publishes, Duration: cfg.Duration, Stall: stall}
	if s.Nodes == 0 {
		// A batch is written while the one before it is received.
		run.Window, run.Multiple = max(run.Window, 2*s.Batch), s.Batch
		if s.Batch == 1 {
			run.Window = cfg.InFlight
		}
	}
	warm := run
	warm.Publishes, warm.Duration = (run.Publishes+9)/10, run.Duration/5
	result = &fanout{Setup: s, Run: number}
	var warmed runResult
	if err := f.load.call("run", warm, &warmed, warm.Duration+stall); err != nil {
		return nil, err
	}
	if !warmed.Stalled {
		if err := f.window(cfg, run, result); err != nil {
			return nil, err
		}
	}
	result.Load.Stalled = result.Load.Stalled || warmed.Stalled
	return result, f.load.call("check", none{}, &result.Faults, 0)
}

// openBare starts a bare loop. It returns its address.
func (f *field) openBare(ctx context.Context, cfg bareConfig) (addresses []string, err error) {
	var address string
	p, err := f.start(ctx, "bare", cfg, &address)
	f.servers = append(f.servers, p)
	return []string{address}, err
}

// window does the run that counts.
func (f *field) window(cfg config, args runArgs, result *fanout) error {
	if err := f.profile(cfg, result, true); err != nil {
		return err
	}
	before, err := f.usage(false)
	if err != nil {
		return err
	}
	// Without a Duration, a run of so many publishes may take as long as a patient reader waits.
	if err := f.load.call("run", args, &result.Load, max(args.Duration, 10*time.Minute)+stall); err != nil {
		return err
	}
	after, err := f.usage(true)
	if err != nil {
		return err
	}
	result.Server, result.Kernel = after.server.sub(before.server), after.kernel.sub(before.kernel)
	result.Broker, result.Clients = after.broker.sub(before.broker), after.clients.sub(before.clients)
	result.Written = after.written.sub(before.written)
	return f.profile(cfg, result, false)
}

// profile begins or ends the CPU profiles of the servers, if they are asked for.
func (f *field) profile(cfg config, result *fanout, begin bool) error {
	if cfg.CPUProfile == "" || result.Setup.Nodes == 0 {
		return nil
	}
	for i, s := range f.servers {
		path := ""
		if begin {
			path = fmt.Sprintf("%s-nodes%d-node%d-run%d.pprof", cfg.CPUProfile, result.Setup.Nodes, i+1, result.Run)
		}
		if err := s.call("profile", path, nil, 0); err != nil {
			return err
		}
	}
	return nil
}
