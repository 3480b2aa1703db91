package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
)

const help = `Chat is a small chat on the rooms of a cluster.

  chat
        a cluster on this host: three nodes and NATS between them, each in a
        process of its own, which a button on the page kills
  chat -addr 127.0.0.1:8080
        one node alone
  chat -adapter nats://host:4222 -addr 127.0.0.1:8080
        one node of a cluster: start as many as you like, here or elsewhere

Flags:
  -adapter text
        what joins the node to others: memory:, or NATS with
        nats://host:port[,host:port...][?cluster=name], tls:// likewise
        (default memory:, which joins it to none)
  -addr host:port
        where the node listens, or the first of several; port 0 means a free one
        (default 127.0.0.1:3000, and -spare)
  -spare
        a free port will do instead of one that is taken
  -nodes number
        that many nodes in processes of their own, with NATS between them
        (default 3 without -adapter and -addr)
  -restart duration
        how long a process of -nodes stays dead that was killed (default 5s)
  -peers host:port,...
        the addresses of all nodes of the cluster: a page whose node is gone
        connects to another of them
  -service
        programs in any language may use the cluster by NATS: a line says how
  -child role
        for the processes that -nodes starts: they end when their input does
  -h    this help

Ctrl-C ends it.
`

const (
	defaultAddr  = "127.0.0.1:3000"
	defaultNodes = 3
	maxNodes     = 16
)

// A config is what the flags say.
type config struct {
	adapter string        // as open takes it
	addr    string        // host:port to listen on
	spare   bool          // a free port will do, if that of addr is taken
	nodes   int           // that run in processes of their own; 0 means one in this process
	restart time.Duration // after a process of these nodes has ended
	peers   []string      // host:port of each node of the cluster, where they are known
	service bool          // start the cluster's service, too
	child   string        // this process's role in a cluster that another process runs: childNode, childNATS
	help    bool
}

// A usageError says what is wrong with the flags, and what would be right.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() + " (chat -h helps)" }
func (e usageError) Unwrap() error { return e.err }

// parse reads the flags. Its errors are usageErrors.
func parse(args []string) (config, error) {
	var cfg config
	var peers string
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors, run prints help
	flags.StringVar(&cfg.adapter, "adapter", "memory:", "")
	flags.StringVar(&cfg.addr, "addr", defaultAddr, "")
	flags.IntVar(&cfg.nodes, "nodes", 0, "")
	flags.DurationVar(&cfg.restart, "restart", 5*time.Second, "")
	flags.StringVar(&peers, "peers", "", "")
	flags.BoolVar(&cfg.spare, "spare", false, "")
	flags.BoolVar(&cfg.service, "service", false, "")
	flags.StringVar(&cfg.child, "child", "", "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return config{help: true}, nil
	}
	if err == nil {
		given := make(map[string]bool)
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["nodes"] && !given["adapter"] && !given["addr"] {
			cfg.nodes = defaultNodes
		}
		if !given["addr"] {
			cfg.spare = true
		}
		if peers != "" {
			cfg.peers = strings.Split(peers, ",")
		}
		err = cfg.check(given, flags.Args())
	}
	if err != nil {
		return config{}, usageError{err}
	}
	return cfg, nil
}

func (cfg config) check(given map[string]bool, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: want flags only", rest[0])
	}
	if err := checkAddr("-addr", cfg.addr); err != nil {
		return err
	}
	for _, peer := range cfg.peers {
		if err := checkAddr("-peers", peer); err != nil {
			return err
		}
	}
	if cfg.child != "" && cfg.child != childNode && cfg.child != childNATS {
		return fmt.Errorf("-child %q: want %s or %s", cfg.child, childNode, childNATS)
	}
	if given["nodes"] {
		if given["adapter"] {
			return errors.New("-nodes has a NATS server of its own: want it without -adapter")
		}
		if cfg.nodes < 1 || cfg.nodes > maxNodes {
			return fmt.Errorf("-nodes %d: want 1 to %d", cfg.nodes, maxNodes)
		}
	}
	if cfg.nodes > 0 {
		return cfg.checkLoopback()
	}
	a, err := open(cfg.adapter)
	if err != nil {
		return fmt.Errorf("-adapter: %w", err)
	}
	if _, ok := a.(*natsadapter.Adapter); cfg.service && !ok {
		return errors.New("-service is for NATS: want -adapter nats://host:4222 beside it, or -nodes")
	}
	return nil
}

// checkLoopback returns an error if others than this host's users could reach nodes that anyone may
// kill.
func (cfg config) checkLoopback() error {
	addr, err := netip.ParseAddrPort(cfg.addr)
	if err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("-addr %s: nodes that a button kills listen on loopback alone: "+
			"want 127.0.0.1 or [::1], or -adapter for a cluster in earnest", cfg.addr)
	}
	return nil
}

func checkAddr(name, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s %q: want host:port, such as 127.0.0.1:8080", name, addr)
	}
	return nil
}

// open makes an adapter of a text from a flag or an environment variable. This switch is all that a
// program needs to be taken from one process to a cluster. Its errors do not repeat the text, for
// there may be a password in it.
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
