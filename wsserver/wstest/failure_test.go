package wstest_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// failing is a testing.TB that notes the first failure instead of failing.
type failing struct {
	testing.TB
	mu      sync.Mutex // guards message
	message string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.message == "" {
		f.message = fmt.Sprintf(format, args...)
	}
	runtime.Goexit()
}

// failure returns what f fails with.
func failure(t *testing.T, f func(t testing.TB)) string {
	tb := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(tb)
	}()
	<-done
	return tb.message
}

// TestFailures: what goes wrong fails the test, and says why.
func TestFailures(t *testing.T) {
	refusing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "go away", http.StatusTeapot) })
	for _, test := range []struct {
		name, want string
		run        func(t testing.TB, srv *wsserver.Server)
	}{
		{"refused request", "418 I'm a teapot: go away", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, refusing, wstest.Config{})
		}},
		{"wrong path", "404 Not Found", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Path: "/other/"})
		}},
		{"refused namespace", "refused namespace /unknown: {\"message\":\"Invalid namespace\"}", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Namespace: "/unknown"})
		}},
		{"nothing comes", "waiting for event x: nothing within 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).Next("x")
		}},
		{"no answer", "waiting for the answer to nobody: nothing within 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).EmitWithAck("nobody")
		}},
		{"the connection ends", "waiting for event x: the connection has ended: code 1005", func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{})
			time.AfterFunc(time.Second, func() { srv.Of("/").Sockets()[0].CloseTransport() })
			c.Next("x")
		}},
		{"it does not end", "it is open after 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).Wait()
		}},
		{"others have come", `waiting for event x: nothing within 5s; events that came and were not taken, the newest last: ["a"], ["b",{"n":1}]`, func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second})
			srv.Emit(t.Context(), "a")
			srv.Emit(t.Context(), "taken")
			srv.Emit(t.Context(), "b", map[string]int{"n": 1})
			c.Next("taken")
			c.Next("x")
		}},
		{"so many that the newest count", `the newest last: (3 more), ["n",3], ["n",4], ["n",5], ["n",6], ["n",7], ["n",8], ["n",9], ["n",10], ["n",11], ["n",12]`, func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{})
			for i := range 13 {
				srv.Emit(t.Context(), "n", i)
			}
			c.Next("x")
		}},
		{"a long one", `["long","` + strings.Repeat("é", 95) + `... (2011 bytes)`, func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{})
			srv.Emit(t.Context(), "long", strings.Repeat("é", 1000))
			c.Next("x")
		}},
		{"an answer is missing", "; the server has not answered early, late", func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{Timeout: time.Second})
			for _, name := range []string{"late", "early"} {
				time.AfterFunc(time.Second/2, func() { c.EmitWithAck(name) }) // fails after Next
			}
			c.Next("x")
		}},
		{"events, and then the end", `waiting for event x: the connection has ended: code 1005, reason "", EOF; events that came and were not taken, the newest last: ["last"]`,
			func(t testing.TB, srv *wsserver.Server) {
				c := wstest.Dial(t, srv, wstest.Config{})
				srv.Emit(t.Context(), "last")
				time.AfterFunc(time.Second, func() { srv.Of("/").Sockets()[0].CloseTransport() })
				c.Next("x")
			}},
		{"the server disconnects", `waiting for event x: the server has disconnected the client from its namespace; events that came and were not taken, the newest last: ["last"]`,
			func(t testing.TB, srv *wsserver.Server) {
				c := wstest.Dial(t, srv, wstest.Config{})
				srv.Emit(t.Context(), "last")
				time.AfterFunc(time.Second, srv.Of("/").Sockets()[0].Disconnect)
				c.Next("x")
			}},
		{"events, and no end", `it is open after 1m0s; events that came and were not taken, the newest last: ["a"]`, func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{})
			srv.Emit(t.Context(), "a")
			c.Wait()
		}},
		{"a refused middleware", `refused namespace /admin: {"message":"wrong token","data":{"tries":2}}`, func(t testing.TB, srv *wsserver.Server) {
			srv.Of("/admin").Use(func(context.Context, *wsserver.Socket) error {
				return &wsserver.ConnectError{Message: "wrong token", Data: map[string]int{"tries": 2}}
			})
			wstest.Dial(t, srv, wstest.Config{}).Of("/admin", nil)
		}},
		{"an event that cannot be", "reserved event name", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{}).Emit("connect")
		}},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t)
			got := failure(t, func(t testing.TB) { test.run(t, srv) })
			kit.Check(t, strings.HasPrefix(got, "wstest: ") && strings.Contains(got, test.want),
				"got %q, want %q", got, test.want)
		})
	}
}
