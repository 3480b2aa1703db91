package natsadapter

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
)

// The broker's list of connections names the nodes, unless the program has a name of its own for them, and goes on to when a
// connection is replaced. Each node knows the names of the others.
func TestConnectionsAreNamed(t *testing.T) {
	g := startServer(t, guardedOptions(nil, nil))
	url := "nats://free:x@" + g.server.Addr().String()
	quiet := slog.New(slog.DiscardHandler)
	open := func(cfg Config, hub cluster.HubConfig) *cluster.Hub {
		cfg.URL, cfg.Options = url, append(cfg.Options, nats.ReconnectWait(20*time.Millisecond))
		hub.Adapter, hub.Logger = New(cfg), quiet
		h := cluster.NewHub(hub)
		t.Cleanup(func() { _ = h.Close(context.Background()) })
		kit.OK(t, h.Ready(t.Context()))
		return h
	}
	odd := `the "node" <of> C:\ & söhne`
	web, named := open(Config{}, cluster.HubConfig{Name: "web-1"}), open(Config{}, cluster.HubConfig{Name: odd})
	open(Config{Name: "mine"}, cluster.HubConfig{Name: "web-2"})
	open(Config{Name: "not mine", Options: []nats.Option{nats.Name("option")}}, cluster.HubConfig{Name: "web-3"})
	job := open(Config{}, cluster.HubConfig{Name: "job", Client: true})
	beside, err := New(Config{URL: url}).Connect(t.Context())
	kit.OK(t, err)
	defer beside.Close()
	want := []string{"web-1 (" + web.Node() + ")", odd + " (" + named.Node() + ")", "mine", "option", "job (" + job.Node() + ")", "belfry"}
	slices.Sort(want)
	listed := func() (names []string) {
		list, err := g.server.Connz(&natsserver.ConnzOptions{})
		g.must(err)
		for _, c := range list.Conns {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		return names
	}
	kit.EqualSlices(t, listed(), want, "the server lists")
	g.disconnect()
	for deadline := time.Now().Add(kit.Patience); !slices.Equal(listed(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a disconnect the server lists %q, want %q", listed(), want)
		}
	}
	var names []string
	for deadline := time.Now().Add(kit.Patience); len(names) < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a node knows %q only", names)
		}
		all, _ := web.Nodes()
		names = nil
		for _, n := range all {
			if !n.Suspect {
				names = append(names, n.Name)
			}
		}
	}
	kit.EqualSlices(t, names, []string{"web-1", odd, "web-2", "web-3"}, "a node knows")
}
