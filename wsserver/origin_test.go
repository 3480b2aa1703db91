package wsserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// TestPageOrigin: a page's own server takes it behind every kind of proxy that can be told, and no other page.
func TestPageOrigin(t *testing.T) {
	trusted := wsserver.Config{HTTP: wsserver.HTTPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	const proxy = "10.1.2.3:4567"
	for _, test := range []struct {
		name   string
		cfg    wsserver.Config
		remote string // empty means a public address
		origin string
		host   string
		header map[string]string
		want   bool
	}{
		{"no Origin", wsserver.Config{}, "", "", "app.example", nil, true},
		{"the same", wsserver.Config{}, "", "https://app.example:8443", "app.example:8443", nil, true},
		{"the same, in other letters", wsserver.Config{}, "", "https://APP.example", "app.Example", nil, true},
		{"https has 443, named in Host", wsserver.Config{}, "", "https://app.example", "app.example:443", nil, true},
		{"https has 443, named in Origin", wsserver.Config{}, "", "https://app.example:443", "app.example", nil, true},
		{"http has 80, named in Host", wsserver.Config{}, "", "http://app.example", "app.example:80", nil, true},
		{"http has 80, named in Origin", wsserver.Config{}, "", "http://app.example:80", "app.example", nil, true},
		{"IPv6", wsserver.Config{}, "", "http://[::1]", "[::1]:80", nil, true},
		{"IPv6, both without a port", wsserver.Config{}, "", "http://[::1]", "[::1]", nil, true},
		{"https has not 80", wsserver.Config{}, "", "https://app.example", "app.example:80", nil, false},
		{"http has not 443", wsserver.Config{}, "", "http://app.example", "app.example:443", nil, false},
		{"an app's scheme has no port", wsserver.Config{}, "", "capacitor://app.example", "app.example:443", nil, false},
		{"a proxy's $host, which drops the port", wsserver.Config{}, "", "https://app.example:8443", "app.example", nil, false},
		{"a proxy's default Host", wsserver.Config{}, "", "https://app.example", "127.0.0.1:8080", nil, false},
		{"another host", wsserver.Config{}, "", "https://evil.example", "app.example", nil, false},
		{"a subdomain", wsserver.Config{}, "", "https://x.app.example", "app.example", nil, false},
		{"a suffix", wsserver.Config{}, "", "https://evil-app.example", "app.example", nil, false},
		{"the host as a user", wsserver.Config{}, "", "https://app.example@evil.example", "app.example", nil, false},
		{"null", wsserver.Config{}, "", "null", "app.example", nil, false},
		{"no Host", wsserver.Config{}, "", "https://", "", nil, false},

		{"the browser says so", wsserver.Config{}, "", "https://app.example:8443", "127.0.0.1:8080", map[string]string{"Sec-Fetch-Site": "same-origin"}, true},
		{"the browser says same-site", wsserver.Config{}, "", "https://x.app.example", "app.example", map[string]string{"Sec-Fetch-Site": "same-site"}, false},
		{"the browser says cross-site", wsserver.Config{}, "", "https://evil.example", "app.example", map[string]string{"Sec-Fetch-Site": "cross-site"}, false},

		{"a trusted proxy", trusted, proxy, "https://app.example:8443", "upstream", map[string]string{"X-Forwarded-Host": "app.example:8443"}, true},
		{"..., with its scheme", trusted, proxy, "https://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example:443", "X-Forwarded-Proto": "https"}, true},
		{"..., with another scheme", trusted, proxy, "http://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example", "X-Forwarded-Proto": "https"}, false},
		{"..., behind another", trusted, proxy, "https://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example, inner.example", "X-Forwarded-Proto": "https,http"}, true},
		{"..., another page", trusted, proxy, "https://evil.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example"}, false},
		{"..., which says nothing", trusted, proxy, "https://app.example", "upstream", nil, false},
		{"..., IPv6", trusted, "[fd00::1]:80", "https://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example"}, true},
		{"..., IPv4 in IPv6", trusted, "[::ffff:10.1.2.3]:80", "https://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example"}, true},
		{"..., over a Unix socket", trusted, "@", "https://app.example", "upstream", map[string]string{"X-Forwarded-Host": "app.example"}, true},
		{"one that is not trusted", trusted, "11.1.2.3:80", "https://evil.example", "app.example", map[string]string{"X-Forwarded-Host": "evil.example"}, false},
		{"no proxy is trusted", wsserver.Config{}, proxy, "https://evil.example", "app.example", map[string]string{"X-Forwarded-Host": "evil.example"}, false},
		{"no proxy is trusted, over a Unix socket", wsserver.Config{}, "@", "https://evil.example", "app.example", map[string]string{"X-Forwarded-Host": "evil.example"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log kit.Log
			test.cfg.Logger = log.Logger()
			srv := newServer(t, test.cfg)
			for range 3 {
				r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
				if r.Host = test.host; test.remote != "" {
					r.RemoteAddr = test.remote
				}
				if test.origin != "" {
					r.Header.Set("Origin", test.origin)
				}
				for name, value := range test.header {
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				srv.ServeHTTP(w, r)
				if want := map[bool]int{true: 200, false: 403}[test.want]; w.Code != want {
					t.Errorf("got %d, %s, want %d", w.Code, w.Body, want)
				}
			}
			warned := strings.Count(log.String(), "level=WARN")
			if want := map[bool]int{true: 0, false: 1}[test.want]; warned != want {
				t.Errorf("%d lines in the log, want %d: %s", warned, want, log.String())
			}
			for _, field := range []string{"Config.HTTP.CORS", "Config.HTTP.TrustedProxies", "Config.HTTP.AllowOrigin", "proxy_set_header Host $http_host"} {
				if warned > 0 && !strings.Contains(log.String(), field) {
					t.Errorf("the log does not name %s: %s", field, log.String())
				}
			}
		})
	}
}

// TestOriginWarning: the line in the log comes once a minute at the most, and holds little of what the client sent.
func TestOriginWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log kit.Log
		srv := newServer(t, wsserver.Config{Logger: log.Logger()})
		for range 180 {
			r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
			r.Header.Set("Origin", "https://"+strings.Repeat("x", 100_000))
			srv.ServeHTTP(httptest.NewRecorder(), r)
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 3 || len(log.String()) > 3*1200 {
			t.Errorf("%d lines in 3 minutes, %d bytes", n, len(log.String()))
		}
	})
}

// TestUpgradeNeedsNoOrigin: the page that has a session's id was allowed to open it. AllowRequest is asked both times.
func TestUpgradeNeedsNoOrigin(t *testing.T) {
	asked := 0
	srv := newServer(t, wsserver.Config{
		HTTP: wsserver.HTTPConfig{
			AllowOrigin:  func(r *http.Request) bool { return r.URL.Query().Get("transport") == "polling" },
			AllowRequest: func(*http.Request) error { asked++; return nil },
		},
	})
	hs := httptest.NewServer(srv)
	defer hs.Close()
	sid, _ := openPolling(t, hs.URL)
	socket := func(query string) int {
		r, err := http.NewRequest("GET", hs.URL+"/socket.io/?EIO=4&transport=websocket"+query, nil)
		kit.OK(t, err)
		for name, value := range map[string]string{"Origin": "https://evil.example", "Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, value)
		}
		answer, err := hs.Client().Do(r)
		kit.OK(t, err)
		answer.Body.Close()
		return answer.StatusCode
	}
	for query, want := range map[string]int{"": 400, "&sid=": 400, "&sid=AAAA": 400, "&sid=" + sid + "&sid=" + sid: 400, "&sid=" + sid: 101} {
		if got := socket(query); got != want {
			t.Errorf("a WebSocket with %q: got %d, want %d", query, got, want)
		}
	}
	kit.Want(t, asked, 2, "calls of AllowRequest")
}

// openPolling opens a session, and returns its id and its first answer.
func openPolling(t *testing.T, url string) (sid string, answer *http.Response) {
	t.Helper()
	answer = kit.Must(http.Get(url + "/socket.io/?EIO=4&transport=polling"))(t)
	defer answer.Body.Close()
	body := make([]byte, 512)
	n, _ := answer.Body.Read(body)
	_, rest, _ := strings.Cut(string(body[:n]), `"sid":"`)
	sid, _, _ = strings.Cut(rest, `"`)
	return sid, answer
}

// TestSecureCookie: the cookie is Secure where the request came over TLS.
func TestSecureCookie(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest's requests come from
	for _, test := range []struct {
		name, target, proto string
		proxies             []netip.Prefix
		cookie              http.Cookie
		want                bool
	}{
		{"plain", "http://app.example", "", nil, http.Cookie{}, false},
		{"TLS", "https://app.example", "", nil, http.Cookie{}, true},
		{"TLS, a name alone", "https://app.example", "", nil, http.Cookie{Name: "node"}, true},
		{"plain, by the configuration", "http://app.example", "", nil, http.Cookie{Secure: true}, true},
		{"TLS to a trusted proxy", "http://app.example", "https", proxies, http.Cookie{}, true},
		{"plain to a trusted proxy", "http://app.example", "http", proxies, http.Cookie{}, false},
		{"TLS, says somebody", "http://app.example", "https", nil, http.Cookie{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{Cookie: &test.cookie, TrustedProxies: test.proxies}})
			r := httptest.NewRequest("GET", test.target+"/socket.io/?EIO=4&transport=polling", nil)
			if test.proto != "" {
				r.Header.Set("X-Forwarded-Proto", test.proto)
			}
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			cookies := w.Result().Cookies()
			if len(cookies) != 1 || cookies[0].Secure != test.want || !cookies[0].HttpOnly || cookies[0].Path != "/" || len(cookies[0].Value) < 16 {
				t.Errorf("got %v, want Secure to be %v", cookies, test.want)
			}
		})
	}
}

// TestCloseTransport: the connection ends with the reason, without a word of it to the client, with all that was sent before, and what has
// come before it is handled.
func TestCloseTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		gone := farewells(srv.Of("/"))
		goneAdmin := farewells(srv.Of("/admin"))
		handled := 0
		release := make(chan struct{})
		srv.Of("/").OnAny(func(ctx context.Context, e *wsserver.Event) error { <-release; handled++; return nil })
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send("40", "40/admin,")
		c.Read()
		c.Read()
		c.Send(`42["x"]`, `42["x"]`, `42["x"]`)
		synctest.Wait()
		s := srv.Of("/").Sockets()[0]
		kit.OK(t, s.Emit(t.Context(), "last", "words"))
		s.CloseTransport()
		s.CloseTransport()
		kit.WantErr(t, s.Emit(t.Context(), "too late"), wsserver.ErrForcedClose, "Emit afterwards")
		kit.Want(t, c.Read(), `42["last","words"]`)
		if end := c.Wait(); end.Code != 1005 {
			t.Errorf("got %v, want a Close frame without a code", end)
		}
		close(release)
		for _, gone := range []<-chan farewell{gone, goneAdmin} {
			if f := next(t, gone); f.reason != wsserver.ErrForcedClose || f.reason.Error() != "forced close" {
				t.Errorf("reason: got %v", f.reason)
			}
		}
		kit.Want(t, handled, 3, "events handled of 3")
	})
}
