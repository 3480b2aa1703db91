package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// notes are steps in the order in which they were taken.
type notes struct {
	mu    sync.Mutex
	steps []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.steps = append(n.steps, fmt.Sprintf(format, args...))
}

// want checks what was noted since the last call, in a bubble.
func (n *notes) want(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	kit.WantList(t, n.steps, want, what)
	n.steps = nil
}

// TestOnAny: catch-all handlers see every event before the handlers of its name do, and no ack (socket.io, socket.ts onAny).
func TestOnAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		var n notes
		handler := func(who string) wsserver.Handler {
			return func(ctx context.Context, e *wsserver.Event) error {
				var arg any
				if e.Len() > 0 {
					if err := e.Decode(&arg); err != nil {
						return err
					}
				}
				n.add("%s: %s %v", who, e.Name(), arg)
				if arg == "fail" {
					return errors.New(who)
				}
				return nil
			}
		}
		ns := srv.Of("/")
		ns.On("x", handler("namespace's x"))
		ns.OnAny(handler("namespace 1"))
		ns.OnAny(handler("namespace 2"))
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.On("x", handler("socket's x"))
			s.OnAny(handler("socket 1"))
			s.OnAny(handler("socket 2"))
			s.OnAny(func(ctx context.Context, e *wsserver.Event) error {
				if e.WantsAck() {
					return e.Ack("any")
				}
				return nil
			})
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Emit("x", 1)
		n.want(t, "x", "namespace 1: x 1", "namespace 2: x 1", "socket 1: x 1", "socket 2: x 1", "namespace's x: x 1", "socket's x: x 1")
		c.Emit("error")
		n.want(t, "an event that nobody handles", "namespace 1: error <nil>", "namespace 2: error <nil>", "socket 1: error <nil>", "socket 2: error <nil>")
		c.Emit("y", []byte("b"))
		n.want(t, "binary", "namespace 1: y [98]", "namespace 2: y [98]", "socket 1: y [98]", "socket 2: y [98]")
		kit.Want(t, string(c.EmitWithAck("y").JSON()), `["any"]`, "ack of a catch-all handler")
		n.want(t, "ack", "namespace 1: y <nil>", "namespace 2: y <nil>", "socket 1: y <nil>", "socket 2: y <nil>")
		wsrig.Under(c).Send(`437["nobody waits for it"]`, `42[7]`)
		n.want(t, "an ack, and a number for a name", "namespace 1: 7 <nil>", "namespace 2: 7 <nil>", "socket 1: 7 <nil>", "socket 2: 7 <nil>")
		c.Emit("x", "fail") // one that fails does not keep the others from it
		n.want(t, "errors", "namespace 1: x fail", "namespace 2: x fail", "socket 1: x fail", "socket 2: x fail", "namespace's x: x fail", "socket's x: x fail")
		if f := <-failures; f.err.Error() != "namespace 1\nnamespace 2\nsocket 1\nsocket 2\nnamespace's x\nsocket's x" || f.event != "x" || len(failures) > 0 {
			t.Errorf("OnError: got %v, want all of them once", f)
		}
	})
}

// decodes counts the packets that are decoded.
type decodes struct {
	packet.JSON
	n *atomic.Int32
}

func (d decodes) NewDecoder(l *packet.Limits) packet.Decoder {
	return countingDecoder{d.JSON.NewDecoder(l), d.n}
}

type countingDecoder struct {
	packet.Decoder
	n *atomic.Int32
}

func (d countingDecoder) Text(msg []byte) (*packet.Packet, error) {
	d.n.Add(1)
	return d.Decoder.Text(msg)
}

// TestOnAnyOutgoing: every event for a socket is seen, whoever emits it and wherever, and nothing else (socket.io, socket.ts
// onAnyOutgoing). A broadcast is decoded once for all its sockets, and only if somebody listens.
func TestOnAnyOutgoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var count [2]atomic.Int32
		var srvs [2]*wsserver.Server
		for i := range srvs {
			srvs[i] = newServer(t, wsserver.Config{Adapter: memory, Codec: decodes{n: &count[i]}})
			kit.OK(t, srvs[i].Ready(t.Context()))
		}
		srv, ns := srvs[0], srvs[0].Of("/")
		clients := make(map[string]string)
		var n notes
		dial := func(name string) (*wstest.Client, *wsserver.Socket) {
			c := wstest.Dial(t, srv, wstest.Config{})
			clients[c.ID()] = name
			return c, socketOf(t, srv, c)
		}
		a, sa := dial("a")
		b, sb := dial("b")
		decoded := func(what string, want int32) {
			t.Helper()
			synctest.Wait()
			kit.Want(t, count[0].Swap(0), want, what, "packets decoded")
		}
		decoded("two CONNECTs", 2)
		ns.Emit(t.Context(), "unseen")
		srvs[1].Emit(t.Context(), "unseen")
		decoded("nobody listens", 0)
		a.Next("unseen")

		sa.OnAnyOutgoing(func(e *wsserver.OutgoingEvent) {
			var arg any
			if e.Len() > 0 {
				if err := e.Decode(&arg); err != nil {
					t.Error(err)
				}
			}
			n.add("a's own: %s %v %v", e.Name(), arg, e.WantsAck())
		})
		for _, srv := range srvs {
			kit.OK(t, srv.Emit(t.Context(), "all", []byte("x")))
			n.want(t, "broadcast", "a's own: all [120] false")
			decoded("broadcast", 1)
		}
		sb.Emit(t.Context(), "to b")
		n.want(t, "to another socket")

		ns.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) { n.add("to %s: %s", clients[s.ID()], e.Name()) })
		for _, srv := range srvs {
			srv.To(sa.ID()).Emit(t.Context(), "one", 1)
			n.want(t, "to a", "to a: one", "a's own: one 1 false")
			srv.To(sb.ID()).Emit(t.Context(), "one", 1)
			n.want(t, "to b", "to b: one")
			decoded("two broadcasts", 2)
			srv.All().Volatile().Emit(t.Context(), "all", 2)
			synctest.Wait()
			n.mu.Lock()
			slices.Sort(n.steps) // sockets are in no order
			n.mu.Unlock()
			n.want(t, "to all", "a's own: all 2 false", "to a: all", "to b: all")
			decoded("a broadcast for two", 1)
		}
		a.On("q", func(wstest.Event) []any { return []any{"answer"} })
		kit.Must(sa.EmitWithAck(t.Context(), "q", "?"))(t)
		sa.Volatile().Emit(t.Context(), "v")
		n.want(t, "emits", "to a: q", "a's own: q ? true", "to a: v", "a's own: v <nil> false")
		a.EmitWithAck("echo", 1)
		n.want(t, "the server's ack")
		decoded("the answers and the echo", 2)
		if err := sa.Emit(t.Context(), "disconnect"); err == nil {
			t.Error("Emit of a reserved name: got no error")
		}
		sb.Disconnect()
		n.want(t, "what is no event")
		sb.Emit(t.Context(), "late")
		n.want(t, "after the end")
		<-b.Disconnected()
	})
}

// TestPanicInOnAnyOutgoing: it is reported, and the event is sent all the same.
func TestPanicInOnAnyOutgoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		srv.Of("/").OnAnyOutgoing(func(*wsserver.Socket, *wsserver.OutgoingEvent) { panic("bang") })
		c := wstest.Dial(t, srv, wstest.Config{})
		s := socketOf(t, srv, c)
		srv.Emit(t.Context(), "x")
		s.Emit(t.Context(), "y")
		wantEvents(t, "the client", c, `["x"]`, `["y"]`)
		for _, want := range []string{"x", "y"} {
			var panicked *wsserver.PanicError
			if f := <-failures; !errors.As(f.err, &panicked) || f.event != want {
				t.Errorf("OnError: got %v, want a PanicError of %s", f, want)
			}
		}
		kit.Check(t, s.Connected(), "the socket was disconnected")
	})
}
