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
	only        string // a floor of connects, of traffic or of a hop alone: "connect", "traffic", "hop"; empty is all
	clients     string // the role of its clients; empty is the crowd
	// command is how a node is started, with flags that its program has for the variant.
	command func(ctx context.Context, broker string, variant ...string) (*exec.Cmd, error)
}

// flags are what a program is started with for a variant. certificate is a folder with cert.pem and key.pem.
func (v variant) flags(certificate string) []string {
	switch v {
	case deflate:
		return []string{"--deflate"}
	case packed:
		return []string{"--msgpack"}
	case secure:
		return []string{"--tls", certificate}
	}
	return nil
}

// measures reports whether a side takes part in a scenario.
func (s *side) measures(sc *trial) bool {
	switch {
	case (sc.nodes > 1) != (s.broker != ""):
		return false
	case sc.variant != plain && !slices.Contains(s.variants, sc.variant):
		return false
	case s.only == "hop" && !sc.hop:
		return false
	case s.only == "connect" && !sc.connect, s.only == "traffic" && (sc.connect || sc.join):
		return false
	case s.floor && (sc.transport != "" || sc.flow.Binary || sc.flow.Slow > 0):
		return false
	case s.dialect == crowd.Centrifuge && (sc.transport != "" || sc.flow.Binary):
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
	start := func(args ...string) func(context.Context, string, ...string) (*exec.Cmd, error) {
		return func(ctx context.Context, broker string, variant ...string) (*exec.Cmd, error) {
			all := slices.Concat(args, variant)
			if broker != "" {
				all = append(all, "-broker", broker)
			}
			return own(ctx, all...)
		}
	}
	return []*side{
		{name: "belfry", ours: true, dialect: crowd.SocketIO, variants: []variant{deflate, packed, secure}, command: start("belfry")},
		{name: "belfry, NATS", ours: true, dialect: crowd.SocketIO, broker: brokerNATS, command: start("belfry")},
		{
			name: "bare epoll, a write a frame", floor: true, dialect: crowd.SocketIO, only: "traffic",
			command: start("epoll"),
		},
		{
			name: "bare epoll, all that waits in a write", floor: true, dialect: crowd.SocketIO, only: "traffic",
			command: start("epoll", "-gather"),
		},
		{
			name: "bare hijack", floor: true, dialect: crowd.SocketIO, only: "connect", variants: []variant{secure},
			command: start("hijack"),
		},
		{
			name: "bare nats.go, a message and its answer", floor: true, broker: brokerNATS, only: "hop",
			clients: "bouncer", command: start("nats"),
		},
	}, nil
}

// peerSide is a peer as a side, whose programs come from a shop.
func peerSide(shop *peerShop, p peerProgram) *side {
	variants := []variant{deflate, secure}
	if p.adapter != "" {
		variants = append(variants, packed)
	}
	return &side{
		name: p.Name, dialect: crowd.Dialect(p.Dialect), broker: p.Broker, variants: variants,
		command: func(ctx context.Context, broker string, variant ...string) (*exec.Cmd, error) {
			return shop.command(ctx, p, broker, variant...)
		},
	}
}
