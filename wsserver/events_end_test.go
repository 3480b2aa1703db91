package wsserver_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestMaxEvents: at the bound the server does not read, and nothing is lost (Config.Limits.MaxEvents).
func TestMaxEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 8}})
		release := make(chan struct{})
		var handled []int
		srv.Of("/").On("n", func(ctx context.Context, e *wsserver.Event) error {
			<-release
			var n int
			err := e.Decode(&n)
			handled = append(handled, n)
			return err
		})
		gone := farewells(srv.Of("/"))
		c := wstest.Dial(t, srv, wstest.Config{})
		filler := strings.Repeat("x", 1000)
		for i := range 200 {
			c.Emit("n", i, filler)
		}
		synctest.Wait()
		if got := wsrig.Under(c).Unread(); got < 150_000 {
			t.Errorf("unread: got %d bytes, want most of 200,000", got)
		}
		if got := srv.Stats().Events; got > 20 {
			t.Errorf("taken in: got %d events, want hardly more than 8", got)
		}
		// The pong is behind the events: no ping timeout runs while the server does not read (F18).
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		select {
		case f := <-gone:
			t.Fatalf("disconnected while not read: %v", f.reason)
		default:
		}
		close(release)
		c.EmitWithAck("echo")
		want := make([]int, 200)
		for i := range want {
			want[i] = i
		}
		kit.WantList(t, handled, want, "handled (0 to 199)")
		kit.Want(t, wsrig.Under(c).Unread(), 0, "unread in the end, in bytes")
		time.Sleep(10 * time.Minute) // and heartbeats go on
		c.EmitWithAck("echo")
	})
}

// TestDisconnectWhilePaused: a socket that cannot take more events and ends leaves the connection to the others.
func TestDisconnectWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 1}})
		admin := srv.Of("/admin")
		admin.On("echo", echo)
		srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error {
			<-ctx.Done()
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		other := c.Of("/admin", nil)
		for range 10 {
			c.Emit("wait")
		}
		synctest.Wait()
		socketOf(t, srv, c).Disconnect()
		other.EmitWithAck("echo")
	})
}

// TestEventsOfTheEnd: what a client sent before it went away is handled, and what waits when the server ends it is not.
func TestEventsOfTheEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(srv *wsserver.Server, s *wsserver.Socket, c *wstest.Client)
		want int
	}{
		{"the client leaves", func(_ *wsserver.Server, _ *wsserver.Socket, c *wstest.Client) { c.Disconnect() }, 5},
		{"the client closes", func(_ *wsserver.Server, _ *wsserver.Socket, c *wstest.Client) { c.Abort() }, 5},
		{"Disconnect", func(_ *wsserver.Server, s *wsserver.Socket, _ *wstest.Client) { s.Disconnect() }, 1},
		{"Close", func(_ *wsserver.Server, s *wsserver.Socket, _ *wstest.Client) { s.Close() }, 1},
		{"Server.Close", func(srv *wsserver.Server, _ *wsserver.Socket, _ *wstest.Client) { go srv.Close(context.Background()) }, 1},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			gone := farewells(srv.Of("/"))
			release, handled := make(chan struct{}), 0
			srv.Of("/").On("x", func(ctx context.Context, e *wsserver.Event) error {
				handled++
				<-release
				return nil
			})
			c := wstest.Dial(t, srv, wstest.Config{})
			s := socketOf(t, srv, c)
			for range 5 {
				c.Emit("x")
			}
			synctest.Wait()
			test.end(srv, s, c)
			synctest.Wait()
			close(release)
			next(t, gone)
			kit.Want(t, handled, test.want, "events handled")
		})
	}
}

// TestCloseSaysGoodbye: a client whose connection the server closes is told so in each of its namespaces, or it would connect anew.
func TestCloseSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Of("/admin")
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read() // open
		for _, connect := range []string{"40", "40/admin,"} {
			c.Send(connect)
			c.Read()
		}
		srv.Of("/admin").Sockets()[0].Close()
		got := []string{c.Read(), c.Read()}
		if slices.Sort(got); !slices.Equal(got, []string{"41", "41/admin,"}) {
			t.Errorf("got %q, want a DISCONNECT for each namespace", got)
		}
		c.Wait()
	})
}
