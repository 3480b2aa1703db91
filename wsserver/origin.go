package wsserver

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// allowOrigin decides whether the page that sends a request may open a session.
func (srv *Server) allowOrigin(r *http.Request) bool {
	if srv.cfg.HTTP.AllowOrigin != nil {
		return srv.cfg.HTTP.AllowOrigin(r)
	}
	if srv.sameOrigin(r) || srv.cors != nil && srv.cors.OriginAllowed(r) {
		return true
	}
	if _, ok := srv.foreign.allow(); ok {
		srv.cfg.Logger.Warn("belfry: a page was refused, since the host of its Origin is not that of the request. If it is a page of yours: list its"+
			" Origin in Config.HTTP.CORS, or have the proxy in front pass on the browser's Host (nginx: proxy_set_header Host $http_host), or set"+
			" Config.HTTP.TrustedProxies for one that sends X-Forwarded-Host, or Config.HTTP.AllowOrigin. There may be more of them than this line a minute",
			"origin", excerpt(r.Header.Get("Origin")), "host", excerpt(r.Host), "remote", r.RemoteAddr)
	}
	return false
}

// excerpt is so much of a client's text as belongs in the log.
func excerpt(text string) string {
	const longest = 64 // bytes
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

// sameOrigin holds browsers to the rule that fetch has and WebSocket lacks: a page reaches its own
// host only.
func (srv *Server) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // no browser leaves it out, where it matters
	}
	// The browser's own word (W3C, Fetch Metadata Request Headers, 2.3): a page cannot set it. Not
	// all send it with a WebSocket.
	if r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if sameHost(u, r.Host) {
		return true
	}
	if !srv.fromProxy(r) {
		return false
	}
	host, scheme := forwarded(r, "X-Forwarded-Host"), forwarded(r, "X-Forwarded-Proto")
	return host != "" && (scheme == "" || strings.EqualFold(scheme, u.Scheme)) && sameHost(u, host)
}

// sameHost reports whether an origin has this host and port, where a port that is not named is that
// of the origin's scheme: TLS may end in front of the server, which then cannot know the scheme
// itself.
func sameHost(origin *url.URL, host string) bool {
	var standard string
	switch strings.ToLower(origin.Scheme) {
	case "https", "wss":
		standard = "443"
	case "http", "ws":
		standard = "80"
	}
	name, port := splitHost(host, standard)
	originName, originPort := splitHost(origin.Host, standard)
	return name != "" && strings.EqualFold(name, originName) && port == originPort
}

// splitHost is a host's name and port, which is standard if host names none.
func splitHost(host, standard string) (name, port string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil { // without a port
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ""
	}
	if port == "" {
		port = standard
	}
	return name, port
}

// fromProxy reports whether a request comes from one of Config.HTTP.TrustedProxies. What comes over
// a Unix socket does if there are any: it has no address, and the file system says who may connect.
func (srv *Server) fromProxy(r *http.Request) bool {
	if len(srv.cfg.HTTP.TrustedProxies) == 0 {
		return false
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr == "" || r.RemoteAddr[0] == '@' || r.RemoteAddr[0] == '/'
	}
	return srv.isProxy(plainAddress(remote.Addr()))
}

// isProxy reports whether an address is that of one of Config.HTTP.TrustedProxies.
func (srv *Server) isProxy(addr netip.Addr) bool {
	return slices.ContainsFunc(srv.cfg.HTTP.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forwarded is what the first of several proxies has put into a header: the one that the browser
// speaks to.
func forwarded(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}

// secure reports whether the client's request came over TLS, as far as the server can know.
func (srv *Server) secure(r *http.Request) bool {
	return r.TLS != nil || srv.fromProxy(r) && strings.EqualFold(forwarded(r, "X-Forwarded-Proto"), "https")
}
