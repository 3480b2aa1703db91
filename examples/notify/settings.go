package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/embedded"
)

const (
	about = `Notify is a notification server.

  notify
        three nodes in this process, with links and commands to try them
  notify -adapter nats://host:4222 -addr :3010 -secret-file FILE -api-token-file FILE
        one node of a cluster: start as many as you like, here or elsewhere

Without secret, jwks and api-token the program makes its secrets up, and prints what they open.`

	defaultAddr  = "127.0.0.1:3010" // or a free port, if that is taken
	defaultNodes = 3
	minSecret    = 32 // bytes: RFC 7518 section 3.2 wants as many as the hash has
	minAPIToken  = 16
)

// settings are the program's own, beside those of every server.
type settings struct {
	Secret   string `key:"secret" secret:"true" common:"true" help:"signs the users' tokens (HS256), for development; at least 32 bytes"`
	JWKS     string `key:"jwks" common:"true" help:"instead of secret, the URL or path of a JSON Web Key Set: the public keys of what signs the tokens"`
	Audience string `key:"audience" default:"notify" help:"what tokens must have as aud"`
	Issuer   string `key:"issuer" help:"what tokens must have as iss; empty means anything"`
	APIToken string `key:"api-token" secret:"true" common:"true" help:"what requests to /notify must have; at least 16 bytes"`
	URL      string `key:"url" help:"the address of this node for browsers, if a proxy or TLS is in front; empty means http:// and what addr says"`
	Nodes    int    `key:"nodes" min:"0" max:"16" help:"how many nodes this process has; 0 means 3 for a program that was given neither addr nor NATS, else 1"`
	Service  bool   `key:"service" help:"programs in any language may notify by NATS, too: a line says how"`
	Demo     bool   `key:"demo" help:"prints links for two users, and a command; needs secret. On if the secrets are made up"`
}

// Check is called by config.Load.
func (s *settings) Check() error {
	var errs []error
	wrong := func(key, problem, want string) {
		errs = append(errs, &config.KeyError{Key: key, Problem: problem, Want: want})
	}
	if s.Secret != "" && s.JWKS != "" {
		wrong("jwks", "there is a secret, too", "one of them")
	}
	if s.Secret != "" && len(s.Secret) < minSecret {
		wrong("secret", fmt.Sprintf("it has %d bytes", len(s.Secret)), fmt.Sprintf("at least %d", minSecret))
	}
	if s.APIToken != "" && len(s.APIToken) < minAPIToken {
		wrong("api-token", fmt.Sprintf("it has %d bytes", len(s.APIToken)), fmt.Sprintf("at least %d", minAPIToken))
	}
	if s.Audience == "" {
		wrong("audience", "it is empty", "a name, or tokens for other programs would be valid here")
	}
	if s.Demo && s.JWKS != "" {
		wrong("demo", "only who has the private keys can make tokens", "secret instead of jwks")
	}
	if s.URL != "" && s.Nodes > 1 {
		wrong("url", "it is the address of one node", "nodes 1")
	}
	return errors.Join(errs...)
}

// load reads the settings, of which those that are not given are filled in. An error is a
// usageError or a *config.HelpError. The caller must close the Config.
func load(args []string, log io.Writer) (*config.Config, settings, error) {
	var own settings
	cfg, err := config.Load(config.Program{
		Name: "notify", About: about, Args: args, Own: &own, Addr: defaultAddr,
		Embedded: embedded.FromURL, Log: log,
		Server: serverConfig(),
	})
	if err == nil {
		if err = own.complete(cfg); err != nil {
			cfg.Close()
		}
	}
	if _, help := errors.AsType[*config.HelpError](err); err != nil && !help {
		err = usageError{err}
	}
	return cfg, own, err
}

// complete fills in what was not given.
func (s *settings) complete(cfg *config.Config) error {
	if s.Nodes == 0 {
		s.Nodes = 1
		if cfg.NATS == nil && isDefault(cfg.Addrs) && s.URL == "" {
			s.Nodes = defaultNodes
		}
	}
	wrong := func(key, problem, want string) error {
		return &config.KeyError{Key: key, Problem: problem, Want: want}
	}
	if s.Service && cfg.NATS == nil {
		return wrong("service", "it is for NATS", "adapter nats://host:4222 or embedded:, too")
	}
	if s.Nodes > 1 && len(cfg.Addrs) > 1 {
		return wrong("addr", "several nodes have the ports one behind the other", "one address")
	}
	unix := func(addr string) bool { return strings.HasPrefix(addr, "unix:") }
	if s.URL == "" && slices.ContainsFunc(cfg.Addrs, unix) {
		return wrong("url", "not set, and no browser reaches a Unix socket", "the address of the proxy in front of it")
	}
	if cfg.NATS != nil && s.Nodes == 1 {
		// Others of the cluster are in other processes.
		switch {
		case s.Secret+s.JWKS == "":
			return wrong("secret", "not set", "secret-file, the same on all nodes of the cluster, or jwks")
		case s.APIToken == "":
			return wrong("api-token", "not set", "api-token-file, the same on all nodes of the cluster")
		}
	}
	if s.Secret+s.JWKS == "" {
		s.Secret, s.Demo = rand.Text()+rand.Text(), true
	}
	if s.APIToken == "" {
		s.APIToken, s.Demo = rand.Text(), true
	}
	return nil
}

func isDefault(addrs []string) bool { return len(addrs) == 1 && addrs[0] == defaultAddr }

// A usageError says what is wrong with the settings, and what would be right.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }
