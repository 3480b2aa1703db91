package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestMoved: what happens to a server moves its figures, each by as much as it should.
func TestMoved(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg wsserver.Config
		do  func(r *rig)
	}{
		"connections":        {do: connections},
		"polling":            {do: polling},
		"namespaces":         {do: namespaces},
		"ends":               {do: ends},
		"slow clients":       {cfg: wsserver.Config{Limits: wsserver.Limits{QueueBytes: 64 << 10}}, do: slow},
		"used-up budget":     {cfg: wsserver.Config{Limits: wsserver.Limits{BudgetBytes: 1 << 20}}, do: overBudget},
		"refusals":           {cfg: wsserver.Config{Limits: wsserver.Limits{MaxConnections: 1, MaxSockets: 1}}, do: refusals},
		"events":             {do: events},
		"acknowledgements":   {do: acks},
		"volatile frames":    {cfg: wsserver.Config{Limits: wsserver.Limits{QueueBytes: 64 << 10}}, do: volatile},
		"what a client asks": {do: waiting},
		"recovery":           {cfg: wsserver.Config{Recovery: &wsserver.Recovery{MaxSessions: 1, Secret: []byte("secret")}}, do: recovered},
		"strays":             {do: strays},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, test.cfg)
				defer kit.Close(t, r.srv)
				test.do(r)
			})
		})
	}
}

func (r *rig) dial() *wstest.Client { return wstest.Dial(r, r.srv, wstest.Config{}) }

func (r *rig) socket(c *wstest.Client) *wsserver.Socket {
	s, _ := r.srv.Of("/").Socket(c.ID())
	return s
}

func connections(r *rig) {
	var c *wstest.Client
	r.moves(func() { c = r.dial() }, delta{
		`belfry_connections{transport="websocket"}`:                  1,
		`belfry_sockets{socket_namespace="/",transport="websocket"}`: 1,
		`belfry_sockets{socket_namespace="/",transport="polling"}`:   0,
		`belfry_connections_opened_total`:                            1,
		`belfry_messages_received_total`:                             1,
		`belfry_received_bytes_total`:                                2, // "40"
		`belfry_frames_sent_total`:                                   2,
		`belfry_sent_bytes_total`:                                    grown,
		`belfry_writes_total`:                                        grown,
		`belfry_rooms{socket_namespace="/"}`:                         0,
		`belfry_cluster_join_duration_seconds_count`:                 1, // of the namespace
	})
	r.moves(func() { _ = r.socket(c).Join(r.Context(), "a", "b") }, delta{`belfry_rooms{socket_namespace="/"}`: 2})
	r.moves(func() { c.Disconnect() }, delta{
		`belfry_sockets{socket_namespace="/",transport="websocket"}`: -1,
		`belfry_connections{transport="websocket"}`:                  0,
		`belfry_rooms{socket_namespace="/"}`:                         -2,
	})
	r.moves(func() { c.Close() }, delta{
		`belfry_connections{transport="websocket"}`:           -1,
		`belfry_connections_closed_total{reason="by_client"}`: 1,
	})
}

// do sends a request of a client that polls.
func (r *rig) do(method, query, body string) string {
	w := httptest.NewRecorder()
	r.srv.ServeHTTP(w, httptest.NewRequest(method, "/socket.io/?EIO=4&"+query, strings.NewReader(body)))
	return w.Body.String()
}

func polling(r *rig) {
	var sid string
	r.moves(func() {
		_, rest, _ := strings.Cut(r.do(http.MethodGet, "transport=polling", ""), `"sid":"`)
		sid, _, _ = strings.Cut(rest, `"`)
	}, delta{`belfry_connections{transport="polling"}`: 1, `belfry_connections_opened_total`: 1})
	r.moves(func() {
		r.do(http.MethodPost, "transport=polling&sid="+sid, "40")
		r.do(http.MethodGet, "transport=polling&sid="+sid, "")
	}, delta{
		`belfry_sockets{socket_namespace="/",transport="polling"}`: 1,
		`belfry_messages_received_total`:                           1,
		`belfry_frames_sent_total`:                                 grown,
	})
	r.moves(func() {
		c := wsrig.Dial(r, r.srv, wsrig.Config{Query: url.Values{"sid": {sid}}})
		c.Send("2probe")
		c.Read()
		r.do(http.MethodGet, "transport=polling&sid="+sid, "")
		c.Send("5")
	}, delta{
		`belfry_connections{transport="polling"}`:                    -1,
		`belfry_connections{transport="websocket"}`:                  1,
		`belfry_sockets{socket_namespace="/",transport="polling"}`:   -1,
		`belfry_sockets{socket_namespace="/",transport="websocket"}`: 1,
		`belfry_connections_opened_total`:                            0,
	})
}

func namespaces(r *rig) {
	r.srv.Of("/chat")
	r.srv.OfFunc(func(string) bool { return true })
	c := r.dial()
	r.moves(func() { c.Of("/chat", nil) }, delta{`belfry_sockets{socket_namespace="/chat",transport="websocket"}`: 1})
	r.moves(func() { c.Of("/a", nil); c.Of("/b", nil) }, delta{
		`belfry_sockets{socket_namespace="dynamic",transport="websocket"}`: 2,
		`belfry_namespaces`: 2,
	})
	a, _ := r.srv.Lookup("/a")
	r.moves(func() { _ = a.Sockets()[0].Join(r.Context(), "x") }, delta{`belfry_rooms{socket_namespace="dynamic"}`: 1})
}

func ends(r *rig) {
	closed := func(reason string) delta { return delta{`belfry_connections_closed_total{reason="` + reason + `"}`: 1} }
	c := r.dial()
	r.moves(func() { r.socket(c).Close() }, closed("by_server"))
	raw := wsrig.Dial(r, r.srv, wsrig.Config{})
	r.moves(func() { raw.Send("garbage") }, closed("parse_error"))
	raw = wsrig.Dial(r, r.srv, wsrig.Config{})
	r.moves(func() { raw.Write([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) }, closed("transport_error"))
	wsrig.Dial(r, r.srv, wsrig.Config{})
	r.moves(func() { time.Sleep(time.Minute) }, closed("connect_timeout"))
	c = r.dial()
	wsrig.Under(c).IgnorePings()
	r.moves(func() { time.Sleep(time.Minute) }, closed("ping_timeout"))
	raw = wsrig.Dial(r, r.srv, wsrig.Config{})
	raw.Send("40")
	raw.Read()
	r.moves(func() {
		raw.Write(wsrig.Frame(1, []byte(strings.Repeat("x", 1000)))[:500])
		time.Sleep(time.Minute)
	}, closed("incomplete"))
}

func slow(r *rig) {
	c := r.dial()
	c.Stall()
	s := r.socket(c)
	r.moves(func() {
		for range 10 {
			_ = s.Emit(r.Context(), "much", strings.Repeat("x", 100<<10))
		}
	}, delta{`belfry_waiting_bytes`: grown})
	r.moves(func() { time.Sleep(time.Minute) }, delta{
		`belfry_connections_closed_total{reason="too_slow"}`: 1,
		`belfry_frames_dropped_total{reason="gone"}`:         grown,
	})
}

func overBudget(r *rig) {
	if got := figures(r.T, r.srv)[`belfry_waiting_limit_bytes`]; got != 1<<20 {
		r.Errorf("the limit is %v", got)
	}
	c := r.dial()
	c.Stall()
	s := r.socket(c)
	r.moves(func() {
		for range 20 {
			_ = s.Emit(r.Context(), "much", strings.Repeat("x", 100<<10))
		}
		time.Sleep(10 * time.Second)
	}, delta{`belfry_connections_closed_total{reason="over_budget"}`: 1})
}

func refusals(r *rig) {
	refused := func(reason string) delta { return delta{`belfry_requests_refused_total{reason="` + reason + `"}`: 1} }
	r.moves(func() { r.do(http.MethodGet, "transport=pigeon", "") }, refused("rules"))
	r.moves(func() { r.do(http.MethodGet, "transport=polling&sid=nobody", "") }, refused("session"))
	c := r.dial()
	r.moves(func() { r.do(http.MethodGet, "transport=polling", "") }, refused("full"))
	r.srv.Of("/other")
	r.moves(func() { c.Try("/other", nil) }, delta{`belfry_declined_total{limit="sockets"}`: 1})
}

func events(r *rig) {
	root := r.srv.Of("/")
	root.On("slow", func(context.Context, *wsserver.Event) error { time.Sleep(30 * time.Millisecond); return nil })
	root.On("fail", func(context.Context, *wsserver.Event) error { return errors.New("failed") })
	c := r.dial()
	r.moves(func() { c.Emit("slow"); time.Sleep(time.Second) }, delta{
		`belfry_events_total`:                                1,
		`belfry_handler_duration_seconds_count`:              1,
		`belfry_handler_duration_seconds_sum`:                0.03,
		`belfry_handler_duration_seconds_bucket{le="0.025"}`: 0,
		`belfry_handler_duration_seconds_bucket{le="0.05"}`:  1,
		`belfry_messages_received_total`:                     1,
	})
	r.moves(func() { c.Emit("fail") }, delta{`belfry_handler_failures_total`: 1})
	r.moves(func() { c.Emit("nobody") }, delta{`belfry_events_dropped_total{reason="unhandled"}`: 1})
	r.moves(func() {
		c.Emit("slow")
		c.Emit("slow")
		synctest.Wait()
		r.socket(c).Disconnect()
	}, delta{`belfry_events_dropped_total{reason="disconnected"}`: 1, `belfry_events_total`: 2})
}

func acks(r *rig) {
	c := r.dial()
	s := r.socket(c)
	var question wstest.Event
	r.moves(func() {
		if _, err := s.Ask(r.Context(), "one"); err != nil {
			r.Error(err)
		}
		question = c.Next("one")
	}, delta{`belfry_acks_waiting`: 1})
	r.moves(func() { _, _ = s.Ask(r.Context(), "two") }, delta{`belfry_acks_waiting`: 1})
	r.moves(func() { question.Ack("yes") }, delta{`belfry_acks_waiting`: -1})
	r.moves(func() { time.Sleep(20 * time.Second) }, delta{`belfry_acks_waiting`: 0})
	r.moves(func() { time.Sleep(20 * time.Second) }, delta{`belfry_acks_waiting`: -1}) // Config.AckTimeout
	_, _ = s.Ask(r.Context(), "three")
	r.moves(func() { c.Close() }, delta{`belfry_acks_waiting`: -1})
}

func volatile(r *rig) {
	c := r.dial()
	c.Stall()
	s := r.socket(c)
	for range 10 {
		_ = s.Emit(r.Context(), "much", strings.Repeat("x", 100<<10))
	}
	r.moves(func() { _ = r.srv.All().Volatile().Emit(r.Context(), "tick") },
		delta{`belfry_frames_dropped_total{reason="volatile"}`: 1})
	r.moves(func() { c.Abort() }, delta{`belfry_frames_dropped_total{reason="gone"}`: grown})
}

// waiting: what waits for a handler is a part of the budget.
func waiting(r *rig) {
	goOn := make(chan struct{})
	r.srv.Of("/").On("wait", func(context.Context, *wsserver.Event) error { <-goOn; return nil })
	c := r.dial()
	r.moves(func() { c.Emit("wait", strings.Repeat("x", 1000)) }, delta{`belfry_waiting_bytes`: grown})
	close(goOn)
	synctest.Wait()
	if got := figures(r.T, r.srv)[`belfry_waiting_bytes`]; got != 0 {
		r.Errorf("%v bytes wait at the end", got)
	}
}
