//go:build unix

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// balanced are the nodes behind the balancers of a test.
type balanced struct {
	addresses []string

	mu        sync.Mutex                // guards what follows
	nodes     map[string]map[int]int    // requests of sessions by sid, and by node
	addressed map[string]map[string]int // what X-Forwarded-For says of those
}

// newBalanced starts three nodes of one cluster, with the application of node/checks.mjs.
func newBalanced(t *testing.T) *balanced {
	t.Helper()
	b := &balanced{nodes: make(map[string]map[int]int), addressed: make(map[string]map[string]int)}
	nats := natstest.NewServer(t)
	var servers []*wsserver.Server
	for i := range 3 {
		cfg := interopConfig("json")
		cfg.Adapter = natsadapter.New(natsadapter.Config{URL: nats.URL(), Cluster: "test"})
		srv := newServer(t, cfg)
		serveInteropApp(t, srv)
		servers = append(servers, srv)
		b.addresses = append(b.addresses, serveNode(t, srv, func(r *http.Request) { b.note(i, r) }))
	}
	waitForNodes(t, servers)
	return b
}

// serveNode serves a node as its balancer expects it, and returns its address.
func serveNode(t *testing.T, srv *wsserver.Server, note func(r *http.Request)) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", srv.ServeReady)
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		srv.ServeHTTP(w, r)
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// note counts a request that has reached a node.
func (b *balanced) note(node int, r *http.Request) {
	sid := r.URL.Query().Get("sid")
	if sid == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes[sid] == nil {
		b.nodes[sid], b.addressed[sid] = make(map[int]int), make(map[string]int)
	}
	b.nodes[sid][node]++
	b.addressed[sid][r.Header.Get("X-Forwarded-For")]++
}

// reached are the nodes that the requests of a session have reached, and the addresses that they came from.
func (b *balanced) reached(sid string) (nodes []int, addresses []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.nodes[sid])), slices.Sorted(maps.Keys(b.addressed[sid]))
}

// TestBalancers runs the balancers that Debian has with the files of examples/balancers, in front of three nodes. A plain run has official
// clients connect through the first alone; with -modes, they do so through all.
func TestBalancers(t *testing.T) {
	notRaced(t) // what passes through them is tested beside them
	t.Parallel()
	nodes := newBalanced(t)
	t.Run("with", func(t *testing.T) {
		for _, b := range balancers {
			for _, sticky := range []bool{false, true} {
				file := b.plain
				if sticky {
					file = b.sticky
				}
				t.Run(file, func(t *testing.T) {
					t.Parallel()
					front := b.start(t, file, nodes.addresses)
					front.testOrigins(t)
					nodes.testVisitors(t, front, sticky)
					if *everyMode || b.name == balancers[0].name {
						nodes.testClients(t, front, sticky)
					}
				})
			}
		}
	})
}

// testOrigins: a page connects by WebSocket to the host that it comes from; a page of another host is refused.
func (f *front) testOrigins(t *testing.T) {
	t.Helper()
	v := f.visitor(t, "198.51.100.1")
	for _, page := range []string{"https://" + balancedHost, "http://" + balancedHost} {
		nc, err := f.connect(v.addr)
		kit.OK(t, err)
		c := wstest.New(t, nc, wstest.Config{Header: http.Header{"Host": {balancedHost}, "Origin": {page}}})
		if got := string(c.EmitWithAck("ack", 1).JSON()); got != "[1]" {
			t.Errorf("a page of %s: got %s", page, got)
		}
	}
	for _, page := range []string{"https://evil.example", "https://chat.example", "https://evil.example:8443"} {
		if status, _ := v.ask("GET", "websocket", "", page); status != http.StatusBadRequest {
			t.Errorf("a WebSocket of %s, which is another origin: got %d, want 400", page, status)
		}
		if status, _ := v.ask("GET", "polling", "", page); status != http.StatusForbidden {
			t.Errorf("a poll of %s, which is another origin: got %d, want 403", page, status)
		}
	}
}

// testVisitors polls with sessions of which each has an address of its own, until all nodes have had requests. Those
// of a session reach one node, if that is wanted, and its upgrade reaches the same; else they reach several.
func (b *balanced) testVisitors(t *testing.T, f *front, sticky bool) {
	t.Helper()
	const least, most = 4, 200 // a node that no address of 200 is hashed to gets none
	all := make(map[int]bool)
	for i := 0; i < least || i < most && len(all) < len(b.addresses); i++ {
		v := f.visitor(t, netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}).String())
		sid := v.open()
		text := "x"
		if i == 0 { // as large as limits.max-payload lets it be
			text = strings.Repeat("x", 1_000_000-len(`421["ack",""]`))
		}
		if status, text := v.ask("POST", "polling&sid="+sid, "40", ""); status != http.StatusOK || text != "ok" {
			t.Fatalf("POST of %s: %d %s", sid, status, text)
		}
		v.poll(sid, "40{", `["welcome",`)
		event := fmt.Sprintf(`421["ack","%s"]`, text)
		if status, text := v.ask("POST", "polling&sid="+sid, event, ""); status != http.StatusOK || text != "ok" {
			t.Fatalf("POST of %s with %d bytes: %d %s", sid, len(event), status, text)
		}
		v.poll(sid, fmt.Sprintf(`431["%s"]`, text))
		nodes, addresses := b.reached(sid)
		for _, node := range nodes {
			all[node] = true
		}
		if sticky != (len(nodes) == 1) {
			t.Errorf("the requests of %s reached the nodes %v", sid, nodes)
		}
		if f.addressed && !slices.Equal(addresses, []string{v.addr.String()}) {
			t.Errorf("X-Forwarded-For of %s: %q, want %s", sid, addresses, v.addr)
		}
		if sticky {
			page := "https://" + balancedHost
			if status, text := v.ask("GET", "websocket&sid="+sid, "", page); status != http.StatusSwitchingProtocols {
				t.Errorf("the upgrade of %s: %d %s", sid, status, text)
			}
			if after, _ := b.reached(sid); !slices.Equal(nodes, after) {
				t.Errorf("the upgrade of %s reached another node: %v, then %v", sid, nodes, after)
			}
		}
		if status, text := v.ask("POST", "polling&sid="+sid, "1", ""); status != http.StatusOK { // Engine.IO's close
			t.Errorf("the end of %s: %d %s", sid, status, text)
		}
	}
	if len(all) != len(b.addresses) {
		t.Errorf("%d visitors reached the nodes %v only", most, slices.Sorted(maps.Keys(all)))
	}
}

// poll polls until an answer has had each of these texts.
func (v *visitor) poll(sid string, texts ...string) {
	v.t.Helper()
	for len(texts) > 0 {
		status, answer := v.ask("GET", "polling&sid="+sid, "", "")
		if status != http.StatusOK {
			v.t.Fatalf("GET of %s: %d %s", sid, status, answer)
		}
		texts = slices.DeleteFunc(texts, func(text string) bool { return strings.Contains(answer, text) })
	}
}

// testClients has official clients connect through the balancer in three ways, and exchange events.
func (b *balanced) testClients(t *testing.T, f *front, sticky bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, needNode(t), "balanced.mjs", f.serve(t))
	kit.OK(t, err)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node balanced.mjs: %v\n%s", err, complaints.Bytes())
	}
	clients := 0
	for lines := json.NewDecoder(bytes.NewReader(out)); ; clients++ {
		var c struct{ Way, SID, Transport string }
		if err := lines.Decode(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("node balanced.mjs printed %s: %v", out, err)
		}
		nodes, _ := b.reached(c.SID)
		t.Logf("%s, %s: nodes %v", c.Way, c.Transport, nodes)
		switch {
		case c.Way == "websocket":
			if c.Transport != "websocket" || len(nodes) > 0 {
				t.Errorf("begun as a WebSocket: it is %s, and requests for it reached nodes %v", c.Transport, nodes)
			}
		case sticky:
			if len(nodes) != 1 {
				t.Errorf("%s: its requests reached nodes %v", c.Way, nodes)
			}
			if want := map[string]string{"polling": "polling", "default": "websocket"}[c.Way]; c.Transport != want {
				t.Errorf("%s: it is %s, want %s", c.Way, c.Transport, want)
			}
		case c.Transport == "polling" && len(nodes) < 2:
			t.Errorf("%s: its requests reached nodes %v only", c.Way, nodes)
		}
	}
	kit.Equal(t, clients, 6)
}

// TestBalancersPassOver: a node that has ended gets no new clients, and one that drains gets none as soon as the
// balancer has noticed. The clients hear of neither.
func TestBalancersPassOver(t *testing.T) {
	notRaced(t)
	t.Parallel()
	for _, b := range balancers {
		for _, file := range []string{b.plain, b.sticky} {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				var nodes []string
				var servers []*wsserver.Server
				for range 2 {
					srv := newServer(t, wsserver.Config{})
					servers = append(servers, srv)
					nodes = append(nodes, serveNode(t, srv, func(*http.Request) {}))
				}
				var reached atomic.Int32
				third := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/readyz" {
						reached.Add(1)
					}
				}))
				nodes = append(nodes, third.Listener.Addr().String())
				front := b.start(t, file, nodes)
				visitor := func(i int) *visitor {
					return front.visitor(t, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String())
				}
				visits := 0
				kit.Eventually(t, "a request at the third node", func() bool {
					visitor(visits).ask("GET", "websocket", "", "")
					visits++
					return reached.Load() > 0
				})
				third.Close()
				connect := func() error {
					for i := range 12 {
						v := visitor(i)
						if status, text := v.ask("GET", "websocket", "", ""); status != http.StatusSwitchingProtocols {
							return fmt.Errorf("client %d: %d %s", i, status, text)
						}
					}
					return nil
				}
				kit.OK(t, connect())
				kit.OK(t, servers[1].Drain(t.Context(), wsserver.Drain{Notice: -1, Over: 1, Linger: -1}))
				kit.Until(t, connect)
			})
		}
	}
}
