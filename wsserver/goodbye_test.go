package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestLastWords: an event with the end of its connection right behind it, as of a tab that is closed, is heard by the room, however the
// connection ends and whatever it is made of.
func TestLastWords(t *testing.T) {
	t.Parallel()
	const goodbye = `42["say","good bye"]`
	frame := wsrig.Frame(1, []byte(goodbye))
	closing := wsrig.Frame(8, []byte{0x03, 0xe9}) // going away
	for _, test := range []struct {
		name   string
		secure bool
		leave  func(t *testing.T, nc net.Conn)
	}{
		{"a closing handshake", false, func(t *testing.T, nc net.Conn) { write(t, nc, frame, closing) }},
		{"a closing handshake over TLS", true, func(t *testing.T, nc net.Conn) { write(t, nc, frame, closing) }},
		{"a closing handshake, in one piece", false, func(t *testing.T, nc net.Conn) { write(t, nc, append(frame[:len(frame):len(frame)], closing...)) }},
		{"the close packet of Engine.IO", false, func(t *testing.T, nc net.Conn) { write(t, nc, frame, wsrig.Frame(1, []byte("1"))) }},
		{"no closing handshake", false, func(t *testing.T, nc net.Conn) { write(t, nc, frame) }},
		{"no closing handshake over TLS", true, func(t *testing.T, nc net.Conn) { write(t, nc, frame) }},
		{"a reset", false, func(t *testing.T, nc net.Conn) {
			write(t, nc, frame)
			nc.(*net.TCPConn).SetLinger(0)
		}},
		{"what is no WebSocket", false, func(t *testing.T, nc net.Conn) { write(t, nc, frame, []byte("GET / HTTP/1.1\r\n\r\n")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hall := newHall(t, test.secure)
			for range hall.times() {
				nc := hall.dial()
				c := wsrig.New(t, nc, wsrig.Config{})
				c.Read()
				c.Send("40")
				c.Read()
				test.leave(t, nc)
				c.Abort()
			}
			hall.hears(t)
		})
	}
	for _, test := range []struct {
		name  string
		leave []string // bodies of POST requests
	}{
		{"polling, a request and the close packet in the next", []string{goodbye, "1"}},
		{"polling, the close packet in the same request", []string{goodbye + "\x1e1"}},
		{"polling, DISCONNECT and the close packet in the same request", []string{goodbye + "\x1e41\x1e1"}},
		{"polling, a request that breaks the rules", []string{goodbye + "\x1e49"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hall := newHall(t, false)
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return hall.dial(), nil },
			}}
			defer client.CloseIdleConnections()
			ask := func(method, query, body string) string {
				r, err := http.NewRequest(method, "http://chat.example/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
				kit.OK(t, err)
				answer, err := client.Do(r)
				kit.OK(t, err)
				defer answer.Body.Close()
				got, err := io.ReadAll(answer.Body)
				kit.OK(t, err)
				return string(got)
			}
			for range hall.times() {
				_, rest, _ := strings.Cut(ask("GET", "", ""), `"sid":"`)
				sid, _, _ := strings.Cut(rest, `"`)
				ask("POST", "&sid="+sid, "40")
				if got := ask("GET", "&sid="+sid, ""); !strings.HasPrefix(got, "40{") {
					t.Fatalf("CONNECT was answered with %q", got)
				}
				for _, body := range test.leave {
					ask("POST", "&sid="+sid, body)
				}
			}
			hall.hears(t)
		})
	}
}

func write(t *testing.T, nc net.Conn, pieces ...[]byte) {
	t.Helper()
	for _, p := range pieces {
		kit.Must(nc.Write(p))(t)
	}
}

// A hall is a server whose "say" goes to a room, and somebody in that room.
type hall struct {
	srv      *wsserver.Server
	dial     func() net.Conn
	listener *wstest.Client
	failures <-chan failure
}

func newHall(t *testing.T, secure bool) *hall {
	onError, failures := collectErrors()
	srv := newServer(t, wsserver.Config{OnError: onError})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
			return true, s.Join(ctx, room)
		})
		wsserver.On(s, "say", func(ctx context.Context, _ *wsserver.Socket, text string) error {
			return s.To("hall").Emit(ctx, "said", text)
		})
		return nil
	})
	dial := listen(t, srv, nil, secure)
	listener := wstest.New(t, dial(), wstest.Config{})
	listener.EmitWithAck("join", "hall")
	return &hall{srv, dial, listener, failures}
}

// times is how often somebody says good bye.
func (*hall) times() int {
	if kit.All() {
		return 200
	}
	return 30
}

func (h *hall) hears(t *testing.T) {
	t.Helper()
	kit.Eventually(t, "the end of all connections but one", func() bool { return h.srv.Stats().Connections == 1 })
	for i := range h.times() {
		if got := h.listener.Next("said").String(); got != `["said","good bye"]` {
			t.Fatalf("%d: got %s", i, got)
		}
	}
	h.listener.EmitWithAck("echo")
	if more := h.listener.Pending(); len(more) > 0 {
		t.Errorf("%d more than were said", len(more))
	}
	select {
	case f := <-h.failures:
		t.Errorf("OnError got %v", f.err)
	default:
	}
}

// TestEmitAfterTheEnd: what a handler emits whose client has gone meanwhile goes out, in every way of emitting; what waits is an error of the
// handler, and reported.
func TestEmitAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		emit func(ctx context.Context, s *wsserver.Socket, other sockets.RemoteSocket) error
		want bool // the other client has it; otherwise OnError has an error
	}{
		{"Broadcast.Emit", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			return s.To("x").Emit(ctx, "said")
		}, true},
		{"Broadcast.Volatile", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			return s.Namespace().All().Volatile().Emit(ctx, "said")
		}, true},
		{"Namespace.Emit", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			return s.Namespace().Emit(ctx, "said")
		}, true},
		{"RemoteSocket.Emit", func(ctx context.Context, _ *wsserver.Socket, other sockets.RemoteSocket) error {
			return other.Emit(ctx, "said")
		}, true},
		{"Socket.Emit of another", func(ctx context.Context, s *wsserver.Socket, other sockets.RemoteSocket) error {
			o, _ := s.Namespace().Socket(other.ID)
			return o.Emit(ctx, "said")
		}, true},
		{"Socket.Volatile of another", func(ctx context.Context, s *wsserver.Socket, other sockets.RemoteSocket) error {
			o, _ := s.Namespace().Socket(other.ID)
			return o.Volatile().Emit(ctx, "said")
		}, true},
		{"Broadcast.EmitCounted", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			_, err := s.To("x").EmitCounted(ctx, "said")
			return err
		}, false},
		{"Broadcast.EmitWithAck", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			_, err := s.To("x").EmitWithAck(ctx, "said")
			return fmt.Errorf("asking the room: %w", err)
		}, false},
		{"RemoteSocket.EmitWithAck", func(ctx context.Context, _ *wsserver.Socket, other sockets.RemoteSocket) error {
			_, err := other.EmitWithAck(ctx, "said")
			return err
		}, false},
		{"ServerSideEmitWithAck", func(ctx context.Context, s *wsserver.Socket, _ sockets.RemoteSocket) error {
			_, err := s.Namespace().ServerSideEmitWithAck(ctx, "said")
			return err
		}, false},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError})
			inside := make(chan struct{})
			var other sockets.RemoteSocket
			srv.Of("/").On("say", func(ctx context.Context, e *wsserver.Event) error {
				close(inside)
				<-ctx.Done()
				return test.emit(ctx, e.Socket(), other)
			})
			gone := farewells(srv.Of("/"))
			listener := wstest.Dial(t, srv, wstest.Config{})
			kit.OK(t, socketOf(t, srv, listener).Join(t.Context(), "x"))
			sockets := kit.Must(srv.All().FetchSockets(t.Context()))(t)
			other = sockets[0]
			c := wstest.Dial(t, srv, wstest.Config{})
			c.Emit("say")
			<-inside
			c.Abort()
			next(t, gone)
			if test.want {
				wantEvents(t, "the room", listener, `["said"]`)
			} else {
				wantEvents(t, "the room", listener)
			}
			select {
			case f := <-failures:
				kit.Check(t, !test.want && errors.Is(f.err, wsserver.ErrTransportClose),
					"OnError got %v", f.err)
			default:
				kit.Check(t, test.want, "OnError was not told")
			}
		})
	}
}

// TestFarewellContext: the ctx of handlers of a disconnection outlives the socket, and ends with the ctx that Close was given.
func TestFarewellContext(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"the client", "Close"} {
		for _, where := range []string{"Namespace.OnDisconnecting", "Namespace.OnDisconnect", "Socket.OnDisconnecting", "Socket.OnDisconnect"} {
			kit.Bubble(t, where+", by "+by, func(t *testing.T) {
				srv := wsserver.New(wsserver.Config{Logger: new(kit.Log).Logger()})
				reached := make(chan context.Context, 1)
				var cause error
				handle := func(at string) func(context.Context) {
					return func(ctx context.Context) {
						if at == where {
							reached <- ctx
							<-ctx.Done()
							cause = context.Cause(ctx)
						}
					}
				}
				ns := srv.Of("/")
				shared := func(at string) func(context.Context, *wsserver.Socket, error) {
					return func(ctx context.Context, _ *wsserver.Socket, _ error) { handle(at)(ctx) }
				}
				own := func(at string) func(context.Context, error) {
					return func(ctx context.Context, _ error) { handle(at)(ctx) }
				}
				ns.OnDisconnecting(shared("Namespace.OnDisconnecting"))
				ns.OnDisconnect(shared("Namespace.OnDisconnect"))
				ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
					s.OnDisconnecting(own("Socket.OnDisconnecting"))
					s.OnDisconnect(own("Socket.OnDisconnect"))
					return nil
				})
				c := wstest.Dial(t, srv, wstest.Config{})
				synctest.Wait()
				if by == "the client" {
					c.Disconnect()
					ctx := <-reached
					reached <- ctx
					if time.Sleep(time.Hour); ctx.Err() != nil {
						t.Errorf("ctx has ended with the socket: %v", context.Cause(ctx))
					}
				}
				impatient := errors.New("no time left")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, impatient)
				defer cancel()
				started := time.Now()
				if err := srv.Close(ctx); err != nil && !errors.Is(err, impatient) {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(started); took > time.Minute+time.Second {
					t.Errorf("Close took %v, want the minute that its ctx had", took)
				}
				synctest.Wait()
				if <-reached; !errors.Is(cause, impatient) {
					t.Errorf("the handler's ctx ended with %v, want %v", cause, impatient)
				}
			})
		}
	}
}
