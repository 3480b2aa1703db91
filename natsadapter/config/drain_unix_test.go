//go:build unix

package config_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestRunDrains: a program that is told to end sends its clients to other nodes first, as the settings say; a second signal ends it at once, whatever
// a handler does.
func TestRunDrains(t *testing.T) {
	for _, test := range []struct {
		name        string
		args        []string
		stick       bool
		signal      syscall.Signal
		least, most time.Duration
	}{
		{"few clients", nil, false, 0, 0, 5 * time.Second},
		{"notice", []string{"-drain-notice=1s"}, false, 0, time.Second, 6 * time.Second},
		{"rate", []string{"-drain-rate=1"}, false, 0, time.Second, 6 * time.Second},
		{"no drain", []string{"-drain-over=0", "-drain-linger=0"}, false, 0, 0, 5 * time.Second},
		{"interrupt", []string{"-drain-over=1h"}, true, syscall.SIGINT, 0, 10 * time.Second},
		{"SIGTERM", []string{"-drain-notice=1h"}, false, syscall.SIGTERM, 0, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := program(append([]string{"-addr=127.0.0.1:0"}, test.args...)...)
			log := new(kit.Log)
			p.Log = log
			cfg := kit.Must(config.Load(p))(t)
			srv := wsserver.New(cfg.Server)
			release := make(chan struct{})
			defer close(release)
			stuck := make(chan struct{})
			srv.Of("/").On("stick", func(context.Context, *wsserver.Event) error {
				close(stuck)
				<-release
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- cfg.Run(ctx, srv, srv) }()
			logs := func(text string) func() bool { return func() bool { return strings.Contains(log.String(), text) } }
			kit.Eventually(t, "the address", logs("listening"))
			_, address, _ := strings.Cut(log.String(), "address=")
			address = strings.Fields(address)[0]
			var clients []*wstest.Client
			for range 3 {
				clients = append(clients, wstest.New(t, kit.Must(net.Dial("tcp", address))(t), wstest.Config{}))
			}
			if test.stick {
				clients[0].Emit("stick")
				<-stuck
			}
			begun := time.Now()
			cancel()
			kit.Eventually(t, "the end to begin", logs("at once on a second signal"))
			if test.signal != 0 {
				kit.OK(t, syscall.Kill(syscall.Getpid(), test.signal))
			}
			err := kit.Receive(t, "the end of Run", ended)
			if test.signal != 0 || test.name == "no drain" {
				kit.Check(t, err != nil && strings.Contains(err.Error(), "of 3 connections were cut"), "Run: %v", err)
			} else {
				kit.OK(t, err)
			}
			if test.stick {
				kit.ErrorIs(t, err, context.Canceled)
			}
			kit.Took(t, begun, test.least, test.most, "Run took")
			for _, c := range clients {
				if end := c.Wait(); end.Code != 1001 && test.signal == 0 {
					t.Errorf("a client: %v, want close code 1001", end)
				}
			}
		})
	}
}
