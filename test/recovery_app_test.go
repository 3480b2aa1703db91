package test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver"
)

// recoveryData is what a client of the application has a socket keep.
type recoveryData struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// recoveryApp is the application of node/recoverychecks.mjs on belfry; node/recoveryreference.mjs is the same on the reference. Nodes share
// it, so that what a client has counted is together.
type recoveryApp struct {
	mu      sync.Mutex // guards what follows
	revoked map[string]bool
	counts  map[string][]int
}

func newRecoveryApp() *recoveryApp {
	return &recoveryApp{revoked: make(map[string]bool), counts: make(map[string][]int)}
}

// serve sets the application's handlers on a node.
func (a *recoveryApp) serve(srv *wsserver.Server) {
	for _, name := range []string{"/", "/other"} {
		a.serveClients(srv.Of(name))
	}
	a.serveControl(srv)
}

func (a *recoveryApp) serveClients(ns *wsserver.Namespace) {
	ns.Use(a.check)
	wsserver.OnAck(ns, "join", func(ctx context.Context, s *wsserver.Socket, rooms []string) (bool, error) {
		return true, s.Join(ctx, rooms...)
	})
	wsserver.OnAck(ns, "set data", func(ctx context.Context, s *wsserver.Socket, data recoveryData) (bool, error) {
		s.SetData(data)
		return true, nil
	})
	ns.On("whoami", func(ctx context.Context, e *wsserver.Event) error {
		s := e.Socket()
		auth := s.Handshake().Auth
		if auth == nil {
			auth = json.RawMessage("{}")
		}
		return e.Ack(map[string]any{
			"id": s.ID(), "recovered": s.Recovered(), "rooms": slices.Sorted(slices.Values(s.Rooms())), "data": s.Data(), "auth": auth,
		})
	})
	ns.On("ask me", func(ctx context.Context, e *wsserver.Event) error {
		var n int
		if err := e.Decode(&n); err != nil {
			return err
		}
		response, err := e.Socket().EmitWithAck(ctx, "question", n, "a string last")
		var answer string
		if err == nil {
			err = response.Decode(&answer)
		}
		return errors.Join(err, e.Ack(answer))
	})
	wsserver.On2(ns, "count", func(ctx context.Context, s *wsserver.Socket, key string, n int) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.counts[key] = append(a.counts[key], n)
		return nil
	})
	wsserver.OnAck(ns, "counted", func(ctx context.Context, s *wsserver.Socket, key string) ([]int, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return append([]int{}, a.counts[key]...), nil
	})
	ns.On("disconnect me", func(ctx context.Context, e *wsserver.Event) error {
		e.Socket().Disconnect()
		return nil
	})
}

// check is a middleware: some clients' tokens are revoked, and some have to wait.
func (a *recoveryApp) check(ctx context.Context, s *wsserver.Socket) error {
	var auth struct {
		Slow  bool
		Token string
	}
	if s.Handshake().Auth != nil {
		if err := s.DecodeAuth(&auth); err != nil {
			return err
		}
	}
	if auth.Slow {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked[auth.Token] {
		return errors.New("revoked")
	}
	return nil
}

// serveControl has the handlers for those who act on a client.
func (a *recoveryApp) serveControl(srv *wsserver.Server) {
	control, in := srv.Of("/control"), func(rooms []string) sockets.Broadcast { return srv.Of("/").In(rooms...) }
	control.On("emit", func(ctx context.Context, e *wsserver.Event) error {
		args, err := e.Args()
		if err != nil {
			return err
		}
		var to struct {
			NS         string
			To, Except []string
			Volatile   bool
			Event      string
		}
		if err := e.Decode(&to); err != nil {
			return err
		}
		out := srv.Of(to.NS).All().Except(to.Except...)
		if len(to.To) > 0 { // To without a room would select nobody
			out = out.To(to.To...)
		}
		if to.Volatile {
			out = out.Volatile()
		}
		return errors.Join(out.Emit(ctx, to.Event, args[1:]...), e.Ack())
	})
	wsserver.OnAck2(control, "join", func(ctx context.Context, _ *wsserver.Socket, from, rooms []string) (bool, error) {
		return true, in(from).SocketsJoin(ctx, rooms...)
	})
	wsserver.OnAck2(control, "leave", func(ctx context.Context, _ *wsserver.Socket, from, rooms []string) (bool, error) {
		return true, in(from).SocketsLeave(ctx, rooms...)
	})
	wsserver.OnAck(control, "kick", func(ctx context.Context, _ *wsserver.Socket, from []string) (bool, error) {
		return true, in(from).DisconnectSockets(ctx, false)
	})
	wsserver.OnAck(control, "sockets", func(ctx context.Context, _ *wsserver.Socket, from []string) ([]string, error) {
		ids := []string{}
		for _, name := range []string{"/", "/other"} {
			found, err := srv.Of(name).In(from...).FetchSockets(ctx)
			if err != nil {
				return nil, err
			}
			for _, s := range found {
				ids = append(ids, s.ID)
			}
		}
		return ids, nil
	})
	wsserver.OnAck2(control, "revoke", func(ctx context.Context, _ *wsserver.Socket, token string, on bool) (bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.revoked[token] = on
		return true, nil
	})
}
