package emitter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestAfterClose: whatever a server or an emitter is asked for after its Close is an error, with every adapter and without one.
func TestAfterClose(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) adapter.Adapter{
		"none":   func(*testing.T) adapter.Adapter { return nil },
		"memory": func(*testing.T) adapter.Adapter { return new(adapter.Memory) },
		"NATS": func(t *testing.T) adapter.Adapter {
			return natsadapter.New(natsadapter.Config{URL: natstest.NewServer(t).URL(), Logger: kit.Silent})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := kit.Within(t, kit.Patience)
			a := open(t)
			srv := wsserver.New(wsserver.Config{Adapter: a, Logger: kit.Silent})
			connected := make(chan *wsserver.Socket, 1)
			srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error { connected <- s; return nil })
			wstest.Dial(t, srv, wstest.Config{})
			s := <-connected
			kept := srv.To("x") // what was made before
			kit.OK(t, srv.Close(ctx))
			for what, b := range map[string]sockets.Broadcast{
				"all": srv.Except(), "a room": srv.To("x"), "one of before": kept, "many rooms": srv.To("1", "2", "3", "4", "5"), "volatile": srv.All().Volatile(),
				"local": srv.Of("/").All().Local(), "nobody": srv.To(), "of another namespace": srv.Of("/other").To("x"), "of a socket": s.To("x"),
			} {
				checkClosed(ctx, t, name+", "+what, b)
			}
			checkAllClosed(t, "server", map[string]error{
				"Emit":                   srv.Emit(ctx, "x"),
				"Emit of a namespace":    srv.Of("/").Emit(ctx, "x"),
				"Emit of a socket":       s.Emit(ctx, "x"),
				"Volatile":               s.Volatile().Emit(ctx, "x"),
				"ServerSideEmit":         srv.Of("/").ServerSideEmit(ctx, "x"),
				"ServerSideEmitWithAck":  errorOf(srv.Of("/").ServerSideEmitWithAck(ctx, "x")),
				"EmitWithAck":            errorOf(srv.All().EmitWithAck(ctx, "x")),
				"AllRooms":               errorOf(srv.Of("/").AllRooms(ctx)),
				"EmitWithAck, of a room": errorOf(srv.To("x").EmitWithAck(ctx, "x")),
			})
			if a == nil {
				return
			}
			e := emitter.New(emitter.Config{Adapter: a, Logger: kit.Silent})
			kept = e.To("x")
			kit.OK(t, e.Close(ctx), "Close of the emitter")
			for what, b := range map[string]sockets.Broadcast{"all": e.Except(), "one of before": kept, "local": e.To("x").Local(), "nobody": e.To()} {
				checkClosed(ctx, t, "emitter, "+what, b)
			}
		})
	}
}

func errorOf[T any](_ T, err error) error { return err }

// checkClosed checks that all that can be done with b is an error.
func checkClosed(ctx context.Context, t *testing.T, what string, b sockets.Broadcast) {
	t.Helper()
	checkAllClosed(t, what, map[string]error{
		"Emit":              b.Emit(ctx, "x"),
		"EmitCounted":       errorOf(b.EmitCounted(ctx, "x")),
		"EmitWithAck":       errorOf(b.EmitWithAck(ctx, "x")),
		"FetchSockets":      errorOf(b.FetchSockets(ctx)),
		"Count":             errorOf(b.Count(ctx)),
		"SocketsJoin":       b.SocketsJoin(ctx, "y"),
		"SocketsLeave":      b.SocketsLeave(ctx, "y"),
		"DisconnectSockets": b.DisconnectSockets(ctx, false),
	})
}

func checkAllClosed(t *testing.T, what string, errs map[string]error) {
	t.Helper()
	for call, err := range errs {
		if !errors.Is(err, adapter.ErrClosed) && !errors.Is(err, wsserver.ErrShutdown) {
			t.Errorf("%s: %s: %v, want %v", what, call, err, adapter.ErrClosed)
		}
	}
}
