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

// TestBadInput: whatever a client sends, it closes at most its own connection (bad input, 3.1 to 3.3; socket.io, client.ts ondecoded).
func TestBadInput(t *testing.T) {
	const anyCode = -1 // the client takes no more control frames than the server does
	text := func(messages ...string) []byte {
		var b []byte
		for _, m := range messages {
			b = append(b, wsrig.Frame(1, []byte(m))...)
		}
		return b
	}
	unmasked := []byte("\x81\x0742[\"x\"]")
	rsv := wsrig.Frame(1, []byte(`42["x"]`))
	rsv[0] |= 0x40
	for _, test := range []struct {
		name   string
		before bool // before CONNECT: there is no socket
		send   []byte
		code   int   // of the Close frame
		want   error // the reason
	}{
		{"event before CONNECT", true, text(`42["x"]`), 1005, nil},
		{"ack before CONNECT", true, text(`430[]`), 1005, nil},
		{"DISCONNECT before CONNECT", true, text(`41`), 1005, nil},
		{"CONNECT with a payload that is no object", true, text(`40["x"]`), 1005, nil},
		{"event right behind CONNECT", true, text(`40/held,`, `42/held,["x"]`), 1005, nil},
		{"attachments before CONNECT", true, text(`451-["x",{"_placeholder":true,"num":0}]`, `40`), 1005, nil},
		{"oversized before CONNECT", true, wsrig.Frame(1, make([]byte, 1_000_001)), 1009, nil},

		{"CONNECT_ERROR from a client", false, text(`44{"message":"x"}`), 1005, wsserver.ErrParse},
		{"event to an unknown namespace", false, text(`42/unknown,["x"]`), 1005, wsserver.ErrParse},
		{"DISCONNECT of an unknown namespace", false, text(`41/unknown,`), 1005, wsserver.ErrParse},
		{"event to a namespace not joined", false, text(`42/admin,["x"]`), 1005, wsserver.ErrParse},
		{"DISCONNECT with a payload", false, text(`41["x"]`), 1005, wsserver.ErrParse},
		{"unknown packet type of Socket.IO", false, text(`49`), 1005, wsserver.ErrParse},
		{"no packet type of Socket.IO", false, text(`4`), 1005, wsserver.ErrParse},
		{"reserved event", false, text(`42["connect"]`), 1005, wsserver.ErrParse},
		{"reserved event, in Node", false, text(`42["newListener"]`), 1005, wsserver.ErrParse},
		{"event name an object (CVE-2023-32695)", false, text(`42[{"toString":"x"}]`), 1005, wsserver.ErrParse},
		{"event without arguments", false, text(`42[]`), 1005, wsserver.ErrParse},
		{"event no array", false, text(`42{}`), 1005, wsserver.ErrParse},
		{"broken JSON", false, text(`42["x",`), 1005, wsserver.ErrParse},
		{"id behind which no JSON stands", false, text(`421x`), 1005, wsserver.ErrParse},
		{"number without bound", false, text(`42["x",1e999999]`, `42["x"`), 1005, wsserver.ErrParse},
		{"text while attachments are awaited", false, text(`451-["x",{"_placeholder":true,"num":0}]`, `42["y"]`), 1005, wsserver.ErrParse},
		{"too many attachments (CVE-2026-33151)", false, text(`4511-["x"]`), 1005, wsserver.ErrParse},
		{"no attachments (CVE-2026-69185)", false, text(`450-["x"]`), 1005, wsserver.ErrParse},
		{"placeholder out of range (CVE-2022-2421)", false, text(`451-["x",{"_placeholder":true,"num":1}]`), 1005, wsserver.ErrParse},
		{"binary that nothing announced", false, wsrig.Frame(2, []byte("data")), 1005, wsserver.ErrParse},
		{"attachments too large together", false, bytes.Join([][]byte{
			text(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`),
			wsrig.Frame(2, make([]byte, 600_000)), wsrig.Frame(2, make([]byte, 600_000)),
		}, nil), 1005, wsserver.ErrParse},

		{"ping from a client", false, text(`2`), 1005, wsserver.ErrTransport},
		{"open from a client", false, text(`0{}`), 1005, wsserver.ErrTransport},
		{"unknown packet type of Engine.IO", false, text(`7`), 1005, wsserver.ErrParse},
		{"empty packet", false, text(``), 1005, wsserver.ErrParse},
		{"close packet", false, text(`1`), 1005, wsserver.ErrTransportClose},

		{"oversized", false, wsrig.Frame(1, make([]byte, 1_000_001)), 1009, wsserver.ErrTransport},
		{"oversized, announced only", false, []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), 1009, wsserver.ErrTransport},
		{"invalid UTF-8", false, text("42[\"\xff\"]"), 1007, wsserver.ErrTransport},
		{"unmasked", false, unmasked, 1002, wsserver.ErrTransport},
		{"reserved bit (CVE-2022-21676)", false, rsv, 1002, wsserver.ErrTransport},
		{"reserved opcode", false, wsrig.Frame(3, nil), 1002, wsserver.ErrTransport},
		{"continuation of nothing", false, wsrig.Frame(0, []byte("x")), 1002, wsserver.ErrTransport},
		{"flood of pings", false, bytes.Repeat(wsrig.Frame(9, nil), 1000), anyCode, wsserver.ErrTransport},
		{"HTTP", false, []byte("GET / HTTP/1.1\r\n\r\n"), 1002, wsserver.ErrTransport},
		{"Close frame", false, wsrig.Frame(8, nil), 1005, wsserver.ErrTransportClose},
		{"Close frame with a code", false, wsrig.Frame(8, []byte{0x03, 0xe9}), 1001, wsserver.ErrTransportClose},
		{"Close frame with a code that must not be", false, wsrig.Frame(8, []byte{0x03, 0xed}), 1002, wsserver.ErrTransport},

		{"pong that nobody awaits", false, text(`3`), 0, nil},
		{"second CONNECT", false, text(`40`, `40{"a":1}`, `40`), 0, nil},
		{"ack without an id", false, append(text(`43["x"]`, `43[]`, `461-[{"_placeholder":true,"num":0}]`), wsrig.Frame(2, []byte("x"))...), 0, nil},
		{"noop", false, text(`6`), 0, nil},
		{"upgrade", false, text(`5`), 0, nil},
		{"event that nobody handles", false, text(`42["nobody"]`, `42[7]`), 0, nil},
		{"event with the name error (CVE-2024-38355)", false, text(`42["error",{}]`), 0, nil},
		{"prototypes", false, text(`42["x",{"__proto__":{"a":1},"constructor":1}]`), 0, nil},
		{"CONNECT to an unknown namespace", false, text(`40/unknown,{"a":1}`), 0, nil},
		{"WebSocket ping", false, wsrig.Frame(9, []byte("ping")), 0, nil},
		{"empty fragments", false, func() []byte {
			first := wsrig.Frame(1, nil)
			first[0] &^= 0x80
			return append(first, wsrig.Frame(0, []byte(`42["x"]`))...)
		}(), 0, nil},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			srv.Of("/admin")
			srv.Of("/held").Use(func(ctx context.Context, s *wsserver.Socket) error { <-ctx.Done(); return ctx.Err() })
			other := wstest.Dial(t, srv, wstest.Config{})
			gone := farewells(srv.Of("/"))
			bad := wsrig.Dial(t, srv, wsrig.Config{})
			if !test.before {
				bad.Send("40")
				bad.Read()
				bad.Read()
			}
			bad.Write(test.send)
			synctest.Wait()
			select {
			case <-bad.Done():
				if got := bad.Wait(); got.Code != test.code && test.code != anyCode {
					t.Errorf("the end: got %v, want code %d", got, test.code)
				}
			default:
				if test.code != 0 {
					t.Error("the connection is open")
				} else {
					bad.Send(`420["echo"]`)
					for {
						if m := bad.Read(); m == `430[]` {
							break
						}
					}
				}
			}
			select {
			case f := <-gone:
				if test.want == nil && !test.before || test.want != nil && !errors.Is(f.reason, test.want) {
					t.Errorf("reason: got %v, want %v", f.reason, test.want)
				}
			default:
				kit.Check(t, test.want == nil, "OnDisconnect was not called, want %v", test.want)
			}
			if got := other.Pending(); len(got) > 0 {
				t.Errorf("the other client: got %v, want nothing", got)
			}
			kit.Equal(t, string(other.EmitWithAck("echo", 1).JSON()), "[1]", "the other client")
			want := 1
			if test.code == 0 {
				want = 2
			}
			kit.Equal(t, srv.Stats().Connections, want, "Stats.Connections")
		})
	}
}

// TestReasons: the other ways to disconnect.
func TestReasons(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(c *wstest.Client, s *wsserver.Socket)
		want error
		text string // as Socket.IO names it
	}{
		{"client leaves the namespace", func(c *wstest.Client, s *wsserver.Socket) { c.Disconnect() }, wsserver.ErrClientDisconnect, "client namespace disconnect"},
		{"client closes", func(c *wstest.Client, s *wsserver.Socket) { c.Close() }, wsserver.ErrTransportClose, "transport close"},
		{"client drops the connection", func(c *wstest.Client, s *wsserver.Socket) { c.Abort() }, wsserver.ErrTransportClose, "transport close"},
		{"client half closes", func(c *wstest.Client, s *wsserver.Socket) { wsrig.Under(c).CloseWrite() }, wsserver.ErrTransportClose, "transport close"},
		{"Socket.Disconnect", func(c *wstest.Client, s *wsserver.Socket) { s.Disconnect(); s.Disconnect() }, wsserver.ErrServerDisconnect, "server namespace disconnect"},
		{"Socket.Close", func(c *wstest.Client, s *wsserver.Socket) { s.Close(); s.Close() }, wsserver.ErrServerClose, "forced server close"},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			gone := farewells(srv.Of("/"))
			c := wstest.Dial(t, srv, wstest.Config{})
			test.act(c, socketOf(t, srv, c))
			synctest.Wait()
			select {
			case f := <-gone:
				if !errors.Is(f.reason, test.want) || !strings.HasPrefix(f.reason.Error(), test.text) {
					t.Errorf("got %v, want %v", f.reason, test.want)
				}
			default:
				t.Error("OnDisconnect was not called")
			}
			select {
			case <-c.Disconnected():
			default:
				t.Error("the client does not know")
			}
			time.Sleep(time.Hour)
			if len(gone) > 0 {
				t.Errorf("OnDisconnect was called again: %v", <-gone)
			}
		})
	}
}

// TestLateEvent: what is on its way while the server disconnects a namespace is ignored; after a new CONNECT it counts again.
func TestLateEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		c.Read()
		c.Read()
		srv.Of("/").Sockets()[0].Disconnect()
		c.Send(`42["x"]`, `430[]`, `41`, `451-["x",{"_placeholder":true,"num":0}]`)
		c.SendBinary([]byte("x"))
		kit.Equal(t, c.Read(), "41")
		c.Send("40")
		if got := c.Read(); got[:2] != "40" {
			t.Errorf("got %q, want CONNECT", got)
		}
		c.Send(`421["echo"]`)
		kit.Equal(t, c.Read(), `431[]`)
		c.Send(`41`) // by the client: what follows has no excuse
		c.Send(`42["x"]`)
		c.Wait()
	})
}

// TestConnectRefused: a CONNECT to an unknown namespace is answered with CONNECT_ERROR, and the connection stays (Socket.IO 5).
func TestConnectRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send(`40/unknown,{"a":1}`)
		kit.Equal(t, c.Read(), `44/unknown,{"message":"Invalid namespace"}`)
		c.Send(`40`)
		if got := c.Read(); got[:2] != "40" {
			t.Errorf("got %q, want CONNECT", got)
		}
	})
}

// TestReconnectAtOnce: 41 and 40 in one segment give a new socket, which Node's server does not always manage.
func TestReconnectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		gone := farewells(srv.Of("/"))
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		c.Read()
		last := c.Read()
		for range 10 {
			c.Send("41", "40")
			next := c.Read()
			kit.Require(t, next[:2] == "40" && next != last,
				"got %q after %q, want another CONNECT", next, last)
			last = next
			<-gone
		}
		synctest.Wait()
		kit.Equal(t, len(srv.Of("/").Sockets()), 1, "sockets")
	})
}

// TestEarly: frames in the segment of the upgrade request are not lost, as they are at times in Node.
func TestEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		c := wsrig.Dial(t, srv, wsrig.Config{Early: []string{`40{"a":1}`}})
		c.Read() // of Engine.IO
		c.Read() // of CONNECT
		c.Send(`420["echo"]`)
		kit.Equal(t, c.Read(), `430[]`)
		c = wsrig.Dial(t, srv, wsrig.Config{Early: []string{"40", "1"}})
		c.Wait() // the second one was read, too
	})
}

// TestOpen: the first packet (Engine.IO 4, "Handshake").
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{PingInterval: 1500 * time.Millisecond, PingTimeout: time.Second, Limits: wsserver.Limits{MaxPayload: 4321}})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		open := c.Read()
		begin, end := `0{"sid":"`+srv.Node()+".", `","upgrades":[],"pingInterval":1500,"pingTimeout":1000,"maxPayload":4321}`
		if secret := len(open) - len(begin) - len(end); !strings.HasPrefix(open, begin) || !strings.HasSuffix(open, end) || secret != len("secret______.mac_____") {
			t.Errorf("got %s", open)
		}
	})
}

// TestServerClose: Close says good-bye to the clients, refuses others, and may be called again.
func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		gone := farewells(srv.Of("/"))
		var clients []*wstest.Client
		for range 10 {
			clients = append(clients, wstest.Dial(t, srv, wstest.Config{}))
		}
		srv.Emit(t.Context(), "last words")
		kit.OK(t, srv.Close(context.Background()), "Close")
		for _, c := range clients {
			if got := c.Wait(); got.Code != 1005 {
				t.Errorf("the end of a client: got %v, want a Close frame", got)
			}
			kit.Len(t, c.Pending(), 1, "a client (what was sent before)")
			kit.ErrorIs(t, (<-gone).reason, wsserver.ErrShutdown, "reason")
		}
		kit.OK(t, srv.Close(context.Background()), "second Close")
		kit.Equal(t, srv.Stats().Connections, 0, "Stats.Connections")
	})
}
