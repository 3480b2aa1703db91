package natsadapter

import (
	"cmp"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"

	"github.com/nats-io/nats.go"
)

// A serverList is the servers that a link may connect to. It is not safe for concurrent use.
type serverList struct {
	configured []*url.URL
	discovered []server // what the cluster of the last connection told
	last       string   // host and port of the last connection
}

// A server is one entry of a serverList.
type server struct {
	url     *url.URL
	tlsName string // what its certificate must name; empty: the host in url
}

// order returns the servers in the order in which to try them: the configured ones first, since the
// others may not be reachable from here; at random, so that nodes spread; and at the end the one
// that was used last, since it has just been lost.
func (s *serverList) order() []server {
	servers := make([]server, 0, len(s.configured)+len(s.discovered))
	for _, u := range s.configured {
		servers = append(servers, server{url: u})
	}
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	for _, i := range rand.Perm(len(s.discovered)) {
		d := s.discovered[i]
		if !slices.ContainsFunc(servers, func(o server) bool { return o.url.Host == d.url.Host }) {
			servers = append(servers, d)
		}
	}
	slices.SortStableFunc(servers, func(a, b server) int {
		return cmp.Compare(b2i(a.url.Host == s.last), b2i(b.url.Host == s.last))
	})
	return servers
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// learn takes over what nc has been told of its cluster. nc was made by connecting to from.
func (s *serverList) learn(nc *nats.Conn, from server) {
	s.last = from.url.Host
	var found []server
	for _, text := range nc.DiscoveredServers() {
		u, err := url.Parse(text)
		if err != nil {
			continue // nats.go made the text of an URL
		}
		u.User = from.url.User
		d := server{url: u}
		// A cluster tells addresses, a certificate often names hosts: it is the cluster's name that
		// is verified then.
		if net.ParseIP(u.Hostname()) != nil {
			d.tlsName = from.tlsName
			if host := from.url.Hostname(); d.tlsName == "" && net.ParseIP(host) == nil {
				d.tlsName = host
			}
		}
		found = append(found, d)
	}
	s.discovered = found
}

// setServer makes o connect to s and to no other server.
func setServer(o *nats.Options, s server) {
	o.Servers = []string{s.url.String()}
	if s.tlsName == "" || s.url.Scheme != "tls" {
		return
	}
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.TLSConfig.ServerName == "" {
		o.TLSConfig = o.TLSConfig.Clone()
		o.TLSConfig.ServerName = s.tlsName
	}
}
