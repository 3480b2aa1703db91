package natsadapter

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// TestInProcessServer has a server that can be reached in no other way, and is gone in the end.
func TestInProcessServer(t *testing.T) {
	s, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true})
	kit.OK(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	adp := quiet("nats://not-looked-up.invalid", nats.InProcessServer(s))
	a, b := open(t, adp), open(t, adp)
	a.subscribe(room("x"))
	a.settle()
	b.publish(room("x"), strings.Repeat("1", 100_000))
	a.expect(strings.Repeat("1", 100_000))
	s.Shutdown()
	a.until(adapter.Degraded)
	open(t, adp).until(adapter.Degraded)
}

func TestOpenErrors(t *testing.T) {
	s := natstest.Start(t, embedded.Config{Username: "u", Password: "right"})
	withUser := func(user string) string { return strings.Replace(s.URL(), "//", "//"+user+"@", 1) }
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"Scheme", Config{URL: "http://127.0.0.1:1"}, "want nats or tls"},
		{"Prefix", Config{Prefix: "*"}, "prefix"},
		{"NoUser", Config{URL: s.URL()}, "Authorization Violation"},
		{"Password", Config{URL: withUser("u:wrong")}, "Authorization Violation"},
		{"Credentials", Config{URL: s.URL(), Options: []nats.Option{nats.UserCredentials("no-such-file")}}, "no-such-file"},
		{"Certificate", Config{URL: s.URL(), Options: []nats.Option{nats.RootCAs("no-such-file")}}, "no-such-file"},
		{"NoTLS", Config{URL: strings.Replace(withUser("u:right"), "nats:", "tls:", 1)}, "secure connection not available"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Logger = slog.New(slog.DiscardHandler)
			l, err := New(tc.cfg).Open(t.Context(), func([]byte) {})
			if err == nil {
				t.Fatalf("no error, want one with %q; Close: %v", tc.want, l.Close())
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("%v, want %q and no password in it", err, tc.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quiet(withUser("u:right")).Open(ctx, func([]byte) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled ctx: %v, want context.Canceled", err)
	}
	open(t, quiet(withUser("u:right"))).until(adapter.Connected)
}

// TestOpenWithDeadline opens a link to a server that accepts connections and says nothing.
func TestOpenWithDeadline(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	p.hold()
	ctx := kit.Within(t, 50*time.Millisecond)
	l, err := quiet(p.url()).Open(ctx, func([]byte) {})
	kit.OK(t, err)
	n := &node{link: l.(*link), t: t}
	n.until(adapter.Degraded)
	p.release()
	n.until(adapter.Connected)
	kit.OK(t, l.Close())
}

// TestCloseWhileConnecting closes a link that waits for a server's first word.
func TestCloseWhileConnecting(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	p.hold()
	ctx := kit.Within(t, 50*time.Millisecond)
	l, err := quiet(p.url(), nats.Timeout(time.Hour)).Open(ctx, func([]byte) {})
	kit.OK(t, err)
	kit.OK(t, l.Close())
}

// TestOptionsOfLink gives options that the link must not let through.
func TestOptionsOfLink(t *testing.T) {
	s := natstest.NewServer(t)
	a := open(t, quiet(s.URL(), nil, nats.NoCallbacksAfterClientClose(), nats.MaxReconnects(1), nats.RetryOnFailedConnect(true),
		nats.ReconnectBufSize(1<<20), nats.SkipSubjectValidation(), nats.ErrorHandler(nil), nats.ClosedHandler(nil), nats.Name("other"),
		func(o *nats.Options) error {
			o.Url, o.Servers, o.Verbose = "nats://127.0.0.1:1", []string{"nats://127.0.0.1:1"}, true
			return nil
		}))
	a.until(adapter.Connected)
	s.Shutdown()
	a.until(adapter.Degraded)
	if err := a.Publish(t.Context(), room("x"), nil); err == nil {
		t.Error("Publish without a server: no error")
	}
	s.Restart()
	a.until(adapter.Connected)
	if got := a.current().nc.Opts.Name; got != "other" { // the name alone is the program's
		t.Errorf("the connection is named %q, want other", got)
	}
}
