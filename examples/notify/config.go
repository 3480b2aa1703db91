package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
)

const help = `Notify is a notification server.

  notify
        three nodes and a NATS server, all in this process, with links and commands to try them
  notify -nodes 1
        one node alone, likewise
  notify -adapter nats://host:4222 -addr :3010 -secret-file FILE -api-token-file FILE
        one node of a cluster: start as many as you like, here or elsewhere

Flags:
  -adapter text
        what joins the nodes: memory:, within this process, or NATS with
        nats://host:port[,host:port...][?cluster=name], tls:// likewise
  -addr host:port
        where the first node listens, and the next ones on the ports behind it; 0 means free ones
        (default 127.0.0.1:3010, or a free port if that is taken)
  -nodes n
        how many nodes this process has (default 3, with -adapter 1)
  -url address
        of this node for browsers, if there is a proxy in front (default http://, and what -addr says)
  -secret-file path
        the secret that users' tokens are signed with (HS256), at least 32 bytes; for development
  -jwks URL or path
        instead, the public keys (a JSON Web Key Set) of what signs the tokens
  -audience text, -issuer text
        what tokens must have as "aud" (default notify), and as "iss" (default anything)
  -api-token-file path
        the token that requests to /notify must have
  -service
        programs in any language may notify by NATS, too: a line says how
  -h    this help

Without -secret-file, -jwks and -api-token-file the program makes its secrets up and prints what they
open. Ctrl-C ends it.
`

const (
	defaultAddr  = "127.0.0.1:3010"
	defaultNodes = 3
	minSecret    = 32 // bytes: RFC 7518 section 3.2 wants as many as the hash has
)

// A config is what the flags say.
type config struct {
	adapter  string // as open takes it; empty means a NATS server in this process, or none for one node
	addr     string // host:port to listen on; empty means defaultAddr, or another port
	nodes    int
	url      string // of the node for browsers; empty means where it listens
	secret   string
	jwks     string
	audience string
	issuer   string
	apiToken string
	service  bool // start the cluster's service, too
	demo     bool // the secrets are made up: print what they open
	help     bool
}

// A usageError says what is wrong with the flags, and what would be right.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() + " (notify -h helps)" }
func (e usageError) Unwrap() error { return e.err }

// parse reads the flags. Its errors are usageErrors.
func parse(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("notify", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors, run prints help
	flags.StringVar(&cfg.adapter, "adapter", "", "")
	flags.StringVar(&cfg.addr, "addr", "", "")
	flags.IntVar(&cfg.nodes, "nodes", 0, "")
	flags.StringVar(&cfg.url, "url", "", "")
	flags.StringVar(&cfg.jwks, "jwks", "", "")
	flags.StringVar(&cfg.audience, "audience", "notify", "")
	flags.StringVar(&cfg.issuer, "issuer", "", "")
	flags.BoolVar(&cfg.service, "service", false, "")
	secretFile, tokenFile := flags.String("secret-file", "", ""), flags.String("api-token-file", "", "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return config{help: true}, nil
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: want flags only", flags.Arg(0))
	}
	if err == nil {
		cfg.secret, err = secret("-secret-file", *secretFile)
	}
	if err == nil {
		cfg.apiToken, err = secret("-api-token-file", *tokenFile)
	}
	if err == nil {
		err = cfg.check()
	}
	if err != nil {
		return config{}, usageError{err}
	}
	return cfg, nil
}

// secret reads a secret from a file.
func secret(name, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	text := strings.TrimSpace(string(content))
	if len(text) < minSecret {
		return "", fmt.Errorf("%s: want at least %d bytes, %s has %d", name, minSecret, path, len(text))
	}
	return text, nil
}

// check checks the flags, and completes them.
func (cfg *config) check() error {
	if cfg.nodes < 0 || cfg.nodes > 16 {
		return fmt.Errorf("-nodes %d: want 1 to 16", cfg.nodes)
	}
	if cfg.secret != "" && cfg.jwks != "" {
		return errors.New("-secret-file and -jwks: want one of them")
	}
	if cfg.adapter != "" && cfg.adapter != "memory:" && (cfg.secret+cfg.jwks == "" || cfg.apiToken == "") {
		return errors.New("-adapter: all nodes of the cluster have the same secrets: " +
			"want -secret-file or -jwks, and -api-token-file")
	}
	if cfg.nodes == 0 {
		cfg.nodes = defaultNodes
		if cfg.adapter != "" {
			cfg.nodes = 1
		}
	}
	if cfg.url != "" && cfg.nodes > 1 {
		return errors.New("-url is the address of one node: want -nodes 1")
	}
	if cfg.adapter != "" {
		a, err := open(cfg.adapter)
		if err != nil {
			return fmt.Errorf("-adapter: %w", err)
		}
		if _, ok := a.(*natsadapter.Adapter); cfg.service && !ok {
			return errors.New("-service is for NATS: want -adapter nats://host:4222 beside it")
		}
	} else if cfg.service && cfg.nodes == 1 {
		return errors.New("-service is for NATS: want -adapter nats://host:4222 beside it, or more than one node")
	}
	if cfg.addr != "" {
		_, port, err := net.SplitHostPort(cfg.addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("-addr %q: want host:port, such as %s", cfg.addr, defaultAddr)
		}
	}
	if cfg.secret+cfg.jwks == "" {
		cfg.secret, cfg.demo = rand.Text()+rand.Text(), true
	}
	if cfg.apiToken == "" {
		cfg.apiToken = rand.Text()
	}
	return nil
}

// open makes an adapter of a text from a flag or an environment variable. Its errors do not repeat the
// text, for there may be a password in it.
func open(text string) (adapter.Adapter, error) {
	scheme, _, _ := strings.Cut(text, ":")
	switch {
	case scheme == "nats", scheme == "tls":
		return natsadapter.FromURL(text)
	case text == "memory:":
		return new(adapter.Memory), nil
	}
	return nil, errors.New("want memory:, nats://host:4222 or tls://host:4222")
}
