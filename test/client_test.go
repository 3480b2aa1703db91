package test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/wsserver"
)

// TestOfficialClient runs the scenario of node/client.mjs: socket.io-client on three nodes, each on its own NATS server.
func TestOfficialClient(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	servers := natstest.NewCluster(t, 3)
	var urls []string
	for _, s := range servers {
		srv := newServer(t, wsserver.Config{Adapter: natsadapter.New(natsadapter.Config{URL: s.URL(), Cluster: "test"})})
		serveScenario(srv)
		urls = append(urls, serve(t, srv))
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, node, "client.mjs", urls...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node client.mjs: %v\n%s", err, out)
	}
}

// serveScenario is the application that node/client.mjs talks to.
func serveScenario(srv *wsserver.Server) {
	type said struct {
		rooms, except []string
		text          string
	}
	ns := srv.Of("/")
	ns.OnDisconnecting(func(ctx context.Context, s *wsserver.Socket, reason error) {
		rooms := s.Rooms()
		s.OnDisconnect(func(ctx context.Context, reason error) {
			ns.Emit(context.Background(), "gone", s.ID(), reason.Error(), rooms, append([]string{}, s.Rooms()...))
		})
	})
	ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) ([]string, error) {
			err := s.Join(ctx, room)
			return s.Rooms(), err
		})
		wsserver.OnAck(s, "leave", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
			s.Leave(room)
			return true, nil
		})
		wsserver.OnAck(s, "all", func(ctx context.Context, _ *wsserver.Socket, mark string) (bool, error) {
			return true, ns.Emit(ctx, "all", mark)
		})
		s.On("auth", func(ctx context.Context, e *wsserver.Event) error { return e.Ack(s.Handshake().Auth) })
		s.On("say", func(ctx context.Context, e *wsserver.Event) error {
			var m said
			if err := e.Decode(&m.rooms, &m.except, &m.text); err != nil {
				return err
			}
			if err := s.To(m.rooms...).Except(m.except...).Emit(ctx, "said", s.ID(), m.text); err != nil {
				return err
			}
			return e.Ack(true)
		})
		s.On("echo", func(ctx context.Context, e *wsserver.Event) error {
			args := make([]any, e.Len())
			into := make([]any, e.Len())
			for i := range args {
				into[i] = &args[i]
			}
			if err := e.Decode(into...); err != nil {
				return err
			}
			return e.Ack(args)
		})
		s.On("bytes", func(ctx context.Context, e *wsserver.Event) error {
			var room string
			var m struct {
				Data []byte `json:"data"`
				Note string `json:"note"`
			}
			if err := e.Decode(&room, &m.Data); err != nil {
				return err
			}
			m.Note = "from " + s.ID()
			if err := s.To(room).Emit(ctx, "bytes", m); err != nil {
				return err
			}
			return e.Ack()
		})
		s.On("question me", func(ctx context.Context, e *wsserver.Event) error {
			var n int
			var data []byte
			if err := e.Decode(&n, &data); err != nil {
				return err
			}
			answer, err := s.EmitWithAck(ctx, "question", n, data)
			if err != nil {
				return err
			}
			if err := answer.Decode(&n, &data); err != nil {
				return err
			}
			return e.Ack([]any{n, data})
		})
		s.On("burst", func(ctx context.Context, e *wsserver.Event) error {
			var room string
			var n int
			if err := e.Decode(&room, &n); err != nil {
				return err
			}
			for i := range n {
				if err := s.To(room).Emit(ctx, "tick", i); err != nil {
					return err
				}
			}
			return nil
		})
		// The client's answers come while this handler waits for them, so they cannot go through the queue of events.
		s.On("slow", func(ctx context.Context, e *wsserver.Event) error {
			var n int
			if err := e.Decode(&n); err != nil {
				return err
			}
			got := make([]int, n)
			for i := range n {
				answer, err := s.EmitWithAck(ctx, "next", i)
				if err != nil {
					return err
				}
				if err := answer.Decode(&got[i]); err != nil {
					return err
				}
			}
			return e.Ack(got)
		})
		s.On("drop me", func(ctx context.Context, e *wsserver.Event) error {
			s.Disconnect()
			return nil
		})
		return nil
	})
	admin := srv.Of("/admin")
	admin.On("whoami", func(ctx context.Context, e *wsserver.Event) error { return e.Ack(e.Socket().ID()) })
}

// newServer returns a server that has met its cluster. It is closed at the end of the test.
func newServer(t *testing.T, cfg wsserver.Config) *wsserver.Server {
	t.Helper()
	cfg.Logger = testLogger(t)
	srv := wsserver.New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := srv.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return srv
}

// serve returns the address of an HTTP server for srv.
func serve(t *testing.T, srv *wsserver.Server) string {
	t.Helper()
	h := httptest.NewServer(srv)
	t.Cleanup(h.Close)
	return h.URL
}
