//go:build unix

package test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
)

// TestGuideNginx: behind the guide's nginx all requests of a client that polls reach one of two nodes, and a WebSocket connects.
func TestGuideNginx(t *testing.T) {
	t.Parallel()
	nginx, dir := need.Nginx(t), nginxDir(t)
	front := filepath.Join(dir, "front")
	conf := strings.Replace(blocks(t, "nginx")[0].text, "listen 80;", "listen unix:"+front+";", 1)
	for _, node := range []string{"10.0.0.1:8080", "10.0.0.2:8080"} {
		if !strings.Contains(conf, node) {
			t.Fatalf("the guide's nginx has no node %s", node)
		}
		web := httptest.NewServer(newServer(t, wsserver.Config{}))
		t.Cleanup(web.Close)
		conf = strings.Replace(conf, node, web.Listener.Addr().String(), 1)
	}
	dial := runNginx(t, nginx, dir, front, conf)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() },
	}}
	defer client.CloseIdleConnections()
	ask := func(method, query, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://belfry.example/socket.io/?EIO=4&transport="+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
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
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for range 4 {
		_, opened := ask("GET", "polling", "")
		_, rest, _ := strings.Cut(opened, `"sid":"`)
		sid, _, _ := strings.Cut(rest, `"`)
		if status, text := ask("POST", "polling&sid="+sid, "40"); status != http.StatusOK || text != "ok" {
			t.Fatalf("POST of session %q: %d %s", sid, status, text)
		}
		if status, text := ask("GET", "polling&sid="+sid, ""); status != http.StatusOK || !strings.HasPrefix(text, "40{") {
			t.Fatalf("GET of session %q: %d %s", sid, status, text)
		}
	}
	if status, _ := ask("GET", "websocket", ""); status != http.StatusSwitchingProtocols {
		t.Errorf("a WebSocket: status %d", status)
	}
}
