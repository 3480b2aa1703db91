package wsserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// TestLargeStrays: a payload that is larger than what goes between nodes is too large for the client, and
// the session goes on.
func TestLargeStrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, nodes := new(adapter.Memory), make([]*Server, 2)
		for i := range nodes {
			nodes[i] = New(Config{Adapter: memory, Logger: kit.Silent, Limits: Limits{MaxPayload: 34 << 20}})
			t.Cleanup(func() { kit.Close(t, nodes[i]) })
			kit.OK(t, nodes[i].Ready(t.Context()))
		}
		time.Sleep(2 * keysAgain)
		p := newPoller(t, nodes[0])
		p.wants(nodes[1], "POST", "4"+strings.Repeat(" ", 32<<20), 413, "")
		p.wants(nodes[1], "POST", "3", 200, "ok")
		kit.Equal(t, nodes[0].Stats().Connections, 1)
	})
}

// TestStrayNeighbours: what is asked for an id at another node is answered as at its own.
func TestStrayNeighbours(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		p := newPoller(t, nodes[0])
		ask := func(srv *Server, method, query string, header ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "/socket.io/?"+query, nil)
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			return w
		}
		for _, method := range []string{"HEAD", "OPTIONS", "DELETE", "PUT", "get", "TRACE", "CONNECT", "GET", "POST"} {
			for _, query := range []string{
				"EIO=4&transport=polling&sid=" + p.sid, "EIO=3&transport=polling&sid=" + p.sid, "transport=polling&sid=" + p.sid,
				"EIO=4&EIO=4&transport=polling&sid=" + p.sid, "EIO=4&transport=websocket&sid=" + p.sid, "EIO=4&transport=webtransport&sid=" + p.sid,
				"EIO=4&sid=" + p.sid, "EIO=4&transport=polling&j=0&sid=" + p.sid, "EIO=4&transport=polling&sid=" + p.sid + "&sid=" + p.sid,
				"EIO=4&transport=polling&sid=" + strings.ToUpper(p.sid), "EIO=4&transport=polling&sid=" + strings.ToLower(p.sid),
				"EIO=4&transport=polling&sid=" + p.sid + "%00", "EIO=4&transport=polling&sid=%00" + p.sid,
				"EIO=4&transport=polling&sid=" + p.sid + "%20", "EIO=4&transport=polling&sid=" + strings.Repeat("A", 64<<10),
				"EIO=4&transport=polling&sid=" + strings.Repeat(p.sid, 2000), "EIO=4&transport=polling&sid=__proto__",
			} {
				if strings.HasPrefix(query, "EIO=4&transport=polling&sid="+p.sid) && len(query) == 28+len(p.sid) && (method == "GET" || method == "POST") {
					continue // which the session takes
				}
				own, stray := ask(nodes[0], method, query), ask(nodes[1], method, query)
				short := query[:min(len(query), 90)]
				kit.Equal(t, stray.Code, own.Code, method, short, "status")
				kit.Equal(t, stray.Body.String(), own.Body.String(), method, short)
				kit.Equal(t, stray.Header().Get("Allow"), own.Header().Get("Allow"), method, short, "Allow")
			}
		}
		own, stray := nodes[0].Stats().Refusals, nodes[1].Stats().Refusals
		own.Upgrade, stray.Upgrade = 0, 0
		kit.Equal(t, stray, own, "refusals")
		kit.Equal(t, nodes[1].Stats().Connections, 0)
		poll := p.send(t.Context(), nodes[1], "GET", "")
		synctest.Wait()
		p.wants(nodes[1], "POST", `42["say","x"]`, 200, "ok")
		kit.OK(t, nodes[1].Emit(t.Context(), "on"))
		if status, answer := poll(); status != http.StatusOK || answer != `42["on"]` {
			t.Errorf("afterwards the session gets %d %q", status, answer)
		}
	})
}

// TestStrayOfEndedSession: a session that ends while a GET waits at another node has that answered, as its
// own node would.
func TestStrayOfEndedSession(t *testing.T) {
	for name, end := range map[string]struct {
		by     func(t *testing.T, p *poller, nodes []*Server)
		answer string
	}{
		"client": {func(t *testing.T, p *poller, nodes []*Server) { p.wants(nodes[1], "POST", "1", 200, "ok") }, "6"},
		"program": {func(t *testing.T, p *poller, nodes []*Server) { // the packet of its namespace comes first
			kit.OK(t, nodes[1].All().DisconnectSockets(t.Context(), true))
		}, "41"},
		"rule": {func(t *testing.T, p *poller, nodes []*Server) {
			p.wants(nodes[1], "POST", "7", 400, `{"code":3,"message":"Bad request"}`)
		}, "1"},
		"drain": {func(t *testing.T, p *poller, nodes []*Server) {
			go nodes[0].Drain(t.Context(), Drain{Notice: -1, Over: 1, Linger: -1})
		}, "1"},
	} {
		for at := range 2 {
			t.Run(name, func(t *testing.T) {
				inCluster(t, 3, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
					p := newPoller(t, nodes[0])
					poll := p.send(t.Context(), nodes[at], "GET", "")
					synctest.Wait()
					end.by(t, p, nodes)
					status, answer := poll()
					kit.Check(t, status == 200 && answer == end.answer, "at %d: got %d %q, want %q", at, status, answer, end.answer)
				})
			})
		}
	}
}
