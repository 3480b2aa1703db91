package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
)

// A node that a user kills is gone at once, with its people, and comes back.
func TestKillNode(t *testing.T) {
	p := launch(t, demoArgs...)
	p.noisy = true
	victim := host(p.nodes[1])
	ada, bob := enter(t, p.nodes[0], "Ada"), enter(t, p.nodes[1], "Bob")
	hearUntil(ada, "people", func(list roomPeople) bool { return list.Total == 2 })
	ada.ask("kill", victim)
	if err := bob.ended(); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a connection to the node that was killed: %v, want its end", err)
	}
	hearUntil(ada, "cluster", func(s clusterState) bool {
		return slices.Contains(s.Nodes, nodeState{victim, back})
	})
	kit.Eventually(t, "the node that was killed answers again", func() bool {
		response, err := http.Get(p.nodes[1])
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	hearUntil(ada, "people", func(list roomPeople) bool {
		return list.Total == 1 && list.People[0].Name == "Ada"
	})
	cleo := enter(t, p.nodes[1], "Cleo")
	hearUntil(cleo, "people", func(list roomPeople) bool { return list.Total == 2 })
}

// While NATS is dead its nodes go on, and say so. What is said meanwhile arrives.
func TestKillNATS(t *testing.T) {
	p := launch(t, demoArgs...)
	p.noisy = true
	ada, bob := enter(t, p.nodes[0], "Ada"), enter(t, p.nodes[1], "Bob")
	hearUntil(ada, "cluster", func(s clusterState) bool { return s.Broker == "connected" && s.Kill })
	ada.ask("kill", brokerName)
	hearUntil(ada, "cluster", func(s clusterState) bool { return s.Broker == "reconnecting" && s.Why != "" })
	ada.ask("say", say("lobby", "are you there?"))
	hearUntil(ada, "cluster", func(s clusterState) bool { return s.Broker == "connected" && s.Why == "" })
	if m := hear[message](bob, "said"); m.Text != "are you there?" {
		t.Errorf("said: got %+v, want what was said without NATS", m)
	}
	hearUntil(ada, "people", func(list roomPeople) bool { return list.Total == 2 })
}

// Only pages of the cluster's own nodes may kill, and nothing but what the cluster has.
func TestWhoMayKill(t *testing.T) {
	p := launch(t, demoArgs...)
	own, other := host(p.nodes[0]), host(p.nodes[1])
	_, port, _ := net.SplitHostPort(own)
	for _, c := range []struct {
		origin, host string
		want         int
	}{
		{"http://" + own, own, http.StatusSwitchingProtocols},
		{"http://" + other, own, http.StatusSwitchingProtocols},
		{"http://localhost:" + port, "localhost:" + port, http.StatusSwitchingProtocols},
		{"https://evil.example", own, http.StatusBadRequest},
		{"http://127.0.0.1:1", own, http.StatusBadRequest},
		{"null", own, http.StatusBadRequest},
		{"http://evil.example:" + port, "evil.example:" + port, http.StatusBadRequest}, // DNS rebinding
	} {
		conn, err := net.Dial("tcp", own)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(kit.Patience))
		response, _, err := handshake(conn, c.host, c.origin)
		if err != nil || response.StatusCode != c.want {
			t.Errorf("from %s to %s: got %v, %v; want status %d", c.origin, c.host, response, err, c.want)
		}
	}
	p.noisy = true // it logs a page that was refused
	c := dial(t, p.nodes[0])
	for _, name := range []string{"", "127.0.0.1:1", "nats", "1"} {
		if got := c.refusal("kill", name); got != "There is no such node." {
			t.Errorf("kill %q: got refusal %q", name, got)
		}
	}
}

// A port that is taken is another's; only where the user has asked for it, that is an error.
func TestPortsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if got, want := moved(addr, "127.0.0.1:1"), " (port "+port+" is taken)"; got != want {
		t.Errorf("moved: got %q, want %q", got, want)
	}
	cfg, _, err := load([]string{"-addr", addr}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := listen(cfg, true)
	if err != nil || len(listeners) != 1 || listeners[0].Addr().String() == addr {
		t.Fatalf("listen, where a free port will do: got %v, %v", listeners, err)
	}
	listeners[0].Close()
	first := launch(t, "-restart", "100ms") // without an address: it has free ports, whoever has 3000
	if len(first.nodes) != defaultNodes {
		t.Errorf("got nodes %q, want three", first.nodes)
	}
	second := launch(t)
	for i, node := range second.nodes {
		enter(t, node, "Ada")
		if slices.Contains(first.nodes, node) {
			t.Errorf("two programs have %s", node)
		}
		port := strconv.Itoa(3000 + i)
		if got := "http://127.0.0.1:"+port != node; slices.Contains(second.moved, port) != got {
			t.Errorf("node %s: got %q as ports that are taken", node, second.moved)
		}
	}
	for _, args := range [][]string{{"-addr", addr}, {"-addr", addr, "-nodes", "2"}} {
		var logs kit.Log
		err := run(t.Context(), args, io.Discard, &logs)
		told := logs.String()
		if err != nil {
			told += err.Error()
		}
		if want := "another program listens on " + addr; !strings.Contains(told, want) || exitCode(err) != 1 {
			t.Errorf("%q: got %v and log %q, want %q", args, err, logs.String(), want)
		}
	}
}

func TestHowManyNodes(t *testing.T) {
	for args, want := range map[string]int{
		"":                                    defaultNodes,
		"-service":                            defaultNodes,
		"-nodes 2":                            2,
		"-nodes 2 -addr [::1]:80":             2,
		"-addr 127.0.0.1:3000":                0,
		"-adapter memory:":                    0,
		"-adapter nats://a -service":          0,
		"-adapter nats://a -addr 0.0.0.0:800": 0,
	} {
		cfg, own, err := load(strings.Fields(args), io.Discard)
		if err != nil || own.Nodes != want {
			t.Errorf("%q: got %d, %v; want %d", args, own.Nodes, err, want)
			continue
		}
		cfg.Close()
	}
}

func TestStandings(t *testing.T) {
	n := &nodes{seen: make(map[string]standing)}
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		nodes string // id:name, and ? behind those that are suspect
		want  string
	}{
		{0, "1:a", "[{a here}]"},
		{0, "1:a 2:b", "[{a here} {b here}]"},
		{0, "1:a 2:b?", "[{a here} {b suspect}]"},
		{0, "1:a 2:b", "[{a here} {b back}]"},
		{backFor - 1, "1:a 2:b", "[{a here} {b back}]"},
		{1, "1:a 2:b", "[{a here} {b here}]"},
		{0, "1:a", "[{a here} {b gone}]"},
		{goneFor, "1:a", "[{a here} {b gone}]"},
		{0, "1:a 3:b", "[{a here} {b back}]"},
		{backFor, "1:a 3:b 4:?", "[{a here} {b here}]"},
		{0, "1:a 3:b? 5:b", "[{a here} {b back}]"}, // started anew before it was missed
		{backFor, "1:a 3:b? 5:b", "[{a here} {b here}]"},
		{0, "1:a 5:b 3:b?", "[{a here} {b here}]"},
		{0, "1:a 5:b? 3:b?", "[{a here} {b suspect}]"},
		{0, "1:a", "[{a here} {b gone}]"},
		{goneFor + 1, "1:a", "[{a here}]"},
	} {
		now = now.Add(step.after)
		var all []cluster.Node
		for _, text := range strings.Fields(step.nodes) {
			text, suspect := strings.CutSuffix(text, "?")
			id, name, _ := strings.Cut(text, ":")
			all = append(all, cluster.Node{ID: id, Name: name, Suspect: suspect})
		}
		if got := fmt.Sprint(n.standings(all, now)); got != step.want {
			t.Errorf("step %d, nodes %s: got %s, want %s", i, step.nodes, got, step.want)
		}
	}
}

// A process that cannot be started ends the whole, with the reason.
func TestChildFails(t *testing.T) {
	var logs bytes.Buffer
	p := &process{role: "king", addr: "127.0.0.1:0", stderr: &logs, ready: make(chan struct{})}
	err := p.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not start") || !strings.Contains(logs.String(), "want -nodes") {
		t.Errorf("got %v and log %q", err, logs.String())
	}
	if errors.Is(err, t.Context().Err()) || p.kill() {
		t.Errorf("got %v, and that it still runs", err)
	}
}
