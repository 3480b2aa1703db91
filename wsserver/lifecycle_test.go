package wsserver_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestHandlerEndsItsGoroutine: a handler that ends its goroutine, as a test's Fatal does, ends its socket, and takes nothing along that
// belongs to that.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	for _, where := range []string{"middleware", "connect", "event", "disconnecting", "disconnect"} {
		kit.Bubble(t, where, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			parent := srv.OfFunc(func(name string) bool { return name == "/x" })
			exit := func(at string) {
				if at == where {
					runtime.Goexit()
				}
			}
			var left error
			parent.Use(func(context.Context, *wsserver.Socket) error { exit("middleware"); return nil })
			parent.OnConnect(func(context.Context, *wsserver.Socket) error { exit("connect"); return nil })
			parent.On("x", func(context.Context, *wsserver.Event) error { exit("event"); return nil })
			parent.OnDisconnecting(func(context.Context, *wsserver.Socket, error) { exit("disconnecting") })
			parent.OnDisconnect(func(_ context.Context, _ *wsserver.Socket, reason error) { left = reason; exit("disconnect") })
			root := wstest.Dial(t, srv, wstest.Config{})
			c, refusal := root.Try("/x", nil)
			kit.Require(t, (refusal != nil) == (where == "middleware"), "refused with %s", refusal)
			synctest.Wait()
			want := wsserver.ErrServerDisconnect
			switch where {
			case "middleware":
				want = nil // it was never connected
			case "event":
				c.Emit("x")
			case "disconnecting", "disconnect":
				want = wsserver.ErrClientDisconnect
				c.Disconnect()
			}
			synctest.Wait()
			kit.WantErr(t, left, want, "OnDisconnect")
			if n := len(parent.Namespaces()); n != 0 {
				t.Errorf("the namespace is left")
			}
			if n, err := srv.All().Count(t.Context()); n != 1 || err != nil {
				t.Errorf("%d other sockets, %v; want 1, untouched", n, err)
			}
		})
	}
}
