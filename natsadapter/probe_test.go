package natsadapter

import (
	"log/slog"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// confined is an authentication by which clients may do what the package's documentation says that they need, and nothing else.
type confined struct{}

func (confined) Check(c natsserver.ClientAuthentication) bool {
	own := &natsserver.SubjectPermission{Allow: []string{"belfry.v1.rbelfry.>"}}
	c.RegisterUser(&natsserver.User{Permissions: &natsserver.Permissions{Publish: own, Subscribe: own}})
	return true
}

// Probes need no permission beside those to the cluster's subjects.
func TestProbeNeedsNoPermission(t *testing.T) {
	s := natstest.Start(t, embedded.Config{Options: &natsserver.Options{CustomClientAuthentication: confined{}}})
	adp := New(Config{URL: s.URL(), Logger: slog.New(slog.DiscardHandler)})
	got := make(chan string, 8)
	l, err := adp.Open(t.Context(), func(msg []byte) { got <- string(msg) })
	kit.OK(t, err)
	defer l.Close()
	nobody := adapter.Topic{Kind: adapter.Node, Node: "nobody"}
	if err := l.(adapter.Prober).Probe(t.Context(), nobody, []byte("back")); err == nil {
		t.Error("a link without a node's topic can probe")
	}
	kit.OK(t, l.Subscribe(t.Context(), adapter.Topic{Kind: adapter.Node, Node: "me"}))
	for topic, back := range map[adapter.Topic]string{
		nobody:                               "",
		{Kind: adapter.Node, Node: "two"}:    string(make([]byte, maxBack+1)),
		{Kind: adapter.Cluster}:              "back",
		{Kind: adapter.Room, Room: "nobody"}: "back",
	} {
		if err := l.(adapter.Prober).Probe(t.Context(), topic, []byte(back)); err == nil {
			t.Errorf("a probe of %v that hands back %d bytes is no error", topic, len(back))
		}
	}
	kit.OK(t, l.(adapter.Prober).Probe(t.Context(), nobody, []byte("back")))
	select {
	case msg := <-got:
		kit.Equal(t, msg, "back", "what was to be handed back")
	case <-time.After(30 * time.Second):
		t.Error("nothing was handed back")
	}
	if state, _ := l.State(); state.Reason != nil || adp.Stats().Refused > 0 {
		t.Errorf("%v, %+v; want nothing to be refused", state.Reason, adp.Stats())
	}
}
