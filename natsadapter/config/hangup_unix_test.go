//go:build unix

package config_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestHangup: a program that runs reloads on SIGHUP.
func TestHangup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.yaml")
	write(t, path, "addr: 127.0.0.1:0\n")
	p := program("-config", path)
	log := new(kit.Log)
	p.Log = log
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	srv := wsserver.New(cfg.Server)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cfg.Run(ctx, srv, srv) }()
	logged := func(text string) {
		t.Helper()
		kit.Until(t, func() error {
			if !strings.Contains(log.String(), text) {
				return errors.New("the log does not have " + text)
			}
			return nil
		})
	}
	logged("listening")
	write(t, path, "addr: 127.0.0.1:0\nlimits: {max-rooms: 3}\n")
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	logged("changed=[limits.max-rooms]")
	cancel()
	if err := kit.Receive(t, "the end of Run", ended); err != nil {
		t.Error(err)
	}
}
