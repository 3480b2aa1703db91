package natsadapter

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

func TestServiceSubject(t *testing.T) {
	for _, tc := range []struct{ prefix, cluster, want string }{
		{"", "", "belfry.service.rbelfry"},
		{"my.app", "chat", "my.app.service.rchat"},
		{"", "a.*", "belfry.service.ra=2E=2A"},
		{"a.", "chat", ""},
		{"*", "chat", ""},
	} {
		a := New(Config{Prefix: tc.prefix, Cluster: tc.cluster})
		got, err := a.ServiceSubject()
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("prefix %q, cluster %q: got %q, %v, want %q", tc.prefix, tc.cluster, got, err, tc.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "natsadapter: prefix") {
			t.Errorf("prefix %q: got %v", tc.prefix, err)
		}
	}
	kit.Equal(t, New(Config{Cluster: "chat"}).Cluster(), "chat")
}

// TestConnect: a connection besides those of the links has the adapter's servers and options, and comes back by itself.
func TestConnect(t *testing.T) {
	s := natstest.NewServer(t)
	other := natstest.NewServer(t)
	other.Shutdown()
	a := quiet(other.URL()+","+s.URL(), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0), nats.CustomInboxPrefix("mine"))
	again := make(chan struct{}, 1)
	nc, err := a.Connect(t.Context(), nil, nats.Name("beside"), nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} }))
	kit.OK(t, err)
	defer nc.Close()
	if nc.Opts.Name != "beside" || !strings.HasPrefix(nc.NewInbox(), "mine.") {
		t.Errorf("name %q, inbox %q", nc.Opts.Name, nc.NewInbox())
	}
	sub, err := nc.SubscribeSync("x")
	kit.OK(t, err)
	s.Restart()
	kit.Receive(t, "the connection to come back", again)
	kit.OK(t, nc.Publish("x", nil))
	if _, err := sub.NextMsg(kit.Patience); err != nil {
		t.Errorf("its own message, after a restart: %v", err)
	}
	failed := errors.New("no")
	if _, err := a.Connect(t.Context(), func(*nats.Options) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("an option that fails: got %v", err)
	}
	s.Shutdown()
	if _, err := a.Connect(t.Context()); !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("without a server: got %v", err)
	}
	if _, err := quiet("http://x").Connect(t.Context()); err == nil {
		t.Error("a wrong URL: got no error")
	}
}

// TestConnectWithContext: ctx ends a wait for servers that say nothing, and does no harm to a connection that stands.
func TestConnectWithContext(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	ctx, cancel := context.WithCancel(t.Context())
	again := make(chan struct{}, 1)
	nc, err := quiet(p.url(), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0)).Connect(ctx, nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} }))
	kit.OK(t, err)
	defer nc.Close()
	cancel()
	kit.OK(t, nc.Flush(), "a connection whose ctx has ended")
	s.Disconnect()
	kit.Receive(t, "a connection whose ctx has ended to come back", again)

	p.hold()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if nc, err := quiet(p.url()+","+p.url(), nats.Timeout(time.Hour)).Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || nc != nil {
		t.Errorf("a server that says nothing: %v, want the deadline", err)
	}
	if _, err := quiet(s.URL()).Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a ctx that has ended: %v, want the deadline", err)
	}
}
