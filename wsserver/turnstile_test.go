package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// A passage is what became of a request that begins a connection.
type passage struct {
	status int
	after  time.Duration
	text   string
	header http.Header
}

// arrive sends a request of a guest, on a goroutine of its own, and waits until it has an answer or waits for it.
func (g guest) arrive(ctx context.Context, done *sync.WaitGroup, p *passage) {
	began := time.Now()
	done.Go(func() {
		r := httptest.NewRequestWithContext(ctx, "GET", "/socket.io/?EIO=4&transport=polling", nil)
		r.Header = g.header()
		w := httptest.NewRecorder()
		g.srv.ServeHTTP(w, r)
		*p = passage{w.Code, time.Since(began), w.Body.String(), w.Header()}
	})
	synctest.Wait()
}

// TestHandshakes: connections begin at the rate, in the order in which they came; so many wait as can begin within the wait, and the others are
// told at once.
func TestHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{Handshakes: 10, HandshakeWait: 2 * time.Second}})
		g := guest{t: t, srv: srv}
		var done sync.WaitGroup
		passages := make([]passage, 30)
		for i := range passages {
			g.arrive(t.Context(), &done, &passages[i])
		}
		done.Wait()
		for i, p := range passages {
			switch {
			case i > 19:
				if p.status != 503 || p.after != 0 || !strings.Contains(p.text, "try again in 2 s") || p.header.Get("Retry-After") != "2" {
					t.Errorf("request %d: got %+v, want a refusal at once", i, p)
				}
			case p.status != 200 || p.after != time.Duration(i)*100*time.Millisecond:
				t.Errorf("request %d: got %d after %v, want 200 after %v", i, p.status, p.after, time.Duration(i)*100*time.Millisecond)
			}
		}
		if got := srv.Stats(); got.Refusals.Handshakes != 10 || got.Refused != 10 || got.Accepted != 20 {
			t.Errorf("got %+v, %d accepted, want 10 and 20", got.Refusals, got.Accepted)
		}
		time.Sleep(time.Second)
		var p passage
		if g.arrive(t.Context(), &done, &p); p.status != 200 || p.after != 0 {
			t.Errorf("afterwards: got %+v, want no wait", p)
		}
	})
}

// TestHandshakeFirst: the wait comes before what the program does, and the change to a WebSocket does not wait.
func TestHandshakeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		began := time.Now()
		srv := newServer(t, wsserver.Config{
			Limits: wsserver.Limits{Handshakes: 1},
			HTTP: wsserver.HTTPConfig{AllowRequest: func(*http.Request) error {
				asked = append(asked, time.Since(began))
				return nil
			}},
		})
		for _, transport := range []string{"polling", "websocket"} {
			g := guest{t: t, srv: srv, transport: transport}
			g.want("", "")
		}
		g := guest{t: t, srv: srv}
		var done sync.WaitGroup
		var p passage
		ctx, cancel := context.WithCancel(t.Context())
		g.arrive(ctx, &done, &p)
		kit.Want(t, fmt.Sprint(asked), "[0s 1s]", "AllowRequest was asked after")
		cancel()
		done.Wait()
	})
}

// TestHandshakeGivenUp: who gives up while it waits costs the others no time.
func TestHandshakeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{Handshakes: 1, HandshakeWait: 10 * time.Second}})
		g := guest{t: t, srv: srv}
		var done sync.WaitGroup
		var passages [8]passage
		ctx, cancel := context.WithCancel(t.Context())
		for i := range passages {
			if i > 0 && i < 7 {
				g.arrive(ctx, &done, &passages[i])
			} else {
				g.arrive(t.Context(), &done, &passages[i])
			}
		}
		time.Sleep(500 * time.Millisecond)
		cancel() // among them, who has the turn
		done.Wait()
		if p := passages[7]; p.status != 200 || p.after != time.Second {
			t.Errorf("the last: got %+v, want 200 after 1s", p)
		}
		kit.Want(t, srv.Stats().Refusals.Handshakes, 6, "those that gave up")
	})
}

// TestHandshakeQueueOfAddress: no address has more of the queue than its connections.
func TestHandshakeQueueOfAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{
			Limits: wsserver.Limits{Handshakes: 1, HandshakeWait: 10 * time.Second, PerAddress: 2},
			HTTP:   wsserver.HTTPConfig{TrustedProxies: proxy},
		})
		greedy, other := guest{t: t, srv: srv, address: "198.51.100.1"}, guest{t: t, srv: srv, address: "198.51.100.2"}
		var done sync.WaitGroup
		var passages [10]passage
		for i := range passages {
			greedy.arrive(t.Context(), &done, &passages[i])
		}
		var p passage
		other.arrive(t.Context(), &done, &p)
		done.Wait()
		if p.status != 200 || p.after != 2*time.Second {
			t.Errorf("the other: got %+v, want 200 after 2s, behind one that waits", p)
		}
		if got := srv.Stats().Refusals; got.Address != 8 || got.Handshakes != 0 {
			t.Errorf("got %+v, want 8 by address", got)
		}
	})
}

// TestHandshakesClosed: who waits when the server closes is told so, at once.
func TestHandshakesClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{Handshakes: 1}})
		g := guest{t: t, srv: srv}
		var done sync.WaitGroup
		var passages [5]passage
		for i := range passages {
			g.arrive(t.Context(), &done, &passages[i])
		}
		kit.OK(t, srv.Close(t.Context()))
		done.Wait()
		for i, p := range passages[1:] {
			if p.status != 503 || !strings.Contains(p.text, "shutting down") || p.after > 5*time.Second {
				t.Errorf("request %d: got %+v", i, p)
			}
		}
		if got := srv.Stats().Refusals; got.Closing != 4 {
			t.Errorf("got %+v, want 4", got)
		}
		if err := srv.Close(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a second Close: %v", err)
		}
	})
}
