package wsserver

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddress is the address of the client that sends a request; it is not valid where there is
// none, as over a Unix socket. What proxies say counts as far as they are trusted: of the addresses
// in X-Forwarded-For, to which each proxy adds the one that it was reached from, it is the last one
// that is not a trusted proxy's.
func (srv *Server) clientAddress(r *http.Request) netip.Addr {
	var client netip.Addr
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		client = plainAddress(peer.Addr())
	}
	if !srv.fromProxy(r) {
		return client
	}
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, entry := range slices.Backward(list) {
		said, ok := forwardedAddress(strings.TrimSpace(entry))
		if !ok {
			break // from here on, it is the client's own words
		}
		client = said
		if !srv.isProxy(said) {
			break
		}
	}
	return client
}

// forwardedAddress reads an entry of X-Forwarded-For: some proxies add a port.
func forwardedAddress(entry string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(entry); err == nil {
		return plainAddress(withPort.Addr()), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	return plainAddress(addr), err == nil
}

// plainAddress is addr in the form in which all are compared.
func plainAddress(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// network is what counts as one address: for IPv6 the /64 that one line has, of whose addresses a
// client may choose any (RFC 4291 section 2.5.1, RFC 6177).
func network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
