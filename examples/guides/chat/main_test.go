package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

// TestChat: what one says, all hear, on both nodes; the page and its script are there.
func TestChat(t *testing.T) {
	memory := new(adapter.Memory)
	var nodes []http.Handler
	for range 2 {
		srv := wsserver.New(wsserver.Config{Adapter: memory, Logger: kit.Silent, HTTP: wsserver.HTTPConfig{
			ClientFiles: fstest.MapFS{"socket.io.js": {Data: []byte("the client")}},
		}})
		t.Cleanup(func() { kit.Close(t, srv) })
		if err := srv.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, handler(srv))
	}
	ann, bob := wstest.Dial(t, nodes[0], wstest.Config{}), wstest.Dial(t, nodes[1], wstest.Config{})
	ann.Emit("chat message", "hello")
	for _, c := range []*wstest.Client{ann, bob} {
		if got := c.Next("").String(); got != `["chat message","hello"]` {
			t.Errorf("got %s", got)
		}
	}
	for path, want := range map[string]string{"/": string(page), "/socket.io/socket.io.js": "the client"} {
		w := httptest.NewRecorder()
		nodes[0].ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("GET %s: got %d %s", path, w.Code, w.Body)
		}
	}
}
