package wsserver_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// TestDrainPolling: a client that polls gets what was sent to it, and then a close packet in an answer of its own, which closes the HTTP connection,
// when it asks: it waits for that already, or comes soon, or never does.
func TestDrainPolling(t *testing.T) {
	cases := []struct {
		name  string
		sent  bool          // something waits for the client
		asks  time.Duration // when it asks first, after the beginning of the drain; negative is before
		never bool          // it does not ask
		took  time.Duration
	}{
		{"waits", false, -1, false, 0},
		{"soon", false, time.Second, false, time.Second},
		{"soon, with a message before", true, time.Second, false, time.Second},
		{"never", false, 0, true, 5 * time.Second},
		{"never, with a message before", true, 0, true, 5 * time.Second},
	}
	for _, test := range cases {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			gone := farewells(srv.Of("/"))
			p := newPoller(t, func() net.Conn { return wsrig.Serve(t, srv) })
			if test.sent {
				kit.OK(t, srv.Emit(t.Context(), "x"))
			}
			ended := make(chan error, 1)
			begun := time.Now()
			drain := func() { ended <- srv.Drain(t.Context(), atOnce) }
			if test.asks < 0 {
				go func() {
					time.Sleep(time.Second)
					begun = time.Now()
					drain()
				}()
			} else {
				go drain()
				time.Sleep(test.asks)
			}
			if !test.never {
				if test.sent {
					kit.Equal(t, answerTo(t, p), `42["x"] close`)
				}
				kit.Equal(t, answerTo(t, p), "1 close")
				kit.Equal(t, answerTo(t, p), `{"code":1,"message":"Session ID unknown"} close`)
			}
			kit.OK(t, <-ended)
			kit.Took(t, begun, test.took, test.took+200*time.Millisecond, "Drain took")
			kit.ErrorIs(t, (<-gone).reason, wsserver.ErrShutdown)
		})
	}
}

// answerTo is the answer to a GET of p, and whether it closes its connection.
func answerTo(t *testing.T, p *poller) string {
	t.Helper()
	r := kit.Must(http.NewRequest("GET", "http://example.com/socket.io/?EIO=4&transport=polling&sid="+p.sid, nil))(t)
	answer := kit.Must(p.http.Do(r))(t)
	defer answer.Body.Close()
	text := string(kit.Must(io.ReadAll(answer.Body))(t))
	if answer.Close {
		text += " close"
	}
	return text
}

// TestDrainKeepAlive: during the notice, answers leave their connections open, and later they do not.
func TestDrainKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		hold := make(chan struct{})
		srv.Of("/").On("hold", handler(func() { <-hold }))
		p := newPoller(t, func() net.Conn { return wsrig.Serve(t, srv) })
		kit.OK(t, p.post(`42["hold"]`)) // its connection ends late
		ended := make(chan error, 1)
		go func() { ended <- srv.Drain(t.Context(), wsserver.Drain{Notice: 10 * time.Second}) }()
		for _, want := range []string{`42["x"]`, `42["x"] close`} {
			time.Sleep(6 * time.Second)
			kit.OK(t, srv.Emit(t.Context(), "x"))
			kit.Equal(t, answerTo(t, p), want)
		}
		close(hold)
		kit.Equal(t, answerTo(t, p), "1 close")
		kit.OK(t, <-ended)
	})
}
