package metrics

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestMovedByCluster is TestMoved for what happens between nodes.
func TestMovedByCluster(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg wsserver.ClusterConfig
		do  func(r *rig)
	}{
		"servers":    {do: servers},
		"the broker": {do: brokerState},
		"joins":      {do: joinsAndFences},
		"broadcasts": {do: broadcasts},
		"the queue":  {cfg: wsserver.ClusterConfig{QueueBytes: 4096}, do: queue},
		"repairs":    {do: repairs},
		"losses":     {do: losses},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, wsserver.Config{Cluster: test.cfg})
				defer kit.Close(t, r.srv)
				test.do(r)
			})
		})
	}
}

// another returns one more server of the cluster, and its link.
func (r *rig) another(cfg wsserver.ClusterConfig) (*wsserver.Server, *link) {
	srv := wsserver.New(wsserver.Config{Adapter: r.cluster, Cluster: cfg, Logger: kit.Silent})
	time.Sleep(time.Second)
	synctest.Wait()
	return srv, r.cluster.links[len(r.cluster.links)-1]
}

func servers(r *rig) {
	var other *wsserver.Server
	var its *link
	standing := func(name string) string { return `belfry_cluster_servers{standing="` + name + `"}` }
	r.moves(func() { other, its = r.another(wsserver.ClusterConfig{}) }, delta{standing("alive"): 1})
	r.moves(func() {
		its.set(func(l *link) { l.mute = true })
		time.Sleep(5 * time.Second)
	}, delta{standing("alive"): -1, standing("suspect"): 1, `belfry_cluster_suspected_total`: 1})
	r.moves(func() { time.Sleep(time.Minute) },
		delta{standing("suspect"): -1, `belfry_cluster_given_up_total`: 1})
	r.moves(func() {
		its.set(func(l *link) { l.mute = false })
		time.Sleep(5 * time.Second)
	}, delta{standing("suspect"): 0, standing("alive"): 1})
	r.moves(func() { kit.Close(r, other); time.Sleep(5 * time.Second) }, delta{standing("alive"): -1})
}

func brokerState(r *rig) {
	state := func(name string) string { return `belfry_cluster_broker_state{state="` + name + `"}` }
	l := r.cluster.links[0]
	begin := l.state
	r.moves(func() {
		l.set(func(l *link) { l.state.Status, l.state.Reason = adapter.Degraded, adapter.ErrUnavailable })
	}, delta{state("connected"): -1, state("degraded"): 1, `belfry_cluster_broker_trouble`: 1, `belfry_cluster_broker_connections_total`: 0})
	r.moves(func() {
		l.set(func(l *link) { l.state.Status, l.state.Reason = adapter.Refused, adapter.ErrRefused })
	}, delta{state("degraded"): -1, state("refused"): 1})
	r.moves(func() {
		l.set(func(l *link) {
			l.state = begin
			l.state.Connections++
			l.state.RoundTrip = 3 * time.Second
		})
	}, delta{
		state("connected"): 1, state("refused"): -1, `belfry_cluster_broker_trouble`: -1,
		`belfry_cluster_broker_connections_total`: 1, `belfry_cluster_broker_round_trip_seconds`: 3,
	})
	r.moves(func() { kit.Close(r, r.srv) }, delta{})
}

func joinsAndFences(r *rig) {
	other, its := r.another(wsserver.ClusterConfig{})
	defer kit.Close(r, other)
	s := r.socket(r.dial())
	r.moves(func() {
		if err := s.Join(r.Context(), "a"); err != nil {
			r.Error(err)
		}
	}, delta{`belfry_cluster_join_duration_seconds_count`: 1, `belfry_cluster_fences_total`: 1, `belfry_cluster_joins_waiting`: 0})
	its.set(func(l *link) { l.mute = true })
	ended := make(chan error, 1)
	r.moves(func() { go func() { ended <- s.Join(r.Context(), "b") }() }, delta{`belfry_cluster_joins_waiting`: 1})
	r.moves(func() {
		var unfenced *cluster.UnfencedError
		if err := <-ended; !errors.As(err, &unfenced) {
			r.Errorf("the Join: %v", err)
		}
	}, delta{
		`belfry_cluster_joins_waiting`: -1, `belfry_cluster_joins_unfenced_total`: 1,
		`belfry_cluster_join_duration_seconds_count`: 1, `belfry_cluster_join_duration_seconds_sum`: grown,
	})
	its.set(func(l *link) { l.mute = false })
	time.Sleep(5 * time.Second)
}

func broadcasts(r *rig) {
	outcome := func(name string) string { return `belfry_cluster_broadcasts_received_total{outcome="` + name + `"}` }
	other, _ := r.another(wsserver.ClusterConfig{})
	defer kit.Close(r, other)
	c := r.dial()
	s := r.socket(c)
	if err := s.Join(r.Context(), "a"); err != nil {
		r.Error(err)
	}
	say := func() { _ = other.To("a").Emit(r.Context(), "said") }
	r.moves(say, delta{outcome("delivered"): 1, `belfry_frames_sent_total`: 1, outcome("copy"): 0})
	r.cluster.links[0].set(func(l *link) { l.copies = 2 })
	r.moves(say, delta{outcome("delivered"): 1, outcome("copy"): 1})
	r.cluster.links[0].set(func(l *link) { l.copies = 1 })
	r.moves(func() { r.cluster.links[0].recv([]byte("garbage")) }, delta{`belfry_cluster_dropped_total{reason="malformed"}`: 1})
	r.moves(func() { _ = r.srv.To("a").Emit(r.Context(), "said") },
		delta{`belfry_cluster_messages_sent_total`: 1, `belfry_cluster_sent_bytes_total`: grown})
}

func queue(r *rig) {
	if got := figures(r.T, r.srv)[`belfry_cluster_queue_limit_bytes`]; got != 4096 {
		r.Errorf("the limit is %v", got)
	}
	full := make(chan struct{})
	r.cluster.links[0].set(func(l *link) { l.full = full })
	text := string(make([]byte, 1000))
	r.moves(func() { _ = r.srv.Emit(r.Context(), "said", text); _ = r.srv.Emit(r.Context(), "said", text) },
		delta{`belfry_cluster_queue_bytes`: grown})
	r.moves(func() {
		for range 5 {
			_ = r.srv.Emit(r.Context(), "said", text)
		}
	}, delta{`belfry_cluster_dropped_total{reason="overflow"}`: grown})
	close(full)
}

func repairs(r *rig) {
	other, _ := r.another(wsserver.ClusterConfig{})
	defer kit.Close(r, other)
	s := r.socket(r.dial())
	_ = s.Join(r.Context(), "a")
	r.cluster.links[0].set(func(l *link) { l.lose = 1 })
	movesOf(r.T, other, func() {
		r.moves(func() {
			_ = other.To("a").Emit(r.Context(), "precious")
			_ = other.To("a").Emit(r.Context(), "next")
			time.Sleep(5 * time.Second)
		}, delta{`belfry_cluster_repairs_asked_total`: grown, `belfry_cluster_repaired_total`: 1, `belfry_frames_sent_total`: 2})
	}, delta{`belfry_cluster_resent_total`: 1})
}

func losses(r *rig) {
	other, _ := r.another(wsserver.ClusterConfig{RepairBytes: 1})
	defer kit.Close(r, other)
	s := r.socket(r.dial())
	_ = s.Join(r.Context(), "a")
	r.cluster.links[0].set(func(l *link) { l.lose = 1 })
	r.moves(func() {
		_ = other.To("a").Emit(context.Background(), "precious")
		for range 3 {
			_ = other.To("a").Emit(context.Background(), "next", string(make([]byte, 1000)))
		}
		time.Sleep(5 * time.Second)
	}, delta{`belfry_cluster_lost_total{kind="known"}`: 1, `belfry_cluster_repaired_total`: 0})
}
