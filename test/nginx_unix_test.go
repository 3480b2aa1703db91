//go:build unix

package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestNginx: a page and its server behind nginx, with the headers that it passes on by default and by the usual recipes. A page that may poll
// is always taken, and upgraded; one that begins with a WebSocket is taken as far as the server can know where the page is. A foreign page is
// never taken.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := need.Nginx(t)
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, test := range []struct {
		name    string
		headers string // nginx's proxy_set_header
		unix    bool   // the way to the server
		proxies []netip.Prefix
		socket  bool // a WebSocket from the beginning is taken
	}{
		{"by default", "", false, nil, false},
		{"the usual recipe", "proxy_set_header Host $host;", false, nil, false},
		{"the browser's Host", "proxy_set_header Host $http_host;", false, nil, true},
		{"host and port", "proxy_set_header Host $host:8443;", false, nil, true},
		{"forwarded, trusted", "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto https;", false, trusted, true},
		{"forwarded, trusted, over a Unix socket", "proxy_set_header X-Forwarded-Host $http_host;", true, trusted, true},
		{"forwarded, not trusted", "proxy_set_header X-Forwarded-Host $http_host;", false, nil, false},
		{"forwarded without the port, trusted", "proxy_set_header X-Forwarded-Host $host;", false, trusted, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{TrustedProxies: test.proxies}})
			srv.Of("/").On("ack", ackAll)
			dial := startNginx(t, nginx, srv, test.headers, test.unix)
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() },
			}}
			defer client.CloseIdleConnections()
			// ask is a browser's request, for the page of an origin.
			ask := func(method, query, origin, site string) (int, string) {
				t.Helper()
				r, err := http.NewRequest(method, "http://app.example:8443/socket.io/?EIO=4&transport="+query, nil)
				if err != nil {
					t.Fatal(err)
				}
				if method == "POST" {
					r.Body = io.NopCloser(strings.NewReader("40"))
					r.ContentLength = 2
				}
				if origin != "" {
					r.Header.Set("Origin", origin)
				}
				if site != "" {
					r.Header.Set("Sec-Fetch-Site", site)
				}
				if strings.HasPrefix(query, "websocket") {
					for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
						"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
						r.Header.Set(name, value)
					}
				}
				answer, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				if answer.StatusCode == http.StatusSwitchingProtocols {
					return answer.StatusCode, ""
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer.StatusCode, string(body)
			}
			const page, evil = "https://app.example:8443", "https://evil.example"

			status, body := ask("GET", "polling", "", "same-origin")
			_, rest, _ := strings.Cut(body, `"sid":"`)
			sid, _, _ := strings.Cut(rest, `"`)
			if status != 200 {
				t.Fatalf("the page's first GET: got %d, %s", status, body)
			}
			if status, body := ask("POST", "polling&sid="+sid, page, "same-origin"); status != 200 {
				t.Errorf("its POST: got %d, %s", status, body)
			}
			if status, body := ask("GET", "websocket&sid="+sid, page, ""); status != 101 {
				t.Errorf("its upgrade: got %d, %s", status, body)
			}
			if status, _ := ask("GET", "polling", evil, "cross-site"); status != 403 {
				t.Errorf("a foreign page polls: got %d, want 403", status)
			}
			if status, _ := ask("GET", "websocket", evil, ""); status != 400 {
				t.Errorf("a foreign page's WebSocket: got %d, want 400", status)
			}
			if !test.socket {
				if status, _ := ask("GET", "websocket", page, ""); status != 400 {
					t.Errorf("a WebSocket from the beginning: got %d, want 400", status)
				}
				return
			}
			nc, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			c := wstest.New(t, nc, wstest.Config{Header: http.Header{"Host": {"app.example:8443"}, "Origin": {page}}})
			if got := string(c.EmitWithAck("ack", 1).JSON()); got != "[1]" {
				t.Errorf("through nginx: got %s", got)
			}
		})
	}
}

// startNginx starts an nginx in front of a handler and returns how to reach it. Both have sockets of their own in the file system, so that no
// port can be taken by somebody else.
func startNginx(t *testing.T, nginx string, h http.Handler, headers string, unix bool) (dial func() (net.Conn, error)) {
	t.Helper()
	dir := frontDir(t)
	network, address := "tcp", "127.0.0.1:0"
	if unix {
		network, address = "unix", filepath.Join(dir, "belfry")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	upstream := l.Addr().String()
	if unix {
		upstream = "unix:" + address + ":"
	}
	front := filepath.Join(dir, "front")
	return runFront(t, front, nginxCommand(t, nginx, dir, fmt.Sprintf(`server {
	listen unix:%s;
	location / {
		proxy_pass http://%s;
		proxy_http_version 1.1;
		proxy_set_header Upgrade $http_upgrade;
		proxy_set_header Connection $http_connection;
		%s
	}
}`, front, upstream, headers)))
}
