package test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
)

// A recoveryPlan is what node/recoverychecks.mjs is told.
type recoveryPlan struct {
	Nodes   []string `json:"nodes"`
	Path    []int    `json:"path"`
	Senders []int    `json:"senders"`
	Wires   string   `json:"wires"`
	Better  bool     `json:"better"`
	Off     bool     `json:"off"`
}

// newRecoveryPlan is for nodes with these addresses. A client connects to the nodes of path, one after the other; others act on all nodes.
func newRecoveryPlan(t *testing.T, path []int, urls ...string) recoveryPlan {
	t.Helper()
	var hosts []string
	var senders []int
	for i, url := range urls {
		senders = append(senders, i)
		hosts = append(hosts, strings.TrimPrefix(url, "http://"))
	}
	return recoveryPlan{Nodes: urls, Path: path, Senders: senders, Wires: startWires(t, hosts).url, Better: true}
}

// recoveryConfig is for the application of node/recoverychecks.mjs, from whatever page.
func recoveryConfig(parser string) wsserver.Config {
	cfg := interopConfig(parser)
	cfg.HTTP.CORS = &wsserver.CORS{Origins: []string{"*"}}
	return cfg
}

// parserOf is the parser of a mode of node/interop.mjs.
func parserOf(mode string) string {
	if strings.HasSuffix(mode, "-msgpack") {
		return "msgpack"
	}
	return "json"
}

// runRecovery has the official client in Node.js make the checks of node/recoverychecks.mjs.
func runRecovery(t *testing.T, node string, plan recoveryPlan, mode string) {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	runChecks(t, node, "recovery.mjs", string(text), mode)
}

// TestRecoveryReference has the reference make the checks of node/recoverychecks.mjs that it can pass: none of them is wrong.
func TestRecoveryReference(t *testing.T) {
	t.Parallel()
	if !*withReference {
		t.Skip("without -reference")
	}
	node := needNode(t)
	var urls map[string]string
	if line := startProgram(t, "node", node, "recoveryreference.mjs"); json.Unmarshal([]byte(line), &urls) != nil {
		t.Fatalf("recoveryreference.mjs printed %q", line)
	}
	plans := make(map[string]recoveryPlan)
	for parser, url := range urls {
		plan := newRecoveryPlan(t, []int{0}, url)
		plan.Better = false
		plans[parser] = plan
	}
	for _, mode := range interopModes() {
		t.Run(mode, func(t *testing.T) { runRecovery(t, node, plans[parserOf(mode)], mode) })
	}
	off := plans["off"]
	off.Off = true
	t.Run("off", func(t *testing.T) { runRecovery(t, node, off, "default") })
}

// TestRecovery has the official client make all checks of node/recoverychecks.mjs on one node.
func TestRecovery(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	plans := make(map[string]recoveryPlan)
	for _, parser := range []string{"json", "msgpack"} {
		plans[parser] = newRecoveryPlan(t, []int{0}, startRecovery(t, 1, parser)...)
	}
	for _, mode := range interopModes() {
		t.Run(mode, func(t *testing.T) { runRecovery(t, node, plans[parserOf(mode)], mode) })
	}
}

// TestRecoveryCluster does so on three nodes, with senders on each. path is where a client connects, one after the other.
// With -modes, a client also comes back to the same node, and in the end to any behind a balancer, which picks one for each request.
func TestRecoveryCluster(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	urls := startRecovery(t, 3, "json")
	for _, test := range []struct {
		name string
		path []int
	}{{"another node", []int{0, 1, 2}}, {"same node", []int{1}}} {
		if test.name == "same node" && !*everyMode {
			continue // as in TestRecovery
		}
		plan := newRecoveryPlan(t, test.path, urls...)
		for _, mode := range clientModes() {
			t.Run(test.name+"/"+mode, func(t *testing.T) { runRecovery(t, node, plan, mode) })
		}
	}
	if !*everyMode {
		return
	}
	b, balanced := serveBalanced(t, nil)
	for i, url := range urls {
		b.Add(strconv.Itoa(i), strings.TrimPrefix(url, "http://"))
	}
	plan := newRecoveryPlan(t, []int{len(urls)}, append(urls, balanced)...)
	plan.Senders = plan.Senders[:len(urls)]
	t.Run("any node for each request/polling", func(t *testing.T) { runRecovery(t, node, plan, "polling-strays") })
}

// TestRecoveryInBrowser has the client's bundle make some of the checks in a real browser, by more transports with -modes.
func TestRecoveryInBrowser(t *testing.T) {
	t.Parallel()
	node, chromium := needNode(t), need.Chromium(t)
	plan := newRecoveryPlan(t, []int{0}, startRecovery(t, 1, "json")...)
	only := []string{"what was missed: close", "what was missed: cut", "what was missed: vanish", "four times", "before the first event"}
	var runs []browserRun
	for _, mode := range clientModes() {
		runs = append(runs, browserRun{Name: mode, Page: plan.Wires, URL: plan.Nodes[0], Mode: mode, Only: only, Plan: &plan})
	}
	text, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	runChecks(t, node, "browser.mjs", chromium, string(text))
}

// startRecovery starts nodes with the application of node/recoverychecks.mjs, and returns their addresses.
func startRecovery(t *testing.T, nodes int, parser string) (urls []string) {
	t.Helper()
	app := newRecoveryApp()
	broker := natstest.NewServer(t)
	for range nodes {
		cfg := recoveryConfig(parser)
		if nodes > 1 {
			cfg.Adapter = natsadapter.New(natsadapter.Config{URL: broker.URL(), Cluster: parser})
		}
		cfg.Recovery = &wsserver.Recovery{Data: recoveryData{}}
		srv := newServer(t, cfg)
		app.serve(srv)
		urls = append(urls, serve(t, srv))
	}
	return urls
}

// TestRecoveryOff: nothing of recovery shows where it is off.
func TestRecoveryOff(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	srv := newServer(t, recoveryConfig("json"))
	newRecoveryApp().serve(srv)
	plan := newRecoveryPlan(t, []int{0}, serve(t, srv))
	plan.Off = true
	for _, mode := range clientModes() {
		t.Run(mode, func(t *testing.T) { runRecovery(t, node, plan, mode) })
	}
}
