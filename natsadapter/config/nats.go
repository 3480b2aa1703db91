package config

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter"
)

// onNATS reports whether the adapter is one of NATS.
func (v *values) onNATS() bool {
	scheme, _, _ := strings.Cut(v.Adapter, ":")
	return scheme == "nats" || scheme == "tls"
}

// checkNATS notes what is wrong with the connections to NATS, as far as their files and their form
// say it.
func (l *loaded) checkNATS(g *giving) {
	n := &l.values.NATS
	if strings.HasPrefix(l.values.Adapter, "embedded:") {
		for _, key := range []string{"nats.creds", "nats.nkey", "nats.token", "nats.user", "nats.password", "nats.ca", "nats.cert", "nats.key"} {
			if _, ok := l.given[key]; ok {
				g.wrong(l.wrong(key, "no such setting beside the adapter embedded:", "the NATS server is in this program, and asks for none"))
			}
		}
		return
	}
	if !l.values.onNATS() {
		l.unused(g, "nats.", "nats://host:4222")
		return
	}
	before := len(g.errs)
	var ways []string
	for _, key := range []string{"nats.creds", "nats.nkey", "nats.token", "nats.user"} {
		if !l.book.byKey[key].value.IsZero() {
			ways = append(ways, key)
		}
	}
	if len(ways) > 1 {
		g.wrong(l.wrong(ways[1], "one of them", "there is %s, too", ways[0]))
	}
	if len(ways) > 0 && strings.Contains(l.values.Adapter, "@") {
		g.wrong(l.wrong(ways[0], "one of them", "there is a user in the adapter's address, too"))
	}
	for _, pair := range [][2]string{{"nats.user", "nats.password"}, {"nats.cert", "nats.key"}} {
		if first, second := l.book.byKey[pair[0]], l.book.byKey[pair[1]]; first.value.IsZero() != second.value.IsZero() {
			if first.value.IsZero() {
				slices.Reverse(pair[:])
			}
			g.wrong(l.wrong(pair[0], pair[1]+", too", "it is of no use without %s", pair[1]))
		}
	}
	for key, check := range map[string]func() error{
		"nats.creds": func() error { return checkCreds(n.Creds) }, "nats.nkey": func() error { return checkNkey(n.Nkey) },
		"nats.ca": func() error { return checkCA(n.CA) },
		"nats.cert": func() error {
			if n.Key == "" {
				return nil
			}
			return checkPair(n.Cert, n.Key)
		},
	} {
		if l.book.byKey[key].value.IsZero() {
			continue
		}
		if err := check(); err != nil {
			g.wrong(l.keyed(err, key))
		}
	}
	if len(g.errs) > before {
		return
	}
	cfg := natsadapter.Config{URL: l.values.Adapter, Cluster: n.Cluster, Prefix: n.Prefix}
	if err := cfg.Check(); err != nil {
		problem := strings.TrimPrefix(err.Error(), "natsadapter: ")
		key := "adapter"
		if strings.HasPrefix(problem, "prefix") {
			key = "nats.prefix"
		}
		problem, want, _ := strings.Cut(problem, ": want ")
		g.wrong(keyed(&mistake{problem, want}, key, l.source(key)))
	}
}

// natsConfig returns what the adapter is made of, by the program and by text.
func (c *Config) natsConfig() natsadapter.Config {
	cfg, n := c.program.NATS, c.loaded.values.NATS
	cfg.URL, cfg.Cluster, cfg.Prefix, cfg.Name = c.servers, n.Cluster, n.Prefix, n.Name
	if cfg.Logger == nil {
		cfg.Logger = c.Logger
	}
	var options []nats.Option
	add := func(option nats.Option) { options = append(options, option) }
	switch {
	case n.Creds != "":
		add(nats.UserCredentials(n.Creds))
	case n.Nkey != "":
		add(func(o *nats.Options) error { // read again with each connection
			option, err := nats.NkeyOptionFromSeed(n.Nkey)
			if err != nil {
				return err
			}
			return option(o)
		})
	case n.Token != "":
		read := c.secret("nats.token")
		add(nats.TokenHandler(func() string { return read() }))
	case n.User != "":
		read := c.secret("nats.password")
		add(nats.UserInfoHandler(func() (string, string) { return n.User, read() }))
	}
	if n.CA != "" {
		add(nats.RootCAs(n.CA))
	}
	if n.Cert != "" {
		add(nats.ClientCert(n.Cert, n.Key))
	}
	cfg.Options = slices.Concat(cfg.Options, options)
	return cfg
}

// secret returns a function that reads a secret anew if a file has it, and else returns what it was.
func (c *Config) secret(key string) func() string {
	s := c.loaded.book.byKey[key]
	first, path := s.value.String(), s.twin.value.String()
	return func() string {
		if path == "" {
			return first
		}
		content, err := readFile(path)
		text := strings.TrimRight(string(content), "\r\n")
		if err != nil || text == "" {
			return first // the server says if it is not right any more
		}
		return text
	}
}

// checkCreds has nats.go read a credentials file.
func checkCreds(path string) error {
	var o nats.Options
	if err := nats.UserCredentials(path)(&o); err != nil {
		return errors.New("it cannot be used")
	}
	const want = "a .creds file as nsc and the nats command make it, with a BEGIN NATS USER JWT and a BEGIN USER NKEY SEED part"
	if _, err := o.UserJWT(); err != nil {
		return wrong(want, "file %s has no user's JWT", quoteName(path))
	}
	if _, err := o.SignatureCB([]byte("x")); err != nil {
		return wrong(want, "file %s has no user's seed", quoteName(path))
	}
	return nil
}

func checkNkey(path string) error {
	if _, err := nats.NkeyOptionFromSeed(path); err != nil {
		return wrong("the seed of a user, which begins with SU, as nk -gen user makes it", "file %s has no user's seed", quoteName(path))
	}
	return nil
}

func checkCA(path string) error {
	if err := nats.RootCAs(path)(new(nats.Options)); err != nil {
		return wrong("PEM, which begins with -----BEGIN CERTIFICATE-----", "file %s has no certificate", quoteName(path))
	}
	return nil
}

// checkPair says what is wrong with a certificate and its key.
func checkPair(cert, key string) error {
	_, err := tls.LoadX509KeyPair(cert, key)
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "private key does not match"):
		return wrong("the key of this certificate", "file %s has another certificate's key", quoteName(key))
	case checkCA(cert) != nil:
		return checkCA(cert)
	}
	return wrong("PEM, which begins with -----BEGIN PRIVATE KEY-----", "file %s has no key", quoteName(key))
}
