package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// nothingLeft checks that no socket is there, nor a room.
func nothingLeft(t *testing.T, ns *wsserver.Namespace) {
	t.Helper()
	if n, rooms := ns.SocketCount(), ns.Rooms(); n+len(rooms) > 0 {
		t.Errorf("left behind: %d sockets, rooms %q", n, rooms)
	}
}

// TestRefusal: what a client is told when a middleware refuses it (Socket.IO 5, "Connection to a namespace"; socket.io, namespace.ts _add).
func TestRefusal(t *testing.T) {
	type details struct {
		Retry int `json:"retry"`
	}
	for _, test := range []struct {
		name   string
		admit  func(ctx context.Context, s *wsserver.Socket) error
		want   string // behind 44/admin,
		report string // to OnError
	}{
		{"an error", func(context.Context, *wsserver.Socket) error { return errors.New("not authorized") }, `{"message":"not authorized"}`, ""},
		{"characters that Go and JSON quote differently", func(context.Context, *wsserver.Socket) error { return errors.New("\a\x7f \"é\u2028") }, `{"message":"\u0007` + "\x7f" + ` \"é\u2028"}`, ""},
		{"a ConnectError", func(context.Context, *wsserver.Socket) error {
			return fmt.Errorf("wrapped: %w", &wsserver.ConnectError{Message: "later", Data: details{3}})
		}, `{"message":"later","data":{"retry":3}}`, ""},
		{"data that is zero", func(context.Context, *wsserver.Socket) error {
			return &wsserver.ConnectError{Message: "later", Data: 0}
		}, `{"message":"later","data":0}`, ""},
		{"no data", func(context.Context, *wsserver.Socket) error { return &wsserver.ConnectError{Message: "later"} }, `{"message":"later"}`, ""},
		{"no message", func(context.Context, *wsserver.Socket) error { return &wsserver.ConnectError{} }, `{"message":""}`, ""},
		{"data that cannot be encoded", func(context.Context, *wsserver.Socket) error {
			return &wsserver.ConnectError{Message: "later", Data: make(chan int)}
		}, `{"message":"internal error"}`, "unsupported type"},
		{"data nested too deeply", func(context.Context, *wsserver.Socket) error {
			deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
			return &wsserver.ConnectError{Data: marshaled(deep)}
		}, `{"message":"internal error"}`, ""},
		{"a nil ConnectError", func(context.Context, *wsserver.Socket) error { return (*wsserver.ConnectError)(nil) }, `{"message":"internal error"}`, "panic"},
		{"a panic", func(context.Context, *wsserver.Socket) error { panic("bang") }, `{"message":"internal error"}`, "bang"},
		{"Disconnect", func(ctx context.Context, s *wsserver.Socket) error { s.Disconnect(); return nil }, `{"message":"disconnected"}`, ""},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError})
			admin := srv.Of("/admin")
			refuse := true
			admin.Use(func(ctx context.Context, s *wsserver.Socket) error {
				s.OnDisconnect(func(context.Context, error) {
					kit.Check(t, !refuse, "OnDisconnect was called for a refused client")
				})
				if refuse {
					return test.admit(ctx, s)
				}
				return nil
			})
			admin.Use(func(ctx context.Context, s *wsserver.Socket) error {
				kit.Check(t, !refuse, "the next middleware was asked")
				return nil
			})
			admin.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				kit.Check(t, !refuse, "OnConnect was called for a refused client")
				return nil
			})
			gone := farewells(admin)
			admin.On("echo", echo)
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.Read()
			for range 3 { // it may try again
				c.Send(`40/admin,{"token":"x"}`)
				kit.Want(t, c.Read(), `44/admin,`+test.want)
				synctest.Wait()
				nothingLeft(t, admin)
				select {
				case f := <-failures:
					if test.report == "" && test.name != "data nested too deeply" || !strings.Contains(f.err.Error(), test.report) || f.event != "connect" {
						t.Errorf("OnError: got %q, %v, want %q", f.event, f.err, test.report)
					}
				default:
					kit.Want(t, test.report, "", "OnError was not called")
				}
			}
			refuse = false
			c.Send(`40/admin,{"token":"y"}`)
			if got := c.Read(); !strings.HasPrefix(got, `40/admin,{"sid":`) {
				t.Errorf("then: got %s, want CONNECT", got)
			}
			c.Send(`42/admin,7["echo",1]`)
			kit.Want(t, c.Read(), `43/admin,7[1]`, "then")
			kit.Check(t, len(gone) == 0, "OnDisconnect of the namespace was called for a refused client")
		})
	}
}

// marshaled is a value that encodes itself.
type marshaled string

func (m marshaled) MarshalJSON() ([]byte, error) { return []byte(m), nil }

// TestMiddlewares: they run in order, before the socket is in any room, before the CONNECT packet, and before OnConnect (socket.io,
// namespace.ts _add and _doConnect). What they set on the socket is kept.
func TestMiddlewares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		var steps []string
		step := func(name string, s *wsserver.Socket) {
			steps = append(steps, fmt.Sprintf("%s: %d rooms, connected %v", name, len(s.Rooms()), s.Connected()))
		}
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
			step("first", s)
			kit.Check(t, s.Namespace() == srv.Of("/") && string(s.Handshake().Auth) == `{"name":"Ann"}`,
				"the socket: got namespace %v, auth %s", s.Namespace(), s.Handshake().Auth)
			for what, err := range map[string]error{
				"Emit":     s.Emit(ctx, "x"),
				"Volatile": s.Volatile().Emit(ctx, "x"),
				"Join":     s.Join(ctx, "x"),
			} {
				kit.WantErr(t, err, wsserver.ErrNotConnected, what)
			}
			if _, err := s.EmitWithAck(ctx, "x"); !errors.Is(err, wsserver.ErrNotConnected) {
				t.Errorf("EmitWithAck: got %v, want ErrNotConnected", err)
			}
			s.Leave("x")
			wsserver.OnAck(s, "who", func(ctx context.Context, _ *wsserver.Socket, _ int) (string, error) { return "Ann", nil })
			s.OnAny(func(ctx context.Context, e *wsserver.Event) error {
				steps = append(steps, "any: "+e.Name())
				return nil
			})
			s.OnDisconnect(func(ctx context.Context, reason error) { steps = append(steps, "gone") })
			return nil
		})
		srv.Of("/").Use(func(ctx context.Context, s *wsserver.Socket) error {
			time.Sleep(time.Second)
			srv.Emit(ctx, "early")
			srv.To(s.ID()).Emit(ctx, "early")
			if got := srv.Of("/").Sockets(); len(got) > 0 {
				t.Error("Sockets has one that is not connected")
			}
			if _, ok := srv.Of("/").Socket(s.ID()); ok {
				t.Error("Socket finds one that is not connected")
			}
			step("second", s)
			return nil
		})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			step("connect", s)
			return s.Emit(ctx, "hello")
		})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send(`40{"name":"Ann"}`)
		if got := c.Read(); !strings.HasPrefix(got, `40{"sid":`) {
			t.Errorf("first: got %s, want CONNECT", got)
		}
		kit.Want(t, c.Read(), `42["hello"]`, "second")
		c.Send(`421["who",0]`)
		kit.Want(t, c.Read(), `431["Ann"]`, "third")
		c.Abort()
		synctest.Wait()
		want := []string{"first: 0 rooms, connected false", "second: 0 rooms, connected false", "connect: 1 rooms, connected true", "any: who", "gone"}
		kit.WantList(t, steps, want)
	})
}

// TestGoneInMiddleware: a client that goes away, or breaks the rules, while a middleware runs leaves nothing, and no handler hears of it
// (socket.io, namespace.ts _add).
func TestGoneInMiddleware(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(c *wsrig.Conn)
		want error
	}{
		{"the client drops the connection", func(c *wsrig.Conn) { c.Abort() }, wsserver.ErrTransportClose},
		{"an event before the CONNECT answer", func(c *wsrig.Conn) { c.Send(`42["x"]`) }, wsserver.ErrParse},
		{"an ack before the CONNECT answer", func(c *wsrig.Conn) { c.Send(`430[]`) }, wsserver.ErrParse},
		{"DISCONNECT before the CONNECT answer", func(c *wsrig.Conn) { c.Send(`41`) }, wsserver.ErrParse},
		{"a second CONNECT, which is ignored, and no CONNECT answer", func(c *wsrig.Conn) { c.Send(`40`) }, wsserver.ErrConnectTimeout},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError})
			ns := srv.Of("/")
			gone := farewells(ns)
			inside, causes := make(chan struct{}), make(chan error, 1)
			srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
				close(inside)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return nil // it has not noticed
			})
			srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
				t.Error("the next middleware was asked")
				return nil
			})
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { t.Error("OnConnect was called"); return nil })
			ns.OnAny(func(ctx context.Context, e *wsserver.Event) error { t.Error("an event was handled"); return nil })
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.Read()
			c.Send("40")
			<-inside
			test.act(c)
			kit.WantErr(t, <-causes, test.want, "cause")
			c.Wait()
			synctest.Wait()
			nothingLeft(t, ns)
			kit.Check(t, len(gone)+len(failures) == 0,
				"%d calls of OnDisconnect, %d of OnError, want none", len(gone), len(failures))
		})
	}
}

// TestRefusedConnectTimeout: a refused CONNECT does not count as one, and one that waits for a middleware does not yet (socket.io,
// client.ts connectTimeout).
func TestRefusedConnectTimeout(t *testing.T) {
	for _, test := range []struct {
		name  string
		admit func(ctx context.Context, s *wsserver.Socket) error
		ends  bool
	}{
		{"refused", func(context.Context, *wsserver.Socket) error { return errors.New("no") }, true},
		{"waiting", func(ctx context.Context, s *wsserver.Socket) error { <-ctx.Done(); return ctx.Err() }, true},
		{"granted", func(context.Context, *wsserver.Socket) error { return nil }, false},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			srv.Use(test.admit)
			start := time.Now()
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.Send("40")
			time.Sleep(46 * time.Second)
			select {
			case <-c.Done():
				kit.Check(t, test.ends, "the connection was closed")
			default:
				kit.Check(t, !test.ends,
					"the connection is open after %v, want it closed after 45s", time.Since(start))
			}
		})
	}
}

// TestIncompleteBehindConnect: a message that has begun while a middleware ran must be completed in time all the same.
func TestIncompleteBehindConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Use(func(context.Context, *wsserver.Socket) error { time.Sleep(10 * time.Second); return nil })
		gone := farewells(srv.Of("/"))
		start := time.Now()
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.IgnorePings() // a pong would be taken for the rest of the message
		c.Send("40")
		synctest.Wait()
		c.Write(wsrig.Frame(1, []byte(`42["x"]`))[:8])
		if f := next(t, gone); !errors.Is(f.reason, wsserver.ErrTransport) || f.at.Sub(start) != 10*time.Second+standstill {
			t.Errorf("got %v after %v, want ErrTransport 17s after the 10 of the middleware", f.reason, f.at.Sub(start))
		}
	})
}

// TestEventAfterRefusal: a refused client is in no namespace, so that an event ends its connection.
func TestEventAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Of("/admin").Use(func(context.Context, *wsserver.Socket) error { return errors.New("no") })
		gone := farewells(srv.Of("/"))
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40", "40/admin,")
		synctest.Wait()
		c.Send(`42/admin,["x"]`)
		c.Wait()
		kit.WantErr(t, next(t, gone).reason, wsserver.ErrParse, "reason")
	})
}

// TestAnswerAtOnce: a client that answers a refusal, or a DISCONNECT, with a new CONNECT before anything else happens is served.
func TestAnswerAtOnce(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
		if len(s.Handshake().Auth) == 0 {
			return errors.New("no")
		}
		return nil
	})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { s.Disconnect(); return nil })
	c := wsrig.New(t, listen(t, srv, nil, false)(), wsrig.Config{})
	c.Read()
	for range 2000 {
		c.Send(`40`)
		if got := c.Read(); got != `44{"message":"no"}` {
			t.Fatalf("got %s, want a refusal", got)
		}
		c.Send(`40{"a":1}`)
		if got := c.Read(); !strings.HasPrefix(got, `40{`) {
			t.Fatalf("got %s, want CONNECT", got)
		}
		if got := c.Read(); got != `41` {
			t.Fatalf("got %s, want DISCONNECT", got)
		}
	}
}

// TestServerCloseInMiddleware: Close ends what a middleware waits for.
func TestServerCloseInMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Adapter: new(adapter.Memory)})
		reasons := make(chan error, 1)
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
			<-ctx.Done()
			reasons <- context.Cause(ctx)
			return nil
		})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		synctest.Wait()
		kit.OK(t, srv.Close(t.Context()), "Close")
		kit.WantErr(t, <-reasons, wsserver.ErrShutdown, "cause")
		c.Wait()
	})
}
