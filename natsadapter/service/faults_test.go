package service_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/servers"
	"github.com/belfry-io/belfry/wsserver"
)

// TestDeadNode: a server that dies is waited for until that is known, and is named; what the others did counts.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})}
	third := servers.New(t, hung, nil)
	w.Dial(t, third, "e", "x")
	if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 3 {
		t.Fatalf("while all are alive: %s", a.text)
	}
	w.Want(t, "while all are alive", "abe", `["news"]`)
	hung.hang()
	defer awake(t, w, hung, third)
	start := time.Now()
	for _, test := range []struct {
		endpoint, body string
		count          int
	}{
		{"emit", `{"rooms":["x"],"event":"news"}`, 2},
		{"count", `{"rooms":["x"]}`, 2},
		{"fetch", `{"rooms":["x"]}`, 0},
		{"join", `{"rooms":["x"],"join":["z"],"timeout":9000}`, 0},
		{"leave", `{"rooms":["x"],"leave":["z"]}`, 0},
		{"disconnect", `{"rooms":["x"]}`, 0},
	} {
		a := w.request(t, test.endpoint, test.body)
		if a.OK || a.code != "" || a.Count != test.count || !slices.Equal(a.Missing, []string{third.Node()}) ||
			a.Names[third.Node()] != third.NodeName() || !strings.Contains(a.Error, third.Node()) {
			t.Errorf("%s: got %s, want the node that hangs to be missing", test.endpoint, a.text)
		}
		if test.endpoint == "fetch" && (w.who(a) != "ab" || a.Sockets[0].NodeName != third.NodeName()) { // all are on one host
			t.Errorf("fetch: %s", a.text)
		}
	}
	kit.Took(t, start, 0, 10*time.Second)
}

// awake ends the hang of a third server, and waits until all can say at the end that they have everything: a Join that is live everywhere
// shows that no fence is out which was lost in the hang.
func awake(t *testing.T, w *world, hung *hangingAdapter, third *wsserver.Server) {
	t.Helper()
	hung.wake()
	joins := 0
	for _, srv := range append([]*wsserver.Server{third}, w.Servers...) {
		kit.Eventually(t, "the node that hung is back", func() bool {
			joins++
			return len(srv.Stats().Adapter.Nodes) == len(w.Servers) && srv.In("x", "y").SocketsJoin(t.Context(), fmt.Sprint("back ", joins)) == nil
		})
	}
}

// TestTimeout: a request that says so waits no longer.
func TestTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	brief := start(t, service.Config{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Prefix: "brief", Logger: kit.Silent}),
		Emitter: newEmitter(t, w.adapter), Timeout: 100 * time.Millisecond})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})}
	third := servers.New(t, hung, nil)
	w.Dial(t, third, "e", "x")
	if a := w.request(t, "count", `{"rooms":["x"]}`); a.Count != 3 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	for _, f := range []func() answer{
		func() answer { return w.request(t, "emit", `{"rooms":["x"],"event":"news","timeout":100}`) },
		func() answer { return request(t, w.nc, brief.Subject()+".emit", `{"rooms":["x"],"event":"news"}`) },
	} {
		start := time.Now()
		a := f()
		if d := time.Since(start); a.OK || a.Count != 2 || !slices.Equal(a.Missing, []string{third.Node()}) || !strings.Contains(a.Error, "deadline") || d < 100*time.Millisecond || d > kit.Patience/2 {
			t.Errorf("%s after %v", a.text, d)
		}
	}
}

// TestOverload: more requests than the service takes are refused at once, and hold up none of the others.
func TestOverload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{MaxRequests: 4, Timeout: time.Minute})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})}
	third := servers.New(t, hung, nil)
	w.Dial(t, third, "e", "x")
	if a := w.request(t, "count", `{"rooms":["x"]}`); a.Count != 3 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	var mu sync.Mutex // guards got
	got := make(map[string]int)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := w.request(t, "count", `{"rooms":["x"],"timeout":1000}`)
			mu.Lock()
			defer mu.Unlock()
			got[a.code]++
			if a.code == "" && a.Count != 2 || a.code != "" && !strings.Contains(a.Error, "again in a while") {
				t.Errorf("got %s", a.text)
			}
		})
	}
	wg.Wait()
	kit.Equal(t, got[""], 4, "answers", got)
	kit.Equal(t, got["429"], 16, "answers with code 429", got)
	hung.wake()
	if a := w.request(t, "count", `{"rooms":["y"]}`); a.code != "" {
		t.Errorf("afterwards: %s", a.text)
	}
}

// TestNoServer: a cluster without a server is not one without sockets.
func TestNoServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	s := start(t, service.Config{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chta", Logger: kit.Silent})})
	for endpoint, body := range map[string]string{"emit": `{"event":"news"}`, "count": ``, "fetch": ``, "disconnect": `{"all":true}`} {
		if a := request(t, w.nc, s.Subject()+"."+endpoint, body); a.code != "503" || !strings.Contains(a.Error, `no server of the cluster "chta"`) {
			t.Errorf("%s: got code %q, %s", endpoint, a.code, a.text)
		}
	}
}

// TestOutage: when the NATS server is back, so is the service.
func TestOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	w.nats.Restart()
	for deadline := time.Now().Add(kit.Patience); ; time.Sleep(5 * time.Millisecond) {
		msg, err := w.nc.Request(w.service.Subject()+".count", nil, time.Second)
		var a answer
		if err == nil && json.Unmarshal(msg.Data, &a) == nil && a.OK && a.Count == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no whole answer: %v, %+v", err, a)
		}
	}
	if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 2 {
		t.Errorf("got %s", a.text)
	}
}
