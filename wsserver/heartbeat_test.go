package wsserver_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestPingTimeout: a ping one interval after the connection began, the end one timeout after a ping without an answer (Engine.IO 4,
// "Heartbeat").
func TestPingTimeout(t *testing.T) {
	for _, test := range []struct {
		name              string
		cfg               wsserver.Config
		interval, timeout time.Duration
	}{
		{"default", wsserver.Config{}, 25 * time.Second, 20 * time.Second},
		{"configured", wsserver.Config{PingInterval: 3 * time.Second, PingTimeout: time.Second}, 3 * time.Second, time.Second},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, test.cfg)
			gone := farewells(srv.Of("/"))
			start := time.Now()
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.IgnorePings()
			c.Send("40")
			time.Sleep(test.interval - 1)
			synctest.Wait()
			kit.Want(t, c.Pings(), 0, "before the interval: pings")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			kit.Want(t, c.Pings(), 1, "after the interval: pings")
			f := next(t, gone)
			kit.WantErr(t, f.reason, wsserver.ErrPingTimeout, "reason")
			kit.Want(t, f.at.Sub(start), test.interval+test.timeout, "disconnected after")
			if got := c.Wait(); got.Code != 1005 {
				t.Errorf("the end: got %v, want a Close frame", got)
			}
		})
	}
}

// TestPong: a client that answers stays, however long nothing else happens, and gets a ping an interval.
func TestPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		time.Sleep(time.Hour + time.Second)
		c.EmitWithAck("echo")
		kit.Want(t, wsrig.Under(c).Pings(), int(time.Hour/(25*time.Second)), "pings")
	})
}

// TestConnectTimeout: socket.io, connectTimeout; a CONNECT that is refused does not count.
func TestConnectTimeout(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  wsserver.Config
		send string
		want time.Duration
	}{
		{"nothing", wsserver.Config{}, "", 45 * time.Second},
		{"refused", wsserver.Config{}, "40/unknown,", 45 * time.Second},
		{"attachments without end", wsserver.Config{}, `51-["x",{"_placeholder":true,"num":0}]`, 45 * time.Second},
		{"configured", wsserver.Config{ConnectTimeout: time.Second}, "", time.Second},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, test.cfg)
			start := time.Now()
			c := wsrig.Dial(t, srv, wsrig.Config{})
			time.Sleep(test.want / 2)
			if test.send != "" {
				c.Send(test.send)
			}
			if got := c.Wait(); got.Code != 1005 {
				t.Errorf("the end: got %v, want a Close frame", got)
			}
			kit.Want(t, time.Since(start), test.want, "closed after")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Disconnect() // a connection without a namespace is as good as any, once it has had one
		time.Sleep(10 * time.Minute)
		c = c.Of("/", nil)
		c.EmitWithAck("echo")
	})
}

// standstill is how long a message may stand still before it is complete: Config.Limits.SlowAfter, and a little.
const standstill = 17 * time.Second

// TestIncompleteMessage: a packet that is not complete comes at Config.Limits.SlowRate at the least, attachments included.
func TestIncompleteMessage(t *testing.T) {
	half := wsrig.Frame(1, []byte(`42["x"]`))[:8]
	for _, test := range []struct {
		name string
		send func(c *wstest.Client)
	}{
		{"a frame", func(c *wstest.Client) { wsrig.Under(c).Write(half) }},
		{"a header", func(c *wstest.Client) { wsrig.Under(c).Write(half[:1]) }},
		{"fragments", func(c *wstest.Client) { f := wsrig.Frame(1, []byte("42")); f[0] &^= 0x80; wsrig.Under(c).Write(f) }},
		{"attachments", func(c *wstest.Client) { wsrig.Under(c).Send(`451-["x",{"_placeholder":true,"num":0}]`) }},
		{"one attachment of two", func(c *wstest.Client) {
			wsrig.Under(c).Send(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			time.AfterFunc(10*time.Second, func() { wsrig.Under(c).SendBinary([]byte("one")) })
		}},
		{"byte by byte", func(c *wstest.Client) {
			message := wsrig.Frame(1, []byte(`42["`+strings.Repeat("x", 50)+`"]`))
			for i := range message {
				time.AfterFunc(time.Duration(i)*time.Second, func() { wsrig.Under(c).Write(message[i : i+1]) })
			}
		}},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{PingInterval: time.Hour}) // no pong in the midst of the message
			gone := farewells(srv.Of("/"))
			c := wstest.Dial(t, srv, wstest.Config{})
			time.Sleep(time.Minute)
			start := time.Now()
			test.send(c)
			f := next(t, gone)
			if got := f.at.Sub(start); !errors.Is(f.reason, wsserver.ErrTransport) || got != standstill {
				t.Errorf("got %v after %v, want ErrTransport after %v", f.reason, got, standstill)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestCompleteMessages: each message has its own time, also if another is always on its way.
func TestCompleteMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{PingInterval: time.Hour}) // no pong in the midst of the stream
		c := wstest.Dial(t, srv, wstest.Config{})
		stream := bytes.Repeat(wsrig.Frame(1, []byte(`42["x"]`)), 20)
		const step = 5 // cuts the stream so that every piece ends inside a message
		for len(stream) > 0 {
			n := min(step, len(stream))
			wsrig.Under(c).Write(stream[:n])
			stream = stream[n:]
			time.Sleep(4 * time.Second)
		}
		c.EmitWithAck("echo")
	})
}

// TestIncompleteWhilePaused: while the server does not read, what it has not read is not late.
func TestIncompleteWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxEvents: 1}, PingInterval: time.Hour})
		release := make(chan struct{})
		srv.Of("/").On("wait", func(ctx context.Context, e *wsserver.Event) error {
			<-release
			return nil
		})
		gone := farewells(srv.Of("/"))
		c := wstest.Dial(t, srv, wstest.Config{})
		event := wsrig.Frame(1, []byte(`42["wait"]`))
		wsrig.Under(c).Write(event)
		synctest.Wait()
		wsrig.Under(c).Write(append(bytes.Clone(event), event[:5]...)) // the bound is reached in the midst of a message
		time.Sleep(5 * time.Minute)
		start := time.Now()
		close(release)
		f := next(t, gone)
		if got := f.at.Sub(start); !errors.Is(f.reason, wsserver.ErrTransport) || got != standstill {
			t.Errorf("got %v %v after the server reads again, want ErrTransport after %v", f.reason, got, standstill)
		}
	})
}

// TestCloseTimeout: a client that does not answer the Close frame has 5 seconds; then the connection is dropped (RFC 6455 section 7.1.1).
func TestCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		wsrig.Under(c).IgnoreClose()
		start := time.Now()
		socketOf(t, srv, c).Close()
		eof := c.Wait()
		kit.Check(t, eof.Code == 1005 && time.Since(start) == 0,
			"got %v after %v, want a Close frame and the end of the stream at once", eof, time.Since(start))
	})
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Stall()
		socketOf(t, srv, c).Close()
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		kit.Want(t, srv.Stats().Connections, 1, "before 5s: connections")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		kit.Want(t, srv.Stats().Connections, 0, "after 5s: connections")
	})
}

// TestTooSlow: a client that takes nothing is disconnected 15 seconds after it is over the bound, and a little, however much is sent to it
// (Config.Limits.QueueBytes, SlowAfter; faults, F7). The others get everything.
func TestTooSlow(t *testing.T) {
	const limit = 100_000
	for _, test := range []struct {
		name      string
		queue     int // bytes to queue
		connected bool
	}{
		{"below the bound", limit * 3 / 4, true},
		{"over the bound", limit * 2, false},
		{"over fifty times", limit * 50, false},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{QueueBytes: limit}})
			gone := farewells(srv.Of("/"))
			slow, other := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
			slow.Stall()
			const size = 10_000
			big := strings.Repeat("x", size)
			frames := (64<<10 + 4<<10 + test.queue) / size // what the network holds, and what the client has read when it stalls
			start := time.Now()
			for range frames {
				kit.OK(t, srv.Emit(t.Context(), "big", big))
				synctest.Wait() // the other reads
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
			select {
			case f := <-gone:
				got := f.at.Sub(start)
				if test.connected || !errors.Is(f.reason, wsserver.ErrTooSlow) || f.id != slow.ID() || got < 15*time.Second || got > 18*time.Second {
					t.Errorf("disconnected after %v: %v; want ErrTooSlow from 15 s to 18 s", got, f.reason)
				}
			default:
				kit.Check(t, test.connected, "the client is connected still")
			}
			kit.Want(t, len(other.Pending()), frames, "the other events")
			got := srv.Stats()
			if (got.TooSlow == 0) != test.connected || got.Ended.TooSlow != got.TooSlow || got.Connections == 2 != test.connected {
				t.Errorf("Stats: got %d too slow, %+v, %d connections", got.TooSlow, got.Ended, got.Connections)
			}
			if !test.connected && got.Waiting != 0 {
				t.Errorf("Stats.Waiting: got %d after the end of the slow one, want 0", got.Waiting)
			}
		})
	}
}
