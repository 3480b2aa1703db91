package wsserver

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// TestClientAddress: whose a request is, by its peer and, as far as that is trusted, by what proxies say.
func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name    string
		proxies []netip.Prefix
		remote  string
		lines   []string // of X-Forwarded-For
		want    string   // empty: none
	}{
		{"IPv4", nil, "192.0.2.7:1234", nil, "192.0.2.7"},
		{"IPv4 as IPv6", nil, "[::ffff:192.0.2.7]:1234", nil, "192.0.2.7"},
		{"IPv6", nil, "[2001:db8:1:2:3:4:5:6]:1234", nil, "2001:db8:1:2::"},
		{"IPv6 of the same line", nil, "[2001:db8:1:2:ffff::1]:1", nil, "2001:db8:1:2::"},
		{"IPv6 of another", nil, "[2001:db8:1:3::1]:1", nil, "2001:db8:1:3::"},
		{"IPv6 of one link", nil, "[fe80::1%eth0]:1", nil, "fe80::"},
		{"a Unix socket", nil, "@", nil, ""},
		{"a Unix socket, and a header", nil, "", []string{"192.0.2.9"}, ""},

		{"no proxy is trusted", nil, "10.0.0.1:1234", []string{"192.0.2.9"}, "10.0.0.1"},
		{"a peer that is none of the proxies", proxies, "192.0.2.7:1234", []string{"192.0.2.9"}, "192.0.2.7"},
		{"a proxy", proxies, "10.0.0.1:1234", []string{"192.0.2.9"}, "192.0.2.9"},
		{"a proxy that says nothing", proxies, "10.0.0.1:1234", nil, "10.0.0.1"},
		{"a proxy over a Unix socket", proxies, "@", []string{"192.0.2.9"}, "192.0.2.9"},
		{"a proxy over a Unix socket that says nothing", proxies, "@", nil, ""},
		{"a proxy by IPv6", proxies, "[fd00::1]:1234", []string{"2001:db8::1"}, "2001:db8::"},
		{"what the client says before", proxies, "10.0.0.1:1234", []string{"198.51.100.1, 192.0.2.9"}, "192.0.2.9"},
		{"what the client says before, on another line", proxies, "10.0.0.1:1234", []string{"198.51.100.1", "192.0.2.9"}, "192.0.2.9"},
		{"that it is a proxy", proxies, "10.0.0.1:1234", []string{"198.51.100.1, 10.9.9.9, 192.0.2.9"}, "192.0.2.9"},
		{"two proxies", proxies, "10.0.0.1:1234", []string{"198.51.100.1, 192.0.2.9, 10.0.0.2"}, "192.0.2.9"},
		{"nobody but proxies", proxies, "10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", proxies, "10.0.0.1:1234", []string{"192.0.2.9:5678"}, "192.0.2.9"},
		{"IPv6 with a port", proxies, "10.0.0.1:1234", []string{"[2001:db8::1]:5678"}, "2001:db8::"},
		{"IPv6 in brackets", proxies, "10.0.0.1:1234", []string{"[2001:db8::1]"}, "2001:db8::"},
		{"IPv4 as IPv6, forwarded", proxies, "10.0.0.1:1234", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		{"words", proxies, "10.0.0.1:1234", []string{"unknown"}, "10.0.0.1"},
		{"words before a proxy", proxies, "10.0.0.1:1234", []string{"192.0.2.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"nothing between commas", proxies, "10.0.0.1:1234", []string{"192.0.2.9,,"}, "10.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := New(Config{Logger: kit.Silent, HTTP: HTTPConfig{TrustedProxies: test.proxies}})
			defer kit.Close(t, srv)
			r := httptest.NewRequest("GET", "/socket.io/", nil)
			r.RemoteAddr = test.remote
			r.Header["X-Forwarded-For"] = test.lines
			want, _ := netip.ParseAddr(test.want)
			kit.Want(t, network(srv.clientAddress(r)), want)
		})
	}
}
