package main

import (
	"context"
	"os"
	"os/exec"
	"slices"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// A side is one of what is compared.
type side struct {
	name        string
	ours, floor bool
	dialect     crowd.Dialect
	broker      string // that joins its nodes: "nats" or "redis"; empty is a side of one node
	variants    []variant
	only        string // a floor of connects or of traffic alone: "connect", "traffic"; empty is all
	// command is how a node is started.
	command func(ctx context.Context, broker string, v variant) (*exec.Cmd, error)
}

// measures reports whether a side takes part in a scenario.
func (s *side) measures(sc *trial) bool {
	switch {
	case (sc.nodes > 1) != (s.broker != ""):
		return false
	case sc.variant != plain && !slices.Contains(s.variants, sc.variant):
		return false
	case s.only == "connect" && !sc.connect, s.only == "traffic" && (sc.connect || sc.join):
		return false
	case s.floor && (sc.transport != "" || sc.flow.Binary || sc.flow.Slow > 0):
		return false
	case s.dialect == crowd.Centrifuge && (sc.transport != "" || sc.flow.Binary || sc.flow.Kind == crowd.Private):
		return false
	}
	return true
}

// ownSides are those that this program is itself.
func ownSides() ([]*side, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	own := func(ctx context.Context, args ...string) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, path, append([]string{contenderArg}, args...)...), nil
	}
	floor := func(args ...string) func(context.Context, string, variant) (*exec.Cmd, error) {
		return func(ctx context.Context, _ string, _ variant) (*exec.Cmd, error) { return own(ctx, args...) }
	}
	belfry := func(ctx context.Context, broker string, v variant) (*exec.Cmd, error) {
		args := []string{"belfry"}
		if broker != "" {
			args = append(args, "-broker", broker)
		}
		if v == deflate {
			args = append(args, "-deflate")
		}
		return own(ctx, args...)
	}
	return []*side{
		{name: "belfry", ours: true, dialect: crowd.SocketIO, variants: []variant{deflate}, command: belfry},
		{name: "belfry, NATS", ours: true, dialect: crowd.SocketIO, broker: "nats", command: belfry},
		{
			name: "bare epoll, a write a frame", floor: true, dialect: crowd.SocketIO, only: "traffic",
			command: floor("epoll"),
		},
		{
			name: "bare epoll, all that waits in a write", floor: true, dialect: crowd.SocketIO, only: "traffic",
			command: floor("epoll", "-gather"),
		},
		{
			name: "bare hijack", floor: true, dialect: crowd.SocketIO, only: "connect",
			command: floor("hijack"),
		},
	}, nil
}

// peerSide is a peer as a side, whose programs come from a shop.
func peerSide(shop *peerShop, p peerProgram) *side {
	return &side{
		name: p.Name, dialect: crowd.Dialect(p.Dialect), broker: p.Broker,
		command: func(ctx context.Context, broker string, _ variant) (*exec.Cmd, error) {
			return shop.command(ctx, p, broker)
		},
	}
}

// A broker joins the nodes of a side.
type broker struct {
	url  string
	pid  int
	stop func() error
}

// startBroker starts a broker of a kind.
func startBroker(ctx context.Context, kind string) (*broker, error) {
	if kind == "redis" {
		r, err := startRedis(ctx)
		if err != nil {
			return nil, err
		}
		return &broker{r.URL, r.PID, r.stop}, nil
	}
	p, err := startProcess(ctx, "broker")
	if err != nil {
		return nil, err
	}
	b := &broker{pid: p.cmd.Process.Pid, stop: func() error {
		p.cancel()
		return p.wait()
	}}
	var urls brokerAddresses
	if err := p.call("start", brokerConfig{}, &urls, 0); err != nil {
		b.stop()
		return nil, err
	}
	b.url = urls.Client
	return b, nil
}
