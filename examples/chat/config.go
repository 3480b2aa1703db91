package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
)

const help = `Chat is a small chat on the rooms of a cluster.

  chat
        three nodes and a NATS server, all in this process, on free ports
  chat -adapter nats://host:4222 -addr 127.0.0.1:8080
        one node of a cluster: start as many as you like, here or elsewhere
  chat -adapter memory: -addr 127.0.0.1:8080
        one node alone: memory: joins the servers of one process, and this process has one

Flags:
  -adapter text
        what joins the node to others: memory:, or NATS with
        nats://host:port[,host:port...][?cluster=name], tls:// likewise
  -addr host:port
        where the node listens, with -adapter only; port 0 means a free one
        (default 127.0.0.1:0)
  -service
        programs in any language may use the cluster by NATS: a line says how
  -h    this help

Ctrl-C ends it.
`

const defaultAddr = "127.0.0.1:0"

// A config is what the flags say.
type config struct {
	adapter string // as open takes it; empty means three nodes with a NATS server of their own
	addr    string // host:port to listen on
	service bool   // start the cluster's service, too
	help    bool
}

// A usageError says what is wrong with the flags, and what would be right.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() + " (chat -h helps)" }
func (e usageError) Unwrap() error { return e.err }

// parse reads the flags. Its errors are usageErrors.
func parse(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors, run prints help
	flags.StringVar(&cfg.adapter, "adapter", "", "")
	flags.StringVar(&cfg.addr, "addr", defaultAddr, "")
	flags.BoolVar(&cfg.service, "service", false, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return config{help: true}, nil
	}
	if err == nil {
		given := make(map[string]bool)
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		err = cfg.check(given["adapter"], given["addr"], flags.Args())
	}
	if err != nil {
		return config{}, usageError{err}
	}
	return cfg, nil
}

func (cfg config) check(adapter, addr bool, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: want flags only", rest[0])
	}
	if adapter {
		a, err := open(cfg.adapter)
		if err != nil {
			return fmt.Errorf("-adapter: %w", err)
		}
		if _, ok := a.(*natsadapter.Adapter); cfg.service && !ok {
			return errors.New("-service is for NATS: want -adapter nats://host:4222, or none, beside it")
		}
	}
	if addr && !adapter {
		return errors.New("-addr is for one node: want -adapter nats://host:4222 or -adapter memory: beside it")
	}
	_, port, err := net.SplitHostPort(cfg.addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("-addr %q: want host:port, such as 127.0.0.1:8080", cfg.addr)
	}
	return nil
}

// open makes an adapter of a text from a flag or an environment variable. This switch is all that a program needs to be taken from one
// process to a cluster. Its errors do not repeat the text, for there may be a password in it.
func open(text string) (adapter.Adapter, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "nats", "tls":
		return natsadapter.FromURL(text)
	case "memory":
		if text != "memory:" {
			return nil, fmt.Errorf("memory: stands alone, without the %d bytes behind it", len(rest))
		}
		return new(adapter.Memory), nil
	}
	return nil, errors.New("unknown scheme: want memory:, nats://host:4222 or tls://host:4222")
}
