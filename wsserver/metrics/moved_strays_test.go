package metrics

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

func strays(r *rig) {
	total := func(which string) string { return `belfry_stray_requests_total{which="` + which + `"}` }
	waiting := func(which string) string { return `belfry_stray_requests_waiting{which="` + which + `"}` }
	other := wsserver.New(wsserver.Config{Adapter: r.cluster, Logger: kit.Silent})
	defer kit.Close(r, other)
	time.Sleep(10 * time.Second)
	ask := func(srv *wsserver.Server, method, sid, body string) string {
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest(method, "/socket.io/?EIO=4&transport=polling&sid="+sid, strings.NewReader(body)))
		return w.Body.String()
	}
	open := func(srv *wsserver.Server) (sid string) {
		var o struct{ SID string }
		kit.OK(r, json.Unmarshal([]byte(strings.TrimPrefix(ask(srv, "GET", "", ""), "0")), &o))
		return o.SID
	}
	here, there := open(r.srv), open(other)
	r.moves(func() { ask(r.srv, "POST", there, "40"); ask(r.srv, "GET", there, "") }, delta{total("forwarded"): 2, total("served"): 0})
	r.moves(func() { ask(other, "POST", here, "40"); ask(other, "GET", here, "") }, delta{total("forwarded"): 0, total("served"): 2})
	for _, poll := range []struct {
		srv        *wsserver.Server
		sid, which string
	}{{r.srv, there, "forwarded"}, {other, here, "served"}} {
		done := make(chan struct{})
		r.moves(func() {
			go func() { defer close(done); ask(poll.srv, "GET", poll.sid, "") }()
			synctest.Wait()
		}, delta{waiting(poll.which): 1, total(poll.which): 1})
		r.moves(func() { _ = r.srv.Emit(r.Context(), "all"); <-done; synctest.Wait() }, delta{waiting(poll.which): -1})
		ask(r.srv, "GET", here, "") // it is for this client, too
	}
	upgrade := func(sid string) {
		req := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=websocket&sid="+sid, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		r.srv.ServeHTTP(httptest.NewRecorder(), req)
	}
	r.moves(func() { upgrade(there) }, delta{`belfry_requests_refused_total{reason="upgrade"}`: 1})
	r.moves(func() { ask(r.srv, "GET", "nobody", "") }, delta{`belfry_requests_refused_total{reason="session"}`: 1})
}
