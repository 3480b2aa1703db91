package service_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/servers"
)

// TestInstances: several instances share the requests, and one that is closed leaves its part to the others without losing any.
func TestInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	other := start(t, service.Config{Adapter: w.adapter})
	var wg sync.WaitGroup
	half := make(chan struct{})
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if worker == 0 && i == 50 {
					close(half)
				}
				if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 2 {
					t.Errorf("got %s", a.text)
				}
			}
		})
	}
	<-half
	kit.Close(t, other)
	wg.Wait()
	for _, name := range "ab" {
		for range 400 {
			w.Clients[string(name)].Next("news")
		}
	}
	w.Want(t, "afterwards", "", "")
}

// TestClose: Close waits for what is being carried out, no longer than its ctx, and takes no more; the emitter that was given stays.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	e := newEmitter(t, w.adapter)
	own := natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "elsewhere", Logger: kit.Silent})
	s := start(t, service.Config{Adapter: own, Emitter: e, Timeout: time.Minute})
	kit.Equal(t, s.Subject(), "belfry.service.relsewhere", "the subject")
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})}
	third := servers.New(t, hung, nil)
	w.Dial(t, third, "e", "x")
	if a := request(t, w.nc, s.Subject()+".count", ``); a.Count != 5 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	answers := make(chan answer, 1)
	go func() { answers <- request(t, w.nc, s.Subject()+".count", ``) }()
	kit.Eventually(t, "a request is being carried out", func() bool {
		return slices.ContainsFunc(discover(t, w.nc, "STATS.belfry", 2), func(f found) bool {
			return f.Metadata["cluster"] == "elsewhere" && f.Endpoints[0].Data.Running > 0
		})
	})
	start := time.Now()
	s.Close(kit.Within(t, 100*time.Millisecond))
	kit.Took(t, start, 100*time.Millisecond, kit.Patience/2, "Close")
	if a := <-answers; a.OK || a.Count != 4 || !slices.Equal(a.Missing, []string{third.Node()}) {
		t.Errorf("what was being carried out: %s", a.text)
	}
	if _, err := w.nc.Request(s.Subject()+".count", nil, kit.Patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("afterwards: got %v, want ErrNoResponders", err)
	}
	if n, err := e.To("y").Count(t.Context()); n != 2 {
		t.Errorf("the emitter: %d, %v", n, err)
	}
}

// TestStartErrors: what is wrong is said at once.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*natsadapter.Adapter{
		"no adapter":      nil,
		"a wrong prefix":  natsadapter.New(natsadapter.Config{Prefix: "a.*", Logger: kit.Silent}),
		"nobody is there": natsadapter.New(natsadapter.Config{URL: "nats://127.0.0.1:1", Logger: kit.Silent}),
		"a wrong URL":     natsadapter.New(natsadapter.Config{URL: "http://127.0.0.1:1", Logger: kit.Silent}),
	} {
		s, err := service.Start(t.Context(), service.Config{Adapter: a, Logger: kit.Silent})
		if err == nil || !strings.HasPrefix(err.Error(), "service: start: ") || s != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := newWorld(t, service.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := service.Start(ctx, service.Config{Adapter: w.adapter, Logger: kit.Silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: got %v", err)
	}
}

// TestStartWithoutAnswer: Start gives up a server that accepts connections and says nothing when ctx ends.
func TestStartWithoutAnswer(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(t, err)
	defer mute.Close()
	ctx := kit.Within(t, 50*time.Millisecond)
	a := natsadapter.New(natsadapter.Config{URL: "nats://" + mute.Addr().String(), Options: []nats.Option{nats.Timeout(time.Hour)}, Logger: kit.Silent})
	done := make(chan error, 1)
	go func() {
		_, err := service.Start(ctx, service.Config{Adapter: a, Logger: kit.Silent})
		done <- err
	}()
	select {
	case err := <-done:
		kit.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(kit.Patience):
		t.Fatal("Start does not return")
	}
}
