package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/", "nats-io/", "net/http.(*conn)") }

var testSettings = settings{Secret: strings.Repeat("secret, ", 4), Audience: "notify", APIToken: "api-token"}

// newTestNode makes a node that has met its cluster, and serves.
func newTestNode(t *testing.T, a adapter.Adapter) *node {
	t.Helper()
	id, err := newIdentity(t.Context(), testSettings)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{Addrs: []string{"127.0.0.1:0"}, Logger: kit.Silent, Server: serverConfig()}
	cfg.Server.Adapter, cfg.Server.Logger = a, kit.Silent
	n, err := newNode(cfg, testSettings, 0, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), kit.Patience)
		defer cancel()
		if err := n.close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := n.io.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.open(t.Context())
	return n
}

// A device is a client of a node.
type device struct {
	*wstest.Client
	t *testing.T
}

// connect connects a device of a user, and returns how it was welcomed.
func connect(t *testing.T, n *node, id string, groups ...string) (device, welcome) {
	t.Helper()
	token, err := token(testSettings, id, groups, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	d := device{wstest.Dial(t, n.io, wstest.Config{Auth: map[string]string{"token": token}}), t}
	return d, next[welcome](d, "welcome")
}

// next returns the next event of a name.
func next[T any](d device, event string) (v T) {
	d.t.Helper()
	if err := d.Next(event).Decode(&v); err != nil {
		d.t.Fatalf("%s: %v", event, err)
	}
	return v
}

// titles are those of the notifications that have come so far.
func (d device) titles() string {
	d.t.Helper()
	d.EmitWithAck("read", []string{}) // everything has come that was sent before
	var titles []string
	for _, e := range d.Pending() {
		if n := (notification{}); e.Name == "notification" && e.Decode(&n) == nil {
			titles = append(titles, n.Title)
		}
	}
	return strings.Join(titles, " ")
}

// post posts to the API, with further headers as pairs.
func post(t *testing.T, n *node, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testSettings.APIToken)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	n.web.Handler.ServeHTTP(w, r)
	return w
}

// deliver posts a notification that must be delivered to a number of devices; or to some of them if
// a node is missing, as on a machine that stands still for a moment.
func deliver(t *testing.T, n *node, path, title string, devices int, headers ...string) delivery {
	t.Helper()
	w := post(t, n, path, fmt.Sprintf(`{"title":%q}`, title), headers...)
	var got delivery
	err := json.Unmarshal(w.Body.Bytes(), &got)
	counted := got.Devices == devices || got.Missing != nil && got.Devices < devices
	if err != nil || w.Code != http.StatusOK || got.ID == "" || !counted {
		t.Errorf("POST %s %s: got %d %s, want an id, and %d devices", path, title, w.Code, w.Body, devices)
	}
	return got
}
