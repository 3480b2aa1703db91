package wsserver

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/belfry-io/belfry/adapter/shrink"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A visitor is who a request is from, as far as something is counted by that: the zero value is
// nobody in particular.
type visitor struct {
	address netip.Addr // of a network, for IPv6: see clientAddress. Invalid where none is counted
	key     string     // empty where none is counted
}

// A gate counts the connections that there are, and those that are about to be.
type gate struct {
	mu          sync.Mutex // guards what follows
	connections int
	addresses   tally[netip.Addr]
	keys        tally[string]
}

// enter counts a connection of v, which must leave, or returns why there may be no more.
func (g *gate) enter(v visitor, l *Limits) *engineio.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case reached(g.connections, l.MaxConnections):
		return errFull
	case v.address.IsValid() && reached(g.addresses.counts[v.address], l.PerAddress):
		return errAddress
	case v.key != "" && reached(g.keys.counts[v.key], l.PerKey):
		return errKey
	}
	g.connections++
	if v.address.IsValid() {
		g.addresses.add(v.address)
	}
	if v.key != "" {
		g.keys.add(v.key)
	}
	return nil
}

// leave takes back an enter.
func (g *gate) leave(v visitor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connections--
	if v.address.IsValid() {
		g.addresses.remove(v.address)
	}
	if v.key != "" {
		g.keys.remove(v.key)
	}
}

// reached reports whether n is all that a limit allows; zero allows all.
func reached(n, limit int) bool { return limit > 0 && n >= limit }

// A tally counts by key. Its zero value has counted nothing.
type tally[K comparable] struct {
	counts map[K]int
	peak   int // of counts; see shrink.Map
}

func (t *tally[K]) add(k K) {
	if t.counts == nil {
		t.counts = make(map[K]int)
	}
	t.counts[k]++
}

func (t *tally[K]) remove(k K) {
	if t.counts[k]--; t.counts[k] == 0 {
		delete(t.counts, k)
		t.counts = shrink.Map(t.counts, &t.peak)
	}
}

// address is whose address a request counts for.
func (srv *Server) address(r *http.Request, l *Limits) visitor {
	if l.PerAddress == 0 && l.NamespacesPerAddress == 0 {
		return visitor{}
	}
	return visitor{address: network(srv.clientAddress(r))}
}

// visitor is who a request that opens a connection is from.
func (srv *Server) visitor(r *http.Request, l *Limits) visitor {
	v := srv.address(r, l)
	if l.PerKey > 0 {
		v.key = strings.Clone(srv.cfg.HTTP.Key(r))
	}
	return v
}
