package wsserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// A breakable is an adapter whose links a test takes from their broker.
type breakable struct {
	adapter.Adapter
	links []*breakableLink
	fail  error // of Open
}

type breakableLink struct {
	adapter.Link
	state   adapter.State
	changed chan struct{}
}

func (b *breakable) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	if b.fail != nil {
		return nil, b.fail
	}
	link, err := b.Adapter.Open(ctx, recv)
	if err != nil {
		return nil, err
	}
	l := &breakableLink{Link: link, changed: make(chan struct{})}
	l.state, _ = link.State()
	b.links = append(b.links, l)
	return l, nil
}

func (l *breakableLink) State() (adapter.State, <-chan struct{}) { return l.state, l.changed }

func (l *breakableLink) become(s adapter.State) {
	l.state = s
	changed := l.changed
	l.changed = make(chan struct{})
	close(changed)
}

// TestReadiness: the state of a server, why it is so, and what probes are answered.
func TestReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := &breakable{Adapter: new(adapter.Memory), fail: adapter.ErrUnavailable}
		srv := wsserver.New(wsserver.Config{Adapter: cluster, Logger: kit.Silent, Cluster: wsserver.ClusterConfig{NodeName: "web-1"}})
		want := func(state wsserver.ReadyState, status int, reason string) {
			t.Helper()
			synctest.Wait()
			wantReadiness(t, srv, state, status, reason)
		}
		want(wsserver.StateStarting, 503, adapter.ErrUnavailable.Error())
		cluster.fail = nil
		if err := srv.Ready(t.Context()); err == nil {
			t.Error("Ready before it was open")
		}
		time.Sleep(time.Minute) // the adapter is opened again
		want(wsserver.StateReady, 200, "")

		link := cluster.links[0]
		state, _ := link.Link.State()
		link.become(adapter.State{Status: adapter.Degraded, Reason: adapter.ErrUnavailable, Connections: 1})
		want(wsserver.StateDegraded, 200, "out of reach")
		link.become(adapter.State{Status: adapter.Refused, Reason: adapter.ErrRefused, Connections: 1})
		want(wsserver.StateDegraded, 200, "refused by the broker")
		link.become(adapter.State{Status: adapter.Connected, Reason: adapter.ErrRefused, Connections: 2})
		want(wsserver.StateDegraded, 200, "the broker, connected: ")
		state.Connections = 3
		link.become(state)
		time.Sleep(time.Minute)
		want(wsserver.StateReady, 200, "")

		kit.Close(t, srv)
		want(wsserver.StateDraining, 503, "closing")
	})
}

// TestReadinessOfWrongConfig: a server that serves nothing says why.
func TestReadinessOfWrongConfig(t *testing.T) {
	t.Parallel()
	srv := wsserver.New(wsserver.Config{PingInterval: -1, Logger: kit.Silent})
	wantReadiness(t, srv, wsserver.StateUnusable, 503, "PingInterval")
	kit.Close(t, srv)
	alone := wsserver.New(wsserver.Config{Logger: kit.Silent})
	wantReadiness(t, alone, wsserver.StateReady, 200, "")
	kit.Close(t, alone)
}

func wantReadiness(t *testing.T, srv *wsserver.Server, state wsserver.ReadyState, status int, reason string) {
	t.Helper()
	for _, probe := range []struct {
		serve  http.HandlerFunc
		status int
	}{{srv.ServeReady, status}, {srv.ServeHealth, 200}} {
		w := httptest.NewRecorder()
		probe.serve(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var got wsserver.Readiness
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		reasons := strings.Join(got.Reasons, "; ")
		if w.Code != probe.status || got.State != state || got.Node != srv.Node() || got.NodeName != srv.NodeName() ||
			!strings.Contains(reasons, reason) || (reason == "") != (reasons == "") {
			t.Errorf("status %d, %s; want %d, %s because of %q", w.Code, w.Body, probe.status, state, reason)
		}
	}
}

// TestReadinessOfSuspects: a server is degraded while none of the others answers, or its memory for what waits is used up.
func TestReadinessOfSuspects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		srv := wsserver.New(wsserver.Config{Adapter: memory, Logger: kit.Silent})
		mute := &muteAdapter{Adapter: memory}
		other := wsserver.New(wsserver.Config{Adapter: mute, Logger: kit.Silent})
		time.Sleep(time.Second)
		synctest.Wait()
		wantReadiness(t, srv, wsserver.StateReady, 200, "")
		mute.off.Store(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantReadiness(t, srv, wsserver.StateDegraded, 200, "1 are suspect")
		mute.off.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantReadiness(t, srv, wsserver.StateReady, 200, "")
		kit.Close(t, other)
		kit.Close(t, srv)
	})
}

// A muteAdapter publishes nothing while it is off.
type muteAdapter struct {
	adapter.Adapter
	off atomic.Bool
}

type muteLink struct {
	adapter.Link
	of *muteAdapter
}

func (d *muteAdapter) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	link, err := d.Adapter.Open(ctx, recv)
	return &muteLink{link, d}, err
}

func (l *muteLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.of.off.Load() {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}
