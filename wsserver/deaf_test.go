package wsserver_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestBlockedHandlers: events that wait for handlers which never return are bounded over all clients, and none of these is closed for that.
func TestBlockedHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{BudgetBytes: 4 << 20}})
		gone := farewells(srv.Of("/"))
		srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error { <-ctx.Done(); return nil })
		const n = 10 // which send five times the budget
		text := strings.Repeat("x", 10_000)
		for range n {
			c := wstest.Dial(t, srv, wstest.Config{})
			for range 200 { // 2 MB
				wsrig.Under(c).Send(`42["wait","` + text + `"]`)
			}
		}
		other := wstest.Dial(t, srv, wstest.Config{})
		time.Sleep(10 * time.Second)
		other.EmitWithAck("echo", strings.Repeat("y", 300_000)) // there is room for others
		time.Sleep(3 * time.Minute)                             // pings are answered meanwhile, behind all that is not read
		if got := srv.Stats(); got.Waiting > 4<<20 || got.Connections != n+1 {
			t.Errorf("%d bytes wait, %d connections of %d are left: %+v", got.Waiting, got.Connections, n+1, got.Ended)
		}
		stays(t, gone)
	})
}

// TestDeafHandler: a handler waits for its socket's end, and the client's events are not read any more. Whether the client is there shows all
// the same, within the time of a ping and 5 seconds.
func TestDeafHandler(t *testing.T) {
	for _, events := range []int{10, 1000} {
		for _, test := range []struct {
			name string
			do   func(c *wstest.Client)
			gone bool
		}{
			{"answers pings", func(*wstest.Client) {}, false},
			{"answers no ping", func(c *wstest.Client) { wsrig.Under(c).IgnorePings() }, true},
			{"closes with a handshake", func(c *wstest.Client) { go c.Close() }, true},
			{"leaves without a word", func(c *wstest.Client) { c.Abort() }, true},
			{"reads no more", func(c *wstest.Client) { c.Stall() }, true},
		} {
			t.Run(fmt.Sprint(test.name, " after ", events), func(t *testing.T) {
				const interval, timeout = 5 * time.Second, 4 * time.Second
				cfg := wsserver.Config{PingInterval: interval, PingTimeout: timeout}
				synctest.Test(t, func(t *testing.T) {
					srv := newServer(t, cfg)
					gone := farewells(srv.Of("/"))
					srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error { <-ctx.Done(); return nil })
					c := wstest.Dial(t, srv, wstest.Config{})
					event := wsrig.Frame(1, []byte(`42["wait","`+strings.Repeat("x", 1000)+`"]`))
					wsrig.Under(c).Write(bytes.Repeat(event, events))
					time.Sleep(time.Millisecond)
					begin := time.Now()
					test.do(c)
					if !test.gone {
						time.Sleep(10 * time.Minute)
						stays(t, gone)
						return
					}
					f := next(t, gone)
					if d := f.at.Sub(begin); d > interval+timeout+5*time.Second {
						t.Errorf("gone after %v: %v", d, f.reason)
					}
				})
			})
		}
	}
}
