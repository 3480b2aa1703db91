package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/wsserver"
)

const about = `Chat is a small chat on the rooms of a cluster.

  chat
        a cluster on this host: three nodes and NATS between them, each in a
        process of its own, which a button on the page kills
  chat -addr 127.0.0.1:8080
        one node alone
  chat -adapter nats://host:4222 -addr 127.0.0.1:8080
        one node of a cluster: start as many as you like, here or elsewhere

Ctrl-C ends it. If nobody asks for an addr, a free port will do where one is taken.`

const (
	defaultAddr  = "127.0.0.1:3000"
	defaultNodes = 3
)

// settings are the program's own, beside those of every server.
type settings struct {
	Nodes   int           `key:"nodes" min:"0" max:"16" common:"true" help:"how many nodes run on this host, each in a process of its own, with NATS between them, at the ports from addr's on; 0 means 3 for a program that was given neither addr nor adapter, else this process is the node"`
	Restart time.Duration `key:"restart" default:"5s" help:"how long a process of nodes stays dead that was killed"`
	Peers   []string      `key:"peers" common:"true" help:"host:port of all nodes of the cluster: a page whose node is gone connects to another of them"`
	Service bool          `key:"service" common:"true" help:"programs in any language may use the cluster by NATS, too: a line says how"`
}

// Check is called by config.Load.
func (s *settings) Check() error {
	for _, peer := range s.Peers {
		_, port, err := net.SplitHostPort(peer)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return wrong("peers", fmt.Sprintf("%q is no address", peer), "host:port, such as 10.0.0.1:8080")
		}
	}
	return nil
}

func wrong(key, problem, want string) error {
	return &config.KeyError{Key: key, Problem: problem, Want: want}
}

// A usageError says what is wrong with the settings, and what would be right.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// load reads the settings. An error is a usageError or a *config.HelpError. The caller must close
// the Config.
func load(args []string, log io.Writer) (*config.Config, settings, error) {
	var own settings
	cfg, err := config.Load(config.Program{
		Name: "chat", About: about, Args: args, Own: &own, Addr: defaultAddr,
		Embedded: embedded.FromURL, Log: log, LogLevel: slog.LevelWarn,
		Server: wsserver.Config{Recovery: &wsserver.Recovery{Data: user{}}},
	})
	if _, help := errors.AsType[*config.HelpError](err); help {
		return nil, own, err
	}
	if err == nil {
		if err = own.complete(cfg); err != nil {
			cfg.Close()
		}
	}
	if err != nil {
		return nil, own, usageError{err}
	}
	return cfg, own, nil
}

// complete fills in what was not given, and checks what goes together.
func (s *settings) complete(cfg *config.Config) error {
	if s.Nodes == 0 && !cfg.Given("adapter") && !cfg.Given("addr") {
		s.Nodes = defaultNodes
	}
	if s.Nodes == 0 {
		if s.Service && cfg.NATS == nil {
			return wrong("service", "it is for NATS", "adapter nats://host:4222, too, or nodes")
		}
		return nil
	}
	if cfg.Given("adapter") {
		return wrong("nodes", "these have a NATS server of their own", "nodes without adapter")
	}
	if len(cfg.Addrs) != 1 {
		return wrong("addr", "several nodes have the ports one behind the other", "one address")
	}
	// Others than this host's users must not reach what anyone may kill.
	if addr, err := netip.ParseAddrPort(cfg.Addrs[0]); err != nil || !addr.Addr().IsLoopback() {
		return wrong("addr", "nodes that a button kills listen on loopback alone",
			"127.0.0.1:3000 or [::1]:3000, or adapter for a cluster in earnest")
	}
	return nil
}
