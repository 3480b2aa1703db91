package wsserver

import (
	linked "container/list"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// A poller is a client that polls, each of whose requests goes to a server of its choice.
type poller struct {
	t   *testing.T
	sid string
}

// newPoller begins a session at a server and connects to "/".
func newPoller(t *testing.T, srv *Server) *poller {
	t.Helper()
	p := &poller{t: t}
	var open struct{ SID string }
	_, first := p.ask(srv, "GET", "")
	kit.OK(t, json.Unmarshal([]byte(strings.TrimPrefix(first, "0")), &open), first)
	p.sid = open.SID
	p.wants(srv, "POST", "40", 200, "ok")
	if _, answer := p.ask(srv, "GET", ""); !strings.HasPrefix(answer, "40{") {
		t.Fatalf("the answer to CONNECT is %q", answer)
	}
	return p
}

// ask sends a request and waits for the answer.
func (p *poller) ask(srv *Server, method, body string) (status int, answer string) {
	p.t.Helper()
	return p.send(p.t.Context(), srv, method, body)()
}

// send sends a request. wait waits for its answer.
func (p *poller) send(ctx context.Context, srv *Server, method, body string) (wait func() (status int, answer string)) {
	url := "/socket.io/?EIO=4&transport=polling"
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	r := httptest.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeHTTP(w, r)
	}()
	return func() (int, string) { <-done; return w.Code, w.Body.String() }
}

func (p *poller) wants(srv *Server, method, body string, status int, answer string) {
	p.t.Helper()
	gotStatus, got := p.ask(srv, method, body)
	if gotStatus != status || got != answer {
		p.t.Errorf("%s: got %d %q, want %d %q", method, gotStatus, got, status, answer)
	}
}

// inCluster runs f with servers of one cluster, in a bubble.
func inCluster(t *testing.T, count int, f func(t *testing.T, memory *adapter.Memory, nodes []*Server)) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		nodes := make([]*Server, count)
		for i := range nodes {
			nodes[i] = New(Config{Adapter: memory, Logger: kit.Silent})
			t.Cleanup(func() { kit.Close(t, nodes[i]) })
			kit.OK(t, nodes[i].Ready(t.Context()))
		}
		time.Sleep(2 * keysAgain)
		synctest.Wait()
		f(t, memory, nodes)
	})
}

const unknownSession = `{"code":1,"message":"Session ID unknown"}`

// TestStrayPolls: a client that polls may send each request to another node.
func TestStrayPolls(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		var got []string
		nodes[0].OnConnect(func(ctx context.Context, s *Socket) error {
			On(s, "say", func(ctx context.Context, s *Socket, text string) error {
				got = append(got, text)
				return s.Emit(ctx, "heard", text)
			})
			return nil
		})
		p := newPoller(t, nodes[0])
		var want []string
		for i := range 30 {
			text := fmt.Sprint(i)
			want = append(want, text)
			poll := p.send(t.Context(), nodes[(i+1)%3], "GET", "")
			p.wants(nodes[i%3], "POST", `42["say","`+text+`"]`, 200, "ok")
			if status, answer := poll(); status != 200 || answer != `42["heard","`+text+`"]` {
				t.Fatalf("request %d: got %d %q", i, status, answer)
			}
		}
		kit.EqualSlices(t, got, want)
		poll := p.send(t.Context(), nodes[1], "GET", "")
		synctest.Wait()
		kit.Equal(t, nodes[0].Stats().Strays, StrayStats{Served: 41, Held: 1})
		kit.Equal(t, nodes[1].Stats().Strays.Waiting, 1, "requests that wait at the gate")
		// To all nodes' clients, while the request waits elsewhere.
		kit.OK(t, nodes[2].Emit(t.Context(), "all"))
		if _, answer := poll(); answer != `42["all"]` {
			t.Errorf("got %q", answer)
		}
		p.wants(nodes[2], "POST", "1", 200, "ok")
		synctest.Wait()
		p.wants(nodes[1], "GET", "", 400, unknownSession)
	})
}

// TestStraysForNobody: an id that is forged, unknown, of a node that has gone or of a session that has ended is answered
// at once, and costs the cluster no message.
func TestStraysForNobody(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, memory *adapter.Memory, nodes []*Server) {
		ended, gone := newPoller(t, nodes[0]), newPoller(t, nodes[2])
		ended.wants(nodes[0], "POST", "1", 200, "ok")
		kit.Close(t, nodes[2])
		time.Sleep(10 * time.Second)
		ended.wants(nodes[1], "GET", "", 400, unknownSession) // asks once
		synctest.Wait()
		sent := func() uint64 { return nodes[0].Stats().Adapter.Sent + nodes[1].Stats().Adapter.Sent }
		before, began := sent(), time.Now()
		own := nodes[1].keys.newEngineSID()
		forged := nodes[0].Node() + own[nodeChars:]
		for range 100 {
			for _, sid := range []string{ended.sid, gone.sid, own, forged, "0123456789" + own[nodeChars:], "nonsense", own[:31]} {
				for _, method := range []string{"GET", "POST", "PUT"} {
					p := &poller{t, sid}
					p.wants(nodes[1], method, "", 400, unknownSession)
				}
			}
		}
		kit.Equal(t, sent(), before, "messages")
		kit.Took(t, began, 0, 0, "the flood")
		kit.Equal(t, nodes[1].Stats().Refusals.Session, 2101, "refusals")
		kit.Check(t, len(nodes[1].strays.absent) == 1, "%d ids are remembered", len(nodes[1].strays.absent))
	})
}

// TestAbsentIDs: no more ids are remembered than may be, and those the longest that are asked for.
func TestAbsentIDs(t *testing.T) {
	x := &strays{absent: make(map[string]*linked.Element)}
	for i := range maxAbsentSIDs {
		x.Absent(fmt.Sprint(i))
		x.Absent(fmt.Sprint(i))
	}
	kit.Check(t, x.isAbsent("0"), "0 is forgotten")
	x.Absent("more")
	kit.Check(t, x.isAbsent("0") && x.isAbsent("2") && x.isAbsent("more") && !x.isAbsent("1"), "not 1 is forgotten")
	kit.Equal(t, len(x.absent), maxAbsentSIDs)
	kit.Equal(t, x.order.Len(), maxAbsentSIDs)
}

// TestStrayUpgrade: an upgrade at another node is refused, and the client goes on with polling.
func TestStrayUpgrade(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		p := newPoller(t, nodes[0])
		r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=websocket&sid="+p.sid, nil)
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		nodes[1].ServeHTTP(w, r)
		kit.Equal(t, w.Code, http.StatusBadRequest)
		kit.Equal(t, w.Body.String(), errStrayUpgrade.Message)
		kit.Equal(t, nodes[1].Stats().Refusals.Upgrade, 1)
		kit.OK(t, nodes[1].Emit(t.Context(), "on"))
		p.wants(nodes[1], "GET", "", 200, `42["on"]`)
	})
}

// TestStrayClientGoes: a client that gives up a request at another node ends its session, as at its own.
func TestStrayClientGoes(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		var why error
		nodes[0].OnConnect(func(_ context.Context, s *Socket) error {
			s.OnDisconnect(func(_ context.Context, reason error) { why = reason })
			return nil
		})
		p := newPoller(t, nodes[0])
		ctx, cancel := context.WithCancel(t.Context())
		poll := p.send(ctx, nodes[1], "GET", "")
		synctest.Wait()
		cancel()
		poll()
		synctest.Wait()
		kit.Check(t, why != nil, "the socket lives")
		kit.Equal(t, nodes[0].Stats().Connections, 0)
		kit.Equal(t, nodes[0].Stats().Strays.Held, 0)
	})
}

// TestStrayOfClosedGate: a node that closes answers the requests that wait there for other nodes' sessions,
// which go on.
func TestStrayOfClosedGate(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		p := newPoller(t, nodes[0])
		poll := p.send(t.Context(), nodes[1], "GET", "")
		synctest.Wait()
		kit.Close(t, nodes[1])
		if status, answer := poll(); status != 200 || answer != "6" {
			t.Errorf("got %d %q, want a noop", status, answer)
		}
		kit.OK(t, nodes[2].Emit(t.Context(), "on"))
		p.wants(nodes[2], "GET", "", 200, `42["on"]`)
	})
}

// TestStrayOfClosedOwner: a node that closes says farewell to clients whose request waits at another.
func TestStrayOfClosedOwner(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, _ *adapter.Memory, nodes []*Server) {
		p := newPoller(t, nodes[0])
		poll := p.send(t.Context(), nodes[1], "GET", "")
		synctest.Wait()
		kit.Close(t, nodes[0])
		if status, answer := poll(); status != 200 || answer != "1" {
			t.Errorf("got %d %q, want a close packet", status, answer)
		}
		p.wants(nodes[1], "GET", "", 400, unknownSession)
	})
}
