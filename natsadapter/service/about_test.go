package service_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/servers"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// An about is an answer about the cluster itself.
type about struct {
	Nodes []struct {
		ID, Name string
		Suspect  bool
	}
	Servers []struct {
		State, Node string
		NodeName    string `json:"node_name"`
		Stats       struct {
			Connections int
			Ended       map[string]int
			Adapter     struct {
				Node  string
				State struct{ Status string }
			}
			Namespaces []struct {
				Name      string
				WebSocket int `json:"web_socket"`
			}
		}
	}
	Rooms      []string
	Namespaces []struct {
		Name             string
		Sockets, Servers int
	}
	More bool
}

func (w *world) about(t *testing.T, endpoint, body string) (a about) {
	t.Helper()
	got := w.request(t, endpoint, body)
	if err := json.Unmarshal([]byte(got.text), &a); err != nil || !got.OK {
		t.Errorf("%s %s: %s, %v", endpoint, body, got.text, err)
	}
	return a
}

// TestAbout: the service says which servers there are, how they stand, and which namespaces and rooms they have.
func TestAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	w.Servers[0].Of("/admin")
	w.Servers[1].OfFunc(func(string) bool { return true })
	w.Clients["c"].Of("/made", nil)

	kit.Until(t, func() error {
		a := w.about(t, "nodes", "")
		if len(a.Nodes) != 2 || a.Nodes[0].ID == a.Nodes[1].ID || a.Nodes[0].Suspect || a.Nodes[0].Name != w.Servers[0].NodeName() {
			return fmt.Errorf("nodes: %+v", a.Nodes)
		}
		return nil
	})

	a := w.about(t, "stats", "")
	if len(a.Servers) != 2 {
		t.Fatalf("stats: %+v", a)
	}
	for _, s := range a.Servers {
		if s.State != "ready" || s.Node == "" || s.Stats.Adapter.Node != s.Node || s.Stats.Adapter.State.Status != "connected" ||
			s.Stats.Connections != 2 || len(s.Stats.Ended) < 10 || !slices.Contains([]string{w.Servers[0].Node(), w.Servers[1].Node()}, s.Node) {
			t.Errorf("stats: %+v", s)
		}
	}
	if first := w.about(t, "stats", `{"limit":1}`); len(first.Servers) != 1 || !first.More {
		t.Errorf("stats of one server: %+v", first)
	} else if rest := w.about(t, "stats", `{"after":"`+first.Servers[0].Node+`"}`); len(rest.Servers) != 1 || rest.More ||
		rest.Servers[0].Node == first.Servers[0].Node {
		t.Errorf("stats of the others: %+v", rest)
	}

	if a := w.about(t, "rooms", ""); !slices.Equal(a.Rooms, []string{"x", "y"}) {
		t.Errorf("rooms: %q", a.Rooms)
	}
	if a := w.about(t, "rooms", `{"limit":1}`); !slices.Equal(a.Rooms, []string{"x"}) || !a.More {
		t.Errorf("the first room: %+v", a)
	}
	if a := w.about(t, "rooms", `{"after":"x"}`); !slices.Equal(a.Rooms, []string{"y"}) || a.More {
		t.Errorf("the rooms after x: %+v", a)
	}
	if a := w.about(t, "rooms", `{"namespace":"/made"}`); len(a.Rooms) != 0 {
		t.Errorf("rooms of /made: %+v", a)
	}

	a = w.about(t, "namespaces", "")
	if got := fmt.Sprint(a.Namespaces); got != "[{/ 4 2} {/admin 0 1} {/made 1 1}]" {
		t.Errorf("namespaces: %s", got)
	}
	for endpoint, body := range map[string]string{"nodes": `{"rooms":[]}`, "stats": `{"namespace":"/"}`, "rooms": `{"limit":-1}`} {
		if a := w.request(t, endpoint, body); a.code != "400" {
			t.Errorf("%s %s: %s", endpoint, body, a.text)
		}
	}
}

// TestAboutHungNode: a server that does not answer is named, and the others' answers are there.
func TestAboutHungNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})}
	third := servers.New(t, hung, nil)
	wstest.Dial(t, third, wstest.Config{})
	if a := w.about(t, "stats", ""); len(a.Servers) != 3 {
		t.Fatalf("while all are alive: %+v", a)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	for _, endpoint := range []string{"stats", "namespaces", "rooms"} {
		a := w.request(t, endpoint, "")
		if a.OK || !slices.Equal(a.Missing, []string{third.Node()}) || endpoint == "stats" && strings.Count(a.text, `"state"`) < 2 {
			t.Errorf("%s: %s", endpoint, a.text)
		}
	}
}
