package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
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
	for _, args := range [][]string{{"-addr", addr, "-spare"}, {"-addr", addr, "-spare", "-nodes", "1"}} {
		p := launch(t, args...)
		if len(p.nodes) != 1 || host(p.nodes[0]) == addr || !slices.Equal(p.moved, []string{port}) {
			t.Errorf("%q: got nodes %q and taken ports %q, want another port, and a word about it",
				args, p.nodes, p.moved)
		}
		enter(t, p.nodes[0], "Ada")
	}
	for _, args := range [][]string{{"-addr", addr}, {"-addr", addr, "-nodes", "2"}} {
		var logs kit.Log
		err := run(t.Context(), args, io.Discard, &logs)
		told := logs.String()
		if err != nil {
			told += err.Error()
		}
		if want := "cannot listen on " + addr; !strings.Contains(told, want) || exitCode(err) != 1 {
			t.Errorf("%q: got %v and log %q, want %q", args, err, logs.String(), want)
		}
	}
}

func TestDefaults(t *testing.T) {
	for args, want := range map[string]config{
		"":                        {adapter: "memory:", addr: "127.0.0.1:3000", spare: true, nodes: 3},
		"-service":                {adapter: "memory:", addr: "127.0.0.1:3000", spare: true, nodes: 3, service: true},
		"-addr 127.0.0.1:8080":    {adapter: "memory:", addr: "127.0.0.1:8080"},
		"-adapter nats://a":       {adapter: "nats://a", addr: "127.0.0.1:3000", spare: true},
		"-nodes 2":                {adapter: "memory:", addr: "127.0.0.1:3000", spare: true, nodes: 2},
		"-nodes 2 -addr [::1]:80": {adapter: "memory:", addr: "[::1]:80", nodes: 2},
	} {
		want.restart = 5 * time.Second
		got, err := parse(strings.Fields(args))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %+v, %v; want %+v", args, got, err, want)
		}
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
	p := &process{args: []string{"-child", "king"}, addr: "127.0.0.1:0", stderr: &logs, ready: make(chan struct{})}
	err := p.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not start") || !strings.Contains(logs.String(), "want node or nats") {
		t.Errorf("got %v and log %q", err, logs.String())
	}
	if errors.Is(err, t.Context().Err()) || p.kill() {
		t.Errorf("got %v, and that it still runs", err)
	}
}
