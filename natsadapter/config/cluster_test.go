package config_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestEmbeddedCluster: three nodes that know one of each other and a secret are one cluster, without
// any other program; a node without the secret stays outside.
func TestEmbeddedCluster(t *testing.T) {
	dir := t.TempDir()
	secret, guess := filepath.Join(dir, "secret"), filepath.Join(dir, "guess")
	write(t, secret, "hidden\n")
	write(t, guess, "hidden-guess\n")
	first := freeAddr(t)
	start := func(listen, routes, secret string) *wsserver.Server {
		t.Helper()
		p := program("-adapter", fmt.Sprintf("embedded:?listen=%s&routes=%s&secret-file=%s", listen, routes, filepath.ToSlash(secret)))
		if routes == "" {
			p.Args[1] = fmt.Sprintf("embedded:?listen=%s&secret-file=%s", listen, filepath.ToSlash(secret))
		}
		p.Log = new(kit.Log)
		cfg, err := config.Load(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cfg.Close() })
		srv := wsserver.New(cfg.Server)
		t.Cleanup(func() { kit.Close(t, srv) })
		if err := cfg.Ready(t.Context(), srv); err != nil {
			t.Fatal(err)
		}
		return srv
	}
	nodes := []*wsserver.Server{start(first, "", secret), start("127.0.0.1:0", "nats://"+first, secret), start("127.0.0.1:0", first, secret)}
	outside := start("127.0.0.1:0", first, guess)
	for _, srv := range nodes {
		kit.Until(t, func() error {
			if n := srv.ServerCount(); n != len(nodes) {
				return fmt.Errorf("%d nodes", n)
			}
			return nil
		})
	}
	for i, srv := range nodes {
		c := wstest.Dial(t, nodes[(i+1)%len(nodes)], wstest.Config{})
		if err := srv.Emit(t.Context(), "said", i); err != nil {
			t.Error(err)
		}
		var got int
		if err := c.Next("said").Decode(&got); err != nil || got != i {
			t.Errorf("got %d, %v, want %d", got, err, i)
		}
	}
	if n := outside.ServerCount(); n != 1 {
		t.Errorf("the node with another secret sees %d nodes", n)
	}
}

// TestEmbeddedTaken: an address that is not free is said with its key.
func TestEmbeddedTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, key := range []string{"embedded.clients", "embedded.listen"} {
		p := program("-adapter", "embedded:", "-"+key, l.Addr().String())
		p.Log = new(kit.Log)
		_, err := config.Load(p)
		wrong, ok := errors.AsType[*config.KeyError](err)
		if !ok || wrong.Key != key || wrong.Want != "an address that is free on this host" {
			t.Errorf("%s: %v", key, err)
		}
	}
	// Without embedded.FromURL there is none.
	p := program("-adapter", "embedded:")
	p.Embedded = nil
	if _, err := config.Load(p); err == nil || err.Error() != "flag -adapter: this program has no NATS server in it: want nats://host:4222, or a program that gives config.Load the function embedded.FromURL" {
		t.Error(err)
	}
}

// freeAddr is an address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
