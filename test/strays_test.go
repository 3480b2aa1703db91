package test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/dealer"
	"github.com/belfry-io/belfry/wsserver"
)

// serveBalanced returns the address of a balancer without nodes, which tells done of every request, unless that
// is nil.
func serveBalanced(t *testing.T, done func(dealer.Request)) (b *dealer.Dealer, url string) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("the balancer's seed is %d", seed)
	b = dealer.New(seed)
	b.Done = done
	h := httptest.NewServer(b)
	t.Cleanup(func() { h.Close(); b.Close() })
	return b, h.URL
}

// behind puts a node at url behind a balancer.
func behind(b *dealer.Dealer, srv *wsserver.Server, url string) {
	b.Add(srv.Node(), strings.TrimPrefix(url, "http://"))
}

// strayModes are the modes of node/interop.mjs behind a balancer that is not sticky. The first begins with
// polling, and a third of its upgrades succeed.
func strayModes() []string {
	if !*everyMode {
		return []string{"default-strays"}
	}
	return []string{
		"default-strays", "polling-strays", "first-strays",
		"default-strays-msgpack", "polling-strays-msgpack", "first-strays-msgpack",
	}
}

// TestInteropBalanced has the official client make every check of node/checks.mjs with three nodes, behind a
// balancer that picks one at random for every request and every WebSocket.
func TestInteropBalanced(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	broker := natstest.NewServer(t)
	urls := make(map[string]string) // by parser
	var strays strays
	for _, parser := range []string{"json", "msgpack"} {
		b, url := serveBalanced(t, strays.note)
		urls[parser] = url
		var nodes []*wsserver.Server
		for range 3 {
			cfg := interopConfig(parser)
			cfg.Adapter = natsadapter.New(natsadapter.Config{URL: broker.URL(), Cluster: parser})
			srv := newServer(t, cfg)
			nodes = append(nodes, srv)
			behind(b, srv, serve(t, srv))
		}
		serveInteropApp(t, nodes...)
	}
	for _, mode := range strayModes() {
		t.Run(mode, func(t *testing.T) { runChecks(t, node, "interop.mjs", urls[parserOf(mode)], mode) })
	}
	strays.check(t)
}

// strays counts the requests of sessions behind a balancer, by whether they reached their owner. Those that
// are refused are not among them: clients ask now and then for sessions that have ended.
type strays struct{ direct, stray atomic.Int64 }

func (s *strays) note(r dealer.Request) {
	switch {
	case r.SID == "" || r.Status >= http.StatusBadRequest:
	case strings.HasPrefix(r.SID, r.Node):
		s.direct.Add(1)
	default:
		s.stray.Add(1)
	}
}

// check checks that many were stray.
func (s *strays) check(t *testing.T) {
	t.Helper()
	direct, stray := s.direct.Load(), s.stray.Load()
	t.Logf("%d requests reached the node of their session, %d another", direct, stray)
	if stray < direct {
		t.Error("too few of them were stray")
	}
}
