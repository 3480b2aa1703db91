package service

import (
	"cmp"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// A lastRequest is answered by the only server of the cluster, which leaves before it is looked for.
type lastRequest struct {
	countRequest
	t   *testing.T
	hub *cluster.Hub
}

func (r *lastRequest) do(ctx context.Context, s *Service) (answer, error) {
	if err := r.hub.Close(ctx); err != nil {
		r.t.Errorf("Close of the server: %v", err)
	}
	for deadline := time.Now().Add(MaxTimeout); s.emitter.ServerCount() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the server is known still")
		}
	}
	return &countAnswer{Count: 1}, nil
}

// TestServerThatLeavesAfterwards: a request that was carried out is not refused for want of a server, or its client would send it again.
func TestServerThatLeavesAfterwards(t *testing.T) {
	t.Parallel()
	memory, silent := new(adapter.Memory), slog.New(slog.DiscardHandler)
	hub := cluster.NewHub(cluster.HubConfig{Adapter: memory, Logger: silent})
	e := emitter.New(emitter.Config{Adapter: memory, Logger: silent})
	defer e.Close(t.Context())
	for _, ready := range []func(context.Context) error{hub.Ready, e.Ready} {
		kit.OK(t, ready(t.Context()))
	}
	s := &Service{cfg: Config{Adapter: natsadapter.New(natsadapter.Config{}), Timeout: MaxTimeout, Logger: silent}.defaults(), emitter: e, ctx: t.Context()}
	if msg := s.carryOut(&lastRequest{t: t, hub: hub}); string(msg.Data) != `{"ok":true,"count":1}` || msg.Header != nil {
		t.Errorf("got %s, %v", msg.Data, msg.Header)
	}
	if msg := s.carryOut(&countRequest{}); msg.Header.Get("Nats-Service-Error-Code") != "503" {
		t.Errorf("without a server: got %s, %v", msg.Data, msg.Header)
	}
}

// The server's list of connections says whose service it is, unless the program has said something else.
func TestConnectionIsNamed(t *testing.T) {
	t.Parallel()
	server, silent := natstest.NewServer(t), slog.New(slog.DiscardHandler)
	for _, name := range []string{"", "mine"} {
		a := natsadapter.New(natsadapter.Config{URL: server.URL(), Name: name, Logger: silent})
		e := emitter.New(emitter.Config{Adapter: a, NodeName: "web-1", Logger: silent})
		defer e.Close(t.Context())
		s, err := Start(t.Context(), Config{Adapter: a, Emitter: e, Logger: silent})
		kit.OK(t, err)
		defer s.Close(t.Context())
		kit.Equal(t, s.nc.Opts.Name, cmp.Or(name, "service of web-1 ("+e.Node()+")"),
			"the service's connection is called")
		if m := s.micro.Info().Metadata; m["node_name"] != "web-1" || m["node"] != e.Node() {
			t.Errorf("it says of itself %v", m)
		}
	}
}
